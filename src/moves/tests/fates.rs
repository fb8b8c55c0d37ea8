//! What was moved is not always as one would wish: its clock, its node, its crashes.

use super::*;

#[test]
fn one_put_back_that_does_not_answer_gives_its_place_to_the_next() {
    let mut fleet = Fleet::of(4, "1");
    fleet.settings = paced("1", &[("ROLLOUT_MAX_FAILED", "1")]);
    fleet.put_back(0);
    fleet.node_says(0, false, START + 5, 2);
    fleet.now += 5000;
    let (turns, tally) = fleet.looked();
    assert_eq!(tally.halted, None);
    assert_eq!(turns, [1], "{tally:#?}");
}

#[test]
fn one_healed_to_a_third_image_has_its_time_for_that() {
    let mut fleet = Fleet::of(3, "1");
    fleet.moved(0);
    fleet.node_says(0, false, START + 1, 0);
    fleet.now += 700;
    assert!(fleet.looked().1.halted.is_some(), "on the second it failed");
    fleet.settings = paced(
        "1",
        &[("MOLECULE_IMAGE_REGISTRY", "third.example.com/agents")],
    );
    let healed = json!(at(fleet.now).to_string());
    let annotations = &mut fleet.pod(0)["metadata"]["annotations"];
    annotations["molecule.ai/image"] =
        json!("third.example.com/agents/workspace-template-langgraph:latest");
    annotations["molecule.ai/healedAt"] = healed;
    fleet.now += 1;
    let (_, tally) = fleet.looked();
    assert_eq!(tally.halted, None);
}

#[test]
fn one_healed_when_it_was_moved_and_not_since_has_the_time_of_its_move() {
    let mut fleet = Fleet::of(2, "1");
    fleet.in_vain(0);
    let annotations = &mut fleet.pod(0)["metadata"]["annotations"];
    annotations["molecule.ai/healedAt"] = annotations["molecule.ai/movedAt"].clone();
    fleet.now += 600;
    assert!(fleet.looked().1.halted.is_some());
}

#[test]
fn one_that_uses_the_grace_that_kubernetes_gives_has_not_failed() {
    let mut fleet = Fleet::of(2, "1");
    let slow = fleet.add(&json!({"provisionTimeoutSeconds": 20}), OLD);
    fleet.moved(slow);
    fleet.now += 25;
    assert_eq!(fleet.looked().1.halted, None, "the old one is in its 30 s");
}

#[test]
fn nor_is_it_forgotten_when_it_does_not_answer_after_that() {
    let mut fleet = Fleet::of(2, "2");
    let slow = fleet.add(&json!({"provisionTimeoutSeconds": 20}), OLD);
    fleet.moved(slow);
    // The old one ended after 30 s.
    fleet.node_says(slow, false, START + 30, 1);
    fleet.now += 5000;
    let (turns, tally) = fleet.looked();
    assert!(tally.halted.is_some(), "{turns:?} {tally:#?}");
}

#[test]
fn a_clock_that_is_set_back_holds_nobody_up_in_silence() {
    let mut fleet = Fleet::of(3, "1");
    fleet.now = START + 86_400;
    fleet.moved(0);
    fleet.now = START + 60;
    fleet.node_says(0, true, START + 2, 1);
    let (turns, tally) = fleet.looked();
    assert_eq!(turns, [1], "{tally:#?}");
}

#[test]
fn those_that_run_and_miss_a_probe_are_not_all_stopped_at_once() {
    let mut fleet = Fleet::of(20, "1");
    // One of two nodes was not heard of a second ago.
    for who in (0..20).step_by(2) {
        fleet.node_says(who, false, START - 1, 0);
    }
    let found = fleet.look(|_| Proof::Proved);
    assert_eq!(these(&found, Turn::Moves), [0], "{:#?}", found.tally);
    let ahead: Vec<_> = (2..20).step_by(2).collect();
    assert_eq!(these(&found, Turn::Proves), ahead, "they are next");
}

#[test]
fn who_is_well_again_is_looked_at_when_it_is() {
    let mut fleet = Fleet::of(2, "1");
    fleet.moved(0);
    fleet.now += 60;
    fleet.node_says(0, true, START + 50, 3);
    let found = fleet.look(|_| Proof::Proved);
    assert!(found.tally.expect("a tally").halted.is_some());
    assert_eq!(found.wake, Some(at(START + 650)), "else nobody looks again");
}

#[test]
fn what_crashed_before_its_move_and_after_it_does_not_hold_the_fleet_in_silence() {
    let mut fleet = Fleet::of(4, "1");
    fleet.moved(0);
    let annotations = fleet.pod(0)["metadata"]["annotations"]
        .as_object_mut()
        .expect("them");
    annotations.remove("molecule.ai/movedFrom");
    let mut told = Vec::new();
    for round in 0..6 {
        // It answers for a while, and ends again.
        fleet.now = START + 3600 + 60 * round;
        let now = fleet.now;
        fleet.node_says(0, true, now - 20, 40 + i32::try_from(round).expect("few"));
        let (turns, tally) = fleet.looked();
        told.push((
            turns,
            tally.moving,
            tally.waits.is_some() || tally.halted.is_some(),
        ));
    }
    assert!(
        told.iter()
            .all(|(turns, _, told)| !turns.is_empty() || *told),
        "{told:?}"
    );
}

#[test]
fn one_moved_long_ago_whose_pod_somebody_changes_halts_nobody() {
    let mut fleet = Fleet::of(3, "1");
    fleet.moved(0);
    fleet.node_says(0, true, START + 2, 1);
    fleet.now += 30 * 86_400;
    assert_eq!(fleet.looked().1.halted, None);
    // kubectl debug, a resize, a toleration: the kubelet has not looked at it yet.
    fleet.pod(0)["metadata"]["generation"] = json!(3);
    fleet.pod(0)["status"]["observedGeneration"] = json!(2);
    assert_eq!(fleet.looked().1.halted, None);
}

/// Its first run lasted for eleven hours; the second ended after twenty seconds.
#[test]
fn one_short_run_is_not_crashing_again_and_again() {
    let mut fleet = Fleet::of(3, "2");
    fleet.moved(0);
    fleet.now = START + 39_700;
    fleet.node_says(0, true, START + 39_640, 3);
    let (_, tally) = fleet.looked();
    assert_eq!((tally.failed, tally.halted), (0, None));
}

#[test]
fn one_whose_node_came_late_has_not_come_back_before_it_was_ready() {
    let mut fleet = Fleet::of(2, "1");
    fleet.moved(0);
    let scheduled = START + 700;
    fleet.node_says(0, false, scheduled, 0);
    fleet.pod(0)["status"]["startTime"] = json!(at(scheduled).to_string());
    let annotations = fleet.pod(0)["metadata"]["annotations"].as_object_mut();
    let anew = annotations
        .expect("annotations")
        .remove("molecule.ai/movedOver");
    anew.expect("it is another Pod");
    fleet.now = scheduled + 1;
    let (turns, tally) = fleet.looked();
    let waits = (turns.is_empty(), tally.moving, tally.halted);
    assert_eq!(waits, (true, 1, None), "it has its time");
    fleet.now = scheduled + 601;
    let (turns, tally) = fleet.looked();
    assert!(tally.halted.is_some(), "{turns:?} {tally:#?}");
}

#[test]
fn going_back_begins_with_what_did_not_come_back() {
    let mut fleet = Fleet::of(3, "1");
    fleet.moved(0);
    fleet.node_says(0, false, START + 1, 1);
    fleet.now += 60;
    assert_eq!(fleet.looked().0, [] as [usize; 0], "it has its time");
    fleet.settings = paced("1", &[("MOLECULE_IMAGE_REGISTRY", OLD)]);
    fleet.turns.clear();
    let (turns, tally) = fleet.looked();
    assert_eq!((&turns[..], tally.waits), (&[0][..], None));
}

#[test]
fn no_more_of_those_that_miss_a_probe_are_moved_at_once_than_of_others() {
    let mut fleet = Fleet::of(6, "2");
    for who in 0..4 {
        fleet.node_says(who, false, START - 1, 0);
    }
    let (turns, tally) = fleet.looked();
    assert_eq!((&turns[..], tally.waits), (&[0, 1][..], None));
}

#[test]
fn what_is_restarted_from_the_image_on_its_node_takes_a_place_like_any_other() {
    let mut fleet = Fleet::of(4, "1");
    for who in 0..3 {
        fleet.node_says(who, false, START - 1, 0);
        let container = &mut fleet.pod(who)["status"]["containerStatuses"][0];
        container["state"] = json!({"terminated": {"exitCode": 137}});
    }
    assert_eq!(fleet.looked().0, [0]);
}
