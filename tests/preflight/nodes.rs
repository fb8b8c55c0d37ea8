//! What cannot be told from here, asked through a node.

use cluster::{Mark, Options, Process, Signal, State};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bed::{image, name, only, prefix};
use crate::fixture::{PATIENCE, World, start_cluster};
use crate::images::{INDEX, push, push_index};
use crate::registries::Registry;

const CRD: &str = include_str!("../../crds/workspace.yaml");

/// A Workspace whose registry lets nobody in from here, and that registry.
async fn private() -> (World, Registry, Registry) {
    let world = World::without_operator().await;
    world.kubectl(&[
        "label",
        "namespace",
        &world.namespace,
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    let open = Registry::open().await;
    image(&open, "codex", "latest", "a").await;
    let private = open.with_password().await;
    world.workspace(
        "one",
        "{runtime: codex, nodeSelector: {kubernetes.io/os: linux}}",
    );
    (world, open, private)
}

/// How many probes were started since.
fn started(world: &World, since: Mark) -> usize {
    let events = world
        .cluster
        .audit()
        .events_since(since)
        .expect("the log is there");
    let pods = events.iter().filter(|it| {
        it.resource == "pods" && it.verb == "create" && it.namespace == world.namespace
    });
    pods.filter(|it| it.user_agent.starts_with("kubectl-workspace"))
        .count()
}

fn finding(report: &Value) -> (&str, &str) {
    let image = only(report);
    let text = |field: &str| image[field].as_str().unwrap_or_default();
    (text("finding"), text("because"))
}

#[tokio::test]
async fn a_node_is_asked_what_depends_on_its_credentials_and_nothing_is_left() {
    let (world, _open, registry) = private().await;
    let (host, to) = (registry.host.as_str(), prefix(&registry));
    let since = world.cluster.audit().mark().expect("the log is there");
    let ask = ["preflight", "--to", &to, "--from-cluster"];

    world.told(1, &["preflight", "--to", &to]);
    assert_eq!(started(&world, since), 0);

    let report = world.told(0, &ask);
    assert_eq!(finding(&report), ("present", "a node has pulled it"));
    assert_eq!(started(&world, since), 1);

    for (state, code, found, words) in [
        (
            State::Unauthorized,
            1,
            "denied",
            "answered 401 Unauthorized",
        ),
        (State::NotFound, 1, "missing", "does not have it"),
        (
            State::Unavailable,
            2,
            "unreachable",
            "answered 503 Service Unavailable",
        ),
    ] {
        world.turn(&to, state).await;
        let report = world.told(code, &ask);
        let because = format!("{host} {words}, asked by a node");
        assert_eq!(finding(&report), (found, because.as_str()));
    }
    assert!(world.list("pods").is_empty());
}

#[tokio::test]
async fn where_users_are_assigned_a_node_is_asked_by_one_that_names_none() {
    let (world, _open, registry) = private().await;
    world.assigns_users().await;
    let to = prefix(&registry);
    let report = world.told(0, &["preflight", "--to", &to, "--from-cluster"]);
    world.assigns_no_users();
    assert_eq!(finding(&report), ("present", "a node has pulled it"));
}

#[tokio::test]
async fn strictly_what_a_node_pulls_is_what_runs_or_a_doubt() {
    let (world, _open, registry) = private().await;
    let to = prefix(&registry);
    let ask = ["preflight", "--to", &to, "--from-cluster", "--strict"];
    let other = format!("sha256:{}", "0".repeat(64));
    world.runs(
        "one",
        "a.example.com/agents/workspace-template-codex:latest",
        &other,
    );
    let report = world.told(2, &ask);
    assert_eq!(only(&report)["content"], "cannotTell", "{report:#}");
    let Some(pulled) = only(&report)["digest"].as_str() else {
        panic!("a node tells a digest: {report:#}");
    };
    world.runs(
        "one",
        "a.example.com/agents/workspace-template-codex:latest",
        pulled,
    );
    let report = world.told(0, &ask);
    assert_eq!(only(&report)["content"], "same", "{report:#}");
}

#[tokio::test]
async fn a_node_that_says_nothing_is_not_waited_for_for_ever() {
    let (world, _open, registry) = private().await;
    let to = prefix(&registry);
    world.turn(&to, State::Hangs).await;
    let report = world.told(2, &["preflight", "--to", &to, "--from-cluster=3"]);
    let (found, because) = finding(&report);
    assert_eq!(found, "cannotTell");
    let words = "; a node has begun to pull it and tells neither success nor failure";
    assert!(because.ends_with(words), "{because}");
    // Where no node can take it, that is why.
    world.workspace("one", "{runtime: codex, nodeSelector: {no: such}}");
    let report = world.told(2, &["preflight", "--to", &to, "--from-cluster=3"]);
    let (_, because) = finding(&report);
    assert!(
        because.contains("; no node takes a probe: 0/2 nodes are available"),
        "{because}"
    );
    assert!(world.list("pods").is_empty());
}

#[tokio::test]
async fn no_node_is_sent_to_a_registry_that_hangs() {
    let (world, _open, _registry) = private().await;
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let to = format!("{}/agents", hole.local_addr().expect("an address"));
    let since = world.cluster.audit().mark().expect("the log is there");
    let args = [
        "preflight",
        "--to",
        &to,
        "--from-cluster",
        "--registry-timeout",
        "1",
    ];
    let report = world.told(2, &args);
    assert_eq!(finding(&report).0, "unreachable");
    // Nor where it is only not known whose credentials to show.
    world.pull_secret("broken", "x", "y");
    world.kubectl(&[
        "patch",
        "secret",
        "broken",
        "--type=merge",
        "-p",
        r#"{"stringData": {".dockerconfigjson": "{\"auths\": {\"x\": {\"auth\": \"x\"}}}"}}"#,
    ]);
    world.workspace(
        "one",
        "{runtime: codex, imagePullSecrets: [{name: broken}]}",
    );
    let report = world.told(2, &args);
    assert_eq!(finding(&report).0, "cannotTell");
    assert_eq!(started(&world, since), 0);
}

#[tokio::test]
async fn ctrl_c_leaves_no_probe_behind() {
    let (world, _open, registry) = private().await;
    let to = prefix(&registry);
    world.turn(&to, State::Hangs).await;
    let args = [
        "preflight",
        "--to",
        &to,
        "-n",
        &world.namespace,
        "--from-cluster=600",
    ];
    let mut asking = Process::spawn(&mut world.plugin_command(&args)).expect("it starts");
    world
        .holds("a probe", |world| !world.list("pods").is_empty())
        .await;
    asking.signal(Signal::SIGINT).expect("it runs");
    let ended = asking.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(130), "{:?}", asking.lines());
    world
        .holds("no probe", |world| world.list("pods").is_empty())
        .await;
}

/// A namespace in a cluster of its own that has a node `arm` besides, of another processor.
async fn with_two_kinds_of_nodes() -> World {
    let options = Options {
        crds: vec![CRD.into()],
        ..Options::default()
    };
    let world = World::in_cluster(start_cluster(options).await).await;
    let mut node = world.get("node", "node-1");
    node["metadata"] = json!({"name": "arm", "labels": {
        "kubernetes.io/hostname": "arm", "kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64",
    }});
    node["status"]["nodeInfo"]["architecture"] = json!("arm64");
    let created = world
        .admin()
        .run_with_input(&["create", "-f", "-"], &node.to_string());
    let created = created.expect("kubectl runs");
    assert!(created.ok(), "{created:?}");
    world
}

#[tokio::test]
async fn an_image_has_to_be_for_a_node_on_which_each_workspace_can_be() {
    let world = with_two_kinds_of_nodes().await;
    let registry = Registry::open().await;
    let amd = push(&registry, &name("codex"), Some("latest"), "amd64", "a").await;
    let arm = push(&registry, &name("codex"), None, "arm64", "b").await;
    let to = prefix(&registry);
    let told = |code: i32| world.told(code, &["preflight", "--to", &to]);

    // It may get on a node that cannot run it, and need not.
    world.workspace("one", "{runtime: codex}");
    let report = told(0);
    assert_eq!(finding(&report).0, "present", "{report:#}");
    let warning = "may get on nodes of linux/arm64, for which they are not built: codex.";
    assert!(
        report["warnings"].to_string().contains(warning),
        "{report:#}"
    );
    let on = |arch: &str| {
        let spec = format!("{{runtime: codex, nodeSelector: {{kubernetes.io/arch: {arch}}}}}");
        world.workspace("one", &spec);
    };
    on("amd64");
    let report = told(0);
    assert!(
        !report["warnings"].to_string().contains(warning),
        "{report:#}"
    );

    // Another has no node at all that can.
    let affinity = "{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
        {nodeSelectorTerms: [{matchExpressions: \
        [{key: kubernetes.io/arch, operator: NotIn, values: [amd64]}]}]}}}";
    world.workspace("two", &format!("{{runtime: codex, affinity: {affinity}}}"));
    let report = told(1);
    let because = format!(
        "it is built for linux/amd64, and only on nodes of linux/arm64 can these be: {}/two",
        world.namespace
    );
    assert_eq!(finding(&report), ("unusable", because.as_str()));
    let both = [&amd, &arm];
    push_index(&registry, &name("codex"), "latest", INDEX, &both, &[]).await;
    let report = told(0);
    assert_eq!(finding(&report).0, "present", "{report:#}");
}

#[tokio::test]
async fn a_pod_that_waits_for_its_image_gets_it_on_its_node() {
    let world = with_two_kinds_of_nodes().await;
    let registry = Registry::open().await;
    image(&registry, "codex", "latest", "a").await;
    let to = prefix(&registry);
    let before = world.prefix("before");
    world.turn(&before, State::Unauthorized).await;
    world.workspace("one", "{runtime: codex}");
    // As the operator would have made it.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "one", "labels": {"app.kubernetes.io/name": "workspace"}},
        "spec": {
            "nodeName": "arm",
            "containers": [{"name": "agent", "image": format!("{before}/codex:latest")}],
        },
    });
    world.apply(&pod.to_string());
    let report = world.told(1, &["preflight", "--to", &to]);
    let because = "it is built for linux/amd64, and its nodes are linux/arm64";
    assert_eq!(finding(&report), ("unusable", because));
    world.kubectl(&["delete", "pod", "one"]);
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(finding(&report).0, "present", "{report:#}");
}
