//! A fleet that runs is moved to other settings, at a pace, and nothing stops that cannot start again.

use std::time::Duration;

use cluster::State;
use serde_json::Value;

use crate::fixture::{World, condition, host, image, uid};
use crate::fleet::{REGISTRY, Watcher};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("w-{number:02}")).collect()
}

/// Whether a Pod has an image of this prefix.
pub fn runs(prefix: &str) -> impl Fn(&Value) -> bool {
    let prefix = prefix.to_owned();
    move |it: &Value| image(it).starts_with(&prefix)
}

impl World {
    /// So many Workspaces that run what this prefix has.
    pub async fn fleet_on(&self, prefix: &str, most: &str, count: usize) -> Vec<String> {
        self.paced(prefix, most);
        self.in_force(prefix).await;
        let names = names(count);
        for name in &names {
            self.workspace(name, "{provisionTimeoutSeconds: 5}");
        }
        self.all_ready(count).await;
        names
    }

    fn uids(&self, names: &[String]) -> Vec<String> {
        let uid = |name: &String| uid(&self.get("pod", name)).to_owned();
        names.iter().map(uid).collect()
    }

    pub async fn overview_says(&self, words: &str) {
        self.until("configmap", "workspace-fleet", |it| {
            let key = format!("status.{}", self.namespace);
            it["data"][&key]
                .as_str()
                .is_some_and(|it| it.contains(words))
        })
        .await;
    }
}

#[tokio::test]
async fn a_fleet_is_moved_in_place_with_never_more_down_than_allowed() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "3", 12).await;
    let uids = world.uids(&names);
    world.forget();
    let watcher = Watcher::start(world.client.clone(), &world.namespace);
    world.paced(&b, "3");
    world.holds("the move of all", |it| it.on(&b) == 12).await;
    world.all_ready(12).await;
    let most = watcher.end().await;
    assert!((1..=3).contains(&most), "{most} were down");
    assert_eq!(world.uids(&names), uids, "the Pods stay");
    let writes = world.writes();
    for name in &names {
        let of = |start: &str| {
            let line = format!("{start} {name} 200");
            writes.iter().filter(|it| **it == line).count()
        };
        assert_eq!(of("patch pods"), 1, "{writes:#?}");
        assert!(of("patch workspaces/status") <= 2, "{writes:#?}");
    }
    let nodes: std::collections::BTreeSet<_> = names
        .iter()
        .map(|it| world.get("pod", it)["spec"]["nodeName"].to_string())
        .collect();
    let probes = writes
        .iter()
        .filter(|it| it.starts_with("create pods workspace-probe-"));
    assert_eq!(
        probes.count(),
        nodes.len(),
        "one for each node: {writes:#?}"
    );
    world.overview_says("toMove: 0").await;
}

#[tokio::test]
async fn nothing_is_stopped_for_a_mirror_that_refuses() {
    let world = World::new().await;
    let (a, b, c) = (world.prefix("a"), world.prefix("b"), world.prefix("c"));
    let names = world.fleet_on(&a, "100%", 4).await;
    world.turn(&b, State::Unauthorized).await;
    world.paced(&b, "100%");
    let words = format!("{} answered 401 Unauthorized", host(&b));
    for name in &names {
        let told = world.state(name, "RolloutBlocked").await;
        assert_eq!(condition(&told, "Ready")["status"], "True");
        let message = condition(&told, "Stalled")["message"].to_string();
        assert!(message.contains(&words), "{message}");
    }
    world.overview_says(&words).await;
    assert_eq!(world.on(&a), 4, "all run on");
    world.paced(&c, "100%");
    world.holds("the move of all", |it| it.on(&c) == 4).await;
    world.all_ready(4).await;
}

#[tokio::test]
async fn a_move_that_fails_halts_the_others_until_it_is_mended() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 20).await;
    world.paced(&b, "1");
    world
        .until("pod", &names[0], |it| image(it).starts_with(&b))
        .await;
    let behaves = |how: &str| {
        world.kubectl(&["annotate", "pod", &names[0], how, "--overwrite"]);
    };
    behaves("kwok/behaviour=not-ready");
    world.overview_says("halted: ").await;
    let moved = world.on(&b);
    assert!(moved < 20, "it was too late to fail");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.on(&b), moved, "nobody else is moved");
    behaves("kwok/behaviour-");
    world.holds("the move of all", |it| it.on(&b) == 20).await;
}

#[tokio::test]
async fn what_does_not_come_back_in_its_time_is_put_back_where_the_settings_say_so() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 6).await;
    let old = world.uids(&names);
    world.settings(&[
        (REGISTRY, &b),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MIN_READY_SECONDS", "0"),
        ("ROLLOUT_ROLL_BACK", "true"),
    ]);
    world.until("pod", &names[0], runs(&b)).await;
    let behaves = |how: &str| {
        world.kubectl(&["annotate", "pod", &names[0], how, "--overwrite"]);
    };
    behaves("kwok/behaviour=not-ready");
    world.until("pod", &names[0], runs(&a)).await;
    world.overview_says("putBack: 1").await;
    world.overview_says("halted: ").await;
    behaves("kwok/behaviour-");
    world.ready(&names[0]).await;
    let moved = world.on(&b);
    assert!(moved < 5, "it was too late to fail");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.on(&b), moved, "nobody else is moved");
    assert!(image(&world.get("pod", &names[0])).starts_with(&a));
    // Restarted, it takes what the settings give, as any Pod that starts anew.
    let restart = [
        "annotate",
        "workspace",
        &names[0],
        "molecule.ai/restartedAt=1",
    ];
    world.kubectl(&restart);
    world.holds("the move of all", |it| it.on(&b) == 6).await;
    world.all_ready(6).await;
    assert_eq!(world.uids(&names)[1..], old[1..], "the others in place");
}

#[tokio::test]
async fn where_one_may_fail_one_that_was_put_back_holds_up_nobody() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 6).await;
    let allow = |failures: &str| {
        world.settings(&[
            (REGISTRY, &b),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_ROLL_BACK", "true"),
            ("ROLLOUT_MAX_FAILED", failures),
        ]);
    };
    allow("1");
    world.until("pod", &names[0], runs(&b)).await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour=not-ready"]);
    world.until("pod", &names[0], runs(&a)).await;
    world.kubectl(&["annotate", "pod", &names[0], "kwok/behaviour-"]);
    world
        .holds("the move of the others", |it| it.on(&b) == 5)
        .await;
    world.overview_says("putBack: 1").await;
    world.overview_says("maxFailed: 1").await;
    world.all_ready(6).await;
    assert!(image(&world.get("pod", &names[0])).starts_with(&a));
    // Where none may fail, it is told.
    allow("0");
    world.overview_says("halted: ").await;
}

#[tokio::test]
async fn the_next_waits_until_one_was_ready_for_long_enough() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 3).await;
    world.settings(&[
        (REGISTRY, &b),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MIN_READY_SECONDS", "4"),
    ]);
    world.holds("the move of all", |it| it.on(&b) == 3).await;
    let moved_at = |name: &String| {
        let pod = world.get("pod", name);
        let at = pod["metadata"]["annotations"]["molecule.ai/movedAt"].as_str();
        at.and_then(|it| it.parse::<jiff::Timestamp>().ok())
            .expect("it was moved")
    };
    let moved: Vec<_> = names.iter().map(moved_at).collect();
    for pair in moved.windows(2) {
        let pause = pair[1].duration_since(pair[0]).as_secs_f64();
        assert!((4.0..20.0).contains(&pause), "{pause} s: {moved:?}");
    }
}

#[tokio::test]
async fn a_move_outlives_its_operator_and_one_that_opted_out_stays() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 8).await;
    world.workspace(&names[3], "{rollout: {policy: OnRestart}}");
    world.ready(&names[3]).await;
    world.paced(&b, "1");
    world.holds("a first move", |it| it.on(&b) > 0).await;
    world.kill().await;
    assert!(world.on(&b) < 7, "it was too late to die");
    world.start();
    world.holds("the move of all", |it| it.on(&b) == 7).await;
    world.overview_says("optedOut: 1").await;
    assert!(image(&world.get("pod", &names[3])).starts_with(&a));
}

#[tokio::test]
async fn where_pull_secrets_differ_another_pod_takes_the_place_on_the_same_node() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 2).await;
    let node = |name: &String| world.get("pod", name)["spec"]["nodeName"].clone();
    let nodes: Vec<_> = names.iter().map(node).collect();
    let uids = world.uids(&names);
    world.settings(&[
        (REGISTRY, &b),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MIN_READY_SECONDS", "0"),
        ("IMAGE_PULL_SECRETS", "mirror"),
    ]);
    world.holds("the move of all", |it| it.on(&b) == 2).await;
    world.all_ready(2).await;
    let nodes_now: Vec<_> = names.iter().map(node).collect();
    assert_eq!(nodes_now, nodes);
    assert_ne!(world.uids(&names), uids);
    let secrets = world.get("pod", &names[0])["spec"]["imagePullSecrets"].clone();
    assert_eq!(secrets[0]["name"], "mirror");
}

#[tokio::test]
async fn an_edit_back_in_the_middle_turns_what_was_moved_and_touches_nothing_else() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "2", 20).await;
    let uids = world.uids(&names);
    world.forget();
    let watcher = Watcher::start(world.client.clone(), &world.namespace);
    world.paced(&b, "2");
    world.holds("some moves", |it| it.on(&b) >= 3).await;
    world.paced(&a, "2");
    world.in_force(&a).await;
    world
        .holds("the way back of all", |it| it.on(&a) == 20)
        .await;
    world.all_ready(20).await;
    world.overview_says("toMove: 0").await;
    let most = watcher.end().await;
    assert!((1..=2).contains(&most), "{most} were down");
    assert_eq!(world.uids(&names), uids, "the Pods stay");
    let writes = world.writes();
    world.silence_beside_probes(3).await;
    let moves = |name: &String| {
        let line = format!("patch pods {name} 200");
        writes.iter().filter(|it| **it == line).count()
    };
    let (turned, stayed): (Vec<_>, Vec<_>) = names.iter().map(moves).partition(|it| *it > 0);
    assert!(turned.iter().all(|it| *it == 2), "{writes:#?}");
    assert!(turned.len() >= 3 && stayed.len() >= 3, "{writes:#?}");
}

#[tokio::test]
async fn who_put_it_off_is_moved_when_the_time_has_come() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 4).await;
    let now = jiff::Timestamp::now();
    let opens = jiff::Timestamp::from_second(now.as_second() + 30).expect("a time");
    world.workspace(&names[1], &format!("{{rollout: {{notBefore: '{opens}'}}}}"));
    let clock = |hours: i64| {
        let at = now + jiff::SignedDuration::from_hours(hours);
        at.strftime("%H:%M").to_string()
    };
    let window = format!("start: '{}', end: '{}'", clock(2), clock(3));
    world.workspace(&names[2], &format!("{{rollout: {{window: {{{window}}}}}}}"));
    world.paced(&b, "1");
    world
        .holds("the move of the two others", |it| it.on(&b) == 2)
        .await;
    world.overview_says("deferred: 2").await;
    assert!(jiff::Timestamp::now() < opens, "it was too late");
    world
        .holds("the move of one more", |it| it.on(&b) == 3)
        .await;
    assert!(jiff::Timestamp::now() >= opens, "it was too early");
    assert!(image(&world.get("pod", &names[1])).starts_with(&b));
    world.overview_says("deferred: 1").await;
    assert!(image(&world.get("pod", &names[2])).starts_with(&a));
}
