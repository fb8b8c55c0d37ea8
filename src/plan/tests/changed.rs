//! A Pod that somebody changes, and one that failed after its move.

use serde_json::json;

use super::moving::{REGISTRY, annotation, failed};
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
