//! Settings for tests, in this room and in those above it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::keys::FIXED;
use super::*;

/// A digest.
pub(crate) const DIGEST: &str =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The data of a ConfigMap.
pub(crate) fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    entries.iter().map(owned).collect()
}

/// An operator's environment that names a registry.
pub(crate) fn environment(registry: &str) -> Environment {
    Environment {
        registry: Some(registry.to_owned()),
    }
}

/// The settings of a ConfigMap that is valid in an empty environment.
pub(crate) fn settings(entries: &[(&str, &str)]) -> Settings {
    let parsed = Settings::parse(&data(entries), &Environment::default());
    parsed.expect("the sample is valid").settings
}

/// The one error of a ConfigMap with one key.
pub(crate) fn error(key: &str, value: &str) -> String {
    let invalid =
        Settings::parse(&data(&[(key, value)]), &Environment::default()).expect_err(value);
    assert_eq!(invalid.errors().len(), 1, "{invalid}");
    assert_eq!(invalid.errors()[0].key(), key);
    invalid.to_string()
}

/// Prefixes by the grammar, written down a second time, as regular expressions.
pub(crate) fn good_prefix() -> impl Strategy<Value = String> {
    const PORT: &str = "[1-9][0-9]{0,3}";
    const PATH: &str = r"(/[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}){0,3}";
    const DOTTED: &str =
        r"([a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?\.){1,3}[a-z]([a-z0-9-]{0,7}[a-z0-9])?";
    const UNDOTTED: &str = "[a-z]([a-z0-9-]{0,9}[a-z0-9])?";
    let grammar = format!("({DOTTED}(:{PORT})?|{UNDOTTED}:{PORT}|localhost(:{PORT})?){PATH}");
    proptest::string::string_regex(&grammar).expect("the expression is valid")
}

/// Good prefixes, those with one slip of the finger, long ones, and anything at all.
pub(crate) fn any_prefix() -> impl Strategy<Value = String> {
    const SLIPS: &str = " \n\t:/@%[]A_.-+0é\u{200b}о$#?\\\"'";
    let slips: Vec<char> = SLIPS.chars().collect();
    let slipped = (good_prefix(), any::<Index>(), select(slips), 0..=1_usize).prop_map(
        |(good, at, slip, replaced)| {
            let mut chars: Vec<char> = good.chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..at + replaced, [slip]);
            chars.into_iter().collect()
        },
    );
    let long = (good_prefix(), 150..300_usize).prop_map(|(good, length)| {
        format!("{good}/{}", "a".repeat(length - good.len().min(length)))
    });
    let hub = select(vec![
        "docker.io",
        "index.docker.io",
        "myorg",
        "docker.io:443",
    ])
    .prop_flat_map(|host| "(/[a-z]{1,3}){0,2}".prop_map(move |path| format!("{host}{path}")));
    prop_oneof![4 => good_prefix(), 4 => slipped, 1 => long, 1 => hub, 1 => any::<String>()]
}

fn good_runtime() -> impl Strategy<Value = String> {
    prop_oneof![
        select(RUNTIMES.to_vec()).prop_map(str::to_owned),
        "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
    ]
}

/// The data of ConfigMaps that are valid, though some of them have odd things in them.
pub(crate) fn good_data() -> impl Strategy<Value = BTreeMap<String, String>> {
    let secret = r"[a-z0-9]{1,5}([.-][a-z0-9]{1,5}){0,2}";
    let lists = (vec(good_runtime(), 0..4), vec(secret, 0..4));
    let pins = btree_map(good_runtime(), "sha256:[0-9a-f]{64}", 0..4);
    let url = "(https?://[a-z]{1,9}(:[1-9][0-9]{0,3})?(/[a-zA-Z0-9._~-]{0,9}){0,2})?";
    let timeout = proptest::option::of(1..=86_400_u32);
    let pause = proptest::option::of(10..=86_400_u32);
    let rollout = (
        select(vec!["", "OnRestart", "Paced"]),
        (
            "([1-9][0-9]{0,5}|[1-9][0-9]?%)?",
            "(0%?|[1-9][0-9]{0,5}|[1-9][0-9]?%)?",
            "([0-9]{1,4})?",
        ),
        select(vec!["", "true", "false"]),
        select(vec!["", "true", "false"]),
    );
    let next = (any_prefix(), select(vec!["", "true", "false", "yes"]));
    let times = (timeout, pause);
    (good_prefix(), lists, pins, url, times, rollout, next).prop_map(
        |(registry, (runtimes, secrets), pins, url, times, (rollout, most, paused, back), next)| {
            let (timeout, pause) = times;
            let mut data = data(&[
                (REGISTRY_KEY, &registry),
                (EXTRA_RUNTIMES_KEY, &runtimes.join(", ")),
                (IMAGE_PULL_SECRETS_KEY, &secrets.join(",")),
                (PLATFORM_URL_KEY, &url),
                (ROLLOUT_KEY, rollout),
                (ROLLOUT_MAX_UNAVAILABLE_KEY, &most.0),
                (ROLLOUT_MAX_FAILED_KEY, &most.1),
                (ROLLOUT_MIN_READY_SECONDS_KEY, &most.2),
                (ROLLOUT_PAUSED_KEY, paused),
                (ROLLOUT_ROLL_BACK_KEY, back),
                (NEXT_REGISTRY_KEY, &next.0),
                (PREPULL_KEY, next.1),
            ]);
            if let Some(timeout) = timeout {
                data.insert(
                    PROVISION_TIMEOUT_SECONDS_KEY.to_owned(),
                    timeout.to_string(),
                );
            }
            if let Some(pause) = pause {
                data.insert(WATCH_DIGESTS_SECONDS_KEY.to_owned(), pause.to_string());
            }
            for (runtime, digest) in pins {
                data.insert(keys::pin_key(&runtime), digest);
            }
            data
        },
    )
}

/// Data of any kind, most of it under the right keys.
pub(crate) fn any_data() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![
        6 => select(FIXED.to_vec()).prop_map(str::to_owned),
        2 => good_runtime().prop_map(|runtime| keys::pin_key(&runtime)),
        1 => any::<String>(),
    ];
    let value = prop_oneof![
        any::<String>(),
        any_prefix(),
        "[ -~\n]{0,40}",
        "[0-9+-]{0,12}%?"
    ];
    btree_map(key, value, 0..8)
}
