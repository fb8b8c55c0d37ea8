//! Is what is there what runs?

use serde_json::Value;

use crate::bed::{image, name, only, prefix};
use crate::fixture::World;
use crate::images::{INDEX, push, push_index};
use crate::registries::Registry;

fn told(report: &Value) -> (&str, &str) {
    let image = only(report);
    let text = |field: &str| image[field].as_str().unwrap_or_default();
    (text("finding"), text("content"))
}

#[tokio::test]
async fn the_same_bytes_are_known_by_any_of_their_digests() {
    let world = World::without_operator().await;
    let mirror = Registry::open().await;
    let amd = push(&mirror, &name("codex"), None, "amd64", "a").await;
    let arm = push(&mirror, &name("codex"), None, "arm64", "b").await;
    let images = [&amd, &arm];
    let index = push_index(&mirror, &name("codex"), "latest", INDEX, &images, &[]).await;
    world.workspace("one", "{runtime: codex}");
    for digest in [&index, &amd.digest, &amd.config] {
        // The registry that is left is not there any more.
        world.runs(
            "one",
            "127.0.0.1:1/agents/workspace-template-codex:latest",
            digest,
        );
        let report = world.told(0, &["preflight", "--to", &prefix(&mirror), "--strict"]);
        assert_eq!(told(&report), ("present", "same"));
    }
}

#[tokio::test]
async fn other_content_under_the_same_tag_is_told_where_it_can_be() {
    let world = World::without_operator().await;
    let (old, mirror) = (Registry::open().await, Registry::open().await);
    let runs = image(&old, "codex", "latest", "monday").await;
    image(&mirror, "codex", "latest", "tuesday").await;
    world.workspace("one", "{runtime: codex}");
    let to = prefix(&mirror);
    let reference = format!("{}/{}:latest", old.host, name("codex"));
    world.runs("one", &reference, &runs.digest);
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(told(&report), ("different", "different"));
    let report = world.told(1, &["preflight", "--to", &to, "--strict"]);
    assert_eq!(report["verdict"], "no");

    // Once the registry that is left is gone, nobody knows what that digest was.
    world.runs(
        "one",
        "127.0.0.1:1/agents/workspace-template-codex:latest",
        &runs.digest,
    );
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(told(&report), ("present", "cannotTell"));
    world.told(2, &["preflight", "--to", &to, "--strict"]);

    // But the mirror may know it too.
    image(&mirror, "codex", "monday", "monday").await;
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(told(&report), ("different", "different"));
}

#[tokio::test]
async fn a_mirror_of_one_platform_has_the_same_content_for_its_nodes() {
    let world = World::without_operator().await;
    let (old, mirror) = (Registry::open().await, Registry::open().await);
    let amd = push(&old, &name("codex"), None, "amd64", "a").await;
    let arm = push(&old, &name("codex"), None, "arm64", "b").await;
    let images = [&amd, &arm];
    let index = push_index(&old, &name("codex"), "latest", INDEX, &images, &[]).await;
    let single = push(&mirror, &name("codex"), Some("latest"), "amd64", "a").await;
    assert_eq!(single.digest, amd.digest);
    world.workspace("one", "{runtime: codex}");
    let reference = format!("{}/{}:latest", old.host, name("codex"));
    world.runs("one", &reference, &index);
    let report = world.told(0, &["preflight", "--to", &prefix(&mirror)]);
    assert_eq!(told(&report), ("present", "same"));
}
