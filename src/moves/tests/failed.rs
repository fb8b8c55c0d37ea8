//! What is moved may not come back: how many may fail, and what is said of it.

use super::*;
use crate::seen::{Ask, Refusal};
use crate::workspace::Reason;

#[test]
fn a_move_that_fails_stops_all_until_it_is_mended() {
    let mut fleet = Fleet::of(4, "2");
    fleet.in_vain(0);
    fleet.now += 599;
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Moves), [1]);
    let end = at(START + 600);
    assert_eq!(found.wake, Some(end));
    fleet.now += 1;
    let (turns, tally) = fleet.looked();
    assert_eq!(turns, [0; 0]);
    let why = tally.halted.expect("it is halted");
    assert!(
        why.contains("crash: 1, the first of them ns/w-0000;"),
        "{why}"
    );
    fleet.ready(0, true);
    fleet.back(0);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![1, 2], None));
}

#[test]
fn a_move_that_failed_stops_none_to_another_image() {
    let mut fleet = Fleet::of(4, "2");
    fleet.in_vain(0);
    fleet.now += 600;
    assert!(fleet.looked().1.halted.is_some());
    fleet.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", OLD), ("ROLLOUT", "Paced")]);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![0], None), "the broken first");
    assert_eq!(tally.moved, 3);
}

#[test]
fn one_that_came_back_in_time_and_fails_later_stops_nobody() {
    let mut fleet = Fleet::of(4, "2");
    fleet.moved(0);
    fleet.now += 5000;
    fleet.ready(0, false);
    fleet.back(0);
    let ceased = at(fleet.now - 1000);
    fleet.pod(0)["status"]["conditions"][0]["lastTransitionTime"] = json!(ceased.to_string());
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![1], None), "it counts as down");
}

#[test]
fn one_that_was_put_back_holds_the_others_until_there_is_another_image() {
    let mut fleet = Fleet::of(4, "2");
    fleet.put_back(0);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.put_back, tally.to_move), (vec![], 1, 3));
    let why = tally.halted.expect("it is halted");
    let told = "were put back on the image that they ran";
    assert!(
        why.contains(told) && why.contains(": 1, the first of them ns/w-0000;"),
        "{why}"
    );
    let third = ("MOLECULE_IMAGE_REGISTRY", "third.example.com/agents");
    fleet.settings = paced("2", &[third]);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![0, 1], None));
}

#[test]
fn that_it_can_be_put_back_is_told_where_it_is_not() {
    for (more, is_told) in [(&[][..], true), (&[("ROLLOUT_ROLL_BACK", "true")], false)] {
        let mut fleet = Fleet::of(4, "2");
        fleet.settings = paced("2", more);
        fleet.in_vain(0);
        fleet.now += 600;
        let why = fleet.looked().1.halted.expect("it is halted");
        assert_eq!(why.contains("ROLLOUT_ROLL_BACK"), is_told, "{why}");
    }
}

#[test]
fn what_was_not_ready_before_its_move_stops_nobody_after_it() {
    let mut fleet = Fleet::of(2, "2");
    fleet.in_vain(0);
    let annotations = &mut fleet.pod(0)["metadata"]["annotations"];
    annotations["molecule.ai/movedFrom"] = Value::Null;
    annotations
        .as_object_mut()
        .expect("annotations")
        .retain(|_, it| !it.is_null());
    fleet.now += 10_000;
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![1], None));
}

#[test]
fn its_own_provision_timeout_counts() {
    let mut fleet = Fleet::of(0, "2");
    fleet.add(&json!({"provisionTimeoutSeconds": 5}), OLD);
    fleet.in_vain(0);
    fleet.now += 5;
    assert!(fleet.looked().1.halted.is_some());
}

#[test]
fn as_many_may_fail_as_the_settings_say() {
    for (budget, may_fail) in [("1", 1), ("0%", 0), ("19%", 1), ("20%", 2)] {
        let mut fleet = Fleet::of(10, "5");
        fleet.settings = paced("5", &[("ROLLOUT_MAX_FAILED", budget)]);
        for at in 0..may_fail {
            fleet.in_vain(at);
        }
        fleet.now += 600;
        let (turns, tally) = fleet.looked();
        assert_eq!((tally.failed, tally.max_failed), (may_fail, may_fail));
        assert_eq!(tally.halted, None, "{budget}");
        let next: Vec<usize> = (may_fail..may_fail + 5).collect();
        assert_eq!(turns, next, "{budget}");
        fleet.in_vain(may_fail);
        fleet.now += 600;
        let (turns, tally) = fleet.looked();
        assert_eq!(turns, [0; 0], "{budget}");
        let why = tally.halted.expect("it is halted");
        let told = format!("or let ROLLOUT_MAX_FAILED be {} at least", may_fail + 1);
        assert!(why.contains(&told), "{why}");
    }
}

#[test]
fn what_was_put_back_has_failed_too() {
    let mut fleet = Fleet::of(6, "2");
    fleet.settings = paced("2", &[("ROLLOUT_MAX_FAILED", "1")]);
    fleet.put_back(0);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![1, 2], None));
    assert_eq!((tally.put_back, tally.to_move), (1, 5));
    fleet.in_vain(1);
    fleet.now += 600;
    let (turns, tally) = fleet.looked();
    assert_eq!(turns, [0; 0]);
    let why = tally.halted.expect("it is halted");
    let told = "crash: 1, the first of them ns/w-0001, and 1 that were put back;";
    assert!(why.contains(told), "{why}");
}

#[test]
fn one_that_failed_within_the_budget_holds_no_place() {
    let mut fleet = Fleet::of(4, "1");
    fleet.settings = paced("1", &[("ROLLOUT_MAX_FAILED", "1")]);
    fleet.in_vain(0);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.moving), (vec![], 1), "it has its time");
    fleet.now += 600;
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![1], None));
    assert_eq!((tally.unavailable, tally.failed), (1, 1));
}

#[test]
fn a_place_is_free_once_one_was_ready_for_long_enough() {
    let mut fleet = Fleet::of(4, "1");
    fleet.settings = paced("1", &[("ROLLOUT_MIN_READY_SECONDS", "10")]);
    fleet.moved(0);
    fleet.node_says(0, true, START + 3, 1);
    for (second, turns, moving) in [(4, vec![], 1), (12, vec![], 1), (13, vec![1], 0)] {
        fleet.now = START + second;
        let found = fleet.look(|_| Proof::Proved);
        let tally = found.tally.clone().expect("a tally");
        assert_eq!((these(&found, Turn::Moves), tally.moving), (turns, moving));
        assert_eq!((tally.unavailable, tally.waits), (0, None));
        let wake = at(START + 13);
        assert_eq!(found.wake, (moving > 0).then_some(wake));
    }
    // The clock of its node is ahead.
    fleet.node_says(0, true, START + 5000, 1);
    assert_eq!(fleet.looked().0, [1]);
}

#[test]
fn one_that_crashes_has_failed_though_it_answers_in_between() {
    let mut fleet = Fleet::of(4, "2");
    fleet.moved(0);
    fleet.now += 60;
    // The first end is that of what ran before.
    fleet.node_says(0, true, START + 50, 2);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.moving, tally.halted), (vec![1], 1, None));
    fleet.node_says(0, true, START + 50, 3);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.failed), (vec![], 1));
    assert!(tally.halted.is_some_and(|it| it.contains("or crash: 1,")));
    // Up for long enough, or crashing long after: neither is the move's doing.
    fleet.now += 600;
    assert_eq!(fleet.looked().1.failed, 0);
    fleet.now = START + 86_400;
    fleet.node_says(0, true, START + 86_390, 9);
    assert_eq!(fleet.looked().1.failed, 0);
}

#[test]
fn one_that_was_put_back_and_cannot_be_there_has_failed() {
    let mut fleet = Fleet::of(2, "2");
    fleet.put_back(0);
    fleet.pod(0)["metadata"]["annotations"]["molecule.ai/image"] = new_image();
    fleet.ready(0, false);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.failed), (vec![], 1));
    assert!(tally.halted.is_some());
}

/// Its old Pod is gone, and none takes its place: it is not about to come back.
#[test]
fn one_that_never_comes_back_from_the_end_of_its_pod_has_failed() {
    let mut fleet = stopped();
    stall(&mut fleet);
    let tally = fleet.looked().1;
    assert_eq!((tally.failed, tally.unavailable), (1, 1));
    let why = tally.halted.expect("it is halted");
    assert!(
        why.contains("ns/w-0000") && !why.contains("ROLL_BACK"),
        "it has nothing to put back: {why}"
    );
}

#[test]
fn one_that_never_comes_back_and_is_within_the_budget_holds_no_place() {
    let mut fleet = stopped();
    stall(&mut fleet);
    fleet.settings = paced("1", &[("ROLLOUT_MAX_FAILED", "1")]);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.failed, tally.halted), (vec![1], 1, None));
}

fn stall(fleet: &mut Fleet) {
    let stalled = json!({
        "type": "Stalled", "status": "True", "reason": "VolumeNotOwned", "message": "why",
        "lastTransitionTime": at(START).to_string(),
    });
    let conditions = &mut fleet.members[0].1["status"]["conditions"];
    conditions.as_array_mut().expect("conditions").push(stalled);
}

/// Its old Pod was stopped, and then a policy came, or somebody else took the quota.
#[test]
fn one_whose_next_pod_is_refused_has_failed() {
    let mut fleet = stopped();
    let refusal = Refusal::after(None, asked(&fleet), "a policy".into(), at(START));
    fleet.memory.pod_refusal = Some(refusal.into());
    assert_eq!(fleet.looked().1.failed, 0, "it may be over in a moment");
    stall(&mut fleet);
    let tally = fleet.looked().1;
    assert_eq!(tally.failed, 1);
    assert!(tally.halted.is_some());
}

/// While as many are down as may be it is told, unless others are about to be told Ready.
#[test]
fn one_whose_next_pod_is_refused_hides_nobody_who_is_being_told_that_it_serves() {
    let mut fleet = stopped();
    let refusal = Refusal::after(None, asked(&fleet), "a policy".into(), at(START));
    fleet.memory.pod_refusal = Some(refusal.into());
    assert!(fleet.looked().1.waits.is_some());
    fleet.memory.telling = true;
    fleet.memory.showing = Some((Reason::Ready, at(START)));
    assert_eq!(fleet.looked().1.waits, None);
}

/// What was wrong when it still had its Pod was no end of it.
#[test]
fn one_that_was_told_ready_and_stalled_when_it_was_stopped_has_not_failed_yet() {
    let mut fleet = stopped();
    stall(&mut fleet);
    fleet.told(0, true);
    stall(&mut fleet);
    let tally = fleet.looked().1;
    assert_eq!((tally.failed, tally.halted), (0, None));
}

#[test]
fn one_that_never_came_back_stops_none_to_another_image() {
    let mut fleet = stopped();
    stall(&mut fleet);
    assert!(fleet.looked().1.halted.is_some());
    let spec = fleet.members[0].1["spec"].clone();
    fleet.members[0].1["spec"]["runtime"] = json!("taken-away");
    assert!(fleet.looked().1.halted.is_some(), "nothing else is tried");
    fleet.members[0].1["spec"] = spec;
    let other = ("MOLECULE_IMAGE_REGISTRY", "third.example.com/agents");
    fleet.settings = paced("2", &[other]);
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted, tally.failed), (vec![1], None, 0));
    // Where as many are down as may be it is told that nothing goes on.
    fleet.settings = paced("1", &[other]);
    fleet.turns.clear();
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.halted), (vec![], None));
    assert!(tally.waits.is_some());
}

#[test]
fn one_that_only_waits_for_its_next_pod_has_failed_after_its_time() {
    let mut fleet = stopped();
    fleet.memory.showing = Some((Reason::Pending, at(START)));
    let found = fleet.look(|_| Proof::Proved);
    let tally = found.tally.expect("a tally");
    assert_eq!((tally.failed, tally.halted), (0, None));
    assert_eq!(found.wake, Some(at(START + 600)));
    fleet.now = START + 600;
    let tally = fleet.looked().1;
    assert_eq!(tally.failed, 1);
    assert!(tally.halted.is_some());
}

/// The move has stopped the Pod of the first of three.
fn stopped() -> Fleet {
    let mut fleet = Fleet::of(3, "1");
    fleet.looked();
    fleet.members[0].2 = None;
    fleet.told(0, false);
    let left = Left {
        moved_from: Some("an image".into()),
        moved_to: Some(asked(&fleet)),
        ..Left::default()
    };
    fleet.memory.left = Some(left.into());
    fleet
}

/// What the settings give to the first.
fn asked(fleet: &Fleet) -> Ask {
    Ask {
        revision: String::new(),
        image: format!("{NEW}/workspace-template-langgraph:latest"),
        settings: pod::settings_hash(&fleet.settings),
    }
}

/// The API server answers its status with 403, for ever.
#[test]
fn one_that_cannot_be_told_ready_holds_nobody_in_silence() {
    let mut fleet = Fleet::of(3, "1");
    fleet.moved(0);
    fleet.back(0);
    fleet.told(0, false);
    fleet.memory.telling = true;
    fleet.memory.showing = Some((Reason::Ready, at(START)));
    fleet.now = START + 599;
    let found = fleet.look(|_| Proof::Proved);
    let tally = found.tally.expect("a tally");
    assert_eq!((tally.moving, tally.waits), (1, None));
    assert_eq!(found.wake, Some(at(START + 600)));
    fleet.now = START + 600;
    let tally = fleet.looked().1;
    assert_eq!(tally.moving, 0);
    assert!(tally.waits.is_some());
}

#[test]
fn one_that_was_put_back_and_wants_no_move_any_more_halts_nobody() {
    let mut fleet = Fleet::of(2, "1");
    fleet.put_back(0);
    assert!(fleet.looked().1.halted.is_some());
    fleet.members[0].1["spec"] = json!({"rollout": {"policy": "OnRestart"}});
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.put_back, tally.halted), (vec![1], 0, None));
    assert_eq!(tally.opted_out, 1);
}

/// What its status shows may be older than what it was told.
#[test]
fn one_that_is_being_told_something_takes_a_place() {
    let mut fleet = Fleet::of(3, "2");
    fleet.memory.telling = true;
    let (turns, tally) = fleet.looked();
    assert_eq!((turns, tally.unavailable), (vec![], 3));
    fleet.memory.telling = false;
    assert_eq!(fleet.looked().0, [0, 1]);
}
