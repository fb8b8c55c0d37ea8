//! What surrounds a move is not always as one would wish.

use serde_json::json;

use super::moving::{REGISTRY, failed, switched};
use super::world::{A, B, World, settings};
use crate::plan::Step;
use crate::seen::Turn;

/// The secret by which the image was pulled is taken out of the spec.
#[test]
fn what_shows_fewer_secrets_is_proved_first() {
    let mut world =
        World::ready(&json!({"imagePullSecrets": [{"name": "good"}, {"name": "other"}]}));
    world.proof = failed();
    let old = world.pod_uid();
    world.edit("imagePullSecrets", json!([{"name": "other"}]));
    world.settle();
    assert_eq!(world.pod_uid(), old);
}

/// The last secret is taken out.
#[test]
fn what_shows_no_secrets_any_more_is_proved_first() {
    let mut world = World::ready(&json!({"imagePullSecrets": [{"name": "good"}]}));
    world.proof = failed();
    let old = world.pod_uid();
    world.edit("imagePullSecrets", json!([]));
    world.settle();
    assert_eq!(world.pod_uid(), old);
}

/// Another ServiceAccount, which has no pull secret.
#[test]
fn what_has_the_secrets_of_another_account_is_proved_first() {
    let mut world = World::ready(&json!({}));
    world.pod.as_mut().expect("a Pod")["spec"]["imagePullSecrets"] =
        json!([{"name": "of-default"}]);
    world.proof = failed();
    let old = world.pod_uid();
    world.edit("serviceAccountName", json!("bare"));
    world.settle();
    assert_eq!(world.pod_uid(), old);
}

/// It uses its grace, which is longer than its provision timeout, to finish its work.
#[test]
fn what_uses_a_grace_longer_than_its_provision_timeout_is_not_put_back() {
    let mut world = World::new(&json!({"terminationGracePeriodSeconds": 3600}));
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    world.run_anew(0);
    world.settle();
    world.steps.clear();
    world.settings = settings(&[
        (REGISTRY, B),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_ROLL_BACK", "true"),
    ]);
    world.turn = Turn::Moves;
    world.settle();
    assert!(world.image().starts_with(B));
    // The old container answers on, and finishes its work.
    world.pass_time(1200);
    assert!(world.image().starts_with(B));
}

/// A policy gives all Pods the image of one mirror, whatever they ask for (Kyverno's "replace image
/// registry"): after the patch the live image is what it was, and no container is replaced.
#[test]
fn a_policy_that_gives_both_the_same_image_leaves_it_ready() {
    let mut world = switched();
    let live = json!("mirror.internal/workspace-template-langgraph:latest");
    world.pod.as_mut().expect("a Pod")["spec"]["containers"][0]["image"] = live.clone();
    world.turn = Turn::Moves;
    let step = world.pass();
    assert!(matches!(step, Some(Step::MovePod { .. })), "{step:?}");
    // The webhook has its way again, so for the kubelet nothing has changed: the agent answers on.
    world.pod.as_mut().expect("a Pod")["spec"]["containers"][0]["image"] = live;
    world.settle();
    world.pass_time(100_000);
    assert_eq!(world.state(), "Ready");
}

/// Somebody did by hand what the move does, as on the day of the outage: `kubectl set image`.
#[test]
fn an_image_that_was_set_by_hand_leaves_it_ready() {
    let mut world = switched();
    let live = json!(format!("{B}/workspace-template-langgraph:latest"));
    world.pod.as_mut().expect("a Pod")["spec"]["containers"][0]["image"] = live;
    world.run_anew(1);
    world.settle();
    assert_eq!(world.state(), "Ready");
    world.turn = Turn::Moves;
    world.pass_time(100_000);
    assert_eq!(world.state(), "Ready");
}

/// The annotation of the image is lost.
#[test]
fn an_annotation_that_is_lost_leaves_it_ready() {
    let mut world = World::new(&json!({}));
    world.settings = settings(&[(REGISTRY, B), ("ROLLOUT", "Paced")]);
    world.settle();
    world.run_anew(0);
    world.settle();
    world.pod.as_mut().expect("a Pod")["metadata"]["annotations"]
        .as_object_mut()
        .expect("annotations")
        .remove("molecule.ai/image");
    world.turn = Turn::Moves;
    world.pass_time(100_000);
    assert_eq!(world.state(), "Ready");
}
