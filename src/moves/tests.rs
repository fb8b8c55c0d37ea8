mod failed;
mod fates;
mod odd;

use serde_json::{Value, json};

use super::room::AHEAD;
use super::*;
use crate::revision::revision;
use crate::seen::{Left, Memory, Service};
use crate::settings::samples::settings;
use crate::wire::{self, Wire};

const OLD: &str = "old.example.com/agents";
const NEW: &str = "new.example.com/agents";
const START: i64 = 1_800_000_000;

/// A fleet as the watches would show it.
struct Fleet {
    members: Vec<(Key, Value, Option<Value>)>,
    memory: Memory,
    settings: Settings,
    turns: BTreeMap<Key, Turn>,
    now: i64,
}

impl Fleet {
    /// So many that run what the settings gave before, on two nodes in turn.
    fn of(workspaces: usize, most: &str) -> Self {
        let mut fleet = Self {
            members: Vec::new(),
            memory: Memory::default(),
            settings: paced(most, &[]),
            turns: BTreeMap::new(),
            now: START,
        };
        for _ in 0..workspaces {
            fleet.add(&json!({}), OLD);
        }
        fleet
    }

    fn add(&mut self, spec: &Value, prefix: &str) -> usize {
        let at = self.members.len();
        let name = format!("w-{at:04}");
        let uid = format!("uid-{at}");
        let meta = json!({"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "1"});
        let workspace = json!({"metadata": meta, "spec": spec});
        let image = format!("{prefix}/workspace-template-langgraph:latest");
        let pod = json!({
            "metadata": {
                "name": name, "namespace": "ns", "uid": "pod", "resourceVersion": "1",
                "labels": {"app.kubernetes.io/name": "workspace"},
                "annotations": {
                    "molecule.ai/image": image,
                    "molecule.ai/settings": pod::settings_hash(&self.settings),
                    "molecule.ai/revision": revision(spec, None),
                },
                "ownerReferences": [{
                    "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": name,
                    "uid": uid, "controller": true,
                }],
            },
            "spec": {"nodeName": format!("node-{}", at % 2)},
        });
        self.members
            .push((Key::new("ns", &name), workspace, Some(pod)));
        self.ready(at, true);
        at
    }

    fn pod(&mut self, at: usize) -> &mut Value {
        self.members[at].2.as_mut().expect("a Pod")
    }

    /// Its agent answers, or does not, and that is told.
    fn ready(&mut self, at: usize, ready: bool) {
        let is = if ready { "True" } else { "False" };
        let now = self::at(self.now).to_string();
        self.pod(at)["status"] = json!({
            "conditions": [{"type": "Ready", "status": is, "lastTransitionTime": &now}],
            "containerStatuses": [{
                "name": "agent", "ready": ready, "restartCount": 0, "state": {"running": {}},
            }],
        });
        self.told(at, ready);
    }

    /// Its Workspace says whether it is Ready.
    fn told(&mut self, at: usize, ready: bool) {
        let is = if ready { "True" } else { "False" };
        let now = self::at(self.now).to_string();
        self.members[at].1["status"] = json!({"conditions": [{
            "type": "Ready", "status": is, "reason": "why", "message": "why",
            "lastTransitionTime": now,
        }]});
    }

    /// The operator has moved it, and its container is being replaced.
    fn moved(&mut self, who: usize) {
        let now = at(self.now).to_string();
        let annotations = &mut self.pod(who)["metadata"]["annotations"];
        annotations["molecule.ai/movedFrom"] = annotations["molecule.ai/image"].clone();
        annotations["molecule.ai/image"] = new_image();
        annotations["molecule.ai/movedAt"] = json!(now);
        annotations["molecule.ai/movedOver"] = json!("0-");
    }

    /// The new container runs, and does not answer.
    fn in_vain(&mut self, at: usize) {
        self.moved(at);
        self.ready(at, false);
        self.back(at);
    }

    /// The new container answers.
    fn back(&mut self, at: usize) {
        self.pod(at)["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    }

    /// Its node says since when it is as it is, and how often its container has ended, the last time
    /// after 20 s.
    fn node_says(&mut self, who: usize, ready: bool, since: i64, restarts: i32) {
        self.ready(who, ready);
        let exit = json!({
            "exitCode": 1, "startedAt": "2026-03-01T00:00:00Z", "finishedAt": "2026-03-01T00:00:20Z",
        });
        let status = &mut self.pod(who)["status"];
        status["conditions"][0]["lastTransitionTime"] = json!(at(since).to_string());
        let container = &mut status["containerStatuses"][0];
        container["restartCount"] = json!(restarts);
        if restarts > 0 {
            container["lastState"] = json!({"terminated": exit});
        }
    }

    /// It was moved, was not Ready again in its time, and is on its earlier image again.
    fn put_back(&mut self, who: usize) {
        let annotations = &mut self.pod(who)["metadata"]["annotations"];
        annotations["molecule.ai/movedBack"] = new_image();
        annotations["molecule.ai/movedAt"] = json!(at(START).to_string());
    }

    fn look(&mut self, proof: impl Fn(&Question) -> Proof) -> Moves {
        let decoded: Vec<_> = self
            .members
            .iter()
            .map(|(key, workspace, pod)| {
                let workspace = decode::<wire::Workspace>(workspace);
                (key, workspace, pod.as_ref().map(decode::<wire::Pod>))
            })
            .collect();
        let seen = decoded.iter().map(|(key, workspace, pod)| Seen {
            key,
            workspace: Some(workspace),
            pod: pod.as_ref(),
            claim: None,
            service: Service::Ours,
            memory: &self.memory,
            proof: None,
            turn: Turn::Waits,
        });
        let now = at(self.now);
        let found = moves(seen, Some(&self.settings), &self.turns, proof, now);
        self.turns = found.turns.clone();
        found
    }

    fn looked(&mut self) -> (Vec<usize>, Tally) {
        let found = self.look(|_| Proof::Proved);
        let tally = found.tally.clone().expect("a tally");
        (these(&found, Turn::Moves), tally)
    }
}

fn decode<K: Wire + serde::de::DeserializeOwned>(object: &Value) -> K::Seen {
    serde_json::from_value::<K>(object.clone())
        .expect("the API server's own JSON")
        .seen()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// What the settings give to all of them.
fn new_image() -> Value {
    json!(format!("{NEW}/workspace-template-langgraph:latest"))
}

fn paced(most: &str, more: &[(&str, &str)]) -> Settings {
    let mut data = vec![
        ("MOLECULE_IMAGE_REGISTRY", NEW),
        ("ROLLOUT_MIN_READY_SECONDS", "0"),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MAX_UNAVAILABLE", most),
    ];
    data.extend(more);
    settings(&data)
}

fn these(found: &Moves, turn: Turn) -> Vec<usize> {
    let number = |key: &Key| key.name[2..].parse().expect("a number");
    let of_turn = found.turns.iter().filter(|(_, it)| **it == turn);
    of_turn.map(|(key, _)| number(key)).collect()
}

#[test]
fn on_restart_nobody_has_a_turn() {
    let mut fleet = Fleet::of(5, "2");
    fleet.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", NEW)]);
    assert_eq!(fleet.look(|_| Proof::Proved), Moves::default());
}

#[test]
fn so_many_are_moved_at_once_and_the_next_when_they_are_ready_again() {
    let mut fleet = Fleet::of(5, "2");
    assert_eq!(fleet.looked().0, [0, 1]);
    assert_eq!(fleet.looked().0, [0, 1], "their places are taken");
    fleet.moved(0);
    assert_eq!(fleet.looked().0, [1]);
    fleet.moved(1);
    let (turns, tally) = fleet.looked();
    assert_eq!(turns, [0; 0]);
    assert_eq!((tally.moved, tally.moving, tally.to_move), (2, 2, 3));
    fleet.back(1);
    assert_eq!(fleet.looked().0, [2]);
    fleet.back(0);
    assert_eq!(fleet.looked().0, [2, 3]);
}

#[test]
fn the_place_of_one_that_is_about_to_be_moved_is_not_given_away() {
    let mut fleet = Fleet::of(5, "1");
    assert_eq!(fleet.looked().0, [0]);
    // Its proof has expired, and its patch may be on its way.
    let found = fleet.look(|question| match &*question.node {
        "node-0" => Proof::Unknown,
        _ => Proof::Proved,
    });
    assert_eq!(these(&found, Turn::Moves), [0]);
}

#[test]
fn what_is_not_ready_for_other_reasons_counts_and_goes_first() {
    let mut fleet = Fleet::of(5, "2");
    fleet.ready(4, false);
    let (turns, tally) = fleet.looked();
    assert_eq!(turns, [0, 4], "it takes no second place");
    assert_eq!((tally.unavailable, tally.max_unavailable), (1, 2));
    fleet.ready(3, false);
    fleet.ready(2, false);
    assert_eq!(fleet.looked().0, [2, 4], "each may come back by itself");
    fleet.now += 601;
    assert_eq!(fleet.looked().0, [2, 3, 4], "none does");
}

#[test]
fn what_is_suspended_or_over_does_not_count() {
    let mut fleet = Fleet::of(3, "50%");
    fleet.add(&json!({"suspend": true}), OLD);
    fleet.add(&json!({"expiresAt": "2020-01-01T00:00:00Z"}), OLD);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.to_move), (vec![0], 3));
    assert_eq!(tally.max_unavailable, 1, "of three");
}

#[test]
fn users_may_opt_out_and_put_it_off() {
    let mut fleet = Fleet::of(0, "5");
    fleet.add(&json!({"rollout": {"policy": "OnRestart"}}), OLD);
    fleet.add(
        &json!({"rollout": {"notBefore": "2030-01-01T00:00:00Z"}}),
        OLD,
    );
    fleet.add(&json!({"rollout": {}}), OLD);
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Moves), [2]);
    assert_eq!(
        found.wake,
        Some("2030-01-01T00:00:00Z".parse().expect("a time"))
    );
    let tally = found.tally.expect("a tally");
    assert_eq!((tally.opted_out, tally.deferred, tally.to_move), (1, 1, 2));
}

#[test]
fn nothing_moves_while_it_is_paused() {
    let mut fleet = Fleet::of(3, "1");
    fleet.settings = paced("1", &[("ROLLOUT_PAUSED", "true")]);
    let found = fleet.look(|_| Proof::Proved);
    assert!(found.turns.is_empty());
    assert!(found.tally.expect("a tally").paused);
}

#[test]
fn those_that_come_next_are_proved_ahead_and_no_others() {
    let mut fleet = Fleet::of(100, "3");
    for proof in [Proof::UnderWay, Proof::Unknown] {
        fleet.turns.clear();
        let found = fleet.look(|_| proof.clone());
        assert_eq!(these(&found, Turn::Moves), [0; 0]);
        let ahead: Vec<_> = (0..2 * 3 + AHEAD).collect();
        assert_eq!(these(&found, Turn::Proves), ahead, "{proof:?}");
    }
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Moves), [0, 1, 2]);
}

#[test]
fn what_cannot_be_pulled_stands_in_nobodys_way() {
    let mut fleet = Fleet::of(100, "3");
    let found = fleet.look(|question| match &*question.node {
        "node-0" => Proof::Failed {
            why: "new.example.com answered 404 Not Found".into(),
        },
        _ => Proof::Proved,
    });
    assert_eq!(these(&found, Turn::Moves), [1, 3, 5]);
    let proves = these(&found, Turn::Proves);
    let told = (0..50).filter(|it| it % 2 == 0);
    assert!(
        told.into_iter().all(|it| proves.contains(&it)),
        "{proves:?}"
    );
    assert!(
        !proves.contains(&50),
        "what is far from its turn is not asked for"
    );
    let blocked = found.tally.expect("a tally").blocked;
    assert_eq!(blocked["new.example.com answered 404 Not Found"], 25);
}

#[test]
fn its_end_is_estimated_by_those_that_have_been_moved_and_may_be() {
    let mut fleet = Fleet::of(12, "2");
    let later = json!({"rollout": {"notBefore": "2030-01-01T00:00:00Z"}});
    for _ in 0..2 {
        fleet.add(&later, OLD);
    }
    assert_eq!(fleet.looked().1.estimated_end, None, "none has been moved");
    fleet.moved(0);
    fleet.moved(1);
    fleet.now += 100;
    fleet.back(0);
    fleet.back(1);
    // Two in 100 s, and ten are left.
    let end = at((START + 600) / 60 * 60 + 60);
    let tally = fleet.looked().1;
    assert_eq!(tally.estimated_end, Some(end.to_string()));
    fleet.settings = paced("2", &[("ROLLOUT_PAUSED", "true")]);
    assert_eq!(fleet.looked().1.estimated_end, None);
    fleet.settings = paced("2", &[]);
    fleet.put_back(2);
    let tally = fleet.looked().1;
    assert!(tally.halted.is_some());
    assert_eq!(tally.estimated_end, None);
}

#[test]
fn what_waits_for_a_rollout_of_its_own_is_not_moved() {
    let mut fleet = Fleet::of(1, "2");
    fleet.members[0].1["spec"] = json!({"tag": "v2"});
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.to_move), (vec![], 0));
}

#[test]
fn what_the_api_server_refuses_gives_its_place_to_others() {
    use crate::seen::{Ask, Refusal};
    let mut fleet = Fleet::of(1, "1");
    let ask = Ask {
        revision: String::new(),
        image: format!("{NEW}/workspace-template-langgraph:latest"),
        settings: String::new(),
    };
    let refusal = Refusal::after(None, ask, "a policy".into(), at(START));
    fleet.memory.pod_refusal = Some(refusal.into());
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Proves), [0]);
    let tally = found.tally.expect("a tally");
    assert_eq!(tally.blocked.into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(found.wake, Timestamp::from_second(START + 5).ok());
    fleet.now += 6;
    assert_eq!(fleet.looked().0, [0], "it is tried again");
}

#[test]
fn one_whose_end_the_api_server_refuses_gives_its_place_to_others() {
    let mut fleet = Fleet::of(1, "1");
    let at = Timestamp::from_second(START).expect("a time");
    let refusal = crate::seen::Refusal::after(None, "pod".into(), "a policy".into(), at);
    fleet.memory.delete_refusal = Some(refusal.into());
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Proves), [0]);
    let tally = found.tally.expect("a tally");
    assert_eq!(tally.blocked.into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(found.wake, Timestamp::from_second(START + 5).ok());
    fleet.now += 6;
    assert_eq!(fleet.looked().0, [0], "it is tried again");
}

/// For a moment one that serves is told something, or one is new.
#[test]
fn a_pull_that_is_under_way_goes_on_while_another_is_down() {
    let mut fleet = Fleet::of(3, "1");
    let pulls = |_: &Question| Proof::UnderWay;
    let before = fleet.look(pulls);
    fleet.ready(2, false);
    fleet.told(2, false);
    let found = fleet.look(pulls);
    assert_eq!(these(&before, Turn::Proves), these(&found, Turn::Proves));
    fleet.ready(2, true);
    fleet.told(2, true);
    fleet.memory.telling = true;
    let now = Timestamp::from_second(START).expect("a time");
    fleet.memory.showing = Some((crate::workspace::Reason::Ready, now));
    let found = fleet.look(pulls);
    assert_eq!(these(&found, Turn::Proves), [0, 1, 2]);
    assert_eq!(found.tally.expect("a tally").waits, None);
}

#[test]
fn where_as_many_are_down_as_may_be_nothing_is_proved_in_vain_and_it_is_told_why() {
    let mut fleet = Fleet::of(5, "2");
    fleet.ready(3, false);
    fleet.ready(4, false);
    let found = fleet.look(|_| Proof::Unknown);
    assert_eq!(
        these(&found, Turn::Proves),
        [3, 4],
        "they may come back by it"
    );
    assert_eq!(found.tally.expect("a tally").waits, None, "they are next");
    let failed = |_: &Question| {
        let why = "it cannot be had".into();
        Proof::Failed { why }
    };
    let found = fleet.look(failed);
    assert_eq!(these(&found, Turn::Proves), [3, 4]);
    let waits = found.tally.expect("a tally").waits.expect("a reason");
    assert!(waits.contains("ROLLOUT_MAX_UNAVAILABLE"), "{waits}");
    // Where it is the move for which they are down, others follow soon.
    fleet.moved(3);
    let found = fleet.look(|_| Proof::Unknown);
    assert_eq!(these(&found, Turn::Proves), [0, 1, 2, 4]);
    assert_eq!(found.tally.expect("a tally").waits, None);
    // Its old Pod is stopped, and the new one not there yet.
    fleet.members[3].2 = None;
    let waits = |fleet: &mut Fleet| fleet.look(failed).tally.expect("a tally").waits;
    assert!(waits(&mut fleet).is_some());
    let moved_from = Some("an image".into());
    let left = Left {
        moved_from,
        ..Left::default()
    };
    fleet.memory.left = Some(left.into());
    assert_eq!(waits(&mut fleet), None);
}

/// From outside: never more than allowed are down, all are moved, each once.
#[test]
fn a_fleet_comes_through_with_never_more_down_than_allowed() {
    let mut fleet = Fleet::of(200, "5%");
    let mut moved = vec![0; 200];
    let mut down: Vec<usize> = Vec::new();
    for round in 0..100 {
        for at in fleet.looked().0 {
            fleet.moved(at);
            moved[at] += 1;
            down.push(at);
        }
        assert!(down.len() <= 10, "{} are down", down.len());
        // Some come back sooner.
        let (back, stay) = down.iter().partition(|at| (*at + round) % 3 > 0);
        down = stay;
        let back: Vec<usize> = back;
        back.into_iter().for_each(|at| fleet.back(at));
    }
    assert!(moved.iter().all(|it| *it == 1), "{moved:?}");
    let tally = fleet.looked().1;
    assert!(!tally.is_under_way());
    assert_eq!(tally.moved, 200);
}
