//! Servers that restart, and clocks that jump.

use std::time::Duration;

use cluster::{Options, Server};
use serde_json::json;

use crate::bed::{Bed, names};
use crate::clock::Clock;
use crate::fixture::{World, start_cluster, uid};

const CRD: &str = include_str!("../../crds/workspace.yaml");

/// Creates Workspaces while a server is away, before and after.
async fn rolled_out_through(servers: [Server; 2]) {
    const BATCH: usize = 20;
    let options = Options {
        nodes: 1,
        crds: vec![CRD.into()],
        ..Options::default()
    };
    let cluster = start_cluster(options).await;
    let mut bed = Bed::of(World::in_cluster(cluster.clone()).await).await;
    bed.start().await;
    let all = names(BATCH * (servers.len() + 1));
    let (first, rest) = all.split_at(BATCH);
    let mut before = bed.pods.alive().len();
    bed.create(first, json!({})).await;
    for (server, batch) in servers.into_iter().zip(rest.chunks(BATCH)) {
        // In the midst of the rollout.
        bed.until("it does not begin", |bed| bed.pods.alive().len() > before)
            .await;
        let restarted = cluster.restart(server, Duration::from_secs(2)).await;
        restarted.expect("it comes back");
        before = bed.pods.alive().len();
        bed.create(batch, json!({})).await;
    }
    let ever = bed.settled(all.len()).await;
    assert_eq!(ever.len(), all.len(), "each Pod once");
}

#[tokio::test]
async fn an_api_server_and_an_etcd_that_restart_cost_no_second_pod() {
    rolled_out_through([Server::Apiserver, Server::Etcd]).await;
}

/// The operator's clock jumps ahead and back by an hour while Pods are refused, stuck and created.
/// What it waits for may come a little late, never an hour late.
#[tokio::test]
async fn a_clock_that_jumps_changes_no_pod_and_delays_no_retry() {
    let mut bed = Bed::new().await;
    let file = format!("{}.clock", bed.world.namespace);
    let Some(clock) = Clock::new(&bed.world.cluster.folder().join(file)) else {
        return;
    };
    bed.run_with(&clock.environment());
    bed.world.logged("looking after").await;
    bed.create(&names(5), json!({})).await;
    bed.all(5, "Ready").await;

    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"pods": "6"}},
    });
    for (round, offset) in ["+3600", "-3600", "+0"].into_iter().enumerate() {
        bed.world.apply(&quota.to_string());
        let name = format!("late-{round}");
        // The quota has counted the Pods when it refuses one.
        let refused = crate::refusals::probe();
        bed.world.until_refused(&refused).await;
        bed.create(std::slice::from_ref(&name), json!({})).await;
        bed.world.state(&name, "PodRejected").await;
        clock.set(offset);
        bed.world.kubectl(&["delete", "resourcequota", "full"]);
        bed.world.ready(&name).await;
        // The test's quota counts those that there are.
        bed.world.kubectl(&["delete", "workspace", &name]);
        bed.world.gone("pod", &name).await;
    }
    clock.set("-7200");
    bed.create(&["late".to_owned()], json!({})).await;
    let old = uid(&bed.world.ready("late").await).to_owned();
    bed.world
        .kubectl(&["annotate", "pod", "late", "kwok/behaviour=evict"]);
    bed.world
        .until("pod", "late", |it| !it.is_null() && uid(it) != old)
        .await;
    let ever = bed.settled(6).await;
    assert_eq!(ever.len(), 5 + 3 + 2, "no Pod more than asked for");
}
