//! What is tried before a Pod stops, and what becomes of what the API server refuses.

use jiff::SignedDuration;
use serde_json::json;

use super::moving::{REGISTRY, failed, switched};
use super::world::{A, B, UID, World, settings};
use crate::plan::Step;
use crate::revision::short_hash;
use crate::seen::{Goes, Turn};

#[test]
fn a_change_of_the_spec_is_tried_before_the_old_pod_stops() {
    let mut world = World::ready(&json!({}));
    let old = world.pod_uid();
    world.edit("tag", json!("v2"));
    world.settle();
    // Once before a node is asked for its image, and once more right before the old Pod stops.
    assert_eq!(
        world.took(),
        ["TryPod", "TryPod", "DeletePod", "CreatePod", "PatchStatus"]
    );
    assert!(
        world.condition("Ready").starts_with("False"),
        "a false Ready is corrected"
    );
    assert_ne!(world.pod_uid(), old);
    assert!(world.image().ends_with(":v2"));
}

/// A name that is made of the Workspace's may be that of another Workspace, or of anybody's Pod;
/// and one that changed would make each refusal another one.
#[test]
fn a_trial_has_a_name_that_is_nobodys_and_the_same_each_time() {
    let mut world = World::ready(&json!({}));
    world.refuses = Some("exceeded quota".into());
    world.edit("tag", json!("v2"));
    world.pass_time(60);
    let trials: Vec<_> = world
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::TryPod { pod, .. } => Some(pod),
            _ => None,
        })
        .collect();
    let [pod, again, ..] = &trials[..] else {
        panic!("it is tried again");
    };
    let uid = short_hash(UID);
    assert_eq!(pod.metadata.name, Some(format!("w-{uid}")));
    assert_eq!(pod, again);
    let pod = (**pod).clone();
    let hostname = pod.spec.and_then(|spec| spec.hostname);
    assert_eq!(hostname.as_deref(), Some("w"));
}

#[test]
fn a_refused_trial_leaves_the_old_pod_and_is_healed_when_lifted() {
    let mut world = World::ready(&json!({}));
    let old = world.pod_uid();
    world.refuses = Some("exceeded quota".into());
    world.edit("tag", json!("v2"));
    world.settle();
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    assert!(world.condition("Stalled").contains("exceeded quota"));
    assert!(
        world.condition("Ready").starts_with("True"),
        "the old Pod serves on"
    );
    assert_eq!(world.pod_uid(), old);
    world.pass_time(3600);
    let trials = world.times("TryPod");
    assert!((10..30).contains(&trials), "paced: {trials} in an hour");
    world.refuses = None;
    world.pass_time(301);
    assert_ne!(world.pod_uid(), old);
}

#[test]
fn another_wish_is_tried_at_once_after_a_refusal() {
    let mut world = World::ready(&json!({}));
    world.refuses = Some("no".into());
    world.edit("tag", json!("v2"));
    world.pass_time(100);
    world.refuses = None;
    world.edit("tag", json!("v3"));
    world.settle();
    assert!(world.image().ends_with(":v3"));
}

#[test]
fn a_refused_create_is_told_and_paced() {
    let mut world = World::new(&json!({}));
    world.refuses = Some("exceeded quota".into());
    world.settle();
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    world.refuses = None;
    world.pass_time(10);
    assert_eq!(world.took().last(), Some(&"CreatePod"));
}

#[test]
fn a_refusal_in_which_nothing_but_numbers_changes_is_told_once() {
    let mut world = World::new(&json!({}));
    for port in 0..9 {
        world.refuses = Some(format!(
            "read tcp 10.0.0.1:5{port}00: connection reset by peer"
        ));
        world.pass_time(60);
    }
    assert!(world.times("CreatePod") > 5, "it was tried");
    assert_eq!(world.times("PatchStatus"), 1);
    world.refuses = Some("exceeded quota".into());
    world.pass_time(400);
    assert!(world.condition("Stalled").contains("quota"));
}

#[test]
fn a_clock_that_is_set_back_does_not_put_off_what_was_refused() {
    let mut world = World::new(&json!({}));
    world.refuses = Some("exceeded quota".into());
    world.settle();
    world.refuses = None;
    world.now -= SignedDuration::from_hours(1);
    world.settle();
    assert_eq!(world.took().last(), Some(&"CreatePod"));
    world.run();
    world.settle();
    assert_eq!(world.state(), "Ready");
}

#[test]
fn a_pod_that_is_not_ready_is_replaced_without_a_trial() {
    let mut world = World::stuck(&json!({}));
    world.edit("tag", json!("v2"));
    world.settle();
    assert_eq!(world.took(), ["DeletePod", "CreatePod"]);
}

#[test]
fn a_refused_growth_is_told_and_the_workspace_serves_on() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    world.refuses = Some("the class does not allow it".into());
    world.edit("storage", json!({"size": "2Gi"}));
    world.pass_time(5);
    assert_eq!(world.state(), "VolumeRejected");
    assert!(world.condition("Ready").starts_with("True"));
    assert!(world.condition("Stalled").contains("does not allow"));
}

/// Two refusals at once must not forget each other: each would be tried again without a pause.
#[test]
fn what_keeps_the_agent_from_running_is_told_before_a_refused_growth() {
    let mut world = World::stuck(&json!({"storage": {"size": "1Gi"}}));
    world.refuses = Some("only dynamically provisioned pvc can be resized".into());
    world.edit("storage", json!({"size": "2Gi"}));
    world.pass_time(10);
    assert!(world.took().contains(&"PatchClaim"));
    assert_eq!(world.state(), "ImagePullFailed");
}

#[test]
fn a_refused_claim_and_a_refused_pod_are_both_paced() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    world.refuses = Some("no".into());
    world.edit("storage", json!({"size": "2Gi"}));
    world.edit("tag", json!("v2"));
    world.pass_time(600);
    assert!(world.took().len() < 40, "{:?}", world.took());
}

/// Found by review: a write that changes nothing was repeated for ever, as fast as it was answered.
#[test]
fn a_growth_that_is_undone_is_told_and_paced_and_keeps_no_pod_waiting() {
    let mut world = World::new(&json!({"storage": {"size": "1Gi"}}));
    world.settle();
    world.undoes = true;
    world.edit("storage", json!({"size": "2Gi"}));
    world.pod = None;
    world.settle();
    assert_eq!(world.took()[2..], ["PatchClaim", "CreatePod"]);
    world.run();
    world.pass_time(600);
    let patches = world.times("PatchClaim");
    assert!(
        (2..15).contains(&patches),
        "paced: {patches} in ten minutes"
    );
    world.undoes = false;
    world.pass_time(301);
    assert_eq!(world.state(), "Ready", "healed when nobody undoes it");
}

#[test]
fn a_pod_that_may_not_be_deleted_is_told_and_tried_again_in_time() {
    let mut world = World::ready(&json!({}));
    world.refuses_deletes = true;
    world.edit("suspend", json!(true));
    world.settle();
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    assert!(world.condition("Stalled").contains("delete"));
    assert!(world.condition("Ready").starts_with("True"));
    world.refuses_deletes = false;
    world.pass_time(30);
    assert_eq!(world.state(), "Suspended");
}

/// Its place is for others meanwhile.
#[test]
fn a_moved_pod_that_may_not_be_deleted_stays_told_so_while_it_waits() {
    let mut world = switched();
    let secrets = ("IMAGE_PULL_SECRETS", "mirror");
    world.settings = settings(&[(REGISTRY, B), ("ROLLOUT", "Paced"), secrets]);
    (world.turn, world.refuses_deletes) = (Turn::Moves, true);
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    world.turn = Turn::Proves;
    world.pass_time(20);
    assert_eq!(world.state(), "PodRejected", "until it is tried again");
    assert!(world.condition("Ready").starts_with("True"));
    (world.turn, world.refuses_deletes) = (Turn::Moves, false);
    world.pass_time(10);
    assert!(world.image().starts_with(B));
}

/// The policy is mended, and now the registry fails.
#[test]
fn what_blocks_a_move_now_is_told_and_not_what_was_refused_before() {
    let mut world = switched();
    world.turn = Turn::Moves;
    world.refuses = Some("a policy".into());
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    (world.refuses, world.proof) = (None, failed());
    world.pass_time(20);
    assert_eq!(world.state(), "RolloutBlocked");
}

/// The one that it asked for is in place, and what is refused is the end of the Pod alone.
#[test]
fn what_may_not_be_deleted_is_moved_in_place() {
    let mut world = switched();
    let paced = |registry| settings(&[(REGISTRY, registry), ("ROLLOUT", "Paced")]);
    world.settings = paced(A);
    world.refuses_deletes = true;
    world.edit("tag", json!("v2"));
    world.settle();
    world.edit("tag", json!(null));
    world.settle();
    assert!(world.took().contains(&"DeletePod"));
    world.settings = paced(B);
    world.turn = Turn::Moves;
    world.settle();
    assert!(world.image().starts_with(B), "{:?}", world.took());
}

#[test]
fn what_was_taken_says_nothing_of_another_wish() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.pass();
    world.pass();
    world.edit("tag", json!("v3"));
    world.pass();
    assert_eq!(world.took(), ["TryPod"; 3]);
    world.refuses = Some("exceeded quota".into());
    world.settle();
    assert!(!world.took().contains(&"DeletePod"), "{:?}", world.took());
}

#[test]
fn a_pod_that_was_told_to_go_goes_unless_that_was_refused() {
    let mut world = World::ready(&json!({}));
    world.edit("suspend", json!(true));
    world.refuses_deletes = true;
    world.settle();
    assert_eq!(world.goes(), None, "it was refused");

    let mut world = World::ready(&json!({}));
    world.edit("suspend", json!(true));
    let pod = world.pod.clone();
    world.pass();
    assert_eq!(world.took(), ["DeletePod"]);
    // The watch shows it for as long as it uses its grace.
    world.pod = pod;
    world.now += SignedDuration::from_hours(1);
    assert_eq!(world.goes(), Some(Goes::Soon));
}

#[test]
fn that_the_api_server_would_take_a_pod_counts_for_a_minute() {
    let mut world = switched();
    let more = [
        (REGISTRY, B),
        ("ROLLOUT", "Paced"),
        ("IMAGE_PULL_SECRETS", "m"),
    ];
    world.settings = settings(&more);
    world.turn = Turn::Moves;
    world.pass();
    assert_eq!(world.took(), ["TryPod"]);
    // Before it came to it, its turn was over.
    world.turn = Turn::Waits;
    world.pass_time(60);
    world.turn = Turn::Moves;
    world.refuses = Some("exceeded quota".into());
    world.settle();
    assert_eq!(world.took(), ["TryPod", "TryPod"]);
}
