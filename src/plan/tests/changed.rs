//! A Pod that somebody changes, and one that failed after its move.

use jiff::SignedDuration;
use serde_json::json;

use super::moving::{REGISTRY, annotation, failed, switched};
use super::put_back::{ROLL_BACK, moved_in_vain, moves, told};
use super::world::{A, B, World, settings};
use crate::seen::{Proof, Turn};

/// kubectl debug, a resize, a toleration: its kubelet has not looked at it yet.
fn change_pod(world: &mut World) {
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["generation"] = json!(3);
    pod["status"]["observedGeneration"] = json!(2);
    let status = pod["status"].clone();
    world.status(status);
}

/// It did not answer in its time, and runs on its earlier image again.
fn put_back() -> World {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.pass_time(601);
    assert!(world.image().starts_with(A));
    world.run_anew(2);
    world
}

#[test]
fn one_that_serves_is_not_put_back_because_somebody_changed_its_pod() {
    let mut world = told(&[ROLL_BACK]);
    world.run_anew(1);
    world.pass_time(100_000);
    assert_eq!((world.state().as_str(), moves(&world)), ("Ready", 1));
    // The old registry is suspended since.
    world.proof = Proof::Unknown;
    change_pod(&mut world);
    world.pass();
    assert!(
        world.image().starts_with(B),
        "{}: {:?}",
        world.image(),
        world.took()
    );
}

#[test]
fn one_that_was_put_back_and_is_evicted_is_known_to_have_failed() {
    let mut world = put_back();
    world.pass_time(100);
    world.status(json!({"phase": "Failed", "reason": "Evicted"}));
    world.pass_time(60);
    let known = ["molecule.ai/movedFrom", "molecule.ai/movedBack"];
    let known = known.map(|it| annotation(&world, it));
    assert!(
        world.image().starts_with(A) || known.iter().any(|it| !it.is_null()),
        "on {}, and nothing tells that it failed there: {known:?}",
        world.image()
    );
}

#[test]
fn one_that_was_put_back_stays_where_it_was_when_the_url_changes() {
    let mut world = put_back();
    world.settle();
    let url = ("PLATFORM_URL", "https://platform.example.com");
    world.settings = settings(&[(REGISTRY, B), ("ROLLOUT", "Paced"), ROLL_BACK, url]);
    world.pass_time(100);
    assert!(
        world.image().starts_with(A),
        "{} {:?}",
        world.image(),
        world.took()
    );
}

/// A short time, and no grace asked for: Kubernetes gives 30 s.
#[test]
fn one_is_not_put_back_while_the_old_one_uses_the_grace_of_kubernetes() {
    let mut world = World::new(&json!({"provisionTimeoutSeconds": 20}));
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    world.run_anew(0);
    world.pass_time(1000);
    world.settings = settings(&[(REGISTRY, B), ("ROLLOUT", "Paced"), ROLL_BACK]);
    world.turn = Turn::Moves;
    world.settle();
    world.pass_time(25);
    assert!(world.image().starts_with(B), "{:?}", world.took());
}

/// I3: it serves, a new wish cannot be pulled, and somebody changes the Pod: its kubelet has not looked.
#[test]
fn one_that_serves_is_not_stopped_for_what_is_not_proved_because_its_pod_was_changed() {
    let mut world = World::ready(&json!({}));
    world.pass_time(1000);
    world.edit("tag", json!("v2"));
    world.proof = failed();
    world.pass_time(10);
    let old = world.pod_uid();
    change_pod(&mut world);
    world.settle();
    assert_eq!(world.pod_uid(), old, "{:?}", world.took());
}

/// Its new container has run for half an hour, and does not answer.
#[test]
fn one_that_does_not_answer_after_its_move_is_told_so() {
    let mut world = moved_in_vain(&[]);
    world.pass_time(2000);
    let told = world.condition("Stalled");
    assert!(
        !told.contains("is being stopped"),
        "{} {told}",
        world.state()
    );
}

/// A Workspace whose wish cannot be pulled, and whose agent was Ready and has ended after so long.
fn ended_after(seconds: i64, restarts: i32) -> World {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = failed();
    world.pass_time(1000);
    let started = world.now - SignedDuration::from_secs(seconds);
    let ended = json!({"terminated": {
        "exitCode": 137, "reason": "OOMKilled",
        "startedAt": started.to_string(), "finishedAt": world.now.to_string(),
    }});
    world.steps.clear();
    world.agent(json!({"state": ended, "restartCount": restarts}));
    world.settle();
    let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let restarts = restarts + 1;
    world.agent(json!({"state": looping, "lastState": ended, "restartCount": restarts}));
    world
}

/// I3 in spirit: it is back in a second, from the image on its node.
#[test]
fn one_whose_agent_ends_after_it_served_is_not_stopped_for_what_is_not_proved() {
    for (seconds, restarts) in [(60, 0), (60, 7)] {
        let mut world = ended_after(seconds, restarts);
        world.pass_time(300);
        assert!(!world.took().contains(&"DeletePod"), "{:?}", world.took());
        world.pass_time(301);
        assert!(world.took().contains(&"DeletePod"), "it had its time");
    }
}

#[test]
fn one_that_ends_again_and_again_gets_at_once_what_its_user_wishes() {
    let world = ended_after(59, 7);
    assert_eq!(world.took()[0], "DeletePod");
}

#[test]
fn one_that_ends_again_and_again_has_no_image_to_which_it_could_be_put_back() {
    let mut world = switched();
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    world.agent(json!({"state": looping, "lastState": ended, "restartCount": 7}));
    (world.turn, world.proof) = (Turn::Moves, Proof::Proved);
    world.settle();
    assert!(world.image().starts_with(B));
    assert_eq!(annotation(&world, "molecule.ai/movedFrom"), json!(null));
}

/// It was well on A, never was on B, and is moved on to a third.
#[test]
fn one_that_never_answered_where_it_was_moved_to_is_put_back_on_what_was_good() {
    let third = "c.example.com/agents";
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.pass_time(100);
    world.settings = settings(&[(REGISTRY, third), ("ROLLOUT", "Paced"), ROLL_BACK]);
    world.settle();
    assert!(world.image().starts_with(third));
    let from = annotation(&world, "molecule.ai/movedFrom");
    assert!(from.as_str().is_some_and(|it| it.starts_with(A)), "{from}");
}

/// After a restart of the operator nothing is known of proofs, and nothing has changed for anybody.
#[test]
fn what_is_blocked_stays_told_so_while_it_is_found_out_anew() {
    let mut world = switched();
    (world.turn, world.proof) = (Turn::Proves, failed());
    world.pass_time(4);
    assert_eq!(world.state(), "RolloutBlocked");
    world.steps.clear();
    world.proof = Proof::Unknown;
    world.pass_time(20);
    world.proof = failed();
    world.pass_time(20);
    assert_eq!(world.took(), [""; 0]);
}

/// Another secret, say: it may be had now.
#[test]
fn what_was_told_of_an_earlier_wish_is_not_told_of_the_next() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = failed();
    world.pass_time(10);
    assert_eq!(world.state(), "RolloutBlocked");
    world.proof = Proof::UnderWay;
    world.edit("imagePullSecrets", json!([{"name": "right"}]));
    world.pass_time(40);
    assert_eq!(world.state(), "Replacing");
}

#[test]
fn one_that_crashed_where_it_was_moved_to_is_told_so() {
    let mut world = moved_in_vain(&[]);
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    world.agent(json!({
        "state": {"running": {}}, "lastState": ended, "restartCount": 2,
        "containerID": "containerd://third",
    }));
    world.pass_time(4);
    assert_eq!(world.state(), "CrashLooping");
}

/// For a moment its kubelet says no more than that it creates it.
#[test]
fn one_that_crashed_and_was_not_moved_is_told_so_while_it_is_created_anew() {
    let mut world = World::ready(&json!({}));
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    let created = json!({"waiting": {"reason": "ContainerCreating"}});
    world.agent(json!({"state": created, "lastState": ended, "restartCount": 1}));
    world.pass_time(4);
    assert_eq!(world.state(), "CrashLooping");
}

#[test]
fn one_that_misses_its_probe_is_told_so_before_what_blocks_its_move() {
    let mut world = switched();
    (world.turn, world.proof) = (Turn::Proves, failed());
    world.agent(json!({"state": {"running": {}}, "containerID": "containerd://0"}));
    world.pass_time(40);
    assert_eq!(world.state(), "NotReady");
}
