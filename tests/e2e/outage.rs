//! The day this operator is for: the registry refuses, one edit repoints what is stuck and every
//! new rollout, and what runs does not notice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::State;
use jiff::SignedDuration;
use serde_json::Value;

use crate::fixture::{World, condition, host, image, text, uid};

const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";
const FLEET_WRITE: &str = "patch configmaps workspace-fleet 200";

#[tokio::test]
async fn a_refused_pull_is_told_after_3_seconds_and_once() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.turn(&a, State::Unauthorized).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.forget();
    world.workspace("alice", "{runtime: hermes}");
    let alice = world.state("alice", "ImagePullFailed").await;
    let told = world.written_at("patch workspaces/status alice 200");
    let after = told.duration_since(world.shown_at("alice", "ErrImagePull"));
    assert!(after >= SignedDuration::from_secs(3), "{after:?}");
    assert!(after <= SignedDuration::from_secs(6), "{after:?}");
    let host = host(&a);
    let message = format!(
        "{a}/workspace-template-hermes:latest cannot be pulled: {host} answered 401 Unauthorized"
    );
    for (type_, status) in [("Ready", "False"), ("Reconciling", "True")] {
        let condition = condition(&alice, type_);
        assert_eq!(condition["status"], status);
        assert_eq!(condition["reason"], "ImagePullFailed");
        assert_eq!(condition["message"], message);
    }
    let once = ["patch workspaces/status alice 200"];
    assert_eq!(world.writes_to("workspaces", "alice"), once);

    // The kubelet goes on with other words each time; the operator does not.
    let told = text(&alice, "/metadata/resourceVersion").to_owned();
    world.forget();
    let words = words_of("alice", &world, Duration::from_secs(10)).await;
    assert!(words.contains("ErrImagePull"), "{words:?}");
    assert!(words.contains("ImagePullBackOff"), "{words:?}");
    assert_eq!(world.writes(), Vec::<String>::new());
    let alice = world.get("workspace", "alice");
    assert_eq!(text(&alice, "/metadata/resourceVersion"), told);
}

/// For which reasons the Pod is seen to wait during this time.
async fn words_of(name: &str, world: &World, time: Duration) -> BTreeSet<String> {
    let start = Instant::now();
    let mut words = BTreeSet::new();
    while start.elapsed() < time {
        let pod = world.get("pod", name);
        let reason = pod.pointer("/status/containerStatuses/0/state/waiting/reason");
        words.extend(reason.and_then(Value::as_str).map(str::to_owned));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    words
}

#[tokio::test]
async fn each_answer_of_a_registry_is_told_in_its_own_words() {
    let world = World::new().await;
    let a = world.prefix("a");
    let answers = [
        (State::Forbidden, "answered 403 Forbidden"),
        (State::NotFound, "does not have it"),
        (State::TooManyRequests, "answered 429 Too Many Requests"),
        (State::Unavailable, "answered 503 Service Unavailable"),
        (State::Unauthorized, "answered 401 Unauthorized"),
    ];
    world.turn(&a, answers[0].0).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    let host = host(&a);
    for (state, words) in answers {
        world.turn(&a, state).await;
        let words = format!("cannot be pulled: {host} {words}");
        world
            .until("workspace", "alice", |it| {
                let message = condition(it, "Ready")["message"].as_str();
                message.is_some_and(|message| message.ends_with(&words))
            })
            .await;
    }
    // It comes back by itself: nothing is written to the Pod.
    world.turn(&a, State::Up).await;
    world.ready("alice").await;
    assert_eq!(
        world.writes_to("workspaces", "alice"),
        ["patch workspaces/status alice 200"; 6],
        "one for each answer, and one for Ready"
    );
    assert_eq!(world.done_to("pods", "alice"), ["create pods alice 201"]);
}

#[tokio::test]
async fn one_edit_heals_every_stuck_pod_in_place_and_touches_none_that_runs() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let (running, stuck) = (["r1", "r2"], ["s1", "s2", "s3"]);
    world.registry(&a);
    world.in_force(&a).await;
    running.iter().for_each(|name| world.workspace(name, "{}"));
    for name in running {
        world.ready(name).await;
    }
    world.turn(&a, State::Unauthorized).await;
    stuck.iter().for_each(|name| world.workspace(name, "{}"));
    let mut uids = Vec::new();
    for name in stuck {
        world.state(name, "ImagePullFailed").await;
        uids.push(uid(&world.get("pod", name)).to_owned());
    }
    let before = world.versions(&running);

    world.forget();
    world.registry(&b);
    for (name, old) in stuck.iter().zip(&uids) {
        let pod = world.ready(name).await;
        assert_eq!(uid(&pod), old, "the same Pod");
        assert!(image(&pod).starts_with(&b));
        let annotation = &pod["metadata"]["annotations"]["molecule.ai/image"];
        assert_eq!(annotation, image(&pod));
        let workspace = world.get("workspace", name);
        assert_eq!(text(&workspace, "/status/image"), image(&pod));
        assert_eq!(
            world.done_to("pods", name),
            [format!("patch pods {name} 200")]
        );
        let told = [format!("patch workspaces/status {name} 200")];
        assert_eq!(world.writes_to("workspaces", name), told);
        let line = world
            .logged("healed: the stuck Pod got another image")
            .await;
        assert!(line.contains("reason=Image"), "{line}");
    }
    assert_eq!(
        world.writes_to("configmaps", "workspace-fleet"),
        [FLEET_WRITE]
    );
    for name in running {
        assert_eq!(world.writes_to("pods", name), Vec::<String>::new());
        assert_eq!(world.writes_to("workspaces", name), Vec::<String>::new());
    }
    world.silence(5).await;
    assert_eq!(world.versions(&running), before);
}

#[tokio::test]
async fn a_change_of_mind_while_stuck_ends_where_the_settings_end() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.turn(&a, State::Unauthorized).await;
    world.turn(&b, State::Unavailable).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    world.state("alice", "ImagePullFailed").await;
    let old = uid(&world.get("pod", "alice")).to_owned();

    world.registry(&b);
    world
        .until("pod", "alice", |it| image(it).starts_with(&b))
        .await;
    world.registry(&a);
    world
        .until("pod", "alice", |it| image(it).starts_with(&a))
        .await;
    let host = host(&a);
    let words = format!("{host} answered 401 Unauthorized");
    world
        .until("workspace", "alice", |it| {
            let message = condition(it, "Ready")["message"].as_str();
            message.is_some_and(|message| message.ends_with(&words))
                && text(it, "/status/image").starts_with(&a)
        })
        .await;
    world.silence(4).await;
    world.turn(&a, State::Up).await;
    let pod = world.ready("alice").await;
    assert_eq!(uid(&pod), old);
    assert_eq!(world.writes(), ["patch workspaces/status alice 200"]);
    world.silence(3).await;
}

#[tokio::test]
async fn an_unscheduled_pod_is_repointed_too() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    let label = format!("{}/room", world.namespace);
    world.workspace("alice", &format!("{{nodeSelector: {{{label}: free}}}}"));
    world.state("alice", "Unschedulable").await;
    let old = uid(&world.get("pod", "alice")).to_owned();
    world.forget();
    world.registry(&b);
    world
        .until("pod", "alice", |it| image(it).starts_with(&b))
        .await;
    world.kubectl(&["label", "node", "node-1", &format!("{label}=free")]);
    let pod = world.ready("alice").await;
    world.kubectl(&["label", "node", "node-1", &format!("{label}-")]);
    assert_eq!(uid(&pod), old);
    assert_eq!(world.done_to("pods", "alice"), ["patch pods alice 200"]);
    assert!(world.log().contains("reason=Unscheduled"));
    world.silence(3).await;
}

#[tokio::test]
async fn other_settings_replace_a_stuck_pod_and_leave_a_running_one() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("runs", "{}");
    world.ready("runs").await;
    world.turn(&a, State::Unauthorized).await;
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    let before = world.versions(&["runs"]);

    let secret = ("IMAGE_PULL_SECRETS", "mirror");
    let url = ("PLATFORM_URL", "https://platform.example.com");
    for edit in [vec![secret], vec![secret, url]] {
        let old = uid(&world.get("pod", "stuck")).to_owned();
        // Not before it is stuck: a Pod that may be about to start is left alone.
        world.until("pod", "stuck", is_refused).await;
        world.forget();
        world.settings(&[&[(REGISTRY, a.as_str())], edit.as_slice()].concat());
        let pod = world
            .until("pod", "stuck", |it| !it.is_null() && uid(it) != old)
            .await;
        assert_eq!(pod["spec"]["imagePullSecrets"][0]["name"], "mirror");
        let environment = pod["spec"]["containers"][0]["env"].to_string();
        assert_eq!(environment.contains(url.1), edit.contains(&url));
        let replaced = ["delete pods stuck 200", "create pods stuck 201"];
        assert_eq!(world.done_to("pods", "stuck"), replaced);
    }
    world.turn(&a, State::Up).await;
    world.ready("stuck").await;
    world.silence(3).await;
    assert_eq!(world.versions(&["runs"]), before);
}

fn is_refused(pod: &Value) -> bool {
    let reason = pod.pointer("/status/containerStatuses/0/state/waiting/reason");
    reason.is_some_and(|it| it == "ErrImagePull" || it == "ImagePullBackOff")
}

#[tokio::test]
async fn a_registry_that_hangs_counts_as_stuck_after_the_provision_timeout() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.turn(&a, State::Hangs).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{provisionTimeoutSeconds: 5}");
    world.workspace("bob", "{}");
    let alice = world.state("alice", "Pulling").await;
    let stalled = condition(&alice, "Stalled");
    assert_eq!(stalled["status"], "True");
    let message = text(stalled, "/message");
    assert!(
        message.starts_with("not Ready for 5 s: the node pulls"),
        "{message}"
    );
    let old = uid(&world.get("pod", "alice")).to_owned();
    let bob = world.versions(&["bob"]);

    world.forget();
    world.registry(&b);
    let pod = world.ready("alice").await;
    assert_eq!(uid(&pod), old);
    assert!(image(&pod).starts_with(&b));
    assert_eq!(world.done_to("pods", "alice"), ["patch pods alice 200"]);
    let told = ["patch workspaces/status alice 200"];
    assert_eq!(world.writes_to("workspaces", "alice"), told);
    assert!(world.log().contains("reason=NeverStarted"));
    // The other may still be pulling: it has time left.
    assert_eq!(world.versions(&["bob"]), bob);
    world.turn(&a, State::Up).await;
    assert!(image(&world.ready("bob").await).starts_with(&a));
}

#[tokio::test]
async fn a_container_that_restarts_is_not_stuck() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("crashes", "{podAnnotations: {kwok/behaviour: crash}}");
    world.workspace("silent", "{podAnnotations: {kwok/behaviour: not-ready}}");
    world.workspace("restarted", "{}");
    world.ready("restarted").await;
    let restarted = uid(&world.get("pod", "restarted")).to_owned();
    world.state("crashes", "CrashLooping").await;
    world.forget();
    // The registry of what runs is gone, and its container comes back from the node's cache.
    world.turn(&a, State::Unauthorized).await;
    world.registry(&b);
    world.in_force(&b).await;
    let crash = world.cluster.crash_container(&world.namespace, "restarted");
    crash.await.expect("the container is killed");
    tokio::time::sleep(Duration::from_secs(5)).await;
    for name in ["crashes", "silent", "restarted"] {
        assert_eq!(world.writes_to("pods", name), Vec::<String>::new());
        assert!(image(&world.get("pod", name)).starts_with(&a));
    }
    assert_eq!(uid(&world.ready("restarted").await), restarted);
}

#[tokio::test]
async fn an_edit_made_while_the_operator_is_down_is_taken_up_at_its_start() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("runs", "{}");
    world.ready("runs").await;
    world.turn(&a, State::Unauthorized).await;
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    let old = uid(&world.get("pod", "stuck")).to_owned();
    world.kill().await;
    let before = world.versions(&["runs"]);
    world.registry(&b);
    world.forget();
    world.start();
    let pod = world.ready("stuck").await;
    assert_eq!(uid(&pod), old);
    assert_eq!(world.done_to("pods", "stuck"), ["patch pods stuck 200"]);
    let told = ["patch workspaces/status stuck 200"];
    assert_eq!(world.writes_to("workspaces", "stuck"), told);
    assert_eq!(
        world.writes_to("configmaps", "workspace-fleet"),
        [FLEET_WRITE]
    );
    world.silence(3).await;
    assert_eq!(world.versions(&["runs"]), before);
}
