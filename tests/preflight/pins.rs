//! What the default tag of a runtime stands for.

use serde_json::{Value, json};

use crate::bed::{image, prefix, set};
use crate::fixture::World;
use crate::registries::Registry;

fn data(world: &World) -> Value {
    world.get("configmap", "workspace-settings")["data"].clone()
}

#[tokio::test]
async fn a_tag_is_pinned_to_what_it_is_now_with_who_when_and_why() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let monday = image(&registry, "codex", "latest", "monday").await;
    let hermes = image(&registry, "hermes", "v1", "b").await;
    let to = prefix(&registry);
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &to)]);
    world.workspace("one", "{runtime: codex}");

    let told = world.plugin(0, &["pin", "codex", "--why", "release of Monday"]);
    let line = format!("codex is pinned to {}; 1 Workspace takes it", monday.digest);
    assert!(told.stdout.starts_with(&line), "{}", told.stdout);
    let by_digest = format!("hermes={}", hermes.digest);
    let pinned = world.told(0, &["pin", &by_digest]);
    assert_eq!(
        pinned,
        json!([{"runtime": "hermes", "digest": hermes.digest, "workspaces": 0}])
    );
    // One pin does not undo another, nor the rest of the settings.
    let expected = json!({
        "MOLECULE_IMAGE_REGISTRY": to, "PIN_codex": monday.digest, "PIN_hermes": hermes.digest,
    });
    assert_eq!(data(&world), expected);

    // The tag of hermes is not there.
    let listed = world.told(1, &["pins"]);
    assert_eq!(listed[0]["runtime"], "codex");
    assert_eq!(
        (&listed[0]["moved"], &listed[0]["why"]),
        (&json!(false), &json!("release of Monday"))
    );
    assert_eq!(listed[0]["by"], "admin", "{listed:#}");
    let at = listed[0]["at"].as_str().expect("a time");
    assert!(at.parse::<jiff::Timestamp>().is_ok(), "{at}");
    assert_eq!(listed[1]["moved"], true);
}

#[tokio::test]
async fn pins_say_whether_the_tag_has_moved() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let monday = image(&registry, "codex", "latest", "monday").await;
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &prefix(&registry))]);
    world.plugin(0, &["pin", "codex"]);
    assert_eq!(world.told(0, &["pins"])[0]["moved"], false);
    let tuesday = image(&registry, "codex", "latest", "tuesday").await;
    let listed = world.told(1, &["pins"]);
    assert_eq!(listed[0]["moved"], true);
    assert_eq!(listed[0]["tag"], tuesday.digest);
    assert_eq!(listed[0]["digest"], monday.digest);
    let told = world.plugin(1, &["pins"]);
    assert!(told.stdout.contains(&tuesday.digest), "{}", told.stdout);

    // Pinned anew, with what it was before.
    let told = world.plugin(0, &["pin", "codex"]);
    let line = format!(
        "codex is pinned to {}, no longer to {}\n",
        tuesday.digest, monday.digest
    );
    assert_eq!(told.stdout, line);
    world.plugin(0, &["pins"]);

    drop(registry);
    let listed = world.told(2, &["pins"]);
    assert_eq!(listed[0]["moved"], Value::Null);
    let because = listed[0]["because"].as_str().expect("text");
    assert!(because.ends_with("refuses connections"), "{because}");
}

#[tokio::test]
async fn all_that_the_registry_has_are_pinned_and_unpinned() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let codex = image(&registry, "codex", "latest", "a").await;
    let hermes = image(&registry, "hermes", "latest", "b").await;
    let to = prefix(&registry);
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &to)]);
    let told = world.plugin(0, &["pin", "--all"]);
    assert!(
        told.stderr
            .contains("openclaw is left out, and nobody uses it"),
        "{}",
        told.stderr
    );
    let pinned = json!({
        "MOLECULE_IMAGE_REGISTRY": to, "PIN_codex": codex.digest, "PIN_hermes": hermes.digest,
    });
    assert_eq!(data(&world), pinned);

    // What somebody needs is not left out.
    world.workspace("one", "{runtime: openclaw}");
    let told = world.plugin(1, &["pin", "--all"]);
    assert!(
        told.stderr
            .contains("answered 404 Not Found; nothing was changed"),
        "{}",
        told.stderr
    );
    assert_eq!(data(&world), pinned);

    world.plugin(0, &["unpin", "codex"]);
    assert_eq!(data(&world)["PIN_codex"], Value::Null);
    world.plugin(0, &["unpin", "--all"]);
    assert_eq!(data(&world), json!({"MOLECULE_IMAGE_REGISTRY": to}));
    let annotations =
        world.get("configmap", "workspace-settings")["metadata"]["annotations"].clone();
    assert!(
        !annotations.to_string().contains("molecule.ai/pin-"),
        "{annotations}"
    );
    let told = world.plugin(1, &["unpin", "codex"]);
    assert!(
        told.stderr.contains("codex is not pinned; no runtime is\n"),
        "{}",
        told.stderr
    );
    assert_eq!(world.plugin(0, &["pins"]).stdout, "No runtime is pinned.\n");
    for _ in 0..2 {
        let none = world.plugin(0, &["unpin", "--all"]);
        assert_eq!(none.stdout, "No runtime is pinned.\n");
        world.kubectl(&[
            "delete",
            "configmap",
            "workspace-settings",
            "--ignore-not-found",
        ]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_pinned() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let to = prefix(&registry);
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &to)]);
    let nowhere = format!("codex=sha256:{}", "0".repeat(64));
    for (code, args, words) in [
        (
            1,
            vec!["pin", "codex"],
            "answered 404 Not Found; nothing was changed",
        ),
        (1, vec!["pin", &nowhere], "is missing: "),
        (1, vec!["pin", "nope"], "none of the known ones"),
        (
            2,
            vec!["pin", "codex=latest"],
            "the digest is not sha256: and 64",
        ),
        (2, vec!["pin"], "required"),
        (2, vec!["pin", &nowhere, &nowhere], "codex is named twice"),
    ] {
        let told = world.plugin(code, &args);
        assert!(told.stderr.contains(words), "{args:?}: {}", told.stderr);
        assert_eq!(data(&world), json!({"MOLECULE_IMAGE_REGISTRY": to}));
    }
    // In an outage, by hand.
    world.plugin(0, &["pin", &nowhere, "--unchecked"]);
    assert!(data(&world)["PIN_codex"].is_string());
}

#[tokio::test]
async fn what_others_keep_is_not_taken_over_by_itself() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let codex = image(&registry, "codex", "latest", "a").await;
    let other = image(&registry, "codex", "other", "b").await;
    let to = prefix(&registry);
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &to)]);
    let by_tool = |digest: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "workspace-settings"}, "data": {"MOLECULE_IMAGE_REGISTRY": to, "PIN_codex": digest},
        });
        let args = [
            "-n",
            &world.namespace,
            "apply",
            "--server-side",
            "--field-manager=robot",
            "-f",
            "-",
        ];
        let output = world
            .admin()
            .run_with_input(&args, &map.to_string())
            .expect("kubectl runs");
        assert!(output.ok(), "{}", output.stderr);
    };
    by_tool(&other.digest);
    let told = world.plugin(1, &["pin", "codex"]);
    assert!(told.stderr.contains("is kept by robot"), "{}", told.stderr);
    assert_eq!(data(&world)["PIN_codex"], other.digest);
    let told = world.plugin(1, &["unpin", "codex"]);
    assert!(told.stderr.contains("is kept by robot"), "{}", told.stderr);
    world.plugin(0, &["pin", "codex", "--force-conflicts"]);
    assert_eq!(data(&world)["PIN_codex"], codex.digest);
    // A person's hand gives way.
    set(&world, "PIN_codex", &other.digest);
    world.plugin(0, &["pin", "codex"]);
    assert_eq!(data(&world)["PIN_codex"], codex.digest);
}

#[tokio::test]
async fn what_a_repository_keeps_is_changed_there() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let codex = image(&registry, "codex", "latest", "a").await;
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &prefix(&registry))]);
    world.kubectl(&[
        "label",
        "configmap",
        "workspace-settings",
        "kustomize.toolkit.fluxcd.io/name=apps",
    ]);
    let before = data(&world);
    let told = world.plugin(1, &["pin", "codex", "--why", "it's Monday"]);
    let yaml = told.stderr.split("in its repository:\n").nth(1);
    let yaml = yaml.and_then(|it| it.split("in a hurry").next());
    let map: Value = serde_saphyr::from_str(yaml.expect("it is told")).expect("it is YAML");
    let note = map["metadata"]["annotations"]["molecule.ai/pin-codex"].as_str();
    let note: Value = serde_json::from_str(note.expect("it is noted")).expect("it is JSON");
    assert_eq!(
        (&note["why"], &note["by"]),
        (&json!("it's Monday"), &json!("admin"))
    );
    let lines = format!("data:\n  PIN_codex: {}\n", codex.digest);
    assert!(told.stderr.contains(&lines), "{}", told.stderr);
    assert!(told.stderr.contains("Flux"), "{}", told.stderr);
    assert_eq!(data(&world), before);
}
