//! What surrounds a move is not always as one would wish.

use super::*;

fn told(second: i64) -> Value {
    json!(Timestamp::from_second(second).expect("a time").to_string())
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
    assert!(seen.iter().all(|it| *it == seen[0]));
}

/// The old container finishes its work in its grace, which is longer than its provision timeout.
#[test]
fn one_that_uses_its_grace_halts_nobody() {
    let mut fleet = Fleet::of(3, "2");
    let at = fleet.add(&json!({"terminationGracePeriodSeconds": 3600}), OLD);
    fleet.moved(at);
    fleet.now = START + 700;
    let (_, tally) = fleet.looked();
    assert_eq!(tally.halted, None);
}

/// Its old Pod hangs in Terminating on a lost node, or the new one is refused for ever.
#[test]
fn one_that_hangs_on_its_way_out_is_told_to_hold_the_others() {
    let mut fleet = Fleet::of(5, "1");
    let left = Left {
        moved_from: Some("an image".into()),
        ..Left::default()
    };
    let deleted = told(START);
    fleet.pod(0)["metadata"]["deletionTimestamp"] = deleted;
    fleet.memory.left = Some(left.into());
    fleet.now = START + 1_000_000;
    let (turns, tally) = fleet.looked();
    assert!(!turns.is_empty() || tally.halted.is_some() || tally.waits.is_some());
}
