//! Operators that die at any moment, and two at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::{Process, State};
use kube::Api;
use kube::api::PostParams;
use serde_json::Value;
use workspace_operator::workspace::{Workspace, WorkspaceSpec};

use crate::fixture::{PATIENCE, World, text, uid, workspace};

/// Random numbers that a printed seed brings back.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = now.expect("it is later").subsec_nanos().into();
        println!("seed {seed}");
        Self(seed)
    }

    /// A time below this many milliseconds.
    fn below(&mut self, milliseconds: u64) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.0 >> 33) % milliseconds)
    }
}

/// How often the operators got this answer, by the name of the object.
fn answered(
    world: &World,
    codes: Range<u16>,
    verb: &str,
    resource: &str,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in world.requests().of(resource) {
        if event.verb == verb && event.subresource.is_empty() && codes.contains(&event.code) {
            *counts.entry(event.name).or_default() += 1;
        }
    }
    counts
}

/// How often the operators succeeded in this, by the name of the object.
fn succeeded(world: &World, verb: &str, resource: &str) -> BTreeMap<String, usize> {
    answered(world, 200..300, verb, resource)
}

/// The same, with one for what was done, or not, while no one was there any more to hear the
/// answer: the API server logs that as a time-out.
fn succeeded_or_unheard(world: &World, verb: &str, resource: &str) -> BTreeMap<String, usize> {
    let mut counts = succeeded(world, verb, resource);
    for name in answered(world, 504..505, verb, resource).into_keys() {
        counts.entry(name).or_insert(1);
    }
    counts
}

/// Whether anyone deleted a Pod. Where no one did, what was created was created once.
fn pods_were_deleted(world: &World) -> bool {
    let events = world.events().in_namespace(&world.namespace).of("pods");
    events.iter().any(|it| it.verb.starts_with("delete"))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|it| format!("agent-{it:02}")).collect()
}

/// One success for each of so many.
fn once(count: usize) -> BTreeMap<String, usize> {
    names(count).into_iter().map(|it| (it, 1)).collect()
}

fn apply(world: &World, count: usize) {
    let all: Vec<_> = names(count).iter().map(|it| workspace(it, "{}")).collect();
    world.apply(&all.join("---\n"));
}

/// The UID of each Pod, by its name.
fn pods(world: &World) -> BTreeMap<String, String> {
    let of = |pod: &Value| {
        let name = text(pod, "/metadata/name").to_owned();
        (name, uid(pod).to_owned())
    };
    world.list("pods").iter().map(of).collect()
}

#[tokio::test]
async fn an_operator_killed_again_and_again_makes_each_pod_once() {
    const COUNT: usize = 100;
    let mut world = World::without_operator().await;
    let mut random = Random::new();
    let client = world.cluster.client().await.expect("a client");
    let api = Api::<Workspace>::namespaced(client, &world.namespace);
    let rollout = tokio::spawn(async move {
        for name in names(COUNT) {
            let workspace = Workspace::new(&name, WorkspaceSpec::default());
            let created = api.create(&PostParams::default(), &workspace).await;
            created.expect("it is created");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    let mut kills = 0;
    let mut made = 0;
    while kills < 12 || !rollout.is_finished() || (made < COUNT * 8 / 10 && kills < 60) {
        world.start();
        world.logged("looking after").await;
        tokio::time::sleep(random.below(250)).await;
        world.kill().await;
        kills += 1;
        made = world.list("pods").len();
    }
    rollout.await.expect("all are created");
    println!("{kills} kills, {made} Pods");
    world.start();
    world.all_ready(COUNT).await;
    assert_eq!(succeeded_or_unheard(&world, "create", "pods"), once(COUNT));
    assert!(!pods_were_deleted(&world));
    world.silence(1).await;

    world.kill().await;
    world.forget();
    world.start();
    world.logged("looking after").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What was watched is in the log once it has ended.
    world.stop().await;
    let requests = world.requests();
    let looks = |verb: &str| verb == "list" || verb == "watch";
    assert!(requests.iter().all(|it| looks(&it.verb)), "{requests:#?}");
    assert!(requests.len() <= 14, "{requests:#?}");
}

#[tokio::test]
async fn an_operator_killed_while_it_heals_heals_each_pod_once() {
    const COUNT: usize = 30;
    let mut world = World::without_operator().await;
    let (old, mirror) = (world.prefix("old"), world.prefix("mirror"));
    world.turn(&old, State::Unauthorized).await;
    world.registry(&old);
    world.start();
    apply(&world, COUNT);
    let all_stuck = |world: &World| {
        let stuck = |it: &&Value| it["status"]["state"] == "ImagePullFailed";
        world.list("workspaces").iter().filter(stuck).count() == COUNT
    };
    world.holds("the outage", all_stuck).await;
    let stuck = pods(&world);
    world.forget();
    world.registry(&mirror);
    for healed in [3, 12, 20] {
        // Those whose answer the killed operator did not hear count: there may be no others left.
        let so_many = |world: &World| succeeded_or_unheard(world, "patch", "pods").len() >= healed;
        let start = Instant::now();
        while !so_many(&world) {
            assert!(start.elapsed() < PATIENCE, "{healed} were not healed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        world.kill().await;
        world.start();
    }
    world.all_ready(COUNT).await;
    assert_eq!(pods(&world), stuck, "the same Pods");
    assert_eq!(succeeded_or_unheard(&world, "patch", "pods"), once(COUNT));
    let patched_once = |it: &Value| it["metadata"]["generation"] == 2;
    assert!(world.list("pods").iter().all(patched_once));
    assert!(!pods_were_deleted(&world));
    world.silence(2).await;
}

#[tokio::test]
async fn two_operators_at_once_make_each_pod_once() {
    const COUNT: usize = 30;
    let mut world = World::new().await;
    let second = Process::spawn(&mut world.command()).expect("a second operator starts");
    world.logged("looking after").await;
    let ready = second.wait_for_line("looking after", crate::fixture::PATIENCE);
    ready.await.expect("it looks after them too");
    apply(&world, COUNT);
    world.all_ready(COUNT).await;
    assert_eq!(succeeded(&world, "create", "pods"), once(COUNT));
    assert!(!pods_were_deleted(&world));
    assert_eq!(succeeded(&world, "create", "services").len(), 1);
    world.silence(3).await;
    drop(second);
}
