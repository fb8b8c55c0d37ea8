//! With whose credentials: by Kubernetes' own rule.

use serde_json::{Value, json};

use crate::bed::{image, only, prefix};
use crate::fixture::World;
use crate::registries::Registry;

async fn private() -> (Registry, Registry) {
    let open = Registry::open().await;
    image(&open, "codex", "latest", "a").await;
    let private = open.with_password().await;
    (open, private)
}

#[tokio::test]
async fn the_secrets_of_settings_and_workspaces_are_used_each_in_its_namespace() {
    let world = World::without_operator().await;
    let (_open, registry) = private().await;
    let to = prefix(&registry);
    world.workspace("one", "{runtime: codex}");
    let denied = world.told(1, &["preflight", "--to", &to]);
    assert_eq!(only(&denied)["finding"], "denied");
    let because = only(&denied)["because"].as_str().expect("text");
    assert!(
        because.ends_with("without credentials, and no pull secret is for it"),
        "{because}"
    );

    world.settings(&[("IMAGE_PULL_SECRETS", "mirror")]);
    // A secret that is not there is passed over.
    world.told(1, &["preflight", "--to", &to]);
    world.pull_secret("mirror", &registry.host, "secret");
    world.told(0, &["preflight", "--to", &to]);

    // The Workspace's own come first, and all that match are tried.
    world.pull_secret("own", &prefix(&registry), "wrong");
    world.workspace("one", "{runtime: codex, imagePullSecrets: [{name: own}]}");
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(only(&report)["finding"], "present");
}

#[tokio::test]
async fn those_with_other_credentials_are_asked_for_apart() {
    let world = World::without_operator().await;
    let (_open, registry) = private().await;
    world.pull_secret("own", &registry.host, "secret");
    world.workspace("one", "{runtime: codex, imagePullSecrets: [{name: own}]}");
    world.workspace("two", "{runtime: codex}");
    let report = world.told(1, &["preflight", "--to", &prefix(&registry)]);
    let rows: Vec<(&Value, &Value)> = report["images"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (&it["finding"], &it["workspaces"]))
        .collect();
    let of = |name: &str| json!([format!("{}/{name}", world.namespace)]);
    assert_eq!(
        rows,
        [
            (&json!("present"), &of("one")),
            (&json!("denied"), &of("two"))
        ]
    );
}

#[tokio::test]
async fn where_none_is_named_those_of_the_service_account_are_used() {
    let world = World::without_operator().await;
    let (_open, registry) = private().await;
    let to = prefix(&registry);
    world.pull_secret("robots", &registry.host, "secret");
    world.apply(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot}\n\
         imagePullSecrets: [{name: robots}]\n",
    );
    world.workspace("one", "{runtime: codex}");
    world.told(1, &["preflight", "--to", &to]);
    world.workspace("one", "{runtime: codex, serviceAccountName: robot}");
    world.told(0, &["preflight", "--to", &to]);
    // A list that is not empty replaces the account's.
    world.pull_secret("other", "other.example.com", "secret");
    world.workspace(
        "one",
        "{runtime: codex, serviceAccountName: robot, imagePullSecrets: [{name: other}]}",
    );
    world.told(1, &["preflight", "--to", &to]);
}

#[tokio::test]
async fn credentials_that_only_nodes_have_cannot_be_judged_from_here() {
    let world = World::without_operator().await;
    let (_open, registry) = private().await;
    world.workspace("one", "{runtime: codex}");
    let to = prefix(&registry);
    let report = world.told(2, &["preflight", "--to", &to, "--credentials-on-nodes"]);
    assert_eq!(only(&report)["finding"], "cannotTell");
    let because = only(&report)["because"].as_str().expect("text");
    assert!(
        because.ends_with("; the nodes have credentials of their own"),
        "{because}"
    );
    // What is not there is not there.
    world.workspace("one", "{runtime: codex, tag: nope}");
    world.pull_secret("mirror", &registry.host, "secret");
    world.settings(&[("IMAGE_PULL_SECRETS", "mirror")]);
    let report = world.told(1, &["preflight", "--to", &to, "--credentials-on-nodes"]);
    assert_eq!(only(&report)["finding"], "missing");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_leaves_it_open() {
    let world = World::without_operator().await;
    let (_open, registry) = private().await;
    world.workspace(
        "one",
        "{runtime: codex, imagePullSecrets: [{name: broken}]}",
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "broken"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": r#"{"auths": {"a.example.com": {"auth": "aHVudGVyMg=="}}}"#},
    });
    world.apply(&secret.to_string());
    let report = world.told(2, &["preflight", "--to", &prefix(&registry)]);
    assert_eq!(only(&report)["finding"], "cannotTell");
    let because = only(&report)["because"].as_str().expect("text");
    let expected = format!(
        "the pull secret {}/broken cannot be used: the auth of \"a.example.com\" is not base64 of \
         a name, a colon and a password",
        world.namespace
    );
    assert_eq!(because, expected);

    // Someone who may see Workspaces, and no Secrets.
    let viewer = world.viewer().await;
    let mut command = world.plugin_command(&[
        "preflight",
        "--to",
        &prefix(&registry),
        "-n",
        &world.namespace,
        "-o",
        "json",
    ]);
    let output = crate::bed::run(command.env("KUBECONFIG", viewer));
    assert_eq!(output.code, 2, "{output:?}");
    let report: Value = serde_json::from_str(&output.stdout).expect("it is JSON");
    let because = only(&report)["because"].as_str().expect("text");
    let expected = format!(
        "the pull secret {}/broken cannot be read: you may not",
        world.namespace
    );
    assert_eq!(because, expected);
    assert!(
        report["warnings"]
            .to_string()
            .contains("The nodes cannot be read"),
        "{report:#}"
    );
}
