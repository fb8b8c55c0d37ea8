//! I4: every delete names the UID and the resourceVersion that it was planned from, every patch
//! the resourceVersion.

use cluster::{Event, State};
use serde_json::Value;

use crate::fixture::World;

fn names_its_version(event: &Event) -> bool {
    let body = event.request_object.as_ref().unwrap_or(&Value::Null);
    match event.verb.as_str() {
        "patch" => body["metadata"]["resourceVersion"].is_string(),
        "delete" => {
            let preconditions = &body["preconditions"];
            preconditions["uid"].is_string() && preconditions["resourceVersion"].is_string()
        }
        _ => true,
    }
}

#[tokio::test]
async fn every_write_names_the_state_it_was_planned_from() {
    let mut world = World::without_operator().await;
    let (down, up) = (world.prefix("down"), world.prefix("up"));
    world.turn(&down, State::Unauthorized).await;
    world.registry(&down);
    world.start();
    world.workspace("alice", "{storage: {size: 1Gi}}");
    world.state("alice", "ImagePullFailed").await;
    world.registry(&up);
    world.ready("alice").await;
    world.may_own_claims().await;
    world.workspace(
        "alice",
        "{tag: v2, storage: {size: 2Gi, whenDeleted: Delete}}",
    );
    world.ready("alice").await;
    world.workspace(
        "alice",
        "{tag: v2, suspend: true, storage: {size: 2Gi, whenDeleted: Delete}}",
    );
    world.state("alice", "Suspended").await;

    let writes: Vec<_> = world
        .requests()
        .into_iter()
        .filter(Event::is_write)
        .collect();
    let of = |verb: &str, resource: &str| {
        writes
            .iter()
            .filter(|it| it.verb == verb && it.resource == resource)
            .count()
    };
    // At least so many: a write that meets a newer state is refused and planned anew.
    assert!(of("patch", "pods") >= 1, "{:?}", world.writes());
    assert!(of("delete", "pods") >= 2, "{:?}", world.writes());
    assert!(of("patch", "persistentvolumeclaims") >= 1);
    assert!(of("patch", "workspaces") >= 4);
    // What is only told decides nothing.
    let told = ["configmaps", "events"];
    for event in writes.iter().filter(|it| !told.contains(&&*it.resource)) {
        assert!(names_its_version(event), "{event:?}");
    }
}
