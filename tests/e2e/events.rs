//! The Events: what `kubectl describe` shows of a Workspace and of the settings.

use std::time::{Duration, Instant};

use cluster::State;
use serde_json::{Value, json};

use crate::fixture::{PATIENCE, World};

/// An Event: of which type, for which reason, in which words, how often.
type Told = (String, String, String, u64);

impl World {
    /// The Events about an object.
    fn told(&self, kind: &str, name: &str) -> Vec<Told> {
        let json = ["get", "events.events.k8s.io", "-o", "json"];
        let list: Value = serde_json::from_str(&self.kubectl(&json)).expect("a list");
        let about = |it: &&Value| {
            let regarding = &it["regarding"];
            regarding["kind"] == kind && regarding["name"] == name
        };
        let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
        let ours = |it: &&Value| it["reportingController"] == "workspace-operator";
        let events = list["items"].as_array().into_iter().flatten();
        let events = events.filter(about).filter(ours).map(|it| {
            let count = it["series"]["count"].as_u64().unwrap_or(1);
            (
                text(it, "type"),
                text(it, "reason"),
                text(it, "note"),
                count,
            )
        });
        events.collect()
    }

    /// Waits until an Event for this reason, with these words, was told so often.
    async fn is_told(
        &self,
        (kind, name): (&str, &str),
        (reason, words): (&str, &str),
        count: u64,
    ) -> Told {
        let start = Instant::now();
        loop {
            let told = self.told(kind, name);
            let is = |it: &&Told| it.1 == reason && it.2.contains(words) && it.3 == count;
            let found = told.iter().find(is);
            if let Some(found) = found {
                return found.clone();
            }
            assert!(start.elapsed() < PATIENCE, "{told:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_replacement_and_a_stall_are_told_of_their_workspace_and_a_success_is_not() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    world.ready("alice").await;
    world.silence(1).await;
    assert_eq!(world.told("Workspace", "alice"), []);
    for round in 1..=2 {
        let spec = json!({"spec": {"env": [{"name": "ROUND", "value": round.to_string()}]}});
        let patch = ["alice", "--type=merge", "-p", &spec.to_string()];
        world.kubectl(&[&["patch", "workspace"][..], &patch].concat());
        let words = ("Replacing", "what was asked for changed");
        let told = world.is_told(("Workspace", "alice"), words, round).await;
        assert_eq!(told.0, "Normal");
        world.ready("alice").await;
    }
    assert_eq!(world.told("Workspace", "alice").len(), 1);
    world.kubectl(&["delete", "pod", "alice"]);
    let alice = ("Workspace", "alice");
    let told = world.is_told(alice, ("PodGone", "is gone"), 1).await;
    assert_eq!(told.0, "Warning");
    world.ready("alice").await;
    world.workspace("alice", "{suspend: true}");
    world.state("alice", "Suspended").await;
    world.workspace("alice", "{}");
    world.is_told(alice, ("Resuming", ""), 1).await;
    world.ready("alice").await;
    assert_eq!(world.told("Workspace", "alice").len(), 3);
    let described = world.kubectl(&["describe", "workspace", "alice"]);
    assert!(described.contains("Replacing"), "{described}");

    world.workspace("bob", "{runtime: unheard-of}");
    let words = ("UnknownRuntime", "unheard-of");
    let told = world.is_told(("Workspace", "bob"), words, 1).await;
    assert_eq!(told.0, "Warning");
    // The next operator finds it as it is told.
    world.kill().await;
    world.start();
    world.logged("looking after Workspaces").await;
    world.silence(3).await;
    assert_eq!(world.told("Workspace", "bob").len(), 1);
}

#[tokio::test]
async fn a_pod_that_failed_is_told_of_its_workspace_when_it_is_replaced() {
    let world = World::new().await;
    world.workspace("alice", "{}");
    world.ready("alice").await;
    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour=evict"]);
    let words = ("PodFailed", "because it ended; failures in a row: 1");
    let told = world.is_told(("Workspace", "alice"), words, 1).await;
    assert_eq!(told.0, "Warning");
    world.ready("alice").await;
    assert_eq!(world.told("Workspace", "alice").len(), 1);
}

#[tokio::test]
async fn a_registry_that_hangs_is_told_of_the_record_where_there_are_no_settings() {
    let mut world = World::without_operator().await;
    let down = world.prefix("down");
    world.turn(&down, State::Hangs).await;
    world.start_with(&["--registry", &down], &[]);
    for name in ["alice", "bob"] {
        world.workspace(name, "{provisionTimeoutSeconds: 2}");
    }
    let record = ("ConfigMap", "workspace-fleet");
    let words = ("RegistryFailing", "has not delivered it in time");
    assert_eq!(world.is_told(record, words, 1).await.0, "Warning");
    world.turn(&down, State::Up).await;
    for name in ["alice", "bob"] {
        world.ready(name).await;
    }
    world.is_told(record, ("RegistryFailureOver", ""), 1).await;
}

#[tokio::test]
async fn a_record_that_others_change_is_no_edit_of_the_settings() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    let good = world.fleet("lastGood");
    let changes = json!({"data": {"lastGood": "{}"}}).to_string();
    let fleet = [
        "configmap",
        "workspace-fleet",
        "--type=merge",
        "-p",
        &changes,
    ];
    world.kubectl(&[&["patch"][..], &fleet].concat());
    let is_back = |world: &World| world.fleet("lastGood") == good;
    world.holds("the record", is_back).await;
    world.silence(1).await;
    let told = world.told("ConfigMap", "workspace-settings");
    assert!(told.len() <= 1, "the edit by which it began: {told:?}");
}

#[tokio::test]
async fn an_outage_and_its_end_are_told_of_the_settings_and_not_of_each_workspace() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.turn(&a, State::Unauthorized).await;
    world.registry(&a);
    world.in_force(&a).await;
    let stuck = ["alice", "bob", "carol"];
    for name in stuck {
        world.workspace(name, "{}");
    }
    for name in stuck {
        world.state(name, "ImagePullFailed").await;
    }
    let settings = ("ConfigMap", "workspace-settings");
    let words = ("RegistryFailing", "answered 401 Unauthorized");
    assert_eq!(world.is_told(settings, words, 1).await.0, "Warning");

    world.registry("https://mirror.example.com/agents");
    let words = ("SettingsRejected", "has a scheme");
    assert_eq!(world.is_told(settings, words, 1).await.0, "Warning");

    world.registry(&b);
    let words = format!("new rollouts pull from {b}, and no longer from {a}");
    world
        .is_told(settings, ("SettingsAccepted", &words), 1)
        .await;
    for name in stuck {
        world.ready(name).await;
    }
    world.is_told(settings, ("Healed", ": 3"), 1).await;
    world
        .is_told(settings, ("RegistryFailureOver", ""), 1)
        .await;
    for name in stuck {
        assert_eq!(world.told("Workspace", name), []);
    }
    let described = world.kubectl(&["describe", settings.0, settings.1]);
    assert!(described.contains("RegistryFailing"), "{described}");
    world.silence(3).await;
}

#[tokio::test]
async fn the_move_of_a_fleet_is_told_of_its_settings_when_it_begins_halts_and_ends() {
    let world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    let names = world.fleet_on(&a, "1", 6).await;
    world.paced(&b, "1");
    let settings = ("ConfigMap", "workspace-settings");
    let told = world.is_told(settings, ("RolloutBegun", ""), 1).await;
    assert_eq!(told.0, "Normal");
    let runs = |it: &Value| crate::fixture::image(it).starts_with(&b);
    world.until("pod", &names[0], runs).await;
    let behaves = |how: &str| {
        world.kubectl(&["annotate", "pod", &names[0], how, "--overwrite"]);
    };
    behaves("kwok/behaviour=not-ready");
    let halted = ("RolloutHalted", &*names[0]);
    assert_eq!(world.is_told(settings, halted, 1).await.0, "Warning");
    behaves("kwok/behaviour-");
    let told = world.is_told(settings, ("RolloutOver", ""), 1).await;
    assert_eq!(told.0, "Normal");
    assert_eq!(world.on(&b), 6);
    for name in &names[1..] {
        assert_eq!(world.told("Workspace", name), [], "each is no news");
    }
}
