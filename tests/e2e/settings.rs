//! Edits of the settings: what they change, and above all what they leave alone.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::{PATIENCE, World, condition, image, text};
use crate::link::Link;

const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";
const DEFAULT: &str = "ghcr.io/molecule-ai";
const FLEET_WRITE: &str = "patch configmaps workspace-fleet 200";

#[tokio::test]
async fn no_edit_of_the_settings_touches_what_runs() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let pin = format!("sha256:{}", "0".repeat(64));
    let names = ["alice", "bob"];
    names.iter().for_each(|name| world.workspace(name, "{}"));
    for name in names {
        world.ready(name).await;
    }
    world.in_force(DEFAULT).await;
    let before = world.versions(&names);
    world.forget();

    // Created.
    world.registry(&a);
    world.in_force(&a).await;
    // Everything edited, also what a Pod that does not run would be judged by.
    world.settings(&[
        (REGISTRY, &b),
        ("PLATFORM_URL", "https://platform.example.com"),
        ("IMAGE_PULL_SECRETS", "mirror"),
        ("PROVISION_TIMEOUT_SECONDS", "1"),
        ("PIN_langgraph", &pin),
    ]);
    world.in_force(&b).await;
    // The key emptied, then all.
    world.settings(&[(REGISTRY, "")]);
    world.in_force(DEFAULT).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.settings(&[]);
    world.in_force(DEFAULT).await;
    // Invalid, and corrected.
    world.registry("https://mirror.example.com/agents");
    world.settings_refused("has a scheme").await;
    world.registry(&b);
    world.in_force(&b).await;
    assert_eq!(world.fleet("error"), "");
    // The next operator looks at each that runs anew, with settings that would make another Pod.
    world.kill().await;
    world.start();
    world.logged("looking after Workspaces").await;
    // Deleted.
    world.kubectl(&["delete", "configmap", "workspace-settings"]);
    world.in_force(DEFAULT).await;

    assert_eq!(world.writes(), [FLEET_WRITE; 8], "one for each edit");
    world.silence(3).await;
    assert_eq!(world.versions(&names), before);
}

#[tokio::test]
async fn a_misspelt_key_is_a_warning_and_changes_nothing() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.forget();
    world.kubectl(&["label", "configmap", "workspace-settings", "team=agents"]);
    world.settings(&[(REGISTRY, &a), ("MOLECULE_IMAGE_REGISTY", "ghcr.io/other")]);
    let warning = world.logged("MOLECULE_IMAGE_REGISTY").await;
    assert!(warning.contains("WARN"), "{warning}");
    assert!(
        warning.contains("did you mean MOLECULE_IMAGE_REGISTRY?"),
        "{warning}"
    );
    assert_eq!(world.writes(), Vec::<String>::new());
    world.silence(2).await;
    assert_eq!(world.fleet("registry"), a);
}

#[tokio::test]
async fn a_new_workspace_takes_the_settings_of_its_moment() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    assert!(image(&world.ready("alice").await).starts_with(&a));

    let edited = Instant::now();
    world.settings(&[
        (REGISTRY, &b),
        ("PLATFORM_URL", "https://platform.example.com"),
        ("IMAGE_PULL_SECRETS", "mirror, spare"),
    ]);
    world.in_force(&b).await;
    assert!(edited.elapsed() < Duration::from_secs(5), "at once");
    world.workspace("bob", "{imagePullSecrets: [{name: own}]}");
    let bob = world.ready("bob").await;
    assert!(image(&bob).starts_with(&b));
    let secrets = bob.pointer("/spec/imagePullSecrets");
    let names = ["own", "mirror", "spare"].map(|name| serde_json::json!({"name": name}));
    assert_eq!(secrets, Some(&Value::from(names.to_vec())));
    for variable in ["PLATFORM_URL", "MOLECULE_URL"] {
        assert_eq!(env(&bob, variable), "https://platform.example.com");
    }

    // A quick change of mind; the misspelt key shows when the last edit was taken in.
    let before = world.versions(&["alice", "bob"]);
    for prefix in [&a, &b, &a] {
        world.registry(prefix);
    }
    world.settings(&[(REGISTRY, &a), ("PLATFORM_URI", "x")]);
    world.logged("PLATFORM_URI").await;
    world.in_force(&a).await;
    world.workspace("carol", "{}");
    assert!(image(&world.ready("carol").await).starts_with(&a));
    assert_eq!(world.versions(&["alice", "bob"]), before);
}

#[tokio::test]
async fn the_configmap_comes_before_the_environment_before_the_default() {
    let mut world = World::without_operator().await;
    let (own, edited) = (world.prefix("own"), world.prefix("edited"));
    world.start_with(&[], &[(REGISTRY, &own)]);
    world.in_force(&own).await;
    world.workspace("alice", "{}");
    assert!(image(&world.ready("alice").await).starts_with(&own));
    world.registry(&edited);
    world.in_force(&edited).await;
    world.workspace("bob", "{}");
    assert!(image(&world.ready("bob").await).starts_with(&edited));
    world.settings(&[(REGISTRY, "")]);
    world.in_force(&own).await;
    world.kill().await;
    world.start_with(&[], &[(REGISTRY, "")]);
    world.in_force(DEFAULT).await;
    world.workspace("carol", "{}");
    assert!(image(&world.ready("carol").await).starts_with(DEFAULT));
}

#[tokio::test]
async fn invalid_settings_leave_the_last_good_ones_in_force_also_for_the_next_operator() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    world.ready("alice").await;

    world.settings(&[(REGISTRY, &b), ("PROVISION_TIMEOUT_SECONDS", "ten")]);
    world.settings_refused("PROVISION_TIMEOUT_SECONDS").await;
    let error = world.logged("the settings are not taken").await;
    assert!(error.contains("ERROR"), "{error}");
    assert!(error.contains("what is in force stays"), "{error}");
    world.workspace("bob", "{}");
    assert!(image(&world.ready("bob").await).starts_with(&a));

    world.kill().await;
    let before = world.versions(&["alice", "bob"]);
    world.forget();
    world.start();
    world.logged("looking after Workspaces").await;
    world.logged("the settings are not taken").await;
    world.silence(2).await;
    world.workspace("carol", "{}");
    assert!(image(&world.ready("carol").await).starts_with(&a));

    world.registry(&b);
    world.in_force(&b).await;
    assert_eq!(world.fleet("error"), "");
    assert_eq!(world.versions(&["alice", "bob"]), before);
}

#[tokio::test]
async fn without_good_settings_new_rollouts_wait_until_an_edit_heals_them() {
    let mut world = World::without_operator().await;
    world.start_with(&[], &[(REGISTRY, "https://mirror.example.com/agents")]);
    world.workspace("alice", "{}");
    let alice = world.state("alice", "InvalidSettings").await;
    let stalled = condition(&alice, "Stalled");
    assert_eq!(stalled["status"], "True");
    let message = text(stalled, "/message");
    assert!(
        message.contains("environment variable MOLECULE_IMAGE_REGISTRY"),
        "{message}"
    );
    assert_eq!(world.get("pod", "alice"), Value::Null);
    assert_eq!(world.fleet("registry"), "");

    let a = world.prefix("a");
    world.registry(&a);
    assert!(image(&world.ready("alice").await).starts_with(&a));
    // Without the ConfigMap the environment counts again, but now there is something to stay with.
    world.kubectl(&["delete", "configmap", "workspace-settings"]);
    world.settings_refused("environment variable").await;
    world.workspace("bob", "{}");
    assert!(image(&world.ready("bob").await).starts_with(&a));
    world.silence(3).await;
}

#[tokio::test]
async fn unreadable_settings_are_not_absent_ones() {
    let mut world = World::without_operator().await;
    let link = world.link();
    world.start();
    let (a, b, c) = (world.prefix("a"), world.prefix("b"), world.prefix("c"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    world.ready("alice").await;
    let before = world.versions(&["alice"]);

    // The right is lost while the operator runs.
    let binding = world.get("rolebinding", "workspace-operator");
    world.kubectl(&["delete", "rolebinding", "workspace-operator"]);
    cut_until_forbidden(&world, &link).await;
    world.registry(&b);
    world.workspace("bob", "{}");
    assert!(image(&world.ready("bob").await).starts_with(&a));
    world.apply(&grant(&binding));
    world.in_force(&b).await;

    // The operator starts without it.
    let role = world.get("role", "workspace-operator");
    world.kill().await;
    let index = role["rules"].as_array().and_then(|rules| {
        let about = |rule: &Value| rule["resourceNames"][0] == "workspace-settings";
        rules.iter().position(about)
    });
    let index = index.expect("the role speaks of the settings");
    let remove = format!(r#"[{{"op": "remove", "path": "/rules/{index}"}}]"#);
    world.kubectl(&[
        "patch",
        "role",
        "workspace-operator",
        "--type=json",
        "-p",
        &remove,
    ]);
    world.registry(&c);
    world.start();
    world.settings_refused("cannot be read").await;
    world.workspace("carol", "{}");
    assert!(image(&world.ready("carol").await).starts_with(&b));
    world.apply(&grant(&role));
    world.in_force(&c).await;
    assert_eq!(world.fleet("error"), "");
    assert_eq!(world.versions(&["alice"]), before);
}

/// What was granted, to be granted again.
fn grant(object: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| key == "name" || key == "namespace");
    }
    object.to_string()
}

/// Until then the API server goes by rights that it has not yet seen go.
async fn cut_until_forbidden(world: &World, link: &Link) {
    let start = Instant::now();
    while !world.log().contains("may not watch the ConfigMap") {
        assert!(start.elapsed() < PATIENCE, "{}", world.log());
        link.cut();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn env<'a>(pod: &'a Value, name: &str) -> &'a str {
    let variables = pod["spec"]["containers"][0]["env"].as_array();
    let found = variables.and_then(|all| all.iter().find(|it| it["name"] == name));
    found
        .and_then(|it| it["value"].as_str())
        .unwrap_or_default()
}
