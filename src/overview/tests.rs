use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::seen::{Memory, Pod, Service, Turn};
use crate::settings::Environment;
use crate::wire::{self, Wire};
use crate::workspace::WorkspaceSpec;

const UP: &str = "up.example.com/agents";
const DOWN: &str = "down.example.com/agents";

/// A fleet as the watches would show it.
#[derive(Default)]
struct Fleet {
    members: Vec<(Key, Workspace, Option<Pod>)>,
    memory: Memory,
}

impl Fleet {
    fn add(&mut self, status: Value, runs: Option<&str>) {
        let name = format!("agent-{:03}", self.members.len());
        let meta = json!({"name": name, "namespace": "team", "uid": name, "resourceVersion": "1"});
        let workspace = json!({"metadata": meta, "spec": {}, "status": status});
        let workspace: wire::Workspace = serde_json::from_value(workspace).expect("a Workspace");
        let pod = runs.map(|image| {
            let pod = json!({
                "metadata": {
                    "name": name, "namespace": "team", "uid": "pod", "resourceVersion": "1",
                    "annotations": {"molecule.ai/image": image},
                },
                "status": {"containerStatuses": [
                    {"name": "agent", "ready": true, "restartCount": 0, "imageID": "",
                     "state": {"running": {}}},
                ]},
            });
            let pod: wire::Pod = serde_json::from_value(pod).expect("a Pod");
            pod.seen()
        });
        let key = Key::new("team", &name);
        self.members.push((key, workspace.seen(), pod));
    }

    fn ready(&mut self, prefix: &str) {
        let image = format!("{prefix}/workspace-template-codex:v1");
        let status = status("Ready", &image, &[("Ready", "")]);
        self.add(status, Some(&image));
    }

    fn stuck(&mut self, prefix: &str, cause: &str) {
        let image = format!("{prefix}/workspace-template-codex:v1");
        let host = resolver::registry_host(&image);
        let message = format!("{image} cannot be pulled: {host} {cause}");
        let status = status("ImagePullFailed", &image, &[("Reconciling", &message)]);
        self.add(status, None);
    }

    fn overview(&self, registry: &str, earlier: &Overview, now: i64) -> Overview {
        let data = BTreeMap::from([("MOLECULE_IMAGE_REGISTRY".to_owned(), registry.to_owned())]);
        let parsed = Settings::parse(&data, &Environment::default()).expect("good settings");
        let now = Timestamp::from_second(now).expect("a time");
        overview(self.seen(), Some(&parsed.settings), earlier, now)
    }

    fn seen(&self) -> impl Iterator<Item = Seen<'_>> {
        self.members.iter().map(|(key, workspace, pod)| Seen {
            key,
            workspace: Some(workspace),
            pod: pod.as_ref(),
            claim: None,
            service: Service::Ours,
            memory: &self.memory,
            proof: None,
            turn: Turn::default(),
        })
    }
}

fn status(state: &str, image: &str, conditions: &[(&str, &str)]) -> Value {
    let condition = |(type_, message): &(&str, &str)| {
        json!({"type": type_, "status": "True", "reason": state, "message": message,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let conditions: Vec<_> = conditions.iter().map(condition).collect();
    json!({"state": state, "image": image, "conditions": conditions})
}

fn one(state: &str) -> BTreeMap<String, usize> {
    BTreeMap::from([(state.to_owned(), 1)])
}

#[test]
fn each_workspace_counts_once() {
    let mut fleet = Fleet::default();
    fleet.ready(UP);
    fleet.add(json!({}), None);
    fleet.add(status("Suspended", "", &[("Suspended", "")]), None);
    let serves_on = [("Ready", ""), ("Stalled", "")];
    fleet.add(status("PodRejected", "", &serves_on), None);
    let overview = fleet.overview(UP, &Overview::default(), 0);
    assert_eq!(overview.workspaces, 4);
    assert_eq!((overview.ready, overview.suspended), (1, 1));
    assert_eq!(overview.progressing, one("New"));
    assert_eq!(overview.stalled, one("PodRejected"));
    assert_eq!(overview.running, one("up.example.com"));
    assert_eq!((overview.pull_failures, overview.at_risk), (vec![], None));
}

#[test]
fn an_outage_is_told_from_when_it_was_first_seen_until_it_is_over() {
    let mut fleet = Fleet::default();
    fleet.ready(DOWN);
    fleet.stuck(DOWN, "answered 401 Unauthorized");
    let first = fleet.overview(DOWN, &Overview::default(), 60);
    assert_eq!(
        first.pull_failures,
        [PullFailure {
            registry: "down.example.com".into(),
            cause: "answered 401 Unauthorized".into(),
            outage: false,
            since: "1970-01-01T00:01:00Z".into(),
            workspaces: 1,
        }],
        "it may be the pull secret of one"
    );
    fleet.stuck(DOWN, "answered 401 Unauthorized");
    let later = fleet.overview(DOWN, &first, 3600);
    assert_eq!(later.pull_failures[0].since, "1970-01-01T00:01:00Z");
    assert_eq!(later.pull_failures[0].workspaces, 2);
    assert!(later.pull_failures[0].outage);
    fleet.members.truncate(1);
    let over = fleet.overview(DOWN, &later, 7200);
    assert_eq!(over.pull_failures, []);
}

#[test]
fn another_cause_and_another_registry_fail_since_they_were_seen() {
    let mut fleet = Fleet::default();
    fleet.stuck(DOWN, "answered 401 Unauthorized");
    let first = fleet.overview(DOWN, &Overview::default(), 60);
    fleet.stuck(DOWN, "answered 503 Service Unavailable");
    fleet.stuck(UP, "answered 401 Unauthorized");
    let later = fleet.overview(DOWN, &first, 3600);
    let since = |registry: &str, cause: &str| {
        let mut failures = later.pull_failures.iter();
        let same = |it: &&PullFailure| it.registry == registry && it.cause == cause;
        failures.find(same).map(|it| it.since.as_str())
    };
    let (down, up) = ("down.example.com", "up.example.com");
    let (before, now) = (Some("1970-01-01T00:01:00Z"), Some("1970-01-01T01:00:00Z"));
    assert_eq!(since(down, "answered 401 Unauthorized"), before);
    assert_eq!(since(down, "answered 503 Service Unavailable"), now);
    assert_eq!(since(up, "answered 401 Unauthorized"), now);
}

#[test]
fn what_runs_is_at_risk_while_the_registry_of_its_next_pod_fails() {
    let mut fleet = Fleet::default();
    for _ in 0..NAMES + 2 {
        fleet.ready(DOWN);
    }
    let earlier = Overview::default();
    assert_eq!(fleet.overview(DOWN, &earlier, 0).at_risk, None);
    fleet.stuck(DOWN, "does not have it");
    let one_image = fleet.overview(DOWN, &earlier, 0);
    assert_eq!(one_image.at_risk, None, "the registry itself answers");
    fleet.stuck(DOWN, "answered 503 Service Unavailable");
    let at_risk = fleet.overview(DOWN, &earlier, 0).at_risk.expect("a risk");
    let because = "down.example.com answered 503 Service Unavailable";
    assert_eq!(at_risk.because, because);
    assert_eq!(at_risk.workspaces, NAMES + 2);
    assert_eq!(at_risk.among_them.len(), NAMES);
    assert_eq!(at_risk.among_them[0], "team/agent-000");
    let switched = fleet.overview(UP, &earlier, 0);
    assert_eq!(
        switched.at_risk, None,
        "their next Pods come from elsewhere"
    );
}

#[test]
fn a_pull_without_an_end_is_an_outage_once_it_befalls_two() {
    let mut fleet = Fleet::default();
    let image = format!("{DOWN}/workspace-template-codex:v1");
    let stalled = status("Pulling", &image, &[("Stalled", "not Ready for 600 s")]);
    fleet.add(status("Pulling", &image, &[("Reconciling", "")]), None);
    assert_eq!(
        fleet.overview(DOWN, &Overview::default(), 0).pull_failures,
        []
    );
    fleet.add(stalled.clone(), None);
    let one = fleet.overview(DOWN, &Overview::default(), 0);
    assert_eq!(one.pull_failures[0].cause, "has not delivered it in time");
    assert_eq!(one.outages().count(), 0, "it may be a large image");
    fleet.add(stalled, None);
    let two = fleet.overview(DOWN, &Overview::default(), 0);
    assert_eq!(two.outages().count(), 1);
}

#[test]
fn what_runs_without_settings_or_a_known_runtime_is_at_risk() {
    let mut fleet = Fleet::default();
    fleet.ready(UP);
    fleet.ready(UP);
    fleet.members[1].1.spec = Ok(Packed::new(&WorkspaceSpec {
        runtime: "no-more".into(),
        ..WorkspaceSpec::default()
    }));
    let at_risk = fleet.overview(UP, &Overview::default(), 0).at_risk;
    let at_risk = at_risk.expect("a risk");
    assert_eq!(
        at_risk.because,
        "the settings in force do not know their runtime"
    );
    assert_eq!(at_risk.among_them, ["team/agent-001"]);
    let nothing = overview(
        fleet.seen(),
        None,
        &Overview::default(),
        Timestamp::UNIX_EPOCH,
    );
    let at_risk = nothing.at_risk.expect("a risk");
    assert_eq!(
        (at_risk.workspaces, &*at_risk.because),
        (2, "no settings are in force")
    );
}

#[test]
fn more_registries_than_are_named_count_as_one() {
    let mut fleet = Fleet::default();
    for number in 0..REGISTRIES + 3 {
        fleet.ready(&format!("r{number:02}.example.com/agents"));
    }
    fleet.ready("r18.example.com/agents");
    let running = fleet.overview(UP, &Overview::default(), 0).running;
    assert_eq!(running.len(), REGISTRIES + 1);
    assert_eq!((running[OTHER], running["r18.example.com"]), (3, 2));
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut fleet = Fleet::default();
    fleet.ready(DOWN);
    fleet.stuck(DOWN, "answered 401 Unauthorized");
    fleet.stuck(UP, "has some reason of its own");
    let overview = fleet.overview(DOWN, &Overview::default(), 0);
    assert_eq!(overview.pull_failures[1].cause, pull::UNNAMED.words);
    let text = overview.to_text();
    assert_eq!(Overview::from_text(&text), Some(overview), "{text}");
    assert_eq!(Overview::from_text("- no\n- overview"), None);
}

#[test]
fn what_is_left_over_is_of_all_beside_one_and_of_each_beside_all() {
    let keys = [
        "status",
        "status.agents",
        "status.other",
        "statusquo",
        "registry",
    ];
    let left = |namespace| keys.map(|it| is_left_over(it, namespace));
    assert_eq!(left(Some("agents")), [true, false, false, false, false]);
    assert_eq!(left(None), [false, true, true, false, false]);
    for namespace in [None, Some("agents")] {
        assert!(!is_left_over(&key(namespace), namespace));
    }
}
