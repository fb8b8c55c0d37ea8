//! What was moved and does not answer is put back on the image that it ran, where the settings say so,
//! and what that image is.

use serde_json::json;

use super::moving::{REGISTRY, annotation, switched};
use super::world::{A, B, World, settings};
use crate::seen::{Proof, Turn};

pub(super) const ROLL_BACK: (&str, &str) = ("ROLLOUT_ROLL_BACK", "true");
const THIRD: &str = "c.example.com/agents";

/// Told another image, which its kubelet has not started yet.
pub(super) fn told(more: &[(&str, &str)]) -> World {
    let mut world = switched();
    let mut data = vec![(REGISTRY, B), ("ROLLOUT", "Paced")];
    data.extend(more);
    world.settings = settings(&data);
    world.turn = Turn::Moves;
    world.settle();
    world
}

/// Moved to an image on which it does not answer.
pub(super) fn moved_in_vain(more: &[(&str, &str)]) -> World {
    let mut world = told(more);
    run_in_vain(&mut world, 1);
    world
}

/// The kubelet has replaced the container so often, and the new one does not answer.
fn run_in_vain(world: &mut World, restarts: i32) {
    world.agent(json!({
        "state": {"running": {}}, "restartCount": restarts,
        "containerID": format!("containerd://{restarts}"),
    }));
}

pub(super) fn moves(world: &World) -> usize {
    let took = world.took();
    took.into_iter().filter(|it| *it == "MovePod").count()
}

#[test]
fn what_is_not_ready_in_its_time_is_put_back_and_stays_where_it_was() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    let uid = world.pod_uid();
    world.pass_time(599);
    assert!(world.image().starts_with(B));
    world.pass_time(2);
    assert!(world.image().starts_with(A));
    assert_eq!(world.pod_uid(), uid, "in place");
    let back = annotation(&world, "molecule.ai/movedBack");
    assert!(back.as_str().is_some_and(|it| it.starts_with(B)), "{back}");
    assert_eq!(annotation(&world, "molecule.ai/movedFrom"), json!(null));
    world.run_anew(2);
    world.pass_time(10_000);
    assert_eq!((world.state().as_str(), moves(&world)), ("Ready", 2));
    // Another image is another chance.
    world.settings = settings(&[(REGISTRY, THIRD), ("ROLLOUT", "Paced"), ROLL_BACK]);
    world.settle();
    assert!(world.image().starts_with(THIRD));
    assert_eq!(annotation(&world, "molecule.ai/movedBack"), json!(null));
}

/// It answers each time for a moment, which is no reason to wait for its time.
#[test]
fn what_crashes_again_and_again_is_put_back_at_once() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    let crashed = |world: &mut World, restarts: i32, ran: &str| {
        let exit = json!({
            "exitCode": 1, "startedAt": "2026-03-01T00:00:00Z",
            "finishedAt": format!("2026-03-01T00:{ran}Z"),
        });
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        world.agent(json!({
            "state": waits, "restartCount": restarts, "lastState": {"terminated": exit},
        }));
        world.settle();
    };
    crashed(&mut world, 1, "00:20");
    assert!(world.image().starts_with(B), "once is not again");
    crashed(&mut world, 2, "10:00");
    assert!(world.image().starts_with(B), "it ran for a while");
    crashed(&mut world, 2, "00:20");
    assert!(world.image().starts_with(A));
}

#[test]
fn a_pod_after_one_that_failed_after_its_move_has_what_is_left_of_its_time() {
    let mut world = moved_in_vain(&[]);
    let at = annotation(&world, "molecule.ai/movedAt");
    let uid = world.pod_uid();
    world.pass_time(300);
    world.status(json!({"phase": "Failed", "reason": "Evicted"}));
    world.pass_time(60);
    assert_ne!(world.pod_uid(), uid, "another Pod");
    assert_eq!(annotation(&world, "molecule.ai/movedAt"), at);
    let from = annotation(&world, "molecule.ai/movedFrom");
    assert!(from.as_str().is_some_and(|it| it.starts_with(A)), "{from}");
}

#[test]
fn what_fails_long_after_its_move_is_not_put_back() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.run_anew(1);
    world.pass_time(1000);
    world.agent(json!({"state": {"running": {}}, "restartCount": 1}));
    world.pass_time(2000);
    assert_eq!(moves(&world), 1);
}

#[test]
fn nothing_is_put_back_unless_the_settings_say_so() {
    for more in [&[][..], &[ROLL_BACK, ("ROLLOUT_PAUSED", "true")]] {
        let mut world = moved_in_vain(more);
        world.pass_time(2000);
        assert_eq!(moves(&world), 1, "{more:?}");
        assert!(world.image().starts_with(B));
    }
}

#[test]
fn what_was_put_back_is_healed_only_where_what_it_ran_cannot_be_pulled_any_more() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.pull_fails("404 Not Found");
    world.pass_time(601);
    assert!(world.image().starts_with(A));
    // The node still names the image from which it was put back.
    world.pass_time(2000);
    assert!(world.image().starts_with(A));
    world.pull_fails("401 Unauthorized");
    world.pass_time(2000);
    assert!(world.image().starts_with(B));
    world.pull_fails("404 Not Found");
    world.pass_time(2000);
    assert!(world.image().starts_with(B), "and that is all");
    let heals = world.took().into_iter().filter(|it| *it == "SetImage");
    assert_eq!((heals.count(), moves(&world)), (1, 2));
}

#[test]
fn nothing_is_put_back_on_what_no_settings_can_have_given() {
    for junk in [
        "",
        "junk image",
        "a.example.com/agents/other:v1",
        "https://a/workspace-template-x:1",
    ] {
        let mut world = moved_in_vain(&[ROLL_BACK]);
        let pod = world.pod.as_mut().expect("a Pod");
        pod["metadata"]["annotations"]["molecule.ai/movedFrom"] = json!(junk);
        world.pass_time(2000);
        assert_eq!(moves(&world), 1, "{junk}");
    }
}

#[test]
fn a_refused_way_back_is_told_and_tried_again_with_growing_pauses() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.refuses = Some("a policy".into());
    world.pass_time(600);
    world.pass_time(16);
    assert_eq!(world.state(), "PodRejected");
    assert_eq!(moves(&world), 4, "after 0, 5 and 15 s");
}

/// Where it is known to have been well, once it is moved on to a third registry.
fn good_image(mut world: World) -> serde_json::Value {
    world.settings = settings(&[(REGISTRY, THIRD), ("ROLLOUT", "Paced"), ROLL_BACK]);
    (world.turn, world.proof) = (Turn::Moves, Proof::Proved);
    world.settle();
    assert!(world.image().starts_with(THIRD), "{:?}", world.took());
    annotation(&world, "molecule.ai/movedFrom")
}

fn is_of(image: &serde_json::Value, registry: &str) -> bool {
    image.as_str().is_some_and(|it| it.starts_with(registry))
}

#[test]
fn the_last_image_on_which_it_answered_is_the_good_one() {
    let mut world = told(&[]);
    world.run_anew(1);
    world.pass_time(100);
    let from = good_image(world);
    assert!(is_of(&from, B), "{from}");
}

/// It answered there for long, and does not at this moment.
#[test]
fn an_image_on_which_it_came_back_is_a_good_one() {
    let mut world = told(&[]);
    world.run_anew(1);
    world.pass_time(5000);
    run_in_vain(&mut world, 1);
    let from = good_image(world);
    assert!(is_of(&from, B), "{from}");
}

/// It has not answered yet since.
#[test]
fn the_image_to_which_it_was_put_back_is_a_good_one() {
    let mut world = moved_in_vain(&[ROLL_BACK]);
    world.pass_time(601);
    assert!(world.image().starts_with(A));
    run_in_vain(&mut world, 2);
    let from = good_image(world);
    assert!(is_of(&from, A), "{from}");
}

#[test]
fn an_image_on_which_it_never_answered_in_its_time_is_none() {
    let mut world = World::new(&json!({}));
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    run_in_vain(&mut world, 0);
    world.pass_time(700);
    assert_eq!(good_image(world), json!(null));
}

#[test]
fn a_pod_that_failed_after_its_move_is_known_by_what_it_was_moved_to() {
    let mut world = moved_in_vain(&[]);
    world.pass_time(300);
    world.status(json!({"phase": "Failed", "reason": "Evicted"}));
    while world.pod.is_some() {
        world.pass().expect("its Pod is to go");
    }
    let left = world.memory.left.as_deref().expect("it was moved");
    let to = left.moved_to.as_ref().expect("what for");
    assert!(to.image.starts_with(B), "{to:?}");
}

/// Its container ended for the other image, which cannot be started; a third one can.
#[test]
fn what_ended_for_an_image_that_never_starts_is_healed_after_its_time() {
    let mut world = told(&[]);
    let ended = json!({"terminated": {"exitCode": 143, "reason": "Error"}});
    let waits = json!({"waiting": {"reason": "CreateContainerError"}});
    world.agent(json!({
        "state": waits, "lastState": ended, "containerID": "containerd://0",
    }));
    world.pass_time(700);
    world.settings = settings(&[(REGISTRY, THIRD), ("ROLLOUT", "Paced")]);
    world.settle();
    assert!(world.image().starts_with(THIRD), "{:?}", world.took());
}
