//! What GitOps tools make of a Workspace: Flux by its own kstatus library, Argo CD by the health
//! script that is shipped, in Argo CD's own Lua interpreter.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use cluster::State;
use serde_json::{Value, json};

use crate::fixture::World;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/argocd/health.lua");
const README: &str = include_str!("../../README.md");

/// Workspaces by name, and what the README says that they are.
const CASES: [(&str, &str); 12] = [
    ("new", "has not been looked at yet"),
    ("ready", "is Ready"),
    ("suspended", "is suspended"),
    ("expired", "has expired"),
    ("changed", "was changed since the operator looked at it"),
    (
        "stuck",
        "cannot pull its image, within its provision timeout",
    ),
    ("overdue", "is not Ready after its provision timeout"),
    (
        "proving",
        "runs on while its next image is proved on its node",
    ),
    (
        "blocked",
        "runs on, for its node cannot pull its next image",
    ),
    ("unknown", "names a runtime that nobody knows"),
    ("taken", "finds a Pod of its name that is not its own"),
    ("deleted", "is being deleted, and held by a finalizer"),
];

/// What both tools say of each Workspace.
fn health(world: &World) -> BTreeMap<String, String> {
    let program = cluster::tool("health").expect("it is built");
    let mut health = Command::new(program)
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let list = world.kubectl(&["get", "workspaces", "-o", "json"]);
    let mut input = health.stdin.take().expect("it is piped");
    input.write_all(list.as_bytes()).expect("it reads");
    drop(input);
    let output = health.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{list}");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|it| {
            let said = format!("{} | {}", text(it, "kstatus"), text(it, "argo"));
            (text(it, "name"), said)
        })
        .collect()
}

/// What they say while an image is pulled for nobody yet.
async fn proving(world: &World) -> String {
    let silent = world.prefix("silent");
    world.turn(&silent, State::Hangs).await;
    world.registry(&silent);
    world.in_force(&silent).await;
    world.workspace("proving", "{tag: v2}");
    world.state("proving", "Replacing").await;
    health(world)["proving"].clone()
}

#[tokio::test]
async fn gitops_tools_see_the_health_that_is_documented() {
    let mut world = World::without_operator().await;
    let down = world.prefix("down");
    world.turn(&down, State::Unauthorized).await;
    world.workspace("new", "{}");
    let mut seen = BTreeMap::from([("new".to_owned(), health(&world)["new"].clone())]);

    world.start();
    let ready = ["new", "ready", "changed", "deleted", "proving", "blocked"];
    for name in ready {
        world.workspace(name, "{}");
    }
    world.all_ready(ready.len()).await;
    world.workspace("suspended", "{suspend: true}");
    world.state("suspended", "Suspended").await;
    world.workspace("expired", r#"{expiresAt: "2026-01-01T00:00:00Z"}"#);
    world.state("expired", "Expired").await;
    world.workspace("unknown", "{runtime: own-agent}");
    world.state("unknown", "UnknownRuntime").await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "taken"},
        "spec": {"containers": [{"name": "other", "image": "other.example.com/other"}]},
    });
    world.apply(&pod.to_string());
    world.workspace("taken", "{}");
    world.state("taken", "PodNotOwned").await;
    seen.insert("proving".to_owned(), proving(&world).await);
    world.registry(&down);
    world.in_force(&down).await;
    world.workspace("blocked", "{tag: v2}");
    world.state("blocked", "RolloutBlocked").await;
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    world.workspace("overdue", "{provisionTimeoutSeconds: 5}");
    let stalled = |it: &Value| {
        let conditions = it["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Stalled"))
    };
    world.until("workspace", "overdue", stalled).await;

    world.kill().await;
    world.kubectl(&[
        "patch",
        "workspace",
        "changed",
        "--type=merge",
        "-p",
        r#"{"spec":{"tag":"v2"}}"#,
    ]);
    let hold = |finalizers: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
        world.kubectl(&[
            "patch",
            "workspace",
            "deleted",
            "--type=merge",
            "-p",
            &patch,
        ]);
    };
    hold(r#"["example.com/hold"]"#);
    world.kubectl(&["delete", "workspace", "deleted", "--wait=false"]);
    for (name, said) in health(&world) {
        seen.entry(name).or_insert(said);
    }
    hold("null");

    for (name, what) in CASES {
        let row = format!("| {what} | {} |\n", seen[name]);
        assert!(README.contains(&row), "the README does not have: {row}");
    }
    assert_eq!(seen.len(), CASES.len());
}
