//! What runs stops for another image only once that is proved, and the move of a fleet.

use serde_json::json;

use super::world::{A, B, World, settings};
use crate::plan::{Rollout, Step};
use crate::seen::{Credentials, Proof, Turn};

pub(super) const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";

pub(super) fn failed() -> Proof {
    Proof::Failed {
        why: "b.example.com answered 401 Unauthorized".into(),
    }
}

/// Its settings move what runs, and have just been pointed to [`B`].
pub(super) fn switched() -> World {
    let mut world = World::new(&json!({}));
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    world.run_anew(0);
    world.settle();
    assert_eq!(world.state(), "Ready");
    world.steps.clear();
    world.settings = settings(&[(REGISTRY, B), ("ROLLOUT", "Paced")]);
    world
}

pub(super) fn annotation(world: &World, name: &str) -> serde_json::Value {
    world.pod.as_ref().expect("a Pod")["metadata"]["annotations"][name].clone()
}

#[test]
fn a_new_wish_stops_nothing_before_its_image_is_proved() {
    for proof in [Proof::Unknown, Proof::UnderWay, failed()] {
        let mut world = World::ready(&json!({}));
        let old = world.pod_uid();
        world.edit("tag", json!("v2"));
        world.proof = proof;
        world.pass_time(1000);
        assert_eq!(world.pod_uid(), old, "it runs on");
        let want = world.plan().wants.expect("it is to be proved");
        assert_eq!(want.question.node, "node-1");
        assert!(want.question.image.ends_with(":v2"));
        let account = Credentials::OfServiceAccount {
            namespace: "ns".into(),
            name: "default".into(),
        };
        assert_eq!(want.question.credentials, account);
        world.proof = Proof::Proved;
        world.settle();
        assert_ne!(world.pod_uid(), old);
        assert!(world.image().ends_with(":v2"));
        assert_eq!(world.plan().wants, None, "nothing more is wanted");
    }
}

#[test]
fn what_cannot_be_pulled_is_told_with_its_node_and_why_and_the_pod_serves_on() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = failed();
    world.pass_time(4);
    assert_eq!(world.took(), ["TryPod", "PatchStatus"]);
    assert_eq!(world.state(), "RolloutBlocked");
    let told = world.condition("Stalled");
    assert!(told.contains("node-1"), "{told}");
    assert!(
        told.ends_with("b.example.com answered 401 Unauthorized"),
        "{told}"
    );
    let ready = "True: the agent answers on port 8000, as it was asked for before";
    assert_eq!(world.condition("Ready"), ready);
    world.edit("tag", json!(null));
    world.settle();
    assert_eq!(world.state(), "Ready", "the wish is taken back");
    assert_eq!(
        world.took()[2..],
        ["PatchStatus"],
        "and nothing was stopped"
    );
}

#[test]
fn a_proof_that_takes_its_time_is_told_as_progress() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = Proof::UnderWay;
    world.pass_time(29);
    assert_eq!(world.took(), ["TryPod"]);
    world.pass_time(2);
    assert_eq!(world.state(), "Replacing");
    let told = "the Pod of before runs on, and is replaced once its new image is proved to be on \
                the node node-1";
    assert_eq!(world.condition("Reconciling"), format!("True: {told}"));
    // What was asked for is not what runs: who waits for Ready waits on.
    assert_eq!(world.condition("Ready"), format!("False: {told}"));
    world.pass_time(1000);
    assert_eq!(world.took(), ["TryPod", "PatchStatus"], "it is told once");
}

#[test]
fn what_the_api_server_would_not_take_is_told_so_and_no_node_is_asked_for_it() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = failed();
    world.refuses = Some("exceeded quota".into());
    world.settle();
    assert_eq!(world.plan().wants, None);
    world.pass_time(4);
    assert_eq!(world.state(), "PodRejected");
    let told = "True: the API server refused the Pod: exceeded quota";
    assert_eq!(world.condition("Stalled"), told);
    world.refuses = None;
    world.pass_time(10);
    assert_eq!(world.state(), "RolloutBlocked", "it is tried again");
}

#[test]
fn a_probe_that_the_api_server_refuses_says_nothing_against_the_node() {
    let refused = || Proof::Refused {
        why: "exceeded quota: full".into(),
    };
    let mut asked = World::ready(&json!({}));
    asked.edit("tag", json!("v2"));
    let mut moved = switched();
    moved.turn = Turn::Proves;
    for mut world in [asked, moved] {
        world.proof = refused();
        world.pass_time(4);
        assert_eq!(world.state(), "PodRejected");
        let told = world.condition("Stalled");
        assert!(told.contains("refused the probe"), "{told}");
        assert!(told.ends_with(": exceeded quota: full"), "{told}");
        assert!(world.condition("Ready").starts_with("True"));
        let wants = world.plan().wants;
        assert!(wants.is_some(), "it is asked for again");
    }
}

#[test]
fn the_api_server_is_asked_for_the_pod_after_the_proof_right_before_the_old_one_stops() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.proof = Proof::UnderWay;
    world.settle();
    world.refuses = Some("exceeded quota".into());
    world.proof = Proof::Proved;
    world.pass_time(5);
    assert_eq!(world.state(), "PodRejected");
    assert!(!world.took().contains(&"DeletePod"));
}

#[test]
fn what_is_not_ready_or_keeps_its_image_needs_no_proof() {
    let mut world = World::ready(&json!({}));
    world.proof = failed();
    world.edit("env", json!([{"name": "A", "value": "1"}]));
    world.settle();
    assert_eq!(world.took()[..3], ["TryPod", "DeletePod", "CreatePod"]);
    let mut world = World::stuck(&json!({}));
    world.proof = failed();
    world.edit("tag", json!("v2"));
    world.settle();
    assert_eq!(world.took()[..2], ["DeletePod", "CreatePod"]);
    let mut world = World::ready(&json!({}));
    world.proof = failed();
    world.edit("suspend", json!(true));
    world.settle();
    assert_eq!(world.took(), ["DeletePod", "PatchStatus"]);
}

#[test]
fn what_runs_and_misses_a_probe_is_not_stopped_for_what_is_not_proved() {
    let mut world = World::ready(&json!({}));
    world.proof = failed();
    world.edit("tag", json!("v2"));
    world.settle();
    world.agent(json!({"ready": false, "state": {"running": {}}}));
    world.pass_time(599);
    assert!(!world.took().contains(&"DeletePod"));
    assert_eq!(world.state(), "RolloutBlocked");
    // It had its time to come back by itself.
    world.pass_time(2);
    assert!(world.took().contains(&"DeletePod"));
}

#[test]
fn the_new_pod_prefers_the_node_that_has_its_image() {
    let mut world = World::ready(&json!({}));
    world.edit("tag", json!("v2"));
    world.settle();
    let pod = world.pod.as_ref().expect("a Pod");
    let terms =
        &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(
        terms[0]["preference"]["matchFields"][0]["values"][0],
        "node-1"
    );
    assert_eq!(annotation(&world, "molecule.ai/movedFrom"), json!(null));
}

#[test]
fn nobody_is_moved_before_its_turn_and_its_proof() {
    for (turn, proof) in [
        (Turn::Waits, Proof::Proved),
        (Turn::Proves, Proof::Proved),
        (Turn::Moves, Proof::Unknown),
        (Turn::Moves, Proof::UnderWay),
        (Turn::Moves, failed()),
    ] {
        let mut world = switched();
        (world.turn, world.proof) = (turn, proof);
        world.pass_time(100);
        let stopped = ["MovePod", "DeletePod", "TryPod"];
        assert!(
            !world.took().iter().any(|it| stopped.contains(it)),
            "{turn:?}"
        );
        assert!(world.condition("Ready").starts_with("True"));
    }
}

#[test]
fn while_it_waits_for_its_turn_or_its_proof_nothing_is_written() {
    let mut world = switched();
    world.pass_time(100);
    assert_eq!(
        world.plan().wants,
        None,
        "its image is not asked for either"
    );
    world.turn = Turn::Proves;
    for proof in [Proof::Unknown, Proof::UnderWay, Proof::Proved] {
        world.proof = proof;
        world.pass_time(100);
        assert!(world.plan().wants.is_some(), "and held for it");
    }
    assert_eq!(world.took(), Vec::<&str>::new());
}

#[test]
fn a_move_is_one_patch_of_the_image_and_two_statuses() {
    let mut world = switched();
    let uid = world.pod_uid();
    world.turn = Turn::Moves;
    world.settle();
    assert_eq!(world.took(), ["MovePod", "PatchStatus"]);
    assert_eq!(world.state(), "Replacing");
    let ready = world.condition("Ready");
    assert!(
        ready.starts_with("False"),
        "the old container still answers: {ready}"
    );
    world.run_anew(1);
    world.settle();
    assert_eq!(world.took(), ["MovePod", "PatchStatus", "PatchStatus"]);
    assert_eq!((world.state().as_str(), world.pod_uid()), ("Ready", uid));
    assert!(world.image().starts_with(B));
    let from = annotation(&world, "molecule.ai/movedFrom");
    assert!(from.as_str().is_some_and(|it| it.starts_with(A)), "{from}");
    world.pass_time(1000);
    assert_eq!(world.took().len(), 3, "and that is all");
}

#[test]
fn a_container_that_has_ended_by_itself_is_another_one_by_its_identifier_alone() {
    let mut world = switched();
    world.turn = Turn::Moves;
    world.settle();
    world.agent(json!({
        "ready": true, "state": {"running": {}}, "restartCount": 0,
        "containerID": "containerd://another",
    }));
    world.settle();
    assert_eq!(world.state(), "Ready");
}

#[test]
fn what_else_differs_takes_another_pod_which_knows_what_it_is_moved_from() {
    let mut world = switched();
    let old = world.pod_uid();
    world.settings = settings(&[
        (REGISTRY, B),
        ("ROLLOUT", "Paced"),
        ("IMAGE_PULL_SECRETS", "m"),
    ]);
    world.turn = Turn::Moves;
    let plan = world.plan();
    let is_tried = matches!(plan.step, Some(Step::TryPod { .. }));
    assert!(is_tried, "it goes on at once, as it is proved");
    assert!(
        plan.wants.is_some(),
        "the proof is kept until the Pod stops"
    );
    world.settle();
    assert_eq!(world.took()[..3], ["TryPod", "DeletePod", "CreatePod"]);
    let Step::DeletePod { why, left, .. } = &world.steps[1] else {
        panic!("the second step stops it");
    };
    assert_eq!(*why, Rollout::Moved);
    let to = left.moved_to.as_ref().expect("what it is stopped for");
    assert!(to.image.starts_with(B), "{to:?}");
    assert_ne!(world.pod_uid(), old);
    let from = annotation(&world, "molecule.ai/movedFrom");
    assert!(from.as_str().is_some_and(|it| it.starts_with(A)), "{from}");
    world.run_anew(0);
    world.settle();
    assert_eq!(
        world.state(),
        "Ready",
        "it is another Pod: its first run counts"
    );
}

#[test]
fn what_else_differs_is_proved_with_the_credentials_of_the_new_pod() {
    let mut world = switched();
    world.settings = settings(&[
        (REGISTRY, B),
        ("ROLLOUT", "Paced"),
        ("IMAGE_PULL_SECRETS", "m"),
    ]);
    (world.turn, world.proof) = (Turn::Proves, Proof::UnderWay);
    let want = world.plan().wants.expect("it is to be proved");
    let secrets = Credentials::Secrets {
        namespace: "ns".into(),
        names: vec!["m".into()],
    };
    assert_eq!(want.question.credentials, secrets);
}

#[test]
fn a_container_is_proved_with_the_credentials_that_its_pod_has() {
    let mut world = switched();
    (world.turn, world.proof) = (Turn::Proves, Proof::UnderWay);
    let want = world.plan().wants.expect("it is to be proved");
    assert_eq!(want.question.credentials, Credentials::None);
    // Admission has put there what its ServiceAccount had.
    let pod = world.pod.as_mut().expect("a Pod");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "of-account"}]);
    let want = world.plan().wants.expect("it is to be proved");
    let secrets = Credentials::Secrets {
        namespace: "ns".into(),
        names: vec!["of-account".into()],
    };
    assert_eq!(want.question.credentials, secrets);
}

#[test]
fn what_keeps_its_image_and_is_to_show_another_secret_is_proved_first() {
    let mut world = World::ready(&json!({}));
    world.proof = failed();
    world.edit("imagePullSecrets", json!([{"name": "new"}]));
    world.pass_time(10);
    assert_eq!(world.state(), "RolloutBlocked");
    assert!(!world.took().contains(&"DeletePod"));
    world.proof = Proof::Proved;
    world.settle();
    assert!(world.took().contains(&"CreatePod"));
    world.run();
    world.settle();
    // With the same secrets its node has it.
    world.proof = failed();
    world.edit("env", json!([{"name": "A", "value": "1"}]));
    let old = world.pod_uid();
    world.settle();
    assert_ne!(world.pod_uid(), old);
}

#[test]
fn an_agent_that_takes_its_time_after_its_move_is_not_taken_for_one_that_crashes() {
    let mut world = switched();
    world.turn = Turn::Moves;
    world.settle();
    let ended = json!({"terminated": {"exitCode": 143, "reason": "Error"}});
    let waits = json!({"waiting": {"reason": "ContainerCreating"}});
    world.agent(json!({
        "state": waits, "lastState": ended, "containerID": "containerd://0",
    }));
    world.pass_time(20);
    let starts = |restarts: i32| {
        json!({
            "state": {"running": {}}, "lastState": ended, "restartCount": restarts,
            "containerID": format!("containerd://{restarts}"),
        })
    };
    world.agent(starts(1));
    world.pass_time(100);
    assert_eq!(world.state(), "Replacing");
    world.run_anew(1);
    world.settle();
    assert_eq!(world.took(), ["MovePod", "PatchStatus", "PatchStatus"]);
    // From then on it is an agent like any other.
    world.pass_time(100);
    world.agent(starts(1));
    world.pass_time(31);
    assert_eq!(world.state(), "NotReady");
    world.agent(starts(2));
    world.pass_time(4);
    assert_eq!(world.state(), "CrashLooping");
}

#[test]
fn a_move_that_cannot_be_pulled_is_told_and_the_pod_serves_on() {
    let mut world = switched();
    (world.turn, world.proof) = (Turn::Proves, failed());
    world.pass_time(4);
    assert_eq!(world.took(), ["PatchStatus"]);
    assert_eq!(world.state(), "RolloutBlocked");
    assert!(world.condition("Stalled").ends_with("401 Unauthorized"));
    let ready = "True: the agent answers on port 8000";
    assert_eq!(world.condition("Ready"), ready);
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.settle();
    assert_eq!(world.state(), "Ready");
}

#[test]
fn a_user_may_opt_out_or_put_it_off() {
    for rollout in [
        json!({"policy": "OnRestart"}),
        json!({"notBefore": "2026-01-01T01:00:00Z"}),
        json!({"window": {"start": "02:00", "end": "03:00"}}),
    ] {
        let mut world = switched();
        world.edit("rollout", rollout);
        world.turn = Turn::Moves;
        world.settle();
        assert_eq!(world.took(), ["PatchStatus"], "of the generation");
    }
}

#[test]
fn nothing_that_runs_is_moved_where_the_settings_say_on_restart() {
    let mut world = switched();
    world.settings = settings(&[(REGISTRY, B)]);
    world.turn = Turn::Moves;
    world.edit("rollout", json!({"policy": "Paced"}));
    world.settle();
    assert_eq!(world.took(), ["PatchStatus"], "of the generation");
}

#[test]
fn an_edit_back_waits_until_the_container_has_been_replaced() {
    let mut world = switched();
    world.turn = Turn::Moves;
    world.settle();
    world.settings = settings(&[(REGISTRY, A), ("ROLLOUT", "Paced")]);
    world.pass_time(10);
    assert_eq!(world.took(), ["MovePod", "PatchStatus"]);
    world.run_anew(1);
    world.settle();
    assert_eq!(world.took()[2..], ["MovePod"]);
    assert!(world.image().starts_with(A));
}

#[test]
fn a_refused_move_is_told_and_tried_again_with_growing_pauses() {
    let mut world = switched();
    world.turn = Turn::Moves;
    world.refuses = Some("a policy".into());
    world.pass_time(100);
    let tries = world.times("MovePod");
    assert_eq!(tries, 5, "after 0, 5, 15, 35 and 75 s");
    let told = world.times("PatchStatus");
    assert_eq!(told, 1, "what is tried again is not told anew");
    assert_eq!(world.state(), "PodRejected");
    assert!(world.condition("Ready").starts_with("True"));
}

#[test]
fn from_its_expiry_on_there_is_no_pod_until_a_later_one_is_set() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    world.edit("expiresAt", json!("2026-01-01T00:01:00Z"));
    world.pass_time(59);
    assert_eq!(world.took(), ["PatchStatus"], "of the generation");
    world.pass_time(2);
    assert_eq!(world.took()[1..], ["DeletePod", "PatchStatus"]);
    assert_eq!(world.state(), "Expired");
    assert!(world.condition("Suspended").starts_with("True"));
    assert!(world.claim.is_some(), "I6");
    assert!(matches!(
        world.steps[1],
        Step::DeletePod {
            why: Rollout::Expired,
            ..
        }
    ));
    world.edit("expiresAt", json!("2027-01-01T00:00:00Z"));
    world.settle();
    assert_eq!(world.took().last(), Some(&"CreatePod"));
}
