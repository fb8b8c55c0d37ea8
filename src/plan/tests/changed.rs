//! A Pod that somebody changes, and one that failed after its move.

use serde_json::json;

use super::moving::{REGISTRY, annotation, switched};
use super::world::{A, B, World, settings};
use crate::seen::{Proof, Turn};

const ROLL_BACK: (&str, &str) = ("ROLLOUT_ROLL_BACK", "true");

fn with(more: &[(&str, &str)]) -> World {
    let mut world = switched();
    let mut data = vec![(REGISTRY, B), ("ROLLOUT", "Paced")];
    data.extend(more);
    world.settings = settings(&data);
    world.turn = Turn::Moves;
    world.settle();
    world
}

fn in_vain(more: &[(&str, &str)]) -> World {
    let mut world = with(more);
    world.agent(json!({
        "state": {"running": {}}, "restartCount": 1, "containerID": "containerd://another",
    }));
    world
}

fn moves(world: &World) -> usize {
    let took = world.took();
    took.into_iter().filter(|it| *it == "MovePod").count()
}

#[test]
fn one_that_serves_is_not_put_back_because_somebody_changed_its_pod() {
    let mut world = with(&[ROLL_BACK]);
    world.run_anew(1);
    world.pass_time(100_000);
    assert_eq!((world.state().as_str(), moves(&world)), ("Ready", 1));
    // kubectl debug, a resize, a toleration: the kubelet has not looked at it yet. The old registry
    // is suspended since.
    world.proof = Proof::Unknown;
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["generation"] = json!(3);
    pod["status"]["observedGeneration"] = json!(2);
    let status = pod["status"].clone();
    world.status(status);
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
    let mut world = in_vain(&[ROLL_BACK]);
    world.pass_time(601);
    assert!(world.image().starts_with(A));
    world.run_anew(2);
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
    let mut world = in_vain(&[ROLL_BACK]);
    world.pass_time(601);
    assert!(world.image().starts_with(A));
    world.run_anew(2);
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
    world.proof = super::moving::failed();
    world.pass_time(10);
    let old = world.pod_uid();
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["generation"] = json!(3);
    pod["status"]["observedGeneration"] = json!(2);
    let status = pod["status"].clone();
    world.status(status);
    world.settle();
    assert_eq!(world.pod_uid(), old, "{:?}", world.took());
}

/// Its new container has run for half an hour, and does not answer.
#[test]
fn one_that_does_not_answer_after_its_move_is_told_so() {
    let mut world = in_vain(&[]);
    world.pass_time(2000);
    let told = world.condition("Stalled");
    assert!(
        !told.contains("is being stopped"),
        "{} {told}",
        world.state()
    );
}
