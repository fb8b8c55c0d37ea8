//! Nothing that is Ready is stopped for an image before its node has pulled it for a probe.

use std::time::{Duration, Instant};

use cluster::State;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fixture::{PATIENCE, World, condition, image, text, uid};

/// On a node of its choice, so that it is known what is asked of which node.
fn on_node(node: &str, tag: &str) -> String {
    json!({
        "runtime": "codex",
        "tag": tag,
        "nodeSelector": {"kubernetes.io/hostname": node},
    })
    .to_string()
}

impl World {
    /// How many probes the operator has created since the start or the last `forget`.
    fn probes_sent(&self) -> usize {
        let writes = self.writes().into_iter();
        writes
            .filter(|it| it.starts_with("create pods workspace-probe-"))
            .count()
    }

    /// Waits for a Pod in place of this one.
    async fn another_pod(&self, name: &str, old: &str) -> Value {
        let another = |it: &Value| !it.is_null() && uid(it) != old;
        self.until("pod", name, another).await
    }

    /// Waits until somebody is told why nothing is stopped for an image, and by what.
    async fn blocked(&self, name: &str, words: &str) {
        let workspace = self.state(name, "RolloutBlocked").await;
        let conditions = workspace["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let told = |it: &Value| text(it, "/message").contains(words);
        assert!(conditions.any(told), "{workspace:#}");
        assert_eq!(condition(&workspace, "Ready")["status"], "True");
    }
}

#[tokio::test]
async fn a_change_of_the_image_is_proved_on_the_node_before_the_pod_stops() {
    let mut world = World::new().await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.forget();
    world.workspace("alice", &on_node("node-1", "v2"));
    let pod = world.another_pod("alice", &old).await;
    assert!(image(&pod).ends_with(":v2"));
    world.ready("alice").await;
    let writes = world.writes();
    let place = |start: &str| writes.iter().position(|it| it.starts_with(start));
    let order = [
        place("create pods workspace-probe-"),
        place("delete pods alice"),
        place("create pods alice"),
    ];
    assert!(order[0].is_some() && order.is_sorted(), "{writes:#?}");
    assert_eq!(world.probes_sent(), 1);
    world.silence(3).await;
}

#[tokio::test]
async fn what_the_node_cannot_pull_stops_nothing() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.turn(&a, State::Unauthorized).await;
    world.workspace("alice", &on_node("node-1", "v2"));
    let host = crate::fixture::host(&a);
    world
        .blocked("alice", &format!("{host} answered 401 Unauthorized"))
        .await;
    world.forget();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(uid(&world.get("pod", "alice")), old);
    let writes = world.writes();
    let of_others = writes.iter().filter(|it| !it.contains("workspace-probe-"));
    assert_eq!(of_others.count(), 0, "it is told once: {writes:#?}");

    // Who edits the settings may have mended it, and need not wait.
    let b = world.prefix("b");
    world.registry(&b);
    let pod = world.another_pod("alice", &old).await;
    assert!(image(&pod).starts_with(&b) && image(&pod).ends_with(":v2"));
    world.ready("alice").await;
    world.silence(3).await;
}

/// A quota for Pods of these scopes, as the API server knows it by now.
async fn quota(world: &World, scopes: &[&str], pods: &str) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"pods": pods}, "scopes": scopes},
    });
    world.apply(&quota.to_string());
    let refused = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"},
        "spec": {
            "activeDeadlineSeconds": 60,
            "containers": [{"name": "agent", "image": "asked.example.com/asked"}],
        },
    });
    world.until_refused(&refused).await;
}

#[tokio::test]
async fn a_probe_that_the_api_server_refuses_is_told_in_its_words_and_stops_nothing() {
    let world = World::new().await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    // Probes have a deadline, and the Pods of Workspaces have none.
    quota(&world, &["Terminating"], "0").await;
    world.workspace("alice", &on_node("node-1", "v2"));
    let told = world.state("alice", "PodRejected").await;
    let message = text(condition(&told, "Stalled"), "/message");
    assert!(message.contains("refused the probe"), "{message}");
    assert!(message.contains(": exceeded quota: full"), "{message}");
    assert_eq!(condition(&told, "Ready")["status"], "True");
    assert_eq!(uid(&world.get("pod", "alice")), old);
    world.kubectl(&["delete", "resourcequota", "full"]);
    world.another_pod("alice", &old).await;
    world.ready("alice").await;
}

#[tokio::test]
async fn where_users_are_assigned_a_probe_names_none() {
    let world = World::new().await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.assigns_users().await;
    world.workspace("alice", &on_node("node-1", "v2"));
    world.another_pod("alice", &old).await;
    let probes = world.probes();
    world.assigns_no_users();
    let contexts: Vec<_> = probes
        .iter()
        .map(|it| &it["spec"]["securityContext"])
        .collect();
    let expected = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(contexts, [&expected]);
    world.ready("alice").await;
}

#[tokio::test]
async fn for_a_pod_that_the_api_server_would_refuse_no_node_is_asked() {
    let mut world = World::new().await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    quota(&world, &[], "1").await;
    world.forget();
    world.workspace("alice", &on_node("node-1", "v2"));
    let told = world.state("alice", "PodRejected").await;
    let message = text(condition(&told, "Stalled"), "/message");
    assert!(message.contains("refused the Pod: "), "{message}");
    assert!(message.contains("exceeded quota: full"), "{message}");
    assert_eq!(world.probes_sent(), 0);
    assert_eq!(uid(&world.get("pod", "alice")), old);
    world.kubectl(&["delete", "resourcequota", "full"]);
    world.another_pod("alice", &old).await;
    world.ready("alice").await;
}

#[tokio::test]
async fn while_a_proof_takes_its_time_it_is_told_that_the_old_pod_serves_on() {
    let world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.turn(&a, State::Hangs).await;
    world.workspace("alice", &on_node("node-1", "v2"));
    let told = world.state("alice", "Replacing").await;
    for (type_, status) in [("Reconciling", "True"), ("Ready", "False")] {
        let condition = condition(&told, type_);
        assert_eq!(condition["status"], status);
        let message = text(condition, "/message");
        assert!(message.contains("the Pod of before runs on"), "{message}");
    }
    assert_eq!(uid(&world.get("pod", "alice")), old);
    world.turn(&a, State::Up).await;
    world.another_pod("alice", &old).await;
    world.ready("alice").await;
}

#[tokio::test]
async fn no_node_is_sent_to_a_registry_that_hangs() {
    let world = World::new().await;
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let hole = hole.local_addr().map(|it| (it, hole)).expect("an address");
    let a = format!("{}/agents", hole.0);
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.workspace("alice", &on_node("node-1", "v2"));
    let words = format!("{} does not answer in time, asked by the operator", hole.0);
    world.blocked("alice", &words).await;
    assert_eq!(uid(&world.get("pod", "alice")), old);
    assert_eq!(world.probes_sent(), 0);
    // Whatever it answers, it does not hang.
    let (address, hole) = hole;
    drop(hole);
    let closes = TcpListener::bind(address).await.expect("the port is free");
    let serve = tokio::spawn(async move {
        while let Ok((stream, _)) = closes.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = stream.try_write(answer);
        }
    });
    world.another_pod("alice", &old).await;
    world.ready("alice").await;
    serve.abort();
}

#[tokio::test]
async fn all_on_one_node_with_one_image_share_a_proof() {
    let mut world = World::new().await;
    let names = ["a", "b", "c", "d", "e", "f"];
    for (number, name) in names.iter().enumerate() {
        let node = ["node-1", "node-2"][number % 2];
        world.workspace(name, &on_node(node, "v1"));
    }
    world.all_ready(names.len()).await;
    world.forget();
    for (number, name) in names.iter().enumerate() {
        let node = ["node-1", "node-2"][number % 2];
        world.workspace(name, &on_node(node, "v2"));
    }
    for name in names {
        let tagged = |it: &Value| !it.is_null() && image(it).ends_with(":v2");
        world.until("pod", name, tagged).await;
        world.ready(name).await;
    }
    assert_eq!(world.probes_sent(), 2, "{:#?}", world.writes());
    world.silence(3).await;
}

#[tokio::test]
async fn an_operator_that_dies_leaves_no_probe_and_goes_on_from_where_it_was() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    for name in ["moves", "stays"] {
        world.workspace(name, &on_node("node-1", "v1"));
        world.ready(name).await;
    }
    let old = uid(&world.get("pod", "moves")).to_owned();
    // Both probes hang: neither is over when the operator dies.
    world.turn(&a, State::Hangs).await;
    world.workspace("moves", &on_node("node-1", "v2"));
    world.workspace("stays", &on_node("node-1", "v3"));
    world
        .holds("both probes", |it| it.probes().len() == 2)
        .await;
    world.kill().await;
    world.workspace("stays", &on_node("node-1", "v1"));
    world.turn(&a, State::Up).await;
    world.start();
    world.another_pod("moves", &old).await;
    world.ready("moves").await;
    world.ready("stays").await;
    assert_eq!(world.probes_sent(), 2, "those of before are gone by");
    world.silence(3).await;
}

#[tokio::test]
async fn a_probe_that_somebody_deletes_is_sent_again() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", &on_node("node-1", "v1"));
    let old = uid(&world.ready("alice").await).to_owned();
    world.turn(&a, State::Hangs).await;
    world.workspace("alice", &on_node("node-1", "v2"));
    world.holds("a probe", |it| it.probes().len() == 1).await;
    let probe = world.probes().remove(0);
    world.kubectl(&["delete", "pod", text(&probe, "/metadata/name")]);
    world
        .blocked("alice", "the probe was deleted by somebody")
        .await;
    assert_eq!(uid(&world.get("pod", "alice")), old);
    world.turn(&a, State::Up).await;
    let begun = Instant::now();
    world.another_pod("alice", &old).await;
    assert!(begun.elapsed() < PATIENCE);
    world.ready("alice").await;
    assert_eq!(world.probes_sent(), 2);
    world.silence(3).await;
}

#[tokio::test]
async fn the_images_of_a_switch_are_pulled_before_it_and_nothing_that_runs_is_touched() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    let names = ["one", "two", "three"];
    for (name, node) in names.into_iter().zip(["node-1", "node-2", "node-1"]) {
        world.workspace(name, &on_node(node, "v1"));
    }
    world.all_ready(names.len()).await;
    let before = world.versions(&names);
    world.turn(&b, State::Unauthorized).await;
    world.forget();
    let registry = ("MOLECULE_IMAGE_REGISTRY", a.as_str());
    let next = ("NEXT_MOLECULE_IMAGE_REGISTRY", b.as_str());
    world.settings(&[registry, next, ("PREPULL", "true")]);
    let failed = format!("{} answered 401 Unauthorized: 2", crate::fixture::host(&b));
    let says = |it: &World, words: &str| {
        let status = it.overview_text();
        status.contains(words)
    };
    let told = |words: &str| {
        let words = words.to_owned();
        move |it: &World| says(it, &words)
    };
    world.holds("what fails", told(&failed)).await;
    world.turn(&b, State::Up).await;
    world
        .holds("all of them", told("images: 2\n  pulled: 2"))
        .await;
    let images: Vec<_> = world
        .probes()
        .iter()
        .map(|it| text(it, "/spec/containers/0/image").to_owned())
        .collect();
    let expected = format!("{b}/workspace-template-codex:v1");
    assert_eq!(images, [expected.clone(), expected]);
    assert_eq!(world.versions(&names), before);
    world.silence_beside_probes(3).await;

    // The switch: what does not run its image yet will need it.
    world.settings(&[
        ("MOLECULE_IMAGE_REGISTRY", b.as_str()),
        next,
        ("PREPULL", "true"),
    ]);
    world.in_force(&b).await;
    world.silence_beside_probes(32).await;
    assert_eq!(world.probes().len(), 2);
    world.settings(&[registry]);
    world.no_probe_is_left().await;
    world
        .holds("nothing of it", |it| !says(it, "prepull"))
        .await;
    assert_eq!(world.versions(&names), before);
    world.silence(3).await;
}
