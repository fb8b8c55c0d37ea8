//! What a Workspace says of itself: in which words, when, and how it takes them back.

use std::process::Stdio;

use cluster::State;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::fixture::{World, condition, image, text, uid};

#[tokio::test]
async fn a_named_problem_is_told_after_3_seconds_in_the_words_of_its_cause() {
    let mut world = World::new().await;
    world.workspace("first", "{}");
    world.ready("first").await;
    world.forget();
    world.workspace("nowhere", "{nodeSelector: {no: where}}");
    world.workspace(
        "config",
        "{podAnnotations: {kwok/behaviour: missing-config}}",
    );
    world.workspace(
        "volume",
        "{storage: {size: 1Gi, storageClassName: no-such-class}}",
    );
    let of_scheduler = |name: &str| {
        let pod = world.get("pod", name);
        let scheduled = condition(&pod, "PodScheduled");
        text(scheduled, "/message").to_owned()
    };
    let config = "configmap \"x\" not found".to_owned();
    for (name, reason, shown) in [
        ("nowhere", "Unschedulable", "Unschedulable"),
        ("config", "ConfigMissing", "CreateContainerConfigError"),
        ("volume", "VolumePending", "Unschedulable"),
    ] {
        let workspace = world.state(name, reason).await;
        let expected = match name {
            "config" => config.clone(),
            name => of_scheduler(name),
        };
        for (type_, status) in [("Ready", "False"), ("Reconciling", "True")] {
            let condition = condition(&workspace, type_);
            assert_eq!(condition["status"], status);
            assert_eq!(condition["reason"], reason);
            assert_eq!(condition["message"], expected);
        }
        let told = world.written_at(&format!("patch workspaces/status {name} 200"));
        let after = told.duration_since(world.shown_at(name, shown));
        assert!(after >= SignedDuration::from_secs(3), "{name}: {after:?}");
        assert!(after <= SignedDuration::from_secs(8), "{name}: {after:?}");
        let once = [format!("patch workspaces/status {name} 200")];
        assert_eq!(world.writes_to("workspaces", name), once);
    }
    world.silence(5).await;
    // The cause goes, and the same Pod starts.
    let old = uid(&world.get("pod", "config")).to_owned();
    world.kubectl(&["annotate", "pod", "config", "kwok/behaviour-"]);
    assert_eq!(uid(&world.ready("config").await), old);
    world.workspace("nowhere", "{}");
    world.ready("nowhere").await;
}

#[tokio::test]
async fn plain_progress_is_told_only_after_30_seconds() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.turn(&a, State::Hangs).await;
    world.registry(&a);
    world.in_force(&a).await;
    let pulling = "{provisionTimeoutSeconds: 300}";
    let starting = "{config: absent, podAnnotations: {kwok/behaviour: no-volume}}";
    world.workspace("pulling", pulling);
    world.workspace("starting", starting);
    for name in ["pulling", "starting"] {
        world.until("pod", name, |it| !it.is_null()).await;
    }
    let b = world.prefix("b");
    world.registry(&b);
    world.in_force(&b).await;
    world.workspace("silent", "{podAnnotations: {kwok/behaviour: not-ready}}");
    let image = format!("{a}/workspace-template-langgraph:latest");
    let config = "the Pod waits for its volumes and network; does the ConfigMap absent exist?";
    let cases = [
        ("pulling", "Pulling", format!("the node pulls {image}")),
        ("starting", "Starting", config.into()),
        (
            "silent",
            "NotReady",
            "the agent runs but does not answer on port 8000".into(),
        ),
    ];
    for (name, reason, message) in cases {
        let workspace = world.state(name, reason).await;
        assert_eq!(
            text(condition(&workspace, "Reconciling"), "/message"),
            message
        );
        let told = world.written_at(&format!("patch workspaces/status {name} 200"));
        let created = world.written_at(&format!("create pods {name} 201"));
        let after = told.duration_since(created);
        assert!(after >= SignedDuration::from_secs(29), "{name}: {after:?}");
        assert!(after <= SignedDuration::from_secs(45), "{name}: {after:?}");
        // Nor was the edit a reason to touch what may be about to start.
        let once = [format!("create pods {name} 201")];
        assert_eq!(world.done_to("pods", name), once);
    }
    world.silence(3).await;
}

#[tokio::test]
async fn a_crash_loop_is_told_with_the_last_exit() {
    let world = World::new().await;
    world.workspace("alice", "{podAnnotations: {kwok/behaviour: crash}}");
    let alice = world.state("alice", "CrashLooping").await;
    let message = text(condition(&alice, "Ready"), "/message");
    assert_eq!(
        message,
        "the agent ended (Error, exit code 1) and is restarted"
    );
    let pod = world.get("pod", "alice");
    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour-"]);
    assert_eq!(uid(&world.ready("alice").await), uid(&pod));
}

#[tokio::test]
async fn past_the_provision_timeout_it_is_stalled_until_the_cause_goes() {
    let mut world = World::new().await;
    let settings = [("PROVISION_TIMEOUT_SECONDS", "4")];
    world.settings(&settings);
    world
        .until("configmap", "workspace-fleet", |it| {
            let last_good = it["data"]["lastGood"].as_str();
            last_good.is_some_and(|text| text.contains("PROVISION_TIMEOUT_SECONDS"))
        })
        .await;
    world.workspace("alice", "{podAnnotations: {kwok/behaviour: not-ready}}");
    world.workspace(
        "patient",
        "{provisionTimeoutSeconds: 600, nodeSelector: {no: where}}",
    );
    let stalled = world.state("alice", "NotReady").await;
    let message = "not Ready for 4 s: the agent runs but does not answer on port 8000";
    for (type_, status) in [("Ready", "False"), ("Stalled", "True")] {
        assert_eq!(condition(&stalled, type_)["status"], status);
        assert_eq!(condition(&stalled, type_)["message"], message);
    }
    assert_eq!(condition(&stalled, "Reconciling"), &Value::Null);
    let created = world.written_at("create pods alice 201");
    let told = world.written_at("patch workspaces/status alice 200");
    let after = told.duration_since(created);
    assert!(after >= SignedDuration::from_secs(3), "{after:?}");
    assert!(after <= SignedDuration::from_secs(12), "{after:?}");
    let patient = world.state("patient", "Unschedulable").await;
    assert_eq!(condition(&patient, "Stalled"), &Value::Null);
    world.silence(3).await;

    let old = uid(&world.get("pod", "alice")).to_owned();
    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour-"]);
    assert_eq!(uid(&world.ready("alice").await), old);
    let alice = world.get("workspace", "alice");
    assert_eq!(condition(&alice, "Stalled"), &Value::Null);
    assert_eq!(condition(&alice, "Ready")["reason"], "Ready");
}

#[tokio::test]
async fn kubectl_can_wait_for_a_workspace_that_no_one_has_looked_at_yet() {
    let mut world = World::without_operator().await;
    world.workspace("alice", "{}");
    let alice = world.get("workspace", "alice");
    assert_eq!(alice["status"]["observedGeneration"], -1, "in progress");
    let args = [
        "-n",
        &world.namespace,
        "wait",
        "ws/alice",
        "--for=condition=Ready",
    ];
    let mut wait = world.cluster.kubectl().command(&args);
    let wait = wait.arg("--timeout=60s").stdout(Stdio::piped()).spawn();
    let wait = wait.expect("kubectl runs");
    world.start();
    let output = wait.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "workspace.molecule.ai/alice condition met\n");
    let table = world.kubectl(&["get", "ws"]);
    let columns: Vec<Vec<_>> = table
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert_eq!(columns[0], ["NAME", "RUNTIME", "STATUS", "IMAGE", "AGE"]);
    let image = "ghcr.io/molecule-ai/workspace-template-langgraph:latest";
    assert_eq!(columns[1][..4], ["alice", "langgraph", "Ready", image]);

    world.workspace("bob", "{runtime: own-agent}");
    let bob = world.state("bob", "UnknownRuntime").await;
    let wide = world.kubectl(&["get", "ws", "-o", "wide"]);
    let address = format!(" alice.workspaces.{}.svc ", world.namespace);
    assert!(wide.contains(&address), "{wide}");
    let message = text(condition(&bob, "Ready"), "/message");
    assert!(wide.contains(message), "{message} in {wide}");
}

#[tokio::test]
async fn a_ready_that_is_no_longer_true_is_taken_back_at_once() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    let pod = world.ready("alice").await;
    let before = world.get("workspace", "alice");
    // Conditions have their times in whole seconds.
    world.silence(2).await;
    let asked = Timestamp::now();
    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour=not-ready"]);
    let alice = world.state("alice", "NotReady").await;
    let told = world.written_at("patch workspaces/status alice 200");
    let after = told.duration_since(asked);
    assert!(after < SignedDuration::from_secs(8), "{after:?}");
    let ready = condition(&alice, "Ready");
    assert_eq!(ready["status"], "False");
    let since = |it: &Value| {
        text(it, "/lastTransitionTime")
            .parse::<Timestamp>()
            .expect("a time")
    };
    assert!(since(ready) > since(condition(&before, "Ready")));

    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour-"]);
    assert_eq!(uid(&world.ready("alice").await), uid(&pod));
    let told = ["patch workspaces/status alice 200"; 2];
    assert_eq!(world.writes(), told);

    // A container that is back before anyone could tell is not worth a word.
    world.forget();
    let crash = world.cluster.crash_container(&world.namespace, "alice");
    crash.await.expect("the container is killed");
    world.silence(3).await;
}

#[tokio::test]
async fn each_boundary_of_a_rollout_has_one_line_in_the_log() {
    let mut world = World::without_operator().await;
    world.start_with(&["--log-format", "json"], &[]);
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.turn(&a, State::Unauthorized).await;
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{runtime: codex}");
    world.state("alice", "ImagePullFailed").await;
    world.registry(&b);
    let pod = world.ready("alice").await;
    let alice = world.get("workspace", "alice");
    // The line is written after the status that was waited for.
    world.logged("\"Ready\"").await;
    let lines: Vec<Value> = world
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .filter(|line: &Value| !line["workspace"].is_null())
        .collect();
    let messages: Vec<_> = lines.iter().map(|line| text(line, "/message")).collect();
    assert_eq!(
        messages,
        [
            "rollout planned",
            "Pod created",
            "ImagePullFailed",
            "healed: the stuck Pod got another image",
            "Ready",
        ]
    );
    for (line, prefix) in lines.iter().zip([&a, &a, &a, &b, &b]) {
        assert_eq!(
            text(line, "/workspace"),
            format!("{}/alice", world.namespace)
        );
        assert_eq!(text(line, "/uid"), uid(&alice));
        assert_eq!(text(line, "/runtime"), "codex");
        let image = format!("{prefix}/workspace-template-codex:latest");
        assert_eq!(text(line, "/image"), image);
    }
    assert_eq!(lines[0]["reason"], "NoPod");
    assert_eq!(lines[3]["reason"], "Image");
    let seconds = lines[4]["seconds"].as_u64().expect("how long it took");
    assert!(seconds < 30, "{seconds}: since it was healed");
    assert_eq!(image(&pod), text(&lines[4], "/image"));
}
