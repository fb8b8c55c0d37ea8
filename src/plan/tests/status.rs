//! What the user is told, and when.

use serde_json::json;

use super::world::{B, World, settings};

#[test]
fn a_problem_is_told_when_it_lasts_three_seconds() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.pull_fails("401 Unauthorized");
    world.settle();
    world.pass_time(2);
    assert_eq!(world.state(), "");
    world.pass_time(1);
    assert_eq!(world.state(), "ImagePullFailed");
    let told = world.condition("Reconciling");
    assert!(
        told.contains("a.example.com answered 401 Unauthorized"),
        "{told}"
    );
    assert!(world.condition("Ready").starts_with("False"));
    assert_eq!(world.condition("Stalled"), "");
}

#[test]
fn plain_progress_is_told_when_it_lasts_thirty_seconds() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.waits("ContainerCreating", "");
    world.pass_time(29);
    assert_eq!(world.state(), "");
    world.pass_time(2);
    assert_eq!(world.state(), "Pulling");
}

#[test]
fn the_message_of_a_failed_pull_stays_the_same_from_try_to_try() {
    let mut world = World::stuck(&json!({}));
    let image = world.image();
    for round in 0..20 {
        world.waits(
            "ImagePullBackOff",
            &format!("Back-off pulling image \"{image}\""),
        );
        world.pass_time(5);
        let port = 40_000 + round;
        world.waits(
            "ErrImagePull",
            &format!("pull \"{image}\": 10.0.0.1:{port}: 401 Unauthorized (try {round})"),
        );
        world.pass_time(5);
    }
    assert_eq!(world.took(), Vec::<&str>::new());
}

#[test]
fn a_message_about_the_image_of_before_is_not_believed() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.waits(
        "ErrImagePull",
        "failed to pull \"old.example.com/x:1\": 401 Unauthorized",
    );
    world.pass_time(31);
    assert_eq!(world.state(), "Pulling");
}

#[test]
fn each_cause_has_a_name_and_the_words_to_act_on() {
    let waiting =
        |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let image =
        "\\\"a.example.com/agents/workspace-template-langgraph:latest\\\"".replace('\\', "");
    for (state, name, words) in [
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            "ConfigMissing",
            "secret",
        ),
        (
            waiting("CreateContainerError", "id 17"),
            "ContainerError",
            "CreateContainerError",
        ),
        (
            waiting("ErrImagePull", &format!("{image}: 403 Forbidden")),
            "ImagePullFailed",
            "403",
        ),
        (
            waiting("ErrImagePull", &format!("{image}: not found")),
            "ImagePullFailed",
            "not have it",
        ),
        (
            waiting("ErrImagePull", &format!("{image}: 429 Too Many Requests")),
            "ImagePullFailed",
            "429",
        ),
        (
            waiting("ErrImagePull", &format!("{image}: i/o timeout")),
            "ImagePullFailed",
            "in time",
        ),
        (
            waiting("ErrImagePull", &format!("{image}: x509: bad")),
            "ImagePullFailed",
            "certificate",
        ),
        (
            waiting("ErrImagePull", ""),
            "ImagePullFailed",
            "ErrImagePull",
        ),
        (
            waiting("InvalidImageName", ""),
            "ImagePullFailed",
            "finds the name invalid",
        ),
        (
            waiting("ErrImageNeverPull", ""),
            "ImagePullFailed",
            "told never to pull",
        ),
        (json!({"running": {}}), "NotReady", "port 8000"),
    ] {
        let mut world = World::new(&json!({}));
        world.settle();
        world.agent(json!({"state": state}));
        world.pass_time(31);
        assert_eq!(world.state(), name);
        let told = world.condition("Ready");
        assert!(
            told.contains(words) && !told.contains("17"),
            "{name}: {told}"
        );
    }
}

#[test]
fn a_pod_without_a_node_tells_the_schedulers_words() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.unschedulable();
    world.pass_time(4);
    assert_eq!(world.state(), "Unschedulable");
    assert!(world.condition("Ready").contains("0/2 nodes are available"));

    let mut world = World::new(&json!({"storage": {"size": "1Gi"}}));
    world.settle();
    world.unschedulable();
    world.pass_time(4);
    assert_eq!(world.state(), "VolumePending");
}

#[test]
fn a_crash_loop_is_told_once_with_the_last_exit() {
    let mut world = World::new(&json!({}));
    world.settle();
    for restarts in 1..20 {
        for state in [
            json!({"running": {}}),
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        ] {
            world.agent(json!({
                "restartCount": restarts, "state": state,
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }));
            world.pass_time(5);
        }
    }
    assert_eq!(world.took(), ["CreatePod", "PatchStatus"]);
    let told = world.condition("Ready");
    assert!(told.contains("OOMKilled") && told.contains("137"), "{told}");
}

#[test]
fn a_pod_without_its_volumes_names_the_config_map() {
    let mut world = World::new(&json!({"config": "settings-of-w"}));
    world.settle();
    world.pass_time(31);
    assert_eq!(world.state(), "Starting");
    assert!(world.condition("Ready").contains("settings-of-w"));
}

#[test]
fn what_is_not_ready_in_its_time_is_stalled_and_goes_on_trying() {
    let mut world = World::new(&json!({"provisionTimeoutSeconds": 60}));
    world.settle();
    world.pull_fails("401 Unauthorized");
    world.pass_time(59);
    assert_eq!(world.condition("Stalled"), "");
    world.pass_time(2);
    assert!(world.condition("Stalled").contains("not Ready for 60 s"));
    assert!(world.condition("Ready").starts_with("False"));
    assert_eq!(
        world.condition("Reconciling"),
        "",
        "they exclude each other"
    );
    let writes = world.took().len();
    world.pull_fails("401 Unauthorized");
    world.pass_time(600);
    assert_eq!(world.took().len(), writes);
    assert_eq!(world.plan().wake, None);
    world.run();
    world.settle();
    assert_eq!(world.state(), "Ready");
}

/// Kubernetes keeps whole seconds: with more, what is stored would never be what was planned.
#[test]
fn a_condition_says_since_when_in_whole_seconds() {
    let mut world = World::new(&json!({}));
    world.now = "2026-05-04T03:02:01.5Z".parse().expect("a time");
    world.settle();
    world.run();
    world.settle();
    let workspace = world.workspace.as_ref().expect("a Workspace");
    let since = &workspace["status"]["conditions"][0]["lastTransitionTime"];
    assert_eq!(*since, json!("2026-05-04T03:02:01Z"));
}

#[test]
fn a_false_ready_is_corrected_at_once() {
    let mut world = World::ready(&json!({}));
    world.agent(json!({"ready": false, "state": {"running": {}}}));
    world.settle();
    assert_eq!(world.took(), ["PatchStatus"]);
    assert!(world.condition("Ready").starts_with("False"));
    world.run();
    world.settle();
    assert!(world.condition("Ready").starts_with("True"));
}

/// I5: the kubelet still speaks of the generation before.
#[test]
fn ready_of_an_older_generation_of_the_pod_does_not_count() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.run();
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["generation"] = json!(2);
    pod["status"]["observedGeneration"] = json!(1);
    world.settle();
    assert_eq!(world.took(), ["CreatePod"]);
    world.pod.as_mut().expect("a Pod")["status"]["observedGeneration"] = json!(2);
    world.settle();
    assert_eq!(world.state(), "Ready");
}

#[test]
fn a_restart_of_the_operator_writes_nothing_new() {
    let mut stuck = World::stuck(&json!({}));
    stuck.restart();
    stuck.pass_time(60);
    assert_eq!(stuck.took(), Vec::<&str>::new());
    let mut ready = World::ready(&json!({}));
    ready.restart();
    ready.pass_time(60);
    assert_eq!(ready.took(), Vec::<&str>::new());
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.pull_fails("401 Unauthorized");
    world.settle();
    world.now -= jiff::SignedDuration::from_hours(5);
    world.pass_time(4);
    assert_eq!(world.state(), "ImagePullFailed");
}

/// Whoever may edit Pods may write what they like into an annotation of one.
#[test]
fn a_time_at_the_end_of_time_ends_no_operator() {
    let mut world = World::stuck(&json!({}));
    let end = jiff::Timestamp::MAX.to_string();
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["annotations"]["molecule.ai/healedAt"] = json!(end);
    pod["metadata"]["creationTimestamp"] = json!(end);
    world.settle();
    world.settings = settings(&[("MOLECULE_IMAGE_REGISTRY", B)]);
    world.settle();
    assert_eq!(world.took(), ["SetImage"], "it is healed as any other");
    let pod = world.pod.as_mut().expect("a Pod");
    pod["metadata"]["deletionTimestamp"] = json!(end);
    world.settle();
    world.fail();
    world.settle();
}
