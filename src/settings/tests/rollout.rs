//! How a fleet moves.

use super::*;

#[test]
fn a_fleet_moves_by_restarts_alone_unless_it_is_told_otherwise() {
    assert_eq!(settings(&[(ROLLOUT_KEY, "OnRestart")]), Settings::default());
    let rollout = settings(&[]).rollout();
    assert_eq!(rollout.policy, Policy::OnRestart);
    assert_eq!(rollout.max_unavailable, IntOrPercent::Int(1));
    assert_eq!(rollout.max_failed, IntOrPercent::Int(0));
    assert_eq!(rollout.min_ready_seconds, 10);
    assert!(!rollout.paused);
    let paced = settings(&[
        (ROLLOUT_KEY, "Paced"),
        (ROLLOUT_MAX_UNAVAILABLE_KEY, "5%"),
        (ROLLOUT_MAX_FAILED_KEY, "1%"),
        (ROLLOUT_MIN_READY_SECONDS_KEY, "0"),
        (ROLLOUT_ROLL_BACK_KEY, "true"),
        (ROLLOUT_PAUSED_KEY, "true"),
    ]);
    let expected = Rollout {
        policy: Policy::Paced,
        max_unavailable: IntOrPercent::Percent(5),
        max_failed: IntOrPercent::Percent(1),
        min_ready_seconds: 0,
        paused: true,
        roll_back: true,
    };
    assert_eq!(paced.rollout(), expected);
    assert_eq!(
        settings(&[(ROLLOUT_PAUSED_KEY, "false")]),
        Settings::default()
    );
}

#[test]
fn what_cannot_say_how_a_fleet_moves_is_refused() {
    for bad in ["onrestart", "Paced ", "Immediately"] {
        let message = error(ROLLOUT_KEY, bad);
        assert!(message.starts_with("ROLLOUT is \""), "{message}");
    }
    for bad in [
        "0", "01", "-1", "+1", "1.5", "1000000", "0%", "101%", "05%", "5 %", "%", "ten",
    ] {
        let message = error(ROLLOUT_MAX_UNAVAILABLE_KEY, bad);
        let end = "as in \"5%\"; to hold a move, set ROLLOUT_PAUSED to \"true\".";
        assert!(message.ends_with(end) || bad == "5 %", "{message}");
    }
    for bad in [
        "00", "01", "-1", "+0", "0.5", "1000000", "00%", "101%", "5 %", "%", "none",
    ] {
        let message = error(ROLLOUT_MAX_FAILED_KEY, bad);
        let end = "write a whole number from 0 to 999999, or from 0 to 100 and a per cent sign, as in \
                   \"5%\".";
        assert!(message.ends_with(end) || bad == "5 %", "{message}");
    }
    for bad in ["-1", "86401", "10s", "1.5"] {
        let message = error(ROLLOUT_MIN_READY_SECONDS_KEY, bad);
        let end = "write a whole number from 0 to 86400, as in \"10\".";
        assert!(message.ends_with(end), "{message}");
    }
    for bad in ["True", "yes", "1", "true "] {
        for key in [ROLLOUT_PAUSED_KEY, ROLLOUT_ROLL_BACK_KEY] {
            let message = error(key, bad);
            assert!(
                message.ends_with("write \"true\" or \"false\"."),
                "{message}"
            );
        }
    }
}

#[test]
fn a_part_of_a_fleet_is_rounded_down() {
    let five = IntOrPercent::Percent(5);
    let parts = [0, 19, 20, 39, 40, 5000].map(|all| five.of(all));
    assert_eq!(parts, [0, 0, 1, 1, 2, 250]);
    assert_eq!(IntOrPercent::Percent(100).of(7), 7);
    assert_eq!(IntOrPercent::Int(3).of(1), 3);
    let none = settings(&[(ROLLOUT_MAX_FAILED_KEY, "0%")]).rollout();
    assert_eq!(none.max_failed.of(5000), 0);
}
