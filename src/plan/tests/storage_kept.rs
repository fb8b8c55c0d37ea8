//! What a move does not stop, as another Pod could not have its storage.

use serde_json::{Value, json};

use super::moving::REGISTRY;
use super::world::{A, B, World, settings};
use crate::seen::{Proof, Turn};

type Change = fn(&mut Value);

/// Nobody asked for its stop. A change of the spec does not stop it either.
#[test]
fn what_could_not_have_its_claim_again_is_not_stopped_for_a_move() {
    let labels = |it: &mut Value| it["metadata"]["labels"] = json!({});
    let deletion = |it: &mut Value| {
        it["metadata"]["deletionTimestamp"] = json!("2026-03-01T00:00:00Z");
    };
    let owner = |it: &mut Value| {
        it["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "w", "uid": "earlier",
        }]);
    };
    let changes: [(&str, Change); 3] = [
        ("has lost the label", labels),
        ("goes away", deletion),
        ("goes away", owner),
    ];
    for (words, change) in changes {
        let mut world = with_storage();
        let old = world.pod_uid();
        change(world.claim.as_mut().expect("a claim"));
        world.settle();
        world.settings = settings(&[
            (REGISTRY, B),
            ("ROLLOUT", "Paced"),
            ("IMAGE_PULL_SECRETS", "m"),
        ]);
        world.turn = Turn::Moves;
        world.proof = Proof::Proved;
        world.pass_time(4);
        assert_eq!(world.pod_uid(), old, "{words}");
        assert_eq!(world.state(), "RolloutBlocked");
        assert!(
            world.condition("Stalled").contains(words),
            "{}",
            world.condition("Stalled")
        );
    }
}

#[test]
fn a_claim_that_is_gone_is_not_made_anew_by_a_move() {
    let mut world = with_storage();
    let old = world.pod_uid();
    world.claim = None;
    world.settings = settings(&[
        (REGISTRY, B),
        ("ROLLOUT", "Paced"),
        ("IMAGE_PULL_SECRETS", "m"),
    ]);
    world.turn = Turn::Moves;
    world.proof = Proof::Proved;
    world.pass_time(4);
    assert_eq!(world.pod_uid(), old);
    assert!(world.claim.is_none());
    assert!(
        world.condition("Stalled").contains("is gone"),
        "{}",
        world.condition("Stalled")
    );
}

/// Ready on A, with a claim.
fn with_storage() -> World {
    let mut world = World::new(&json!({"storage": {"size": "1Gi"}}));
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    world.run_anew(0);
    world.settle();
    assert_eq!(world.state(), "Ready");
    world
}
