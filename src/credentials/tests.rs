//! Kubernetes' rule, as its kubelet has it.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde_json::json;

use super::*;

const IMAGE: &str = "mirror.example.com/agents/workspace-template-codex";

fn login(name: &str) -> Login {
    Login::Password {
        username: name.into(),
        password: "secret".into(),
    }
}

fn keyring(keys: &[&str]) -> Keyring {
    let entry = |key: &&str| Entry {
        pattern: Pattern::new(key),
        login: login(key),
    };
    Keyring::new(keys.iter().map(entry).collect())
}

fn names(logins: &[Login]) -> Vec<&str> {
    logins
        .iter()
        .map(|it| match it {
            Login::Password { username, .. } => username.as_str(),
            Login::Identity(_) => "identity",
        })
        .collect()
}

#[test]
fn a_key_is_for_a_host_or_for_a_part_of_it() {
    for (key, image, matches) in [
        ("mirror.example.com", IMAGE, true),
        ("https://mirror.example.com", IMAGE, true),
        ("http://mirror.example.com/", IMAGE, true),
        ("https://mirror.example.com/v1/", IMAGE, true),
        ("https://mirror.example.com/v2/", IMAGE, true),
        ("https://mirror.example.com/v2/agents", IMAGE, true),
        ("https://mirror.example.com/v3/", IMAGE, false),
        ("mirror.example.com/agents", IMAGE, true),
        ("mirror.example.com/agents/workspace", IMAGE, true),
        // By its bytes, and not by its components.
        ("mirror.example.com/age", IMAGE, true),
        ("mirror.example.com/others", IMAGE, false),
        ("*.example.com", IMAGE, true),
        ("m*r.example.com", IMAGE, true),
        // Of a URL, a question mark begins the query.
        ("mirro?.example.com", IMAGE, false),
        ("*.com", IMAGE, false),
        ("*", IMAGE, false),
        ("*.*.*", IMAGE, true),
        ("example.com", IMAGE, false),
        ("*.mirror.example.com", IMAGE, false),
        ("mirror.example.com:443", IMAGE, false),
        ("mirror.example.com:5000", "mirror.example.com:5000/x", true),
        ("*.example.com:5000", "mirror.example.com:5000/x", true),
        ("mirror.example.com", "mirror.example.com:5000/x", false),
        ("localhost:5000", "localhost:5000/x", true),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x/y", true),
        ("Mirror.example.com", IMAGE, false),
    ] {
        assert_eq!(Pattern::new(key).matches(image), matches, "{key} {image}");
    }
}

#[test]
fn every_key_that_matches_is_tried_the_most_specific_first() {
    let keyring = keyring(&[
        "mirror.example.com",
        "*.example.com",
        "other.example.com",
        "mirror.example.com/agents",
    ]);
    assert_eq!(
        names(&keyring.logins(IMAGE)),
        [
            "mirror.example.com/agents",
            "mirror.example.com",
            "*.example.com"
        ]
    );
    assert!(keyring.logins("third.example.org/x").is_empty());
}

#[test]
fn of_equal_keys_the_first_secret_is_tried_first_and_equal_logins_once() {
    let entry = |name: &str| Entry {
        pattern: Pattern::new("mirror.example.com"),
        login: login(name),
    };
    let keyring = Keyring::new(vec![entry("b"), entry("a"), entry("b")]);
    assert_eq!(names(&keyring.logins(IMAGE)), ["b", "a"]);
}

#[test]
fn docker_hub_has_several_names() {
    let keyring = keyring(&["https://index.docker.io/v1/", "other.example.com"]);
    let name = ["https://index.docker.io/v1/"];
    assert_eq!(names(&keyring.logins("docker.io/agents/x")), name);
    assert_eq!(names(&keyring.logins("index.docker.io/agents/x")), name);
    assert!(keyring.logins(IMAGE).is_empty());
}

#[test]
fn both_kinds_of_secrets_are_read() {
    let auth = BASE64_STANDARD.encode("alice:p:w");
    let auths = json!({"mirror.example.com": {"auth": auth}});
    let expected = Entry {
        pattern: Pattern::new("mirror.example.com"),
        login: Login::Password {
            username: "alice".into(),
            password: "p:w".into(),
        },
    };
    let old = entries(SecretKind::Old, auths.to_string().as_bytes());
    assert_eq!(old, Ok(vec![expected.clone()]));
    let json = json!({"auths": auths, "HttpHeaders": {}, "credsStore": "x"});
    let new = entries(SecretKind::Json, json.to_string().as_bytes());
    assert_eq!(new, Ok(vec![expected]));
    assert_eq!(entries(SecretKind::Json, b"{}"), Ok(Vec::new()));
}

#[test]
fn auth_wins_over_a_name_and_a_password_padded_or_not() {
    for encoded in [
        BASE64_STANDARD.encode("bo:secret"),
        BASE64_STANDARD_NO_PAD.encode("bo:secret"),
        format!(" {}\n", BASE64_STANDARD.encode("bo:secret")),
    ] {
        let auths = json!({"a.example.com": {"auth": encoded, "username": "x", "password": "y"}});
        let read = entries(SecretKind::Old, auths.to_string().as_bytes()).expect("it is read");
        assert_eq!(names(&[read[0].login.clone()]), ["bo"]);
    }
    let auths = json!({"a.example.com": {"username": "x", "password": "y", "email": "e"}});
    let read = entries(SecretKind::Old, auths.to_string().as_bytes()).expect("it is read");
    assert_eq!(names(&[read[0].login.clone()]), ["x"]);
}

#[test]
fn null_is_nothing_as_it_is_for_kubelets() {
    let empty = Entry {
        pattern: Pattern::new("a.example.com"),
        login: Login::Password {
            username: String::new(),
            password: String::new(),
        },
    };
    for (kind, text, expected) in [
        (SecretKind::Json, json!(null), vec![]),
        (SecretKind::Old, json!(null), vec![]),
        (SecretKind::Json, json!({"auths": null}), vec![]),
        (
            SecretKind::Json,
            json!({"auths": {"a.example.com": null}}),
            vec![empty.clone()],
        ),
        (
            SecretKind::Old,
            json!({"a.example.com": {"auth": null, "username": null}}),
            vec![empty],
        ),
    ] {
        let read = entries(kind, text.to_string().as_bytes());
        assert_eq!(read, Ok(expected), "{text}");
    }
    let error = entries(SecretKind::Json, b"{\"auths\": {\"a\": 7}}").expect_err("a number");
    let told = "its .dockerconfigjson is no docker config (line 1, column 17)";
    assert_eq!(error.to_string(), told);
}

#[test]
fn what_is_broken_is_told_without_what_is_in_it() {
    let secret = BASE64_STANDARD.encode("hunter2");
    let auths = json!({"auths": {"a.example.com": {"auth": secret}}});
    let error = entries(SecretKind::Json, auths.to_string().as_bytes()).expect_err("no colon");
    assert_eq!(
        error.to_string(),
        "the auth of \"a.example.com\" is not base64 of a name, a colon and a password"
    );
    let error = entries(SecretKind::Json, b"{\"auths\": hunter2").expect_err("no JSON");
    assert_eq!(
        error.to_string(),
        "its .dockerconfigjson is no docker config (line 1, column 11)"
    );
    assert_eq!(format!("{:?}", login("alice")), "Password(\"alice\")");
}

#[test]
fn other_secrets_are_no_pull_secrets() {
    assert_eq!(SecretKind::of("Opaque"), None);
    let json = SecretKind::of("kubernetes.io/dockerconfigjson");
    assert_eq!(json, Some(SecretKind::Json));
    assert_eq!(
        SecretKind::of("kubernetes.io/dockercfg"),
        Some(SecretKind::Old)
    );
}

#[test]
fn clouds_give_their_nodes_credentials() {
    for host in [
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
        "agents.azurecr.io",
        "europe-docker.pkg.dev",
        "gcr.io",
    ] {
        assert!(gives_nodes_credentials(host), "{host}");
    }
    for host in ["ghcr.io", "mirror.example.com", "docker.io"] {
        assert!(!gives_nodes_credentials(host), "{host}");
    }
}
