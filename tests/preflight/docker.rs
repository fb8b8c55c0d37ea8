//! With the credentials of a docker config.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::bed::{image, only, prefix, run};
use crate::fixture::World;
use crate::registries::Registry;

#[tokio::test]
async fn a_docker_config_and_its_helpers_are_used_in_place_of_the_pods_credentials() {
    let world = World::without_operator().await;
    let open = Registry::open().await;
    image(&open, "codex", "latest", "a").await;
    image(&open, "hermes", "latest", "b").await;
    let registry = open.with_password().await;
    world.workspace("one", "{runtime: codex}");
    world.pull_secret("mirror", &registry.host, "secret");
    world.settings(&[("IMAGE_PULL_SECRETS", "mirror")]);

    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("config.json");
    let to = prefix(&registry);
    let ask = |code: i32, config: serde_json::Value| {
        std::fs::write(&path, config.to_string()).expect("it is written");
        let config = path.to_str().expect("a path");
        let args = [
            "preflight",
            "--to",
            &to,
            "--docker-config",
            config,
            "-n",
            &world.namespace,
            "-o",
            "json",
        ];
        let mut command = world.plugin_command(&args);
        let paths = format!(
            "{}:{}",
            folder.path().display(),
            std::env::var("PATH").expect("there is one")
        );
        let output = run(command.env("PATH", paths));
        assert_eq!(output.code, code, "{output:?}");
        serde_json::from_str::<serde_json::Value>(&output.stdout).expect("it is JSON")
    };
    let host = registry.host.as_str();
    ask(
        0,
        json!({"auths": {host: {"auth": BASE64_STANDARD.encode("alice:secret")}}}),
    );
    // The Pods' are not used.
    ask(1, json!({}));

    let helper = folder.path().join("docker-credential-test");
    let write = |script: &str| {
        std::fs::write(&helper, format!("#!/bin/sh\ncat > /dev/null\n{script}\n"))
            .expect("it is written");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&helper, executable).expect("it is executable");
    };
    let helped = json!({"credHelpers": {host: "test"}});
    let calls = folder.path().join("calls");
    let count = format!("echo call >> {}", calls.display());
    write(&format!(
        "{count}\n{}",
        r#"echo '{"Username": "alice", "Secret": "secret"}'"#
    ));
    world.workspace("two", "{runtime: hermes}");
    ask(0, helped.clone());
    let calls = std::fs::read_to_string(calls).expect("it was asked");
    assert_eq!(calls.lines().count(), 1, "once for two images");
    world.kubectl(&["delete", "workspace", "two"]);
    write("echo 'credentials not found in native keychain'; exit 1");
    assert_eq!(only(&ask(1, helped.clone()))["finding"], "denied");
    write("echo 'the secret is hunter2'; exit 1");
    let report = ask(2, helped);
    let because = only(&report)["because"].as_str().expect("text");
    assert!(
        because.starts_with("docker-credential-test, which "),
        "{because}"
    );
    assert!(!because.contains("hunter2"), "{because}");
}

#[tokio::test]
async fn null_in_a_docker_config_is_nothing_and_what_does_not_belong_there_is_told() {
    let world = World::without_operator().await;
    let open = Registry::open().await;
    image(&open, "codex", "latest", "a").await;
    let registry = open.with_password().await;
    world.workspace("one", "{runtime: codex}");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("config.json");
    let (host, to) = (registry.host.as_str(), prefix(&registry));
    let ask = |code: i32, config: serde_json::Value| {
        std::fs::write(&path, config.to_string()).expect("it is written");
        let config = path.to_str().expect("a path");
        let args = ["preflight", "--to", &to, "--docker-config", config];
        only(&world.told(code, &args)).clone()
    };
    for nothing in [
        json!({"auths": null, "credHelpers": null, "credsStore": null}),
        json!({"auths": {host: null}}),
        json!({"auths": {host: {"auth": null}}}),
    ] {
        assert_eq!(ask(1, nothing)["finding"], "denied", "as anybody");
    }
    let report = ask(2, json!({"auths": [host]}));
    let because = report["because"].as_str().expect("text");
    let words = "is no docker config: what it has under auths";
    assert!(because.contains(words), "{because}");
}

#[tokio::test]
async fn a_docker_config_that_is_none_is_an_error() {
    let world = World::without_operator().await;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("config.json");
    let path = path.to_str().expect("a path");
    let args = [
        "preflight",
        "--to",
        "127.0.0.1:1/a",
        "--docker-config",
        path,
    ];
    let told = world.plugin(2, &args);
    assert!(
        told.stderr.contains("config.json cannot be read"),
        "{}",
        told.stderr
    );
    std::fs::write(path, "[]").expect("it is written");
    let told = world.plugin(2, &args);
    assert!(
        told.stderr.contains("is no docker config"),
        "{}",
        told.stderr
    );
}
