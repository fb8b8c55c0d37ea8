use proptest::prelude::*;

use super::super::samples::*;
use super::super::{EXTRA_RUNTIMES_KEY, Environment, REGISTRY_KEY, Settings, fault};
use super::*;

#[test]
fn good_prefixes_are_taken_as_they_are() {
    let label = "a".repeat(63);
    for (prefix, host) in [
        ("ghcr.io/molecule-ai", "ghcr.io"),
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/molecule-ai",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        ),
        ("host:5000", "host:5000"),
        ("host:65535/a", "host:65535"),
        ("localhost", "localhost"),
        ("localhost/a", "localhost"),
        ("localhost:5000/a/b", "localhost:5000"),
        ("10.0.0.1:5000/a", "10.0.0.1:5000"),
        ("10.0.0.1", "10.0.0.1"),
        ("xn--e1afmkfd.example/a", "xn--e1afmkfd.example"),
        ("docker.io/molecule-ai", "docker.io"),
        ("docker.io/library", "docker.io"),
        ("registry-1.docker.io", "registry-1.docker.io"),
        ("ghcr.io/a_b/a__b/a.b/a-b/a---b/0", "ghcr.io"),
        (&format!("{label}.example/a"), &format!("{label}.example")),
    ] {
        let settings = settings(&[(REGISTRY_KEY, prefix)]);
        assert_eq!(settings.registry().as_str(), prefix);
        assert_eq!(settings.registry().host(), host);
    }
}

/// Each of these prefixes is refused for its reason, with the same remedy.
fn assert_refused(remedy: &str, table: &[(&str, &str)]) {
    for (value, wrong) in table {
        let value_in_quotes = fault::quote(value);
        let sentence =
            format!("MOLECULE_IMAGE_REGISTRY is {value_in_quotes}, which {wrong}: {remedy}.");
        assert_eq!(error(REGISTRY_KEY, value), sentence);
    }
}

#[test]
fn a_bad_prefix_is_refused_with_the_one_that_was_meant() {
    let newline = "ends in a newline (as a YAML block `|` does)";
    assert_refused(
        "write \"ghcr.io/molecule-ai\"",
        &[
            ("https://ghcr.io/molecule-ai", "has a scheme"),
            ("oci://ghcr.io/molecule-ai", "has a scheme"),
            ("https://ghcr.io/molecule-ai/", "has a scheme"),
            (" ghcr.io/molecule-ai", "has a space"),
            ("ghcr.io/molecule-ai\t", "has a space"),
            ("ghcr.io/molecule-ai\n", newline),
            ("ghcr.io/molecule-ai\r\n", newline),
            ("\nghcr.io/molecule-ai", "has a newline"),
            ("ghcr.io/Molecule-AI", "has upper-case letters in its path"),
            ("GHCR.io/molecule-ai", "has upper-case letters in its host"),
            ("ghcr.io/molecule-ai/", "ends in a slash"),
            ("ghcr.io/molecule-ai:latest", "has a tag"),
            (
                "ghcr.io/molecule-ai/workspace-template-codex:v1",
                "has a tag",
            ),
            (
                "ghcr.io/molecule-ai@sha256:00",
                "has a digest or a user name (an @)",
            ),
            (
                "ghcr.io//molecule-ai",
                "has an empty component (two slashes)",
            ),
            ("/ghcr.io/molecule-ai", "has no host"),
        ],
    );
    assert_refused(
        "write \"ghcr.io\"",
        &[
            ("ghcr.io/", "ends in a slash"),
            ("ghcr.io:latest", "has the port \"latest\""),
        ],
    );
    assert_refused(
        "write \"docker.io/a\"",
        &[("index.docker.io/a", "is an old name for docker.io")],
    );
}

#[test]
fn a_prefix_with_characters_that_no_image_has_is_refused() {
    assert_refused(
        "write visible ASCII characters only",
        &[
            ("ghcr.io/molécule", "has the character U+00E9"),
            ("ghcr.iо/a", "has the character U+043E"),
            ("ghcr.io/a\u{200b}", "has the character U+200B"),
            ("ghcr.io/a\0", "has the character U+0000"),
        ],
    );
    assert_refused(
        "remove the space",
        &[("ghcr.io/molecule ai", "has a space")],
    );
    assert_refused(
        "write it on one line",
        &[("ghcr.io/a\nghcr.io/b", "has a newline")],
    );
    assert_refused(
        "remove it for the default",
        &[("  ", "is only spaces"), ("\n", "is only spaces")],
    );
}

/// What stands behind a colon is a port on a host, and a tag or a mistake behind a path.
#[test]
fn what_was_meant_keeps_a_port_and_drops_a_tag() {
    for (typed, expected) in [
        ("https://mirror.example.com:5000", "mirror.example.com:5000"),
        ("https://ghcr.io/agents:5000", "ghcr.io/agents"),
        ("https://ghcr.io:5000/agents:1.2", "ghcr.io:5000/agents"),
    ] {
        assert_eq!(meant(typed).as_deref(), Some(expected), "{typed}");
    }
}

#[test]
fn a_prefix_with_a_bad_host_is_refused() {
    let not_an_address = "has a host that is neither a DNS name nor an IPv4 address";
    assert_refused(
        "write host[:port]/path in lower case, as in \"ghcr.io/molecule-ai\"",
        &[
            ("https://", "has a scheme"),
            (
                "user:word@ghcr.io/molecule-ai",
                "has a digest or a user name (an @)",
            ),
            (":5000/a", "has no host"),
            ("index.docker.io", "is an old name for docker.io"),
            ("10.0.0.256/a", not_an_address),
            ("5000:5000", not_an_address),
        ],
    );
    assert_refused(
        "write a DNS name: letters, digits and inner dashes, with single dots between",
        &[
            ("-ghcr.io/a", "has \"-ghcr\" in its host"),
            ("ghcr-.io/a", "has \"ghcr-\" in its host"),
            ("my_host.io/a", "has \"my_host\" in its host"),
            ("ghcr..io/a", "has \"\" in its host"),
            ("ghcr.io./a", "has \"\" in its host"),
            ("./a", "has \"\" in its host"),
        ],
    );
    assert_refused(
        "write a port from 1 to 65535 without leading zeros, or none (a tag has no place here)",
        &[
            ("host:", "has the port \"\""),
            ("host:0", "has the port \"0\""),
            ("host:65536", "has the port \"65536\""),
            ("host:05000", "has the port \"05000\""),
            ("host:+5", "has the port \"+5\""),
            ("host:1:2/a", "has the port \"1:2\""),
        ],
    );
    let ipv6 = "has an IPv6 address, which common readers of image references refuse";
    assert_refused(
        "write a DNS name or an IPv4 address",
        &[
            ("[2001:db8::1]:5000/a", ipv6),
            ("2001:db8::1/a", ipv6),
            ("[fe80::1%eth0]:5000/a", ipv6),
            ("fe80::1%eth0/a", ipv6),
        ],
    );
}

#[test]
fn a_prefix_that_would_mean_another_registry_is_refused() {
    let bare = "names no registry, so that nodes would pull from docker.io";
    assert_refused(
        "put the registry first, as in \"ghcr.io/myorg\"",
        &[("myorg", bare)],
    );
    assert_refused(
        "put the registry first, as in \"ghcr.io/myorg/team\"",
        &[("myorg/team", bare)],
    );
    assert_refused(
        "add your organisation, as in \"docker.io/molecule-ai\"",
        &[(
            "docker.io",
            "stands for Docker Hub's own images (docker.io/library)",
        )],
    );
}

#[test]
fn a_prefix_with_a_bad_path_is_refused() {
    assert_refused(
        "write letters and digits, with one dot, one or two underscores or any dashes between",
        &[
            ("ghcr.io/a___b", "has \"a___b\" in its path"),
            ("ghcr.io/a..b", "has \"a..b\" in its path"),
            ("ghcr.io/a._b", "has \"a._b\" in its path"),
            ("ghcr.io/-a", "has \"-a\" in its path"),
            ("ghcr.io/a_", "has \"a_\" in its path"),
            ("ghcr.io/../a", "has \"..\" in its path"),
            ("ghcr.io/a:5/b", "has \"a:5\" in its path"),
            ("ghcr.io/$(org)", "has \"$(org)\" in its path"),
        ],
    );
}

#[test]
fn a_label_of_a_host_has_63_characters_at_most() {
    let message = error(REGISTRY_KEY, &format!("{}.example/a", "a".repeat(64)));
    assert!(message.contains("in its host"), "{message}");
}

#[test]
fn the_name_of_every_known_image_has_255_characters_at_most() {
    let prefix = |length: usize| format!("h.example/{}", "a".repeat(length - "h.example/".len()));
    // "/workspace-template-" and the longest of the nine take 31, that and a runtime of 40, 60.
    for (extra, most) in [("", 224), (&*"r".repeat(40), 195)] {
        let longest = prefix(most);
        let good = settings(&[(EXTRA_RUNTIMES_KEY, extra), (REGISTRY_KEY, &longest)]);
        let names = good.known_runtimes().map(|r| good.registry().name(r).len());
        assert_eq!(names.max(), Some(255));

        let over = data(&[
            (EXTRA_RUNTIMES_KEY, extra),
            (REGISTRY_KEY, &prefix(most + 1)),
        ]);
        let invalid = Settings::parse(&over, &Environment::default()).expect_err("too long");
        let message = invalid.to_string();
        assert!(message.contains(&format!("…\" ({} characters), which makes", most + 1)));
        assert!(message.ends_with(&format!("write a prefix of at most {most} characters.")));
    }
}

proptest! {
    #[test]
    fn every_prefix_of_the_grammar_is_accepted(prefix in good_prefix()) {
        let settings = settings(&[(REGISTRY_KEY, &prefix)]);
        prop_assert_eq!(settings.registry().as_str(), prefix);
    }

    #[test]
    fn what_is_advised_is_valid(prefix in any_prefix()) {
        if let Err(fault) = prefix.parse::<Prefix>()
            && let Some(better) = fault.remedy.strip_prefix("write \"")
            && let Some(better) = better.strip_suffix('"')
        {
            prop_assert!(better.parse::<Prefix>().is_ok(), "{}", fault);
        }
    }
}
