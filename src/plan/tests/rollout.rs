//! When a Pod is started, replaced and stopped.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::{UID, World, settings};
use crate::plan::{Rollout, Step, Stuck};

#[test]
fn creation_to_ready_takes_two_writes() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.run();
    world.settle();
    assert_eq!(world.took(), ["CreatePod", "PatchStatus"]);
    world.pass_time(1000);
    assert_eq!(world.took().len(), 2);
    assert_eq!(world.plan().wake, None, "nothing to wake for");
}

#[test]
fn with_storage_the_claim_comes_first() {
    let mut world = World::new(&json!({"storage": {"size": "1Gi"}}));
    world.settle();
    assert_eq!(
        world.took(),
        ["CreateClaim", "CreatePod"],
        "and no Pod waits for Bound"
    );
}

#[test]
fn the_pod_waits_for_the_service_so_that_its_address_is_known() {
    let mut world = World::new(&json!({}));
    world.service = crate::seen::Service::Missing;
    world.settle();
    assert_eq!(world.took(), Vec::<&str>::new());
    world.service = crate::seen::Service::Foreign;
    world.settle();
    assert_eq!(world.took(), ["CreatePod"]);
}

#[test]
fn a_clock_behind_the_nodes_does_not_put_off_the_end_of_a_failed_pod() {
    let mut world = World::ready(&json!({}));
    let old = world.pod_uid();
    world.fail();
    world.now -= SignedDuration::from_hours(1);
    world.pass_time(9);
    assert_eq!(world.pod_uid(), old, "its pause is kept");
    world.pass_time(2);
    assert_ne!(world.pod_uid(), old);
}

#[test]
fn the_restart_annotation_is_a_new_rollout() {
    let mut world = World::ready(&json!({}));
    let old = world.pod_uid();
    let workspace = world.workspace.as_mut().expect("a Workspace");
    workspace["metadata"]["annotations"] = json!({"molecule.ai/restartedAt": "now"});
    world.settle();
    assert_ne!(world.pod_uid(), old);
}

#[test]
fn fields_that_need_no_new_pod_make_none() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    world.edit("provisionTimeoutSeconds", json!(5));
    world.settle();
    world.edit("storage", json!({"size": "2Gi", "whenDeleted": "Delete"}));
    world.settle();
    assert_eq!(world.took(), ["PatchStatus", "PatchClaim", "PatchStatus"]);
}

#[test]
fn suspend_stops_the_pod_and_resume_starts_one_with_the_settings_of_that_moment() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    world.edit("suspend", json!(true));
    world.settle();
    assert_eq!(world.took(), ["DeletePod", "PatchStatus"]);
    assert_eq!(world.state(), "Suspended");
    assert_eq!(
        world.condition("Ready"),
        "",
        "no Ready condition: kstatus calls it Current"
    );
    assert!(world.claim.is_some(), "I6");
    world.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", "b.example.com/agents")]);
    world.edit("suspend", json!(false));
    world.settle();
    assert!(world.image().starts_with("b.example.com/"));
}

#[test]
fn a_failed_pod_is_kept_for_its_logs_and_then_replaced_with_growing_pauses() {
    let mut world = World::new(&json!({}));
    world.settle();
    let mut stalled = Vec::new();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let old = world.pod_uid();
        world.fail();
        let ended = world.now;
        while world.pod_uid() == old {
            world.pass_time(1);
            let waited = (world.now - ended).get_seconds();
            assert!(waited <= 600, "it is never replaced");
        }
        pauses.push((world.now - ended).get_seconds());
        stalled.push(world.condition("Stalled").starts_with("True"));
    }
    assert_eq!(stalled, [false, false, false, false, false, true, true]);
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    assert!(
        world.condition("Stalled").contains("300 s"),
        "{}",
        world.condition("Stalled")
    );
}

#[test]
fn a_restart_of_the_operator_does_not_prolong_the_pause() {
    let mut world = World::new(&json!({}));
    world.settle();
    let old = world.pod_uid();
    world.fail();
    world.pass_time(8);
    world.restart();
    world.pass_time(1);
    assert_eq!(world.pod_uid(), old);
    world.pass_time(1);
    assert_ne!(world.pod_uid(), old);
}

#[test]
fn a_rollout_says_whether_it_replaces_what_failed() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.fail();
    world.pass_time(10);
    let rollouts: Vec<_> = world
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::CreatePod { rollout, .. } => Some(*rollout),
            _ => None,
        })
        .collect();
    assert_eq!(rollouts, [Rollout::NoPod, Rollout::PodFailed]);
}

#[test]
fn a_pod_that_ran_for_long_failed_for_the_first_time() {
    let mut world = World::new(&json!({}));
    world.settle();
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["annotations"]["molecule.ai/failures"] = json!("5");
    world.fail();
    let finished = (world.now + SignedDuration::from_mins(10)).to_string();
    let pod = world.pod.as_mut().expect("a Pod");
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(finished);
    world.now += SignedDuration::from_mins(10);
    world.pass_time(10);
    assert!(matches!(
        world.steps[..],
        [
            ..,
            Step::DeletePod {
                why: Rollout::PodFailed,
                failures: 1,
                ..
            },
            Step::CreatePod { .. }
        ] | [
            ..,
            Step::DeletePod {
                why: Rollout::PodFailed,
                failures: 1,
                ..
            },
            Step::CreatePod { .. },
            Step::PatchStatus { .. }
        ]
    ));
}

#[test]
fn a_new_wish_replaces_a_failed_pod_at_once() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.fail();
    world.settle();
    world.edit("tag", json!("v2"));
    world.settle();
    assert!(world.image().ends_with(":v2"));
}

fn owned_by(owners: &Value) -> World {
    let mut world = World::ready(&json!({}));
    world.pod.as_mut().expect("a Pod")["metadata"]["ownerReferences"] = owners.clone();
    world
}

#[test]
fn a_pod_of_someone_else_is_never_touched() {
    for owners in [
        Value::Null,
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "x",
                "controller": true}]),
        json!([{"apiVersion": "other.example/v1", "kind": "Workspace", "name": "w", "uid": UID,
                "controller": true}]),
        json!([{"apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "w",
                "uid": UID}]),
        json!([{"apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "another",
                "uid": "uid-of-another", "controller": true}]),
    ] {
        let mut world = owned_by(&owners);
        world.edit("tag", json!("v2"));
        world.settings = settings(&[]);
        world.pass_time(5);
        assert_eq!(world.took(), ["PatchStatus"], "{owners}");
        assert_eq!(world.state(), "PodNotOwned");
        assert!(world.condition("Ready").starts_with("False"));
        world.edit("suspend", json!(true));
        world.pass_time(5);
        assert_eq!(world.state(), "Suspended");
        world.edit("suspend", json!(false));
        world.pod = None;
        world.settle();
        assert_eq!(
            world.took().last(),
            Some(&"CreatePod"),
            "healed when it goes"
        );
    }
}

#[test]
fn the_pod_of_an_earlier_workspace_of_the_same_name_is_waited_for() {
    let mut world = owned_by(&json!([{
        "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "w",
        "uid": "uid-earlier", "controller": true,
    }]));
    world.pass_time(31);
    assert_eq!(world.state(), "WaitingForOldPod");
    world.pass_time(600);
    assert_eq!(world.state(), "WaitingForOldPod", "nobody told it to go");
    assert!(!world.took().contains(&"DeletePod"));
    assert_eq!(world.plan().wake, None, "there is nothing to look for");
}

#[test]
fn a_pod_that_hangs_in_terminating_is_told_with_its_node() {
    let mut world = World::ready(&json!({}));
    let grace = world.now.to_string();
    world.pod.as_mut().expect("a Pod")["metadata"]["deletionTimestamp"] = json!(grace);
    world.pass_time(59);
    assert_eq!(world.state(), "WaitingForOldPod");
    world.pass_time(5);
    assert_eq!(world.state(), "PodStuckTerminating");
    let told = world.condition("Stalled");
    assert!(
        told.contains("node-1") && told.contains("out-of-service"),
        "{told}"
    );
    assert!(
        !world.took().contains(&"DeletePod"),
        "nothing is force-deleted"
    );
    world.pod = None;
    world.settle();
    assert_eq!(world.took().last(), Some(&"CreatePod"));
}

#[test]
fn a_workspace_that_goes_gets_no_write() {
    for pod in [false, true] {
        let mut world = World::ready(&json!({}));
        if !pod {
            world.pod = None;
        }
        let workspace = world.workspace.as_mut().expect("a Workspace");
        workspace["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        world.pass_time(60);
        assert_eq!(world.took(), Vec::<&str>::new());
    }
}

#[test]
fn a_namespace_that_goes_gets_no_write() {
    let mut world = World::new(&json!({}));
    world.memory.namespace_terminating = true;
    world.pass_time(60);
    assert_eq!(world.took(), Vec::<&str>::new());
}

#[test]
fn a_workspace_that_does_not_decode_harms_only_itself() {
    let mut world = World::ready(&json!({}));
    world.edit("env", json!(5));
    world.pass_time(5);
    assert_eq!(world.took(), ["PatchStatus"]);
    assert_eq!(world.state(), "InvalidSpec");
    assert!(
        world.condition("Ready").starts_with("True"),
        "its Pod runs on"
    );
}

#[test]
fn an_unknown_runtime_has_no_image_until_the_settings_know_it() {
    let mut world = World::new(&json!({"runtime": "custom"}));
    world.pass_time(4);
    assert_eq!(
        (world.state().as_str(), world.took()),
        ("UnknownRuntime", vec!["PatchStatus"])
    );
    assert!(world.condition("Stalled").contains("langgraph"));
    world.settings = settings(&[("EXTRA_RUNTIMES", "custom")]);
    world.settle();
    assert!(world.image().contains("workspace-template-custom"));
}

#[test]
fn a_claim_without_our_label_is_never_adopted() {
    let spec = json!({"storage": {"size": "1Gi"}});
    let foreign = json!({"metadata": {"name": "workspace-w", "namespace": "ns"},
                         "spec": {"resources": {"requests": {"storage": "1Mi"}}}});
    let mut world = World::new(&spec);
    world.claim = Some(foreign.clone());
    world.pass_time(4);
    assert_eq!(
        (world.state().as_str(), world.took()),
        ("VolumeNotOwned", vec!["PatchStatus"])
    );
    world.claim.as_mut().expect("a claim")["metadata"]["labels"] =
        json!({"molecule.ai/workspace": "w"});
    world.settle();
    assert!(world.took().contains(&"CreatePod"));
}

#[test]
fn a_claim_on_its_way_out_is_not_changed_any_more() {
    let mut world = World::ready(&json!({"storage": {"size": "1Gi"}}));
    // It goes once no Pod uses it.
    let claim = world.claim.as_mut().expect("a claim");
    claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.edit("storage", json!({"size": "2Gi"}));
    world.settle();
    assert!(!world.took().contains(&"PatchClaim"), "{:?}", world.took());
}

#[test]
fn a_claim_on_its_way_out_is_waited_for() {
    let spec = json!({"storage": {"size": "1Gi"}});
    let labels = json!({"molecule.ai/workspace": "w"});
    let of_predecessor = json!([{"apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace",
                                 "name": "w", "uid": "uid-earlier"}]);
    for metadata in [
        json!({"labels": labels, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
        json!({"labels": labels, "ownerReferences": of_predecessor}),
    ] {
        let mut world = World::new(&spec);
        let mut claim = json!({"metadata": metadata});
        claim["metadata"]["name"] = json!("workspace-w");
        claim["metadata"]["namespace"] = json!("ns");
        world.claim = Some(claim);
        world.pass_time(31);
        assert_eq!(world.state(), "WaitingForOldVolume");
        world.claim = None;
        world.settle();
        assert_eq!(world.took()[1..], ["CreateClaim", "CreatePod"]);
    }
}

#[test]
fn a_status_that_is_not_stored_is_not_written_again_and_again() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.run();
    world.undoes = true;
    world.settle();
    world.pass_time(60);
    assert_eq!(world.took(), ["CreatePod", "PatchStatus"]);
    world.undoes = false;
    world.agent(json!({"ready": false, "state": {"running": {}}}));
    world.pass_time(31);
    assert_eq!(world.state(), "NotReady", "another one is written");
}

#[test]
fn a_pod_without_its_revision_is_told_and_left_alone() {
    let mut world = World::ready(&json!({}));
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["annotations"] = json!({});
    world.edit("tag", json!("v9"));
    world.pass_time(4);
    assert_eq!(
        (world.state().as_str(), world.took()),
        ("PodAltered", vec!["PatchStatus"])
    );
    world.pod = None;
    world.settle();
    assert!(world.image().ends_with(":v9"));
}

#[test]
fn logs_and_metrics_call_a_reason_by_its_name() {
    assert_eq!(Rollout::SpecChanged.to_string(), "SpecChanged");
    assert_eq!(Stuck::Image.to_string(), "Image");
}
