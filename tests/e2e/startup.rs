//! The command line: what it prints, how it starts where something is missing, how it ends.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cluster::{Options, Signal};
use serde_json::Value;

use crate::fixture::{World, start_cluster, workspace};

const CRD: &str = include_str!("../../crds/workspace.yaml");

/// Runs the program to its end, in an environment with nothing in it.
fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_workspace-operator"))
        .args(args)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the program runs")
}

fn stdout(args: &[&str]) -> String {
    let output = run(args, &[]);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// The lines of the operator's log that are not about what goes well.
fn complaints(world: &World) -> Vec<String> {
    let log = world.log();
    let lines = log.lines().filter(|it| !it.contains(" INFO "));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_flag_is_in_the_help_with_its_variable() {
    let help = stdout(&["run", "--help"]);
    for (flag, variable) in [
        ("--namespace <", "WORKSPACE_NAMESPACE"),
        ("--settings-namespace <", "WORKSPACE_SETTINGS_NAMESPACE"),
        ("--settings-name <", "WORKSPACE_SETTINGS_NAME"),
        ("--fleet-name <", "WORKSPACE_FLEET_NAME"),
        ("--leader-elect\n", "WORKSPACE_LEADER_ELECT"),
        ("--lease-name <", "WORKSPACE_LEASE_NAME"),
        ("--concurrency <", "WORKSPACE_CONCURRENCY"),
        ("--registry <", "MOLECULE_IMAGE_REGISTRY"),
        ("--metrics-address <", "WORKSPACE_METRICS_ADDRESS"),
        ("--log-format <", "WORKSPACE_LOG_FORMAT"),
    ] {
        assert!(help.contains(&format!("      {flag}")), "{flag}: {help}");
        assert!(
            help.contains(&format!("[env: {variable}")),
            "{variable}: {help}"
        );
    }
    let flags = help.matches("      --").count();
    assert_eq!(flags, 10, "a flag that this test does not know: {help}");
    let all = stdout(&["--help"]);
    for command in ["run", "crd", "images"] {
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
    }
}

#[test]
fn crd_prints_the_definition_that_is_shipped() {
    assert_eq!(stdout(&["crd"]), CRD);
}

#[test]
fn images_prints_the_image_of_each_runtime_for_people_and_for_programs() {
    let table = stdout(&["images"]);
    let rows: BTreeMap<_, _> = table
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(runtime, image)| (runtime, image.trim()))
        .collect();
    assert_eq!(rows.len(), 9, "{table}");
    for (runtime, image) in &rows {
        let expected = format!("ghcr.io/molecule-ai/workspace-template-{runtime}:latest");
        assert_eq!(*image, expected);
    }
    let json: BTreeMap<String, String> =
        serde_json::from_str(&stdout(&["images", "-o", "json"])).expect("it is JSON");
    assert!(
        json.iter()
            .all(|(runtime, image)| rows.get(&**runtime) == Some(&&**image))
    );
    assert_eq!(json.len(), 9);
    let mirror = stdout(&["images", "--registry", "mirror.example.com:5000/a"]);
    assert!(
        mirror
            .lines()
            .all(|it| it.contains(" mirror.example.com:5000/a/workspace-template-")),
        "{mirror}"
    );
    let wrong = run(&["images", "--registry", "https://mirror.example.com"], &[]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && wrong.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn without_a_cluster_it_ends_with_one_sentence() {
    for environment in [
        vec![("HOME", "/nowhere")],
        vec![("KUBECONFIG", "/nowhere/config")],
    ] {
        let output = run(&["run"], &environment);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("KUBECONFIG"), "{said}");
    }
}

#[tokio::test]
async fn an_api_server_that_is_away_is_told_once_and_waited_for() {
    let mut world = World::without_operator().await;
    let link = world.link();
    link.refuse(true);
    world.start();
    world.workspace("alice", "{}");
    world.logged("cannot be reached").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = world.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    link.refuse(false);
    world.ready("alice").await;
    world.logged("the API server answers again").await;
}

#[tokio::test]
async fn it_waits_for_the_definition_and_lists_in_pages_where_streaming_is_not_offered() {
    let cluster = start_cluster(Options {
        nodes: 1,
        apiserver_args: vec!["--feature-gates=WatchList=false".into()],
        ..Options::default()
    })
    .await;
    let mut world = World::in_cluster(cluster).await;
    world.start();
    let said = world.logged("CustomResourceDefinition").await;
    assert!(
        said.contains("kubectl apply -f crds/workspace.yaml"),
        "{said}"
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(complaints(&world).len(), 1, "{}", world.log());
    assert!(!world.log().contains("looking after"), "it cannot yet");

    world.cluster.kubectl().apply(CRD).expect("it is applied");
    world.logged("looking after").await;
    let applies = |world: &World| world.try_apply(&workspace("alice", "{}")).is_ok();
    world.holds("the definition", applies).await;
    world.ready("alice").await;
    let pages = world.log().matches("streaming lists").count();
    assert_eq!(pages, 1, "said once:\n{}", world.log());
    world.stop().await;
    let requests = world.requests();
    for resource in ["workspaces", "pods", "persistentvolumeclaims", "services"] {
        let of = requests.iter().filter(|it| it.resource == resource);
        assert!(
            of.clone().any(|it| it.verb == "list" && it.code == 200),
            "{resource}: {requests:#?}"
        );
    }
}

#[tokio::test]
async fn lists_are_streamed_where_the_server_offers_it() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    world.ready("alice").await;
    world.stop().await;
    let requests = world.requests();
    for resource in ["workspaces", "pods", "persistentvolumeclaims", "services"] {
        let of: Vec<_> = requests
            .iter()
            .filter(|it| it.resource == resource)
            .collect();
        let streamed = |uri: &str| uri.contains("sendInitialEvents=true");
        assert!(
            of.iter().any(|it| streamed(&it.request_uri)),
            "{resource}: {of:#?}"
        );
        assert!(of.iter().all(|it| it.verb != "list"), "{resource}: {of:#?}");
    }
}

#[tokio::test]
async fn missing_permissions_are_named_once_each_and_noticed_when_granted() {
    let mut world = World::without_operator().await;
    let bindings = ["workspace-operator", "workspace-operator-here"].map(|name| {
        let mut binding = world.get("rolebinding", name);
        binding["metadata"] = serde_json::json!({"name": name});
        world.kubectl(&["delete", "rolebinding", name]);
        binding
    });
    world.start();
    world.workspace("alice", "{}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let said = complaints(&world);
    assert!(said.len() <= 10, "{said:#?}");
    for resource in [
        "watch workspaces",
        "watch pods",
        "watch persistentvolumeclaims",
        "watch services",
        "workspace-settings",
        "workspace-fleet",
    ] {
        assert!(
            said.iter().any(|it| it.contains(resource)),
            "{resource}: {said:#?}"
        );
    }
    for binding in bindings {
        world.apply(&binding.to_string());
    }
    world.ready("alice").await;
    world.logged("looking after").await;
}

#[tokio::test]
async fn the_first_line_says_which_version_looks_where_with_which_registry() {
    let mut world = World::without_operator().await;
    let prefix = world.prefix("mirror");
    world.registry(&prefix);
    world.start_with(&["--log-format", "json"], &[]);
    world.workspace("alice", "{}");
    world.ready("alice").await;
    world.logged("Ready").await;
    let lines: Vec<Value> = world
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let first = &lines[0];
    assert_eq!(first["level"], "INFO");
    assert_eq!(first["message"], "looking after Workspaces");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["namespace"], *world.namespace);
    assert_eq!(first["registry"], *prefix);
    for message in ["rollout planned", "Pod created", "Ready"] {
        let line = lines.iter().find(|it| it["message"] == message);
        let line = line.unwrap_or_else(|| panic!("no {message}: {lines:#?}"));
        assert_eq!(line["workspace"], format!("{}/alice", world.namespace));
        assert_eq!(line["runtime"], "langgraph");
        assert!(
            line["uid"].is_string() && line["image"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_term_signal_ends_it_within_a_second_in_the_middle_of_a_rollout() {
    const COUNT: usize = 50;
    let mut world = World::without_operator().await;
    let all: Vec<_> = (0..COUNT)
        .map(|it| workspace(&format!("agent-{it}"), "{}"))
        .collect();
    world.apply(&all.join("---\n"));
    world.start_with(&["--concurrency", "16"], &[]);
    world.logged("Pod created").await;
    let asked = Instant::now();
    let operator = world.operator();
    operator.signal(Signal::SIGTERM).expect("it runs");
    let ended = operator
        .wait(Duration::from_secs(5))
        .await
        .expect("it ends");
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(ended.success(), "{ended}");
    let log = world.log();
    let created = log.matches("Pod created").count();
    assert!(created < COUNT, "the rollout was over already");
    // What was under way was waited for, except what took longer than there is time for.
    let unheard = world.requests().writes().filter(|it| it.code == 504);
    let hasty = log.contains("stopping before the last requests") || !unheard.is_empty();
    assert!(
        !hasty || took > Duration::from_millis(650),
        "{took:?}\n{log}"
    );
    world.start();
    world.all_ready(COUNT).await;
    let deletes = world.requests().filter(|it| it.verb == "delete");
    assert_eq!(deletes.len(), 0, "{deletes:#?}");
}
