use oci_spec::distribution::Reference;
use proptest::prelude::*;

use super::*;
use crate::settings::samples::{DIGEST, any_prefix, data, settings};
use crate::settings::{Environment, REGISTRY_KEY, RUNTIMES};

#[test]
fn a_reference_is_prefix_runtime_and_version() {
    let settings = settings(&[
        (REGISTRY_KEY, "mirror.example:5000/a/b"),
        ("PIN_codex", DIGEST),
        (EXTRA_RUNTIMES_KEY, "zed"),
    ]);
    let other = DIGEST.replace('0', "1");
    for (runtime, version, expected) in [
        ("hermes", Version::Default, "hermes:latest"),
        ("zed", Version::Default, "zed:latest"),
        ("hermes", Version::Tag("v1.2"), "hermes:v1.2"),
        (
            "hermes",
            Version::Digest(DIGEST),
            &*format!("hermes@{DIGEST}"),
        ),
        ("codex", Version::Default, &*format!("codex@{DIGEST}")),
        ("codex", Version::Tag("v1.2"), "codex:v1.2"),
        ("codex", Version::Digest(&other), &*format!("codex@{other}")),
    ] {
        let image = image(&settings, runtime, version);
        let expected = format!("mirror.example:5000/a/b/workspace-template-{expected}");
        assert_eq!(image, Ok(expected));
    }
}

#[test]
fn a_pin_survives_a_switch_of_the_registry() {
    for registry in ["ghcr.io/molecule-ai", "mirror.example/a"] {
        let settings = settings(&[(REGISTRY_KEY, registry), ("PIN_codex", DIGEST)]);
        let expected = format!("{registry}/workspace-template-codex@{DIGEST}");
        assert_eq!(image(&settings, "codex", Version::Default), Ok(expected));
    }
}

#[test]
fn an_unknown_runtime_has_no_image() {
    for version in [
        Version::Default,
        Version::Tag("v1"),
        Version::Digest(DIGEST),
    ] {
        for unknown in ["", "Codex", "codex ", "../codex", "zed"] {
            assert!(
                image(&Settings::default(), unknown, version).is_err(),
                "{unknown}"
            );
        }
    }
    let unknown = image(
        &settings(&[(EXTRA_RUNTIMES_KEY, "a1")]),
        "zed",
        Version::Default,
    );
    let expected = "The runtime \"zed\" is none of the known ones (a1, autogen, claude-code, \
                    codex, crewai, deepagents, gemini-cli, hermes, langgraph, openclaw): \
                    change it, or add it to EXTRA_RUNTIMES in the settings.";
    assert_eq!(unknown.expect_err("unknown").to_string(), expected);
}

#[test]
fn images_lists_every_known_runtime() {
    let settings = settings(&[(EXTRA_RUNTIMES_KEY, "zed,a1"), ("PIN_zed", DIGEST)]);
    let images = images(&settings);
    assert_eq!(images.len(), RUNTIMES.len() + 2);
    assert!(images.is_sorted());
    for (runtime, reference) in images {
        assert_eq!(image(&settings, &runtime, Version::Default), Ok(reference));
    }
}

#[test]
fn the_registry_host_is_what_stands_before_the_first_slash() {
    for (reference, host) in [
        ("ghcr.io/molecule-ai/x:latest", "ghcr.io"),
        ("localhost:5000/a/b/x:y", "localhost:5000"),
        ("host", "host"),
        ("", ""),
    ] {
        assert_eq!(registry_host(reference), host);
    }
}

/// The parser is not the one that the settings use, nor written as that is: it is one regular
/// expression, that of the reference library which kubelets use.
fn assert_parses_into(reference: &str, host: &str, path: &str, version: Version<'_>) {
    let parsed = Reference::try_from(reference);
    let parsed = parsed.unwrap_or_else(|error| panic!("{reference}: {error}"));
    assert_eq!((parsed.registry(), parsed.repository()), (host, path));
    let expected = match version {
        Version::Default => (Some("latest"), None),
        Version::Tag(tag) => (Some(tag), None),
        Version::Digest(digest) => (None, Some(digest)),
    };
    assert_eq!((parsed.tag(), parsed.digest()), expected);

    // What readers rewrite: a host that is no host, and Docker Hub's short and old names.
    assert!(
        host.contains(['.', ':']) || host == "localhost",
        "{reference}"
    );
    assert_ne!(host, "index.docker.io");
    assert!(host != "docker.io" || path.contains('/'), "{reference}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_reference_means_the_registry_that_was_written(
        prefix in any_prefix(),
        extra in "([a-z]{0,38}[0-9]{2})?",
        tag in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,40}",
    ) {
        let data = data(&[(REGISTRY_KEY, &prefix), (EXTRA_RUNTIMES_KEY, &extra)]);
        let Ok(parsed) = Settings::parse(&data, &Environment::default()) else {
            return Ok(());
        };
        // An empty prefix is the default.
        let written = if prefix.is_empty() { "ghcr.io/molecule-ai" } else { &prefix };
        let (host, path) = written.split_once('/').unwrap_or((written, ""));
        for runtime in parsed.settings.known_runtimes() {
            let path = format!("{path}/workspace-template-{runtime}");
            let path = path.trim_start_matches('/');
            for version in [Version::Default, Version::Tag(&tag), Version::Digest(DIGEST)] {
                let reference = image(&parsed.settings, runtime, version).expect("known");
                assert_parses_into(&reference, host, path, version);
                prop_assert_eq!(registry_host(&reference), host);
            }
        }
    }
}

#[test]
fn an_image_that_settings_could_have_given_is_known_from_any_other() {
    let digest = format!(
        "a.example.com/agents/workspace-template-codex@{}",
        "sha256:".to_owned() + &"0".repeat(64)
    );
    for good in [
        "a.example.com/agents/workspace-template-codex:v1",
        "localhost/workspace-template-codex:_1.a-b",
        &digest,
    ] {
        assert!(is_image(good, "codex"), "{good}");
    }
    for bad in [
        "",
        "workspace-template-codex:v1",
        "agents/workspace-template-codex:v1",
        "a.example.com/agents/workspace-template-codex",
        "a.example.com/agents/workspace-template-codex:",
        "a.example.com/agents/workspace-template-codex:-a",
        "a.example.com/agents/workspace-template-codex:a b",
        "a.example.com/agents/workspace-template-codex@sha256:0",
        "a.example.com/agents/workspace-template-hermes:v1",
        "a.example.com/agents/workspace-template-codex2:v1",
        "A.example.com/Agents/workspace-template-codex:v1",
    ] {
        assert!(!is_image(bad, "codex"), "{bad}");
    }
}
