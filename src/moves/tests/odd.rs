//! What surrounds a move is not always as one would wish.

use super::*;
use crate::seen::Version;
use crate::workspace::Reason;

fn told(second: i64) -> Value {
    json!(at(second).to_string())
}

/// One cannot be pulled; another one, not of the move, is up and down.
#[test]
fn what_is_blocked_stays_told_so_while_others_are_up_and_down() {
    let mut fleet = Fleet::of(4, "1");
    let blocked = |_: &Question| Proof::Failed {
        why: "answered 401".into(),
    };
    let looper = fleet.add(&json!({}), NEW);
    let mut seen = Vec::new();
    for round in 0..6 {
        fleet.ready(looper, round % 2 == 0);
        let found = fleet.look(blocked);
        let tally = found.tally.clone().expect("a tally");
        seen.push((
            these(&found, Turn::Proves).len(),
            tally.blocked.values().sum::<usize>(),
        ));
    }
    assert_eq!(seen, [(4, 4); 6]);
}

/// The old container finishes its work in its grace, which is longer than its provision timeout.
#[test]
fn one_that_uses_its_grace_halts_nobody() {
    let mut fleet = Fleet::of(3, "2");
    let slow = fleet.add(&json!({"terminationGracePeriodSeconds": 3600}), OLD);
    fleet.moved(slow);
    fleet.now = START + 700;
    let (_, tally) = fleet.looked();
    assert_eq!(tally.halted, None);
}

/// Its old Pod hangs in Terminating, as on a node that is lost.
#[test]
fn one_that_hangs_on_its_way_out_has_failed() {
    let mut fleet = Fleet::of(5, "1");
    let left = Left {
        moved_from: Some("an image".into()),
        ..Left::default()
    };
    let deleted = told(START);
    fleet.pod(0)["metadata"]["deletionTimestamp"] = deleted;
    fleet.memory.left = Some(left.into());
    fleet.now = START + 59;
    let found = fleet.look(|_| Proof::Proved);
    let tally = found.tally.expect("a tally");
    assert_eq!((tally.failed, tally.halted), (0, None));
    assert_eq!(found.wake, Some(at(START + 60)));
    fleet.now = START + 60;
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.failed), (vec![], 1));
    assert!(tally.halted.is_some());
}

fn tell(fleet: &mut Fleet, version: &str, second: i64) {
    let version = Version {
        uid: "pod".into(),
        resource_version: version.into(),
    };
    fleet.memory.tell_to_go(&version, at(second));
}

/// Something between answers for the API server, or a policy refuses the change as if it were stale.
#[test]
fn one_that_is_told_to_go_in_vain_holds_up_nobody_for_ever() {
    let mut fleet = Fleet::of(3, "1");
    for other in 1..3 {
        fleet.pod(other)["metadata"]["resourceVersion"] = json!("2");
    }
    let turns = |fleet: &mut Fleet| {
        let found = fleet.look(|_| Proof::Proved);
        let blocked = found.tally.iter().flat_map(|it| it.blocked.keys().cloned());
        (
            these(&found, Turn::Moves),
            blocked.collect::<Vec<_>>(),
            found.wake,
        )
    };
    for second in [0, 20, 59] {
        fleet.now = START + second;
        tell(&mut fleet, "1", START + second);
        assert_eq!(turns(&mut fleet), (vec![0], vec![], Some(at(START + 60))));
    }
    fleet.now = START + 60;
    let why = "the API server does not take the change of the Pod".to_owned();
    assert_eq!(
        turns(&mut fleet),
        (vec![1], vec![why], Some(at(START + 300)))
    );
    fleet.now = START + 300;
    fleet.turns.clear();
    assert_eq!(
        turns(&mut fleet),
        (vec![0], vec![], None),
        "it is tried again"
    );
}

/// The settings are edited while patches are on their way: what they stop still answers.
#[test]
fn what_is_told_to_go_is_down_already() {
    let mut fleet = Fleet::of(4, "2");
    tell(&mut fleet, "1", START);
    for at in 2..4 {
        fleet.pod(at)["metadata"]["resourceVersion"] = json!("2");
    }
    let (turns, tally) = fleet.looked();
    assert_eq!(tally.unavailable, 2);
    assert_eq!(turns, [0, 1], "they may go on, and take nobody's place");
    assert_eq!(tally.waits, None, "they are down for the move");
    tell(&mut fleet, "2", START);
    fleet.settings = paced("3", &[]);
    fleet.turns.clear();
    assert_eq!(fleet.looked().0, [0, 2, 3]);
    fleet.now += 100_000;
    fleet.memory.was_told_to_go();
    fleet.turns.clear();
    assert_eq!(fleet.looked().0, [0, 2, 3], "until it is seen");
}

/// As the next operator finds them, which knows of no proof yet.
#[test]
fn all_that_are_told_to_be_blocked_are_found_out_anew() {
    let mut fleet = Fleet::of(60, "1");
    let conditions = ["Ready", "Stalled"].map(|type_| {
        json!({
            "type": type_, "status": "True", "reason": "RolloutBlocked", "message": "why",
            "observedGeneration": 1, "lastTransitionTime": told(START),
        })
    });
    let blocked = json!({"state": "RolloutBlocked", "conditions": conditions});
    for (_, workspace, _) in fleet.members.iter_mut().skip(30) {
        workspace["metadata"]["generation"] = json!(1);
        workspace["status"] = blocked.clone();
    }
    let found = fleet.look(|_| Proof::Unknown);
    let asked = these(&found, Turn::Proves);
    let told: Vec<_> = (30..60).collect();
    assert_eq!(asked[asked.len() - 30..], told[..], "{asked:?}");
    assert!(asked.len() < 60, "the others wait for their turn");
}

/// Its Pod is Ready again, and others go by what its Workspace says.
#[test]
fn one_that_is_not_told_to_be_ready_yet_holds_its_place() {
    let mut fleet = Fleet::of(3, "1");
    fleet.moved(0);
    fleet.node_says(0, true, START, 1);
    fleet.told(0, false);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns.len(), tally.moving, tally.waits), (0, 1, None));
    fleet.told(0, true);
    assert_eq!(fleet.looked().0, [1]);
}

/// One is on its way out, and one is of a Workspace of the same name that is no more.
#[test]
fn what_goes_already_and_what_is_of_another_are_not_moved() {
    let mut fleet = Fleet::of(3, "3");
    fleet.pod(0)["metadata"]["deletionTimestamp"] = told(START);
    fleet.members[1].1["metadata"]["uid"] = json!("another");
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.to_move, tally.unavailable), (vec![2], 1, 2));
}

#[test]
fn what_serves_and_is_being_told_so_is_waited_for_a_minute_at_most() {
    let mut fleet = Fleet::of(2, "1");
    fleet.told(1, false);
    fleet.memory.showing = Some((Reason::Ready, at(START)));
    let end = Some(at(START + 60));
    for (telling, second, wake) in [(false, 0, None), (true, 59, end), (true, 60, None)] {
        fleet.memory.telling = telling;
        fleet.now = START + second;
        let found = fleet.look(|_| Proof::Proved);
        assert_eq!(found.wake, wake, "{second}");
        let waits = found.tally.expect("a tally").waits;
        assert_eq!(waits.is_some(), wake.is_none(), "{second}");
    }
}

#[test]
fn so_many_reasons_are_told_apart_and_all_others_together() {
    let mut fleet = Fleet::of(REASONS + 2, "1");
    for who in 0..REASONS + 2 {
        fleet.pod(who)["spec"]["nodeName"] = json!(format!("node-{who}"));
    }
    let failed = |question: &Question| Proof::Failed {
        why: format!("{} is full", question.node),
    };
    let blocked = fleet.look(failed).tally.expect("a tally").blocked;
    assert_eq!((blocked.len(), blocked[OTHER]), (REASONS + 1, 2));
}

/// The one that is down cannot be pulled, and a pull for one that serves goes on.
#[test]
fn a_pull_for_one_that_serves_mends_nothing_that_is_down() {
    let mut fleet = Fleet::of(3, "1");
    let pulls = |question: &Question| match &*question.node {
        "node-0" => Proof::Failed {
            why: "answered 401".into(),
        },
        _ => Proof::UnderWay,
    };
    assert_eq!(fleet.look(pulls).tally.expect("a tally").waits, None);
    fleet.ready(2, false);
    let found = fleet.look(pulls);
    assert_eq!(these(&found, Turn::Proves), [0, 1, 2]);
    assert!(found.tally.expect("a tally").waits.is_some());
}
