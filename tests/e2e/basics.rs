//! From an applied Workspace to a Ready one.

use crate::fixture::{World, image, text};

#[tokio::test]
async fn a_workspace_becomes_ready_with_two_writes() {
    let mut world = World::new().await;
    world.workspace("first", "{}");
    world.ready("first").await;
    world.forget();
    world.workspace("alice", "{runtime: claude-code}");
    let pod = world.ready("alice").await;
    assert_eq!(
        image(&pod),
        "ghcr.io/molecule-ai/workspace-template-claude-code:latest"
    );
    let alice = world.get("workspace", "alice");
    assert_eq!(text(&alice, "/status/image"), image(&pod));
    assert_eq!(text(&alice, "/status/pod"), "alice");
    assert!(text(&alice, "/status/digest").starts_with("sha256:"));
    let address = format!("alice.workspaces.{}.svc", world.namespace);
    assert_eq!(text(&alice, "/status/address"), address);
    assert_eq!(
        world.writes(),
        ["create pods alice 201", "patch workspaces/status alice 200"]
    );
    world.silence(5).await;
}
