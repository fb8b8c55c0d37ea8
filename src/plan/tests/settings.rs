//! What an edit of the settings does, and to whom.

use serde_json::json;

use super::world::{A, B, World, settings};
use crate::fleet::{Source, in_force};
use crate::plan::{Rollout, Step, Stuck};
use crate::settings::Environment;

const TO_B: &[(&str, &str)] = &[("MOLECULE_IMAGE_REGISTRY", B)];

fn langgraph(prefix: &str) -> String {
    format!("{prefix}/workspace-template-langgraph:latest")
}

#[test]
fn an_edit_touches_nothing_that_runs() {
    let mut world = World::ready(&json!({}));
    for edit in [
        settings(TO_B),
        settings(&[
            ("IMAGE_PULL_SECRETS", "x"),
            ("PLATFORM_URL", "https://example.com"),
        ]),
        settings(&[("MOLECULE_IMAGE_REGISTRY", "not a prefix")]),
        settings(&[]),
    ] {
        world.settings = edit;
        world.settle();
        world.pass_time(60);
    }
    assert_eq!(world.took(), Vec::<&str>::new());
}

#[test]
fn a_pod_stuck_on_its_image_is_healed_in_place() {
    let mut world = World::stuck(&json!({}));
    let uid = world.pod_uid();
    world.settings = settings(TO_B);
    world.settle();
    assert_eq!(world.took(), ["SetImage"]);
    assert_eq!((world.image(), world.pod_uid()), (langgraph(B), uid));
    world.run();
    world.settle();
    assert_eq!(world.took(), ["SetImage", "PatchStatus"]);
    assert_eq!(world.state(), "Ready");
}

#[test]
fn back_and_forth_while_stuck_ends_where_the_settings_are() {
    let mut world = World::stuck(&json!({}));
    let uid = world.pod_uid();
    for prefix in [B, A, B, A] {
        world.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", prefix)]);
        world.settle();
        assert_eq!(
            (world.image(), world.pod_uid()),
            (langgraph(prefix), uid.clone())
        );
    }
    assert_eq!(world.took(), ["SetImage"; 4]);
}

#[test]
fn every_reason_of_a_failed_pull_counts_as_stuck() {
    for reason in [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
    ] {
        let mut world = World::new(&json!({}));
        world.settle();
        world.waits(reason, "");
        world.settings = settings(TO_B);
        world.settle();
        assert_eq!(world.image(), langgraph(B), "{reason}");
    }
}

#[test]
fn a_stuck_pod_of_which_nobody_knows_the_image_is_healed() {
    let mut world = World::stuck(&json!({}));
    let pod = world.pod.as_mut().expect("a Pod");
    let annotations = pod["metadata"]["annotations"].as_object_mut();
    let image = annotations
        .expect("they are there")
        .remove("molecule.ai/image");
    assert_eq!(image, Some(json!(langgraph(A))));
    world.settings = settings(TO_B);
    world.settle();
    assert_eq!(world.took(), ["SetImage"]);
    assert_eq!(world.image(), langgraph(B));
}

#[test]
fn a_pod_that_pulls_is_left_alone_until_its_time_is_over() {
    let mut world = World::new(&json!({"provisionTimeoutSeconds": 60}));
    world.settle();
    world.waits("ContainerCreating", "");
    world.settings = settings(TO_B);
    world.settle();
    assert_eq!(world.image(), langgraph(A));
    world.pass_time(59);
    assert_eq!(world.image(), langgraph(A));
    world.pass_time(2);
    assert_eq!(world.image(), langgraph(B));
    let why = world.steps.iter().find_map(|step| match step {
        Step::SetImage { why, .. } => Some(*why),
        _ => None,
    });
    assert_eq!(why, Some(Stuck::NeverStarted));
}

#[test]
fn a_pod_without_its_volumes_does_not_wait_for_its_image() {
    let mut world = World::new(&json!({"provisionTimeoutSeconds": 5}));
    world.settle();
    world.settings = settings(TO_B);
    world.pass_time(20);
    assert_eq!(world.image(), langgraph(A));
}

#[test]
fn a_pod_without_a_node_takes_the_new_image() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.unschedulable();
    world.settings = settings(TO_B);
    world.settle();
    assert_eq!(world.image(), langgraph(B));
}

#[test]
fn a_crashing_container_starts_again_from_the_cache_and_is_not_stuck() {
    let mut world = World::ready(&json!({}));
    world.agent(json!({
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }));
    world.settings = settings(TO_B);
    world.pass_time(700);
    assert!(!world.took().contains(&"SetImage"));
    assert!(!world.took().contains(&"DeletePod"));
}

#[test]
fn other_fields_of_the_settings_replace_a_pod_that_never_ran() {
    let mut world = World::stuck(&json!({}));
    let uid = world.pod_uid();
    world.settings = settings(&[
        ("MOLECULE_IMAGE_REGISTRY", A),
        ("IMAGE_PULL_SECRETS", "mirror"),
    ]);
    world.settle();
    assert!(matches!(
        world.steps[..],
        [
            Step::DeletePod {
                why: Rollout::SettingsChanged,
                ..
            },
            Step::CreatePod { .. }
        ]
    ));
    assert_ne!(world.pod_uid(), uid);
}

/// I2: it has run, so its files would be lost; only the image can be changed in place.
#[test]
fn a_pod_that_has_run_is_never_deleted_for_the_settings() {
    let mut world = World::ready(&json!({}));
    let uid = world.pod_uid();
    world.agent(json!({
        "restartCount": 1,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": ""}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "Error"}},
    }));
    world.settings = settings(&[
        ("MOLECULE_IMAGE_REGISTRY", B),
        ("IMAGE_PULL_SECRETS", "mirror"),
    ]);
    world.settle();
    assert_eq!((world.image(), world.pod_uid()), (langgraph(B), uid));
    assert!(!world.took().contains(&"DeletePod"));
}

#[test]
fn a_terminating_pod_is_never_touched() {
    let mut world = World::stuck(&json!({}));
    let grace = world.now.to_string();
    world.pod.as_mut().expect("a Pod")["metadata"]["deletionTimestamp"] = json!(grace);
    world.settings = settings(TO_B);
    world.settle();
    assert_eq!(world.took(), Vec::<&str>::new());
}

#[test]
fn without_settings_new_rollouts_wait_and_nothing_else_happens() {
    let bad = [("MOLECULE_IMAGE_REGISTRY", "myorg")];
    let data = bad
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    let none = in_force(
        &Source::Present(data),
        &Source::Absent,
        None,
        &Environment::default(),
    );
    let mut world = World::new(&json!({}));
    world.settings = none.clone();
    world.pass_time(5);
    assert_eq!(
        (world.state().as_str(), world.took()),
        ("InvalidSettings", vec!["PatchStatus"])
    );
    assert!(
        world.condition("Stalled").contains("myorg"),
        "{}",
        world.condition("Stalled")
    );

    let mut world = World::stuck(&json!({}));
    world.settings = none.clone();
    world.pass_time(5);
    assert!(
        !world
            .took()
            .iter()
            .any(|step| ["SetImage", "DeletePod"].contains(step))
    );

    let mut world = World::ready(&json!({}));
    world.settings = none;
    world.edit("tag", json!("v2"));
    world.pass_time(5);
    assert_eq!(world.took(), ["PatchStatus"], "the old Pod runs on");
    assert!(world.condition("Ready").starts_with("True"));
}

#[test]
fn a_new_rollout_takes_the_settings_of_its_moment() {
    let mut world = World::ready(&json!({}));
    world.settings = settings(TO_B);
    world.settle();
    world.pod = None;
    world.settle();
    assert_eq!(world.image(), langgraph(B));
}

#[test]
fn a_pod_whose_annotations_were_stripped_is_left_alone() {
    for stuck in [false, true] {
        let mut world = if stuck {
            World::stuck(&json!({}))
        } else {
            World::ready(&json!({}))
        };
        world.pod.as_mut().expect("a Pod")["metadata"]["annotations"] = json!({});
        world.settings = settings(TO_B);
        world.settle();
        world.edit("tag", json!("v2"));
        world.pass_time(5);
        assert!(
            !world.took().iter().any(|step| *step != "PatchStatus"),
            "{:?}",
            world.took()
        );
    }
}

/// Found by a property: the spec changed while no settings were in force, and the old Pod runs on.
#[test]
fn a_workspace_whose_change_waits_for_valid_settings_is_woken_by_them() {
    let mut world = World::ready(&json!({}));
    assert!(!world.awaits_settings(), "it runs as it was asked to");
    world.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", "myorg")]);
    world.edit("tag", json!("v2"));
    world.pass_time(4);
    assert_eq!(world.state(), "InvalidSettings");
    assert!(world.awaits_settings());
}

/// Found by review: two operators with different environments answered each other as fast as
/// they could.
#[test]
fn whoever_undoes_a_healing_is_not_answered_at_once_again_and_again() {
    let mut world = World::stuck(&json!({}));
    world.settings = settings(TO_B);
    for _ in 0..600 {
        world.pass_time(1);
        let pod = world.pod.as_mut().expect("a Pod");
        pod["metadata"]["annotations"]["molecule.ai/image"] = json!(langgraph(A));
    }
    let healed = world.times("SetImage");
    assert!((2..12).contains(&healed), "paced: {healed} in ten minutes");
}

/// Found by review: two operators whose scopes overlap, with a platform of their own each, deleted
/// and created a Pod without a node forty times a second.
#[test]
fn whoever_replaces_a_pod_for_other_settings_is_not_answered_at_once_again_and_again() {
    let mut world = World::stuck(&json!({}));
    let ours = settings(&[
        ("MOLECULE_IMAGE_REGISTRY", A),
        ("PLATFORM_URL", "https://ours.example.com"),
    ]);
    world.settings = ours;
    for _ in 0..600 {
        world.pass_time(1);
        let pod = world.pod.as_mut().expect("a Pod");
        pod["metadata"]["annotations"]["molecule.ai/settings"] = json!("theirs");
        world.pull_fails("401 Unauthorized");
    }
    let replaced = world.times("DeletePod");
    assert!(
        (2..12).contains(&replaced),
        "paced: {replaced} in ten minutes"
    );
    world.settings = settings(&[
        ("MOLECULE_IMAGE_REGISTRY", A),
        ("PLATFORM_URL", "https://edited.example.com"),
    ]);
    world.steps.clear();
    world.settle();
    assert_eq!(
        world.took()[..2],
        ["DeletePod", "CreatePod"],
        "an edit is no such thing"
    );
}
