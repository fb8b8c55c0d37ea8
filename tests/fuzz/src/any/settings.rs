//! Settings as they are typed.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{DIGEST, metadata};
use crate::image::Data;

const KEYS: [&str; 18] = [
    "MOLECULE_IMAGE_REGISTRY",
    "EXTRA_RUNTIMES",
    "IMAGE_PULL_SECRETS",
    "PLATFORM_URL",
    "PROVISION_TIMEOUT_SECONDS",
    "ROLLOUT",
    "ROLLOUT_MAX_UNAVAILABLE",
    "ROLLOUT_MAX_FAILED",
    "ROLLOUT_MIN_READY_SECONDS",
    "ROLLOUT_PAUSED",
    "ROLLOUT_ROLL_BACK",
    "NEXT_MOLECULE_IMAGE_REGISTRY",
    "PREPULL",
    "WATCH_DIGESTS_SECONDS",
    "PIN_codex",
    "PIN_langgraph",
    "PIN_",
    "pin_codex",
];
const PREFIXES: [&str; 9] = [
    "a.example.com/agents",
    "b.example.com:5000/agents/x",
    "localhost",
    "10.0.0.1:5000",
    "https://a.example.com",
    "myorg",
    "a.example.com/Agents",
    "a.example.com/agents/",
    "a.example.com/agents:v1",
];

/// The ConfigMap with the settings. kubectl puts what is no text into `binaryData`.
pub fn config_map() -> BoxedStrategy<Value> {
    let bytes = prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..9),
    ];
    let binary = btree_map(select(KEYS.to_vec()), bytes.prop_map(ByteString), 0..2);
    let binary = proptest::option::weighted(0.1, binary);
    let nothing = || Just(Value::Null).boxed();
    let data = prop_oneof![2 => typed(), 1 => paced()];
    (metadata(nothing(), nothing()), data, binary)
        .prop_map(|(meta, data, binary)| {
            let mut map = json!({"metadata": meta, "data": data});
            if let Some(binary) = binary {
                map["binaryData"] = json!(binary);
            }
            map
        })
        .boxed()
}

/// What someone types into the settings.
fn typed() -> BoxedStrategy<Data> {
    let key = prop_oneof![
        9 => select(KEYS.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let value = prop_oneof![
        3 => select(PREFIXES.to_vec()).prop_map(str::to_owned),
        2 => select(vec!["zed", "zed, a1", DIGEST, "60", "true", "https://p.example", "a,b", "OnRestart"])
            .prop_map(str::to_owned),
        1 => "[a-z0-9.:/@_-]{0,20}",
        1 => "[ -~\n]{0,30}",
        1 => any::<String>(),
    ];
    // Whole values under their own key are what most people type.
    let registry = prop_oneof![
        3 => select(PREFIXES[..4].to_vec()).prop_map(str::to_owned),
        1 => select(PREFIXES.to_vec()).prop_map(str::to_owned),
        1 => "([a-z0-9]{1,5}[.:-]){0,3}[a-z0-9]{1,5}(/[a-z0-9._-]{1,6}){0,3}",
        1 => any::<String>(),
    ];
    let registry = proptest::option::weighted(0.7, registry);
    let rollout = proptest::option::weighted(0.3, select(vec!["Paced", "OnRestart"]));
    let pin = proptest::option::weighted(0.2, select(vec!["PIN_codex", "PIN_langgraph"]));
    (registry, rollout, pin, btree_map(key, value, 0..4))
        .prop_map(|(registry, rollout, pin, mut data)| {
            if let Some(registry) = registry {
                data.insert("MOLECULE_IMAGE_REGISTRY".to_owned(), registry);
            }
            if let Some(rollout) = rollout {
                data.insert("ROLLOUT".to_owned(), rollout.to_owned());
            }
            if let Some(pin) = pin {
                data.insert(pin.to_owned(), DIGEST.to_owned());
            }
            data
        })
        .boxed()
}

/// What moves a fleet, and puts back who does not come back: rare among all that can be typed.
fn paced() -> BoxedStrategy<Data> {
    let registry = proptest::option::of(Just(PREFIXES[0]));
    let back = select(vec!["true", "true", "false"]);
    (registry, back)
        .prop_map(|(registry, back)| {
            let data = [
                ("MOLECULE_IMAGE_REGISTRY", registry),
                ("ROLLOUT", Some("Paced")),
                ("ROLLOUT_ROLL_BACK", Some(back)),
            ];
            let data = data.into_iter();
            data.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect::<BTreeMap<_, _>>()
        })
        .boxed()
}
