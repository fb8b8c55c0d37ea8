//! A switch looks before it edits.

use tokio::net::TcpListener;

use crate::bed::{image, prefix};
use crate::fixture::World;
use crate::registries::Registry;

/// The prefix that the settings name.
fn named(world: &World) -> String {
    let settings = world.get("configmap", "workspace-settings");
    let named = &settings["data"]["MOLECULE_IMAGE_REGISTRY"];
    named.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_registry_without_the_images_is_not_switched_to() {
    let world = World::new().await;
    let first = world.prefix("first");
    world.registry(&first);
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    let registry = Registry::open().await;
    let to = prefix(&registry);
    let switch = ["switch", &to, "--yes"];

    let refused = world.plugin(1, &switch);
    let host = &registry.host;
    for words in [
        format!("{host} answered 404 Not Found"),
        format!("No: the one image cannot be pulled from {to}."),
        "not switched: not every image can be used from there".to_owned(),
    ] {
        assert!(
            refused.stderr.contains(&words),
            "{words}\n{}",
            refused.stderr
        );
    }
    assert_eq!(named(&world), first);

    image(&registry, "codex", "latest", "a").await;
    let switched = world.plugin(0, &switch);
    let line = format!("Yes: the one image is there under {to}.");
    assert!(switched.stderr.contains(&line), "{}", switched.stderr);
    assert_eq!(named(&world), to);
}

#[tokio::test]
async fn one_that_does_not_answer_is_switched_to_by_force_only() {
    let world = World::new().await;
    let first = world.prefix("first");
    world.registry(&first);
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let to = format!("{}/agents", hole.local_addr().expect("an address"));
    let mut switch = vec!["switch", &to, "--yes", "--registry-timeout", "1"];
    let refused = world.plugin(2, &switch);
    let words = "not switched: it cannot be told from here whether every image is there";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert_eq!(named(&world), first);
    switch.push("--force");
    world.plugin(0, &switch);
    assert_eq!(named(&world), to);

    let blindly = ["switch", &first, "--yes", "--no-preflight"];
    let switched = world.plugin(0, &blindly);
    assert!(
        !switched.stderr.contains("cannot be told"),
        "{}",
        switched.stderr
    );
    assert_eq!(named(&world), first);
}
