//! What becomes of a fleet's move when Pods are changed, evicted, debugged, or crash.

use std::time::Duration;

use cluster::State;
use serde_json::Value;

use crate::fixture::{World, image, uid};
use crate::fleet::REGISTRY;
use crate::moving::runs;

impl World {
    /// What runs is moved there, and put back where it fails.
    fn moves_or_puts_back(&self, prefix: &str, most: &str, min_ready_seconds: &str) {
        self.settings(&[
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MAX_UNAVAILABLE", most),
            ("ROLLOUT_MIN_READY_SECONDS", min_ready_seconds),
            ("ROLLOUT_ROLL_BACK", "true"),
        ]);
    }

    /// So many that were moved longer ago than their time, and that run on the second of these. The
    /// registry that they were moved away from refuses every pull.
    async fn moved_long_ago(&self, count: usize) -> (Vec<String>, String) {
        let (a, b) = (self.prefix("a"), self.prefix("b"));
        let names = self.fleet_on(&a, "100%", count).await;
        self.moves_or_puts_back(&b, "100%", "0");
        self.holds("the move of all", |it| it.on(&b) == count).await;
        self.all_ready(count).await;
        // Their time is 5 s.
        tokio::time::sleep(Duration::from_secs(12)).await;
        self.turn(&a, State::Unauthorized).await;
        (names, b)
    }

    /// One that serves, and has for longer than its time, while its node cannot pull what its user asks
    /// for since. Returns its name, and the UID of its Pod.
    async fn serves_while_another_image_is_asked_for(&self) -> (String, String) {
        let a = self.prefix("a");
        let name = self.fleet_on(&a, "1", 1).await.remove(0);
        self.turn(&a, State::Unauthorized).await;
        self.workspace(&name, "{provisionTimeoutSeconds: 5, tag: v2}");
        self.state(&name, "RolloutBlocked").await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let uid = uid(&self.get("pod", &name)).to_owned();
        (name, uid)
    }

    fn tolerate(&self, pod: &str, key: &str) -> anyhow::Result<String> {
        let add = format!(
            r#"[{{"op":"add","path":"/spec/tolerations/-","value":{{"key":"{key}","operator":"Exists"}}}}]"#
        );
        self.try_kubectl(&["patch", "pod", pod, "--type=json", "-p", &add])
    }
}

/// The Pod of before, which nobody stops.
fn stays(pod: &Value, uid: &str) -> bool {
    pod["metadata"]["uid"] == uid && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Somebody adds a toleration, or debugs it: until its kubelet has looked, nothing is known of it.
#[tokio::test]
async fn one_that_serves_is_not_put_back_because_somebody_changed_its_pod() {
    let mut world = World::new().await;
    let (names, _) = world.moved_long_ago(3).await;
    world.forget();
    for round in 0..5 {
        for name in &names {
            let patched = world.tolerate(name, &format!("k{round}"));
            patched.expect("it is patched");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let writes = world.writes();
    let stopped = writes.iter().filter(|it| it.starts_with("patch pods"));
    assert_eq!(stopped.count(), 0, "{writes:#?}\n{}", world.overview_text());
}

/// All nodes are not heard of for a moment while the fleet is told to move, one at a time.
#[tokio::test]
async fn a_blink_of_readiness_has_no_more_stopped_than_may_be() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 8).await;
    for name in &names {
        world.workspace(name, "{provisionTimeoutSeconds: 60}");
    }
    // One serves on, so that it is proved on each node; the others blink.
    world.paced(&b, "1");
    world.kubectl(
        &[
            &["annotate", "pod"],
            &names.iter().map(String::as_str).collect::<Vec<_>>()[2..],
            &["kwok/behaviour=not-ready"],
        ]
        .concat(),
    );
    let moved = |world: &World| {
        let images = world.images();
        let blinking = names[2..].iter().map(|it| &images[it]);
        blinking.filter(|it| it.starts_with(&b)).count()
    };
    world.holds("a move", |it| moved(it) > 0).await;
    // The image is a bad one: none of them answers on it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(moved(&world), 1, "{}", world.overview_text());
}

#[tokio::test]
async fn the_halt_for_one_that_was_put_back_outlives_its_eviction() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "2", 12).await;
    world.moves_or_puts_back(&b, "2", "60");
    world.until("pod", &names[0], runs(&b)).await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour=not-ready"]);
    world.until("pod", &names[0], runs(&a)).await;
    world.overview_says("halted: ").await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour-"]);
    world.ready(&names[0]).await;
    let old = uid(&world.get("pod", &names[0])).to_owned();
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour=evict"]);
    world
        .until("pod", &names[0], |it| {
            it["metadata"]["uid"].as_str().is_some_and(|it| it != old)
        })
        .await;
    // The image of the settings is as bad as it was.
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour=not-ready"]);
    let moved = world.on(&b);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let says = world.overview_text();
    assert!(
        says.contains("halted: "),
        "moved {moved}, then {}\n{says}",
        world.on(&b)
    );
}

/// It crashed twice, and has been Ready for nearly ten minutes.
#[tokio::test]
async fn a_halt_ends_by_itself_when_the_one_that_crashed_was_ready_for_long_enough() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 6).await;
    world.settings(&[
        (REGISTRY, &b),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MAX_UNAVAILABLE", "1"),
        ("ROLLOUT_MIN_READY_SECONDS", "8"),
    ]);
    world.until("pod", &names[0], runs(&b)).await;
    world.ready(&names[0]).await;
    let now = jiff::Timestamp::now();
    let ago = |seconds: i64| {
        let at = now - jiff::SignedDuration::from_secs(seconds);
        jiff::Timestamp::from_second(at.as_second())
            .expect("a time")
            .to_string()
    };
    // It was moved eleven minutes ago.
    let moved = format!("molecule.ai/movedAt={}", ago(660));
    let pod = world.get("pod", &names[0]);
    let status = &pod["status"];
    let mut containers = status["containerStatuses"].clone();
    let restarts = containers[0]["restartCount"].as_i64().expect("a number");
    containers[0]["restartCount"] = (restarts + 2).into();
    containers[0]["lastState"] = serde_json::json!({"terminated": {
        "exitCode": 1, "reason": "Error", "startedAt": ago(640), "finishedAt": ago(600),
        "containerID": containers[0]["containerID"],
    }});
    let mut conditions = status["conditions"].clone();
    for condition in conditions.as_array_mut().expect("conditions") {
        if condition["type"] == "Ready" {
            condition["lastTransitionTime"] = ago(575).into();
        }
    }
    let patch =
        serde_json::json!({"status": {"containerStatuses": containers, "conditions": conditions}});
    world.kubectl(&[
        "patch",
        "pod",
        &names[0],
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch.to_string(),
    ]);
    world.kubectl(&["annotate", "pod", &names[0], &moved, "--overwrite"]);
    world.overview_says("halted: ").await;
    let moved = world.on(&b);
    // In 25 s it has been Ready for ten minutes.
    tokio::time::sleep(Duration::from_secs(50)).await;
    let says = world.overview_text();
    assert!(
        !says.contains("halted: "),
        "moved {moved}, then {}\n{says}",
        world.on(&b)
    );
}

/// Kubelets that do not look for a while, as when they are restarted: what their Pods say stays as it is.
async fn with_kubelets_that_can_rest() -> World {
    let options = cluster::Options {
        crds: vec![include_str!("../../crds/workspace.yaml").into()],
        ..cluster::Options::default()
    };
    let mut world = World::in_cluster(crate::fixture::start_cluster(options).await).await;
    world.start();
    world
}

/// Somebody adds a toleration (a resize or `kubectl debug` are alike) while its kubelet is restarted.
async fn changed_while_kubelets_rest(world: &mut World, name: &str) -> (Vec<String>, Value) {
    world
        .admin()
        .must(&["delete", "stage", "pod-look"])
        .expect("kubelets rest");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pod = world.get("pod", name);
    let status = &pod["status"];
    let ready = status["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .any(|it| it["type"] == "Ready" && it["status"] == "True");
    assert!(ready, "it serves");
    world.forget();
    world.tolerate(name, "k").expect("it is patched");
    tokio::time::sleep(Duration::from_secs(4)).await;
    (world.writes(), world.get("pod", name))
}

#[tokio::test]
async fn one_that_serves_is_not_put_back_while_its_kubelet_rests() {
    let mut world = with_kubelets_that_can_rest().await;
    let (names, b) = world.moved_long_ago(2).await;
    let (writes, pod) = changed_while_kubelets_rest(&mut world, &names[0]).await;
    assert!(
        image(&pod).starts_with(&b),
        "{} {writes:#?}\n{}",
        image(&pod),
        world.overview_text()
    );
}

/// I3, for a change of the spec.
#[tokio::test]
async fn one_that_serves_is_not_stopped_for_what_its_node_cannot_pull_while_its_kubelet_rests() {
    let mut world = with_kubelets_that_can_rest().await;
    let (name, old) = world.serves_while_another_image_is_asked_for().await;
    let (writes, pod) = changed_while_kubelets_rest(&mut world, &name).await;
    assert!(stays(&pod, &old), "{writes:#?} {}", pod["metadata"]);
}

/// Kubelets look at once, in 30 ms.
#[tokio::test]
async fn one_that_serves_is_not_stopped_for_what_its_node_cannot_pull_when_its_pod_is_changed() {
    let mut world = World::new().await;
    let (name, old) = world.serves_while_another_image_is_asked_for().await;
    world.forget();
    let mut rounds = 0;
    for round in 0..40 {
        rounds = round;
        if world.tolerate(&name, &format!("k{round}")).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let pod = world.get("pod", &name);
    let writes = world.writes();
    assert!(
        stays(&pod, &old),
        "after {rounds} edits: {writes:#?} {}",
        pod["metadata"]
    );
}

#[tokio::test]
async fn one_that_serves_is_not_stopped_for_what_its_node_cannot_pull_when_somebody_debugs_it() {
    let mut world = World::new().await;
    let (name, old) = world.serves_while_another_image_is_asked_for().await;
    world.forget();
    for _ in 0..5 {
        let _ = world.try_kubectl(&[
            "debug",
            &name,
            "--image=debug.example.com/x:1",
            "--attach=false",
            "--profile=general",
        ]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let pod = world.get("pod", &name);
    let writes = world.writes();
    assert!(stays(&pod, &old), "{writes:#?} {}", pod["metadata"]);
}

/// It is known to fail on the image of the settings; what else is edited does not change that.
#[tokio::test]
async fn one_that_was_put_back_stays_and_halts_the_others_when_the_url_changes() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 8).await;
    let more = |url: &str| {
        world.settings(&[
            (REGISTRY, &b),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_ROLL_BACK", "true"),
            ("PLATFORM_URL", url),
        ]);
    };
    more("");
    world.until("pod", &names[0], runs(&b)).await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour=not-ready"]);
    world.until("pod", &names[0], runs(&a)).await;
    world.overview_says("halted: ").await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour-"]);
    world.ready(&names[0]).await;
    let before = world.on(&b);
    more("https://platform.example.com");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let images = world.images();
    assert!(
        images[&names[0]].starts_with(&a),
        "{before}, then {} {images:#?}\n{}",
        world.on(&b),
        world.overview_text()
    );
}
