mod rollout;

use proptest::prelude::*;

use super::samples::*;
use super::*;

fn parse(entries: &[(&str, &str)]) -> Result<Parsed, Invalid> {
    Settings::parse(&data(entries), &Environment::default())
}

fn warnings(entries: &[(&str, &str)]) -> Vec<String> {
    parse(entries).expect("valid").warnings
}

#[test]
fn a_value_is_quoted_on_one_line_without_lookalikes_and_cut_where_it_is_long() {
    for (value, quoted) in [
        ("ghcr.io", "\"ghcr.io\""),
        ("a\nb\0", r#""a\nb\u{0}""#),
        ("ghcr.iо", r#""ghcr.i\u{43e}""#),
        (r#"a"b\'"#, r#""a"b\'""#),
    ] {
        assert_eq!(fault::quote(value), quoted);
    }
    let longest = "a".repeat(80);
    assert_eq!(fault::quote(&longest), format!("\"{longest}\""));
    let long = fault::quote(&"a".repeat(81));
    assert_eq!(long, format!("\"{}…\" (81 characters)", "a".repeat(80)));
}

#[test]
fn unset_and_empty_are_the_default() {
    let keys = keys::FIXED.map(|key| (key, ""));
    for entries in [&[][..], &keys, &[("PIN_codex", "")]] {
        let parsed = parse(entries).expect("valid");
        assert_eq!(parsed.settings, Settings::default());
        assert_eq!(parsed.warnings, [""; 0]);
    }
    assert_eq!(
        Settings::default().registry().as_str(),
        "ghcr.io/molecule-ai"
    );
    assert_eq!(Settings::default().provision_timeout_seconds(), 600);
    assert_eq!(DEFAULT_REGISTRY.parse::<Prefix>(), Ok(Prefix::default()));
}

#[test]
fn the_config_map_comes_before_the_environment_and_that_before_the_default() {
    let of = |entries: &[(&str, &str)], environment: &Environment| {
        let parsed = Settings::parse(&data(entries), environment).expect("valid");
        assert_eq!(parsed.warnings, [""; 0]);
        parsed.settings.registry().to_string()
    };
    let own = environment("own.example/a");
    assert_eq!(
        of(&[(REGISTRY_KEY, "map.example/a")], &own),
        "map.example/a"
    );
    assert_eq!(of(&[(REGISTRY_KEY, "")], &own), "own.example/a");
    assert_eq!(of(&[], &own), "own.example/a");
    assert_eq!(of(&[], &environment("")), DEFAULT_REGISTRY);
    assert_eq!(of(&[], &Environment::default()), DEFAULT_REGISTRY);
}

#[test]
fn a_bad_environment_is_an_error_where_it_counts_and_else_a_warning() {
    let own = environment("myorg");
    let sentence = "The flag --registry or the environment variable MOLECULE_IMAGE_REGISTRY is \"myorg\", \
                    which names no registry, so that nodes would pull from docker.io: \
                    put the registry first, as in \"ghcr.io/myorg\".";
    let invalid = Settings::parse(&data(&[(REGISTRY_KEY, "")]), &own).expect_err("needed");
    assert_eq!(invalid.to_string(), sentence);

    let unused = data(&[(REGISTRY_KEY, "map.example/a")]);
    let warnings = Settings::parse(&unused, &own).expect("not needed").warnings;
    let warning = format!("Not in use, as the settings name a registry: {sentence}");
    assert_eq!(warnings, [warning]);
}

#[test]
fn all_errors_are_told() {
    let all = [
        (REGISTRY_KEY, "myorg"),
        (EXTRA_RUNTIMES_KEY, "Good, bad_one, fine"),
        ("PIN_codex", "latest"),
        ("PIN_fine", "v1"),
        (IMAGE_PULL_SECRETS_KEY, "a b"),
        (PLATFORM_URL_KEY, "platform"),
        (PROVISION_TIMEOUT_SECONDS_KEY, "10m"),
        (ROLLOUT_KEY, "Now"),
        (WATCH_DIGESTS_SECONDS_KEY, "5m"),
    ];
    let invalid = parse(&all).expect_err("invalid");
    let keys: Vec<&str> = invalid.errors().iter().map(SettingsError::key).collect();
    let expected = "EXTRA_RUNTIMES EXTRA_RUNTIMES MOLECULE_IMAGE_REGISTRY PIN_codex PIN_fine \
                    IMAGE_PULL_SECRETS PLATFORM_URL PROVISION_TIMEOUT_SECONDS ROLLOUT \
                    WATCH_DIGESTS_SECONDS";
    assert_eq!(keys.join(" "), expected);
}

#[test]
fn many_errors_do_not_fill_a_log() {
    let names = vec!["B"; 100].join(",");
    let message = parse(&[(IMAGE_PULL_SECRETS_KEY, &names)])
        .expect_err("invalid")
        .to_string();
    assert!(message.ends_with(" There are 90 more errors."));
    assert_eq!(message.matches("which").count(), 10);
}

#[test]
fn extra_runtimes() {
    let good = settings(&[(EXTRA_RUNTIMES_KEY, " zed , a-1,, ")]);
    assert!(good.knows("zed") && good.knows("a-1") && good.knows("codex"));
    assert!(!good.knows("") && !good.knows("other"));
    let known: Vec<&str> = good.known_runtimes().collect();
    let expected = "a-1 autogen claude-code codex crewai deepagents gemini-cli hermes langgraph \
                    openclaw zed";
    assert_eq!(known.join(" "), expected);

    let twice = [(EXTRA_RUNTIMES_KEY, "zed,codex,zed")];
    let expected = [
        "EXTRA_RUNTIMES lists \"codex\", which is known anyway.",
        "EXTRA_RUNTIMES lists \"zed\", which is there already.",
    ];
    assert_eq!(warnings(&twice), expected);
    assert_eq!(settings(&twice), settings(&[(EXTRA_RUNTIMES_KEY, "zed")]));

    for bad in [
        "Zed",
        "a_b",
        "-a",
        "a-",
        "a.b",
        "a b",
        "a\n",
        "é",
        "a/b",
        &*"a".repeat(41),
    ] {
        let message = error(EXTRA_RUNTIMES_KEY, bad);
        assert!(message.starts_with("EXTRA_RUNTIMES lists \""), "{message}");
    }
    let message = error(EXTRA_RUNTIMES_KEY, "one\ntwo");
    assert!(message.contains("has a newline"), "{message}");
}

#[test]
fn pins() {
    let zeds = [
        (EXTRA_RUNTIMES_KEY, "zed"),
        ("PIN_zed", DIGEST),
        ("PIN_claude-code", DIGEST),
    ];
    let good = settings(&zeds);
    assert_eq!(good.pin("zed").map(Digest::as_str), Some(DIGEST));
    assert_eq!(good.pin("claude-code").map(Digest::as_str), Some(DIGEST));
    assert_eq!(good.pin("codex"), None);

    let upper = DIGEST.to_uppercase();
    let hex = &DIGEST["sha256:".len()..];
    let reference = format!("ghcr.io/molecule-ai/workspace-template-codex@{DIGEST}");
    for close in [&*upper, hex, &reference] {
        let message = error("PIN_codex", close);
        assert!(
            message.ends_with(&format!("hex digits: write \"{DIGEST}\".")),
            "{message}"
        );
    }
    let long = format!("{DIGEST}0");
    let other_letters = DIGEST.replace('f', "g");
    for bad in [
        "latest",
        "sha256:",
        &DIGEST[..70],
        &long,
        "sha512:00",
        "sha256:é",
        &other_letters,
    ] {
        let message = error("PIN_codex", bad);
        assert!(message.starts_with("PIN_codex is \""), "{message}");
        assert!(message.ends_with("as `docker buildx imagetools inspect` prints it."));
    }
}

#[test]
fn a_pin_of_an_unknown_runtime_is_a_warning() {
    let warned = warnings(&[("PIN_claude_code", DIGEST), ("PIN_elsewhere", "v1")]);
    let expected = [
        "\"PIN_claude_code\" pins no known runtime (see EXTRA_RUNTIMES) and has no effect: \
         did you mean PIN_claude-code?",
        "\"PIN_elsewhere\" pins no known runtime (see EXTRA_RUNTIMES) and has no effect.",
    ];
    assert_eq!(warned, expected);
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_right_one() {
    for (wrong, right) in [
        ("MOLECULE_IMAGE_REGISTERY", REGISTRY_KEY),
        ("molecule-image-registry", REGISTRY_KEY),
        ("MOLECULE_REGISTRY", REGISTRY_KEY),
        ("IMAGE_REGISTRY", REGISTRY_KEY),
        ("EXTRA_RUNTIME", EXTRA_RUNTIMES_KEY),
        ("IMAGE_PULL_SECRET", IMAGE_PULL_SECRETS_KEY),
        ("PROVISION_TIMEOUT", PROVISION_TIMEOUT_SECONDS_KEY),
        ("rollout", ROLLOUT_KEY),
        ("WATCH_DIGESTS", WATCH_DIGESTS_SECONDS_KEY),
        ("pin_codex", "PIN_codex"),
    ] {
        let expected =
            format!("\"{wrong}\" is no setting and has no effect: did you mean {right}?");
        assert_eq!(warnings(&[(wrong, "x y")]), [expected]);
    }
    for unlike in ["LOG_LEVEL", "FUTURE", &"X".repeat(300)] {
        let warned = warnings(&[(unlike, "")]);
        assert!(
            warned[0].ends_with("is no setting and has no effect."),
            "{warned:?}"
        );
    }
}

#[test]
fn image_pull_secrets_keep_their_order_and_come_once() {
    let good = settings(&[(IMAGE_PULL_SECRETS_KEY, "b, a.c,b,,1-x")]);
    assert_eq!(good.image_pull_secrets(), ["b", "a.c", "1-x"]);
    let longest = "a".repeat(253);
    let good = settings(&[(IMAGE_PULL_SECRETS_KEY, &*longest)]);
    assert!(good.image_pull_secrets().contains(&longest));
    for bad in [
        "A",
        "a_b",
        "a..b",
        ".a",
        "-a",
        "a b",
        "a\n",
        &*format!("{longest}a"),
    ] {
        let message = error(IMAGE_PULL_SECRETS_KEY, bad);
        assert!(
            message.starts_with("IMAGE_PULL_SECRETS lists \""),
            "{message}"
        );
    }
}

#[test]
fn platform_url() {
    for good in [
        "http://platform:8080",
        "https://p.example.com/a?b=c",
        "http://[::1]:80/",
    ] {
        assert_eq!(
            settings(&[(PLATFORM_URL_KEY, good)]).platform_url(),
            Some(good)
        );
    }
    for (bad, fault) in [
        ("platform", "does not begin with http:// or https://"),
        ("/a", "does not begin with http:// or https://"),
        ("ftp://a", "does not begin with http:// or https://"),
        ("http://", "is not a URL"),
        ("http:///a", "is not a URL"),
        ("http://:80", "has no usable host and port"),
        ("http://a:", "has no usable host and port"),
        ("http://a:0", "has no usable host and port"),
        ("http://a:99999", "has no usable host and port"),
        (
            "http://me:word@a",
            "has credentials in it, for every agent to read",
        ),
        ("http://a b", "has a space"),
        ("http://a\n", "ends in a newline (as a YAML block `|` does)"),
        ("http://é", "has the character U+00E9"),
    ] {
        let message = error(PLATFORM_URL_KEY, bad);
        assert!(
            message.contains(&format!("\", which {fault}: ")),
            "{message}"
        );
    }
}

#[test]
fn provision_timeout() {
    for (value, seconds) in [("1", 1), ("600", 600), ("86400", 86_400)] {
        let good = settings(&[(PROVISION_TIMEOUT_SECONDS_KEY, value)]);
        assert_eq!(good.provision_timeout_seconds(), seconds);
    }
    for bad in ["0", "86401", "-1", "+5", "10m", "1.5", "99999999999", "1e3"] {
        let expected = format!(
            "PROVISION_TIMEOUT_SECONDS is \"{bad}\", which is not a number of seconds: \
             write a whole number from 1 to 86400, as in \"600\"."
        );
        assert_eq!(error(PROVISION_TIMEOUT_SECONDS_KEY, bad), expected);
    }
}

#[test]
fn digests_are_watched_only_where_that_is_asked_for() {
    assert_eq!(settings(&[]).watch_digests_seconds(), None);
    assert_eq!(
        settings(&[(WATCH_DIGESTS_SECONDS_KEY, "")]).watch_digests_seconds(),
        None
    );
    for (value, seconds) in [("10", 10), ("300", 300), ("86400", 86_400)] {
        let good = settings(&[(WATCH_DIGESTS_SECONDS_KEY, value)]);
        assert_eq!(good.watch_digests_seconds(), Some(seconds));
    }
    for bad in ["0", "9", "86401", "-1", "+300", "5m"] {
        let expected = format!(
            "WATCH_DIGESTS_SECONDS is \"{bad}\", which is not a number of seconds: write a whole \
             number from 10 to 86400, as in \"300\", or remove the key to ask nothing."
        );
        assert_eq!(error(WATCH_DIGESTS_SECONDS_KEY, bad), expected);
    }
}

#[test]
fn the_nine_runtimes_are_in_alphabetical_order_and_valid() {
    assert!(RUNTIMES.is_sorted());
    for runtime in RUNTIMES {
        assert_eq!(values::runtime(runtime).as_deref(), Ok(runtime));
    }
}

proptest! {
    #[test]
    fn nothing_makes_the_parser_panic(data in any_data(), own in any_prefix()) {
        match Settings::parse(&data, &environment(&own)) {
            Ok(parsed) => {
                let warnings = parsed.warnings;
                prop_assert!(warnings.iter().all(|w| !w.contains('\n')), "{:?}", warnings);
            }
            Err(invalid) => {
                prop_assert!(!invalid.errors().is_empty());
                prop_assert!(!invalid.to_string().contains('\n'), "{}", invalid);
            }
        }
    }

    #[test]
    fn settings_survive_being_written_down(data in good_data(), own in any_prefix()) {
        let parsed = Settings::parse(&data, &Environment::default()).expect("valid");
        let again = Settings::parse(&parsed.settings.to_data(), &environment(&own));
        prop_assert_eq!(again.expect("valid").settings, parsed.settings);
    }
}

#[test]
fn a_list_that_is_too_long_is_refused_and_many_unknown_keys_are_told_in_short() {
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("r{n}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let parse = |key: &str, value: String| {
        Settings::parse(&[(key.to_owned(), value)].into(), &Environment::default())
    };
    assert!(parse(EXTRA_RUNTIMES_KEY, many(100)).is_ok());
    for key in [EXTRA_RUNTIMES_KEY, IMAGE_PULL_SECRETS_KEY] {
        let told = parse(key, many(40_000)).expect_err("too many").to_string();
        assert!(
            told.contains("has 40000 items: write at most 100"),
            "{told}"
        );
        assert!(told.len() < 300, "{told}");
    }
    let unknown = (0..8000)
        .map(|n| (format!("KEY_{n}"), "x".to_owned()))
        .collect();
    let warnings = Settings::parse(&unknown, &Environment::default())
        .expect("valid")
        .warnings;
    assert_eq!(warnings.len(), 11);
    assert_eq!(warnings[10], "There are 7990 more warnings.");
}

#[test]
fn a_switch_is_prepared_where_both_keys_say_so() {
    let next = (NEXT_REGISTRY_KEY, "mirror.example.com/agents");
    let both = settings(&[next, (PREPULL_KEY, "true")]);
    let prepared = both.to_prepare().expect("a switch is prepared");
    assert_eq!(prepared.registry().as_str(), "mirror.example.com/agents");
    assert_eq!(
        both.registry().as_str(),
        DEFAULT_REGISTRY,
        "which is in force"
    );
    assert_eq!(settings(&[next]).to_prepare(), None);
    assert_eq!(settings(&[next, (PREPULL_KEY, "false")]).to_prepare(), None);
    // After the switch what was pulled for it is still to be kept.
    let after = settings(&[
        next,
        (PREPULL_KEY, "true"),
        (REGISTRY_KEY, "mirror.example.com/agents"),
    ]);
    assert_eq!(after.to_prepare(), Some(prepared));
    assert_eq!(after.to_prepare().as_ref(), Some(&after));
}

#[test]
fn what_is_wrong_with_a_switch_that_is_prepared_invalidates_nothing() {
    let alone = warnings(&[(PREPULL_KEY, "true")]);
    let expected = "PREPULL has no effect without NEXT_MOLECULE_IMAGE_REGISTRY.";
    assert_eq!(alone, [expected]);
    for (key, value, words) in [
        (
            NEXT_REGISTRY_KEY,
            "https://mirror.example.com/agents",
            "No effect: NEXT_MOLECULE_IMAGE_REGISTRY is \"https://",
        ),
        (PREPULL_KEY, "yes", "No effect: PREPULL is \"yes\""),
    ] {
        assert_eq!(settings(&[(key, value)]), Settings::default());
        let told = warnings(&[(key, value)]);
        assert!(told.len() == 1 && told[0].starts_with(words), "{told:?}");
    }
}
