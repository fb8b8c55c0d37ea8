//! A control plane on which `kubectl apply -k deploy` was done, and words for what is asked of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Cluster, Kubectl, Options, Output};
use serde_json::Value;
use tokio::sync::OnceCell;

/// The folder under test.
pub const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
/// Where the operator and its settings are.
pub const SYSTEM: &str = "molecule-system";
/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A folder below `deploy`.
pub fn folder(name: &str) -> String {
    format!("{DEPLOY}/{name}")
}

/// A control plane with nothing of ours in it.
pub async fn empty() -> Cluster {
    let cluster = Cluster::start(Options::default()).await;
    cluster.expect("the cluster starts")
}

/// The control plane that tests share, installed once as a person would.
pub async fn installed() -> Arc<Cluster> {
    static CLUSTER: OnceCell<Arc<Cluster>> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_init(async || {
        let cluster = empty().await;
        let kubectl = cluster.kubectl();
        must(&kubectl, &["apply", "-k", DEPLOY]);
        guarded(&kubectl, SYSTEM).await;
        Arc::new(cluster)
    });
    Arc::clone(cluster.await)
}

/// kubectl, which must succeed.
pub fn must(kubectl: &Kubectl, args: &[&str]) -> String {
    kubectl
        .must(args)
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// An object as stored.
pub fn get(kubectl: &Kubectl, args: &[&str]) -> Value {
    let text = must(kubectl, &[&["get", "-o", "json"], args].concat());
    serde_json::from_str(&text).expect("kubectl prints JSON")
}

/// Waits until this holds.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the guard of a namespace's settings is in force: the API server learns of a policy a
/// little after it was stored.
pub async fn guarded(kubectl: &Kubectl, namespace: &str) {
    until("the guard of the settings", || {
        let refused = create_settings(kubectl, namespace, &["ROLLOUT=Never"], true);
        let warned = create_settings(kubectl, namespace, &["MISSPELT=x"], true);
        !refused.ok() && warned.stderr.contains("MISSPELT has no effect")
    })
    .await;
}

/// `kubectl create configmap workspace-settings`, with these keys and values.
pub fn create_settings(
    kubectl: &Kubectl,
    namespace: &str,
    entries: &[&str],
    dry_run: bool,
) -> Output {
    let mut args = vec!["create", "configmap", "workspace-settings", "-n", namespace];
    let literals: Vec<String> = (entries.iter())
        .map(|it| format!("--from-literal={it}"))
        .collect();
    args.extend(literals.iter().map(String::as_str));
    if dry_run {
        args.push("--dry-run=server");
    }
    kubectl.run(&args).expect("kubectl runs")
}

/// A command that must succeed; its output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// As a person would, with kubectl.
pub fn shell(cluster: &Cluster, commands: &str) {
    let kubectl = cluster::ensure().expect("the programs are there").kubectl;
    let folder = kubectl.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    run(shell
        .args(["-exc", commands])
        .env("PATH", format!("{folder}:{path}"))
        .env("KUBECONFIG", cluster.kubeconfig()));
}

/// One of the pinned tools.
pub async fn tool(name: &'static str) -> PathBuf {
    tokio::task::spawn_blocking(move || cluster::tool(name))
        .await
        .expect("it does not panic")
        .unwrap_or_else(|error| panic!("{error:#}"))
}
