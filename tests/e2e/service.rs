//! The one headless Service of a namespace, and the addresses that it gives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{World, text, uid, workspace};

const FOREIGN: &str = "
apiVersion: v1
kind: Service
metadata: {name: workspaces}
spec: {selector: {app: shop}, ports: [{port: 80}]}
";

/// The hostname and the address of each endpoint of the Service.
fn endpoints(world: &World) -> BTreeMap<String, String> {
    let slices = world.list("endpointslices");
    let ours = slices
        .iter()
        .filter(|it| it["metadata"]["labels"]["kubernetes.io/service-name"] == "workspaces");
    ours.flat_map(|it| it["endpoints"].as_array().into_iter().flatten())
        .filter_map(|it| Some((it["hostname"].as_str()?, it["addresses"][0].as_str()?)))
        .map(|(hostname, address)| (hostname.to_owned(), address.to_owned()))
        .collect()
}

/// Whom the Pods are called, and where they are.
fn hosts(world: &World) -> BTreeMap<String, String> {
    let of = |pod: &Value| {
        let (name, ip) = (text(pod, "/metadata/name"), text(pod, "/status/podIP"));
        (name.to_owned(), ip.to_owned())
    };
    world.list("pods").iter().map(of).collect()
}

#[tokio::test]
async fn many_workspaces_share_one_service_that_knows_each_by_name() {
    let world = World::new().await;
    let many: Vec<_> = (0..25)
        .map(|it| workspace(&format!("agent-{it}"), "{}"))
        .collect();
    world.apply(&many.join("---\n"));
    world.all_ready(25).await;
    let creates = world.requests().of("services").writes();
    assert_eq!(creates.len(), 1, "one create, and none in vain");
    let service = world.get("service", "workspaces");
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert!(service["metadata"]["ownerReferences"].is_null());
    let hosts = hosts(&world);
    assert_eq!(hosts.len(), 25);
    world
        .holds("every endpoint", |world| endpoints(world) == hosts)
        .await;
}

#[tokio::test]
async fn a_foreign_service_is_left_alone_and_only_costs_the_address() {
    let mut world = World::without_operator().await;
    world.apply(FOREIGN);
    let foreign = world.get("service", "workspaces");
    world.start();
    world.workspace("alice", "{}");
    let pod = world.ready("alice").await;
    let alice = world.get("workspace", "alice");
    assert!(alice["status"]["address"].is_null(), "{alice:#}");
    world.silence(2).await;
    let now = world.get("service", "workspaces");
    assert_eq!(
        now["metadata"]["resourceVersion"],
        foreign["metadata"]["resourceVersion"]
    );

    world.kubectl(&["delete", "service", "workspaces"]);
    let address = format!("alice.workspaces.{}.svc", world.namespace);
    world
        .until("workspace", "alice", |it| {
            it["status"]["address"] == *address
        })
        .await;
    assert_eq!(
        world.writes(),
        [
            "create services workspaces 201",
            "patch workspaces/status alice 200"
        ]
    );
    assert_eq!(uid(&world.get("pod", "alice")), uid(&pod));
}

#[tokio::test]
async fn our_service_comes_back_and_no_workspace_is_told() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    world.workspace("bob", "{}");
    world.all_ready(2).await;
    let first = world.get("service", "workspaces");
    world.forget();
    world.kubectl(&["delete", "service", "workspaces"]);
    world
        .until("service", "workspaces", |it| {
            it["metadata"]["uid"]
                .as_str()
                .is_some_and(|it| it != uid(&first))
        })
        .await;
    let hosts = hosts(&world);
    world
        .holds("every endpoint", |world| endpoints(world) == hosts)
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.writes(), ["create services workspaces 201"]);
}

#[tokio::test]
async fn a_refused_service_does_not_hold_up_a_workspace() {
    let mut world = World::without_operator().await;
    world.kubectl(&["create", "quota", "none", "--hard=services=0"]);
    world.start();
    for name in ["alice", "bob"] {
        world.workspace(name, "{}");
        world.ready(name).await;
        let status = world.get("workspace", name);
        assert!(status["status"]["address"].is_null(), "{status:#}");
    }
    let said = world.logged("no Service workspaces").await;
    assert!(said.contains("quota"), "{said}");
    let creates = world.requests().of("services").writes();
    assert_eq!(creates.len(), 1, "it is not asked for again and again");
    world.silence(2).await;
}
