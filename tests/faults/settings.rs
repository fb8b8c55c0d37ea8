//! The settings change faster than anyone could follow.

use std::time::{Duration, Instant};

use cluster::State;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use proxy::{Ask, Fate, Request};
use serde_json::json;
use workspace_operator::names::{MANAGER, STATUS_MANAGER};

use crate::bed::{Bed, names};
use crate::fixture::PATIENCE;
use crate::random::Random;

const RUNNING: usize = 10;
const STUCK: usize = 5;
const NEW: usize = 20;

fn image(pod: &Pod) -> &str {
    let containers = pod.spec.iter().flat_map(|it| &it.containers);
    let agent = containers.into_iter().find(|it| it.name == "agent");
    agent.and_then(|it| it.image.as_deref()).unwrap_or_default()
}

/// Some Workspaces run, and some are stuck on a registry that is down. Returns the names of both.
async fn running_and_stuck(bed: &Bed, up: &str) -> (Vec<String>, Vec<String>) {
    let down = bed.world.prefix("down");
    bed.world.turn(&down, State::Unauthorized).await;
    let all = names(RUNNING + STUCK);
    let (running, stuck) = all.split_at(RUNNING);
    bed.registry(up).await;
    bed.world.in_force(up).await;
    bed.create(running, json!({})).await;
    bed.all(RUNNING, "Ready").await;
    bed.registry(&down).await;
    bed.world.in_force(&down).await;
    bed.create(stuck, json!({})).await;
    let start = Instant::now();
    while bed.count("ImagePullFailed").await.1 < STUCK {
        assert!(start.elapsed() < PATIENCE, "not all of them are stuck");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (running.to_vec(), stuck.to_vec())
}

/// The Pods of these names run what the prefix says.
async fn assert_run(bed: &Bed, names: &[String], prefixes: &[&str]) {
    let pods = bed.pod_api().list(&ListParams::default()).await;
    for pod in pods.expect("the Pods are listed") {
        if names.contains(&pod.name_any()) {
            let image = image(&pod);
            let is_one = prefixes.iter().any(|it| image.starts_with(it));
            assert!(is_one, "{}: {image}", pod.name_any());
        }
    }
}

#[tokio::test]
async fn settings_flapped_100_times_in_10_seconds_end_where_they_end() {
    const EDITS: u32 = 100;
    let mut random = Random::new();
    let mut bed = Bed::started().await;
    let (a, b) = (bed.world.prefix("a"), bed.world.prefix("b"));
    let last = bed.world.prefix("last");
    let (running, stuck) = running_and_stuck(&bed, &a).await;
    let names: Vec<&str> = running.iter().map(String::as_str).collect();
    let before = bed.world.versions(&names);
    bed.world.forget();

    let start = Instant::now();
    let down = bed.world.prefix("down");
    let mut new = (0..NEW).map(|it| format!("new-{it:02}"));
    // Whoever flaps waits for no answer, and the last edit for those of all others.
    let mut flapping = FuturesUnordered::new();
    for edit in 1..EDITS {
        // Invalid ones among them, and the registry that is down.
        let prefix = [&a, &b, &down, "https://typo"][random.below(4) as usize];
        let name = if edit % 5 == 0 { new.next() } else { None };
        let bed = &bed;
        flapping.push(async move {
            bed.registry(prefix).await;
            bed.create(name.as_slice(), json!({})).await;
        });
        let next = tokio::time::sleep_until((start + edit * Duration::from_millis(100)).into());
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                Some(()) = flapping.next() => {}
            }
        }
    }
    while flapping.next().await.is_some() {}
    drop(flapping);
    bed.registry(&last).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?} for {EDITS} edits");
    let rest: Vec<_> = new.collect();
    bed.create(&rest, json!({})).await;
    bed.world.in_force(&last).await;
    let ever = bed.settled(RUNNING + STUCK + NEW).await;
    assert_eq!(ever.len(), RUNNING + STUCK + NEW, "healed in place");
    assert_eq!(
        bed.world.versions(&names),
        before,
        "what runs is not touched"
    );
    assert_run(&bed, &running, &[&a]).await;
    assert_run(&bed, &stuck, &[&a, &b, &last]).await;
    let new: Vec<_> = (0..NEW).map(|it| format!("new-{it:02}")).collect();
    assert_run(&bed, &new, &[&a, &b, &last]).await;
    let records = bed.proxy.writes();
    let records = records
        .iter()
        .filter(|it| it.ask.about("configmaps") && !it.ask.query.contains(STATUS_MANAGER))
        .count();
    // One for each edit at most, and those before the flapping.
    assert!(
        records <= EDITS as usize + 4,
        "{records} writes of the record"
    );
}

#[tokio::test]
async fn settings_deleted_and_created_again_end_where_they_end() {
    let mut bed = Bed::started().await;
    let (a, last) = (bed.world.prefix("a"), bed.world.prefix("last"));
    let (running, stuck) = running_and_stuck(&bed, &a).await;
    let names: Vec<&str> = running.iter().map(String::as_str).collect();
    let before = bed.world.versions(&names);
    let down = bed.world.prefix("down");
    for _ in 0..10 {
        bed.no_settings().await;
        bed.registry(&down).await;
    }
    bed.no_settings().await;
    bed.world.in_force("ghcr.io/molecule-ai").await;
    bed.registry(&last).await;
    bed.world.in_force(&last).await;
    bed.create(&["new".to_owned()], json!({})).await;
    let ever = bed.settled(RUNNING + STUCK + 1).await;
    assert_eq!(ever.len(), RUNNING + STUCK + 1, "healed in place");
    assert_eq!(
        bed.world.versions(&names),
        before,
        "what runs is not touched"
    );
    assert_run(&bed, &stuck, &["ghcr.io/molecule-ai", &last]).await;
    assert_run(&bed, &["new".to_owned()], &[&last]).await;
}

/// The right to lead, apart from the others: without it nobody writes, whatever is in force.
fn right_to_lead(namespace: &str) -> String {
    let group = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "leader", "namespace": namespace});
    let role = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata,
        "rules": [{
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "resourceNames": [MANAGER], "verbs": ["list", "watch", "patch"],
        }],
    });
    let account = json!({"kind": "ServiceAccount", "name": MANAGER, "namespace": namespace});
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "leader"}, "subjects": [account],
    });
    format!("{role}\n---\n{binding}")
}

/// With the rights on the ConfigMaps gone, and the watches of them cut, what is in force stays.
#[tokio::test]
async fn rights_on_the_settings_that_come_and_go_change_nothing_that_runs() {
    let mut bed = Bed::new().await;
    bed.world.apply(&right_to_lead(&bed.world.namespace));
    bed.start().await;
    let (a, b) = (bed.world.prefix("a"), bed.world.prefix("b"));
    bed.registry(&a).await;
    bed.world.in_force(&a).await;
    bed.create(&names(3), json!({})).await;
    bed.all(3, "Ready").await;
    let before = bed.world.versions(&["agent-000", "agent-001", "agent-002"]);
    let binding = bed.world.get("rolebinding", "workspace-operator");
    for (round, prefix) in [&b, &a, &b].into_iter().enumerate() {
        bed.world
            .kubectl(&["delete", "rolebinding", "workspace-operator"]);
        let start = Instant::now();
        while !is_refused(&bed) {
            assert!(
                start.elapsed() < crate::fixture::PATIENCE,
                "{}",
                bed.world.log()
            );
            bed.proxy.cut();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let earlier = bed.world.fleet("registry");
        bed.registry(prefix).await;
        let name = format!("dark-{round}");
        bed.create(std::slice::from_ref(&name), json!({})).await;
        bed.world.ready(&name).await;
        assert_run(&bed, &[name], &[&earlier]).await;
        let mut again = binding.clone();
        if let Some(metadata) = again["metadata"].as_object_mut() {
            metadata.retain(|key, _| key == "name" || key == "namespace");
        }
        bed.world.apply(&again.to_string());
        bed.world.in_force(prefix).await;
    }
    assert_eq!(bed.settled(6).await.len(), 6, "each Pod once");
    let now = bed.world.versions(&["agent-000", "agent-001", "agent-002"]);
    assert_eq!(now, before, "what runs is not touched");
}

/// Whether both watches of the ConfigMaps were refused when they were last begun: that of one goes on
/// for a moment after the rights are gone, if it is begun before the API server knows.
fn is_refused(bed: &Bed) -> bool {
    let requests = bed.proxy.requests();
    let is_refused = |name: &str| {
        let begins = |it: &&Request| {
            let Ask { method, query, .. } = &it.ask;
            it.ask.about("configmaps") && method == Method::GET && query.contains(name)
        };
        let last = requests.iter().rfind(begins);
        last.is_some_and(|it| it.fate == Some(Fate::Passed(403)))
    };
    ["workspace-settings", "workspace-fleet"]
        .into_iter()
        .all(is_refused)
}
