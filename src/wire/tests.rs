use serde_json::{Value, json};

use super::*;

/// What the API server stores as a time and `Timestamp` cannot hold.
const BEYOND: &str = "9999-12-31T23:59:59Z";

fn pod(changed: &str, finished: &str, created: &str, deleting: &Value) -> seen::Pod {
    let pod = json!({
        "metadata": {
            "name": "w", "namespace": "ns", "uid": "u", "resourceVersion": "1",
            "creationTimestamp": created, "deletionTimestamp": deleting,
        },
        "spec": {"containers": [{"name": "agent", "image": "i"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": changed}],
            "containerStatuses": [{
                "name": "agent",
                "state": {"terminated": {"exitCode": 1, "startedAt": finished, "finishedAt": finished}},
            }],
        },
    });
    serde_json::from_value::<Pod>(pod)
        .expect("it decodes")
        .seen()
}

#[test]
fn a_time_that_is_known() {
    let time = "2026-01-02T03:04:05Z";
    let known = time.parse().expect("a time");
    let pod = pod(time, time, time, &json!(time));
    assert_eq!(pod.created, known);
    assert_eq!(
        (pod.ready_changed, pod.deleting),
        (Some(known), Some(known))
    );
    let exit = pod.agent.last_exit.expect("it ended");
    assert_eq!((exit.started, exit.finished), (Some(known), Some(known)));
}

/// Found by review: one Pod with such a time in a condition, and a restarted operator did not start.
#[test]
fn a_time_that_nobody_can_hold_is_the_end_of_time() {
    let end = Some(Timestamp::MAX);
    let pod = pod(BEYOND, BEYOND, BEYOND, &json!(BEYOND));
    assert_eq!(pod.created, Timestamp::MAX);
    assert_eq!((pod.ready_changed, pod.deleting), (end, end));
    let exit = pod.agent.last_exit.expect("it ended");
    assert_eq!((exit.started, exit.finished), (end, end));
}

/// Found by fuzzing: it was a time, and what was made of it was none.
#[test]
fn a_year_that_cannot_be_written_is_told_and_harms_nobody() {
    for (spec, field) in [
        (json!({"expiresAt": "-009999-01-02T02:00:00Z"}), "expiresAt"),
        (
            json!({"rollout": {"notBefore": "-000001-01-01T00:00:00Z"}}),
            "rollout.notBefore",
        ),
    ] {
        let workspace = serde_json::from_value::<Workspace>(json!({"metadata": {}, "spec": spec}));
        let told = workspace.expect("it decodes").seen().spec;
        let told = told.expect_err("a fault");
        assert!(told.contains(&format!("({field}: the year -")), "{told}");
    }
}

#[test]
fn no_time_is_none() {
    let pod = serde_json::from_value::<Pod>(json!({
        "metadata": {"deletionTimestamp": null},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": null}]},
    }));
    let pod = pod.expect("it decodes").seen();
    assert_eq!((pod.ready_changed, pod.deleting), (None, None));
}

#[test]
fn what_its_node_says_at_first_is_not_that_it_was_ready() {
    let was_ready = |start: Value, changed: &str| {
        let pod = json!({"metadata": {}, "status": {
            "startTime": start,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": changed}],
        }});
        let pod = serde_json::from_value::<Pod>(pod).expect("it decodes");
        pod.seen().was_ready
    };
    let start = json!("2026-03-01T00:00:10Z");
    assert!(!was_ready(start.clone(), "2026-03-01T00:00:10Z"));
    assert!(!was_ready(start.clone(), "2026-03-01T00:00:09Z"));
    assert!(was_ready(start, "2026-03-01T00:00:11Z"));
    assert!(was_ready(Value::Null, "2026-03-01T00:00:11Z"));
}
