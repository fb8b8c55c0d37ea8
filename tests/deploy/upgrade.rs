//! From the version before to this one, and back: nothing restarts, and no status is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use cluster::{Cluster, Options, Process, State};
use serde_json::{Value, json};

use crate::bed::{DEPLOY, PATIENCE, SYSTEM, create_settings, get, must, run, until};

/// Where the version before is found: a commit, by default the one before this.
const BEFORE: &str = "UPGRADE_FROM";
/// What a new operator has to say, it says in that time.
const SETTLED: Duration = Duration::from_secs(5);

/// One version: its manifests, and its operator.
struct Version {
    deploy: String,
    operator: PathBuf,
}

impl Version {
    fn this() -> Self {
        Self {
            deploy: DEPLOY.into(),
            operator: env!("CARGO_BIN_EXE_workspace-operator").into(),
        }
    }

    /// The one that git has, which is built once for all tests.
    async fn before() -> &'static Self {
        static BEFORE: OnceLock<Version> = OnceLock::new();
        let before = tokio::task::spawn_blocking(|| BEFORE.get_or_init(Self::build_before));
        before.await.expect("the version before can be had")
    }

    /// Built from what git has of it, in a folder of its own.
    fn build_before() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("version-before");
        let source = folder.join("source");
        source_before(&source, ".");
        let target = folder.join("target");
        share_dependencies(&target).expect("files are linked");
        // Of the whole workspace, whose members want more features of some dependencies.
        run(Command::new(env!("CARGO"))
            .args(["build", "--locked", "--workspace"])
            .args(["--bin", "workspace-operator"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(&source));
        Self {
            deploy: source.join("deploy").display().to_string(),
            operator: target.join("debug/workspace-operator"),
        }
    }
}

/// Puts what git has of the version before, or this part of it, into a folder.
pub fn source_before(folder: &Path, part: &str) {
    let commit = std::env::var(BEFORE).unwrap_or_else(|_| latest_before());
    // What that version does not have must not be left from another one.
    std::fs::remove_dir_all(folder).ok();
    std::fs::create_dir_all(folder).expect("a folder");
    let mut archive = Command::new("git")
        .args(["archive", &commit, part])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let archived = archive.stdout.take().expect("it is piped");
    run(Command::new("tar").arg("-xC").arg(folder).stdin(archived));
    assert!(archive.wait().expect("git ends").success(), "{commit}");
}

/// Most dependencies are the same in both versions, and need not be built twice. Cargo builds those
/// that are not.
fn share_dependencies(target: &Path) -> std::io::Result<()> {
    let built = Path::new(env!("CARGO_BIN_EXE_workspace-operator")).with_file_name("");
    let there = target.join("debug");
    let libraries = there.join("deps");
    if libraries.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&libraries)?;
    for of_cargo in [".fingerprint", "build"] {
        run(Command::new("cp")
            .arg("-a")
            .arg(built.join(of_cargo))
            .arg(&there));
    }
    for entry in std::fs::read_dir(built.join("deps"))? {
        let path = entry?.path();
        let kind = path.extension().and_then(|it| it.to_str());
        let name = path.file_name().unwrap_or_default();
        if matches!(kind, Some("rlib" | "rmeta" | "so" | "d")) {
            std::fs::hard_link(&path, libraries.join(name))?;
        }
    }
    Ok(())
}

/// The commit before this one. A shallow clone does not have it: then an upgrade is one from this
/// version to itself, which proves little.
fn latest_before() -> String {
    let known = Command::new("git")
        .args(["rev-parse", "--quiet", "--verify", "HEAD^"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    if known.expect("git runs").status.success() {
        return "HEAD^".into();
    }
    let why = format!("no commit before this one is here: set {BEFORE} to one that is");
    cluster::cannot_run(&why);
    "HEAD".into()
}

fn workspace(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "default"});
    json!({"apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace",
           "metadata": metadata, "spec": spec})
    .to_string()
}

/// What must not change: by name, the Pod with its restarts, and what the status tells.
fn standing(cluster: &Cluster) -> BTreeMap<String, Value> {
    let kubectl = cluster.kubectl();
    let items = |kind: &str| {
        let mut list = get(&kubectl, &[kind, "-n", "default"]);
        std::mem::take(list["items"].as_array_mut().expect("a list"))
    };
    let name = |it: &Value| {
        it["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let pods = items("pods").into_iter().map(|it| {
        let started = json!({
            "uid": it["metadata"]["uid"], "generation": it["metadata"]["generation"],
            "containers": it["status"]["containerStatuses"],
        });
        (format!("Pod {}", name(&it)), started)
    });
    let told = items("workspaces").into_iter().map(|it| {
        let status = &it["status"];
        // The messages may say the same in other words.
        let mut conditions = status["conditions"].clone();
        for condition in conditions.as_array_mut().into_iter().flatten() {
            condition["message"].take();
        }
        let told = json!({
            "conditions": conditions,
            "state": status["state"], "image": status["image"], "pod": status["pod"],
            "address": status["address"], "digest": status["digest"],
        });
        (format!("Workspace {}", name(&it)), told)
    });
    pods.chain(told).collect()
}

fn state(cluster: &Cluster, name: &str) -> Value {
    let workspace = get(&cluster.kubectl(), &["workspace", name, "-n", "default"]);
    workspace["status"]["state"].clone()
}

struct Installed {
    cluster: Cluster,
    kubeconfig: PathBuf,
}

impl Installed {
    /// In a cluster of its own: a version's manifests, and settings.
    async fn of(version: &Version, entries: &[&str]) -> Self {
        let cluster = Cluster::start(Options::default()).await;
        let cluster = cluster.expect("the cluster starts");
        let kubectl = cluster.kubectl();
        must(&kubectl, &["apply", "-k", &version.deploy]);
        until("the settings", || {
            create_settings(&kubectl, SYSTEM, entries, false).ok()
        })
        .await;
        let kubeconfig = cluster.service_account_kubeconfig(SYSTEM, "workspace-operator");
        let kubeconfig = kubeconfig.await.expect("the ServiceAccount has a token");
        Self {
            cluster,
            kubeconfig,
        }
    }

    /// Repoints the settings.
    fn edit(&self, registry: &str) {
        let data = json!({"data": {"MOLECULE_IMAGE_REGISTRY": registry}}).to_string();
        let map = ["patch", "configmap", "workspace-settings", "-n", SYSTEM];
        let edit = ["--type=merge", "-p", &data];
        must(&self.cluster.kubectl(), &[&map[..], &edit].concat());
    }

    /// Applies a version's manifests, and starts its operator, which looks at everything.
    async fn run(&self, version: &Version) -> Process {
        must(&self.cluster.kubectl(), &["apply", "-k", &version.deploy]);
        let mut command = Command::new(&version.operator);
        command
            .args(["run", "--leader-elect", "--settings-namespace", SYSTEM])
            .env_remove("MOLECULE_IMAGE_REGISTRY")
            .env("KUBECONFIG", &self.kubeconfig);
        let operator = Process::spawn(&mut command).expect("the operator starts");
        let started = operator.wait_for_line("looking after Workspaces", PATIENCE);
        started.await.expect("it begins");
        operator
    }
}

async fn end(mut operator: Process) {
    operator.signal(cluster::Signal::SIGTERM).expect("it runs");
    operator.wait(PATIENCE).await.expect("it ends");
}

/// What there is before the upgrade, by its operator: Workspaces that run, one that rests, and one
/// that is stuck.
async fn lived_in(installed: &Installed) {
    let cluster = &installed.cluster;
    let kubectl = cluster.kubectl();
    let refused = cluster.registry("down.example.com", State::Unauthorized);
    refused.await.expect("the registry is turned");
    let specs = [
        (
            "alice",
            json!({"env": [{"name": "A", "value": "b"}]}),
            "Ready",
        ),
        ("kept", json!({"storage": {"size": "1Gi"}}), "Ready"),
        ("resting", json!({"suspend": true}), "Suspended"),
    ];
    for (name, spec, _) in &specs {
        let applied = kubectl.apply(&workspace(name, spec));
        applied.expect("it is applied");
    }
    for (name, _, expected) in specs {
        until(name, || state(cluster, name) == expected).await;
    }
    installed.edit("down.example.com/agents");
    let applied = kubectl.apply(&workspace("stuck", &json!({})));
    applied.expect("it is applied");
    until("stuck", || state(cluster, "stuck") == "ImagePullFailed").await;
}

#[tokio::test]
async fn an_upgrade_and_a_downgrade_restart_nothing_and_lose_nothing() {
    let before = Version::before().await;
    let entry = "MOLECULE_IMAGE_REGISTRY=up.example.com/agents";
    let installed = Installed::of(before, &[entry]).await;
    let operator = installed.run(before).await;
    lived_in(&installed).await;
    let steady = |mut standing: BTreeMap<String, Value>| {
        // Its node goes on trying.
        standing.get_mut("Pod stuck").expect("its Pod")["containers"].take();
        standing
    };
    let stood = steady(standing(&installed.cluster));
    end(operator).await;

    for version in [&Version::this(), before] {
        let operator = installed.run(version).await;
        tokio::time::sleep(SETTLED).await;
        let now = steady(standing(&installed.cluster));
        assert_eq!(now, stood, "{}", version.deploy);
        end(operator).await;
    }
}

/// So many, one at a time.
const FLEET: usize = 10;

#[tokio::test]
async fn a_move_goes_on_through_an_upgrade_and_a_downgrade_and_moves_nobody_twice() {
    let (before, this) = (Version::before().await, Version::this());
    let settings = [
        "MOLECULE_IMAGE_REGISTRY=one.example.com/agents",
        "ROLLOUT=Paced",
        "ROLLOUT_MAX_UNAVAILABLE=1",
        "ROLLOUT_MIN_READY_SECONDS=1",
    ];
    let installed = Installed::of(before, &settings).await;
    let mut operator = installed.run(before).await;
    let kubectl = installed.cluster.kubectl();
    let names: Vec<_> = (0..FLEET).map(|it| format!("agent-{it}")).collect();
    for name in &names {
        let applied = kubectl.apply(&workspace(name, &json!({})));
        applied.expect("it is applied");
    }
    for name in &names {
        until(name, || state(&installed.cluster, name) == "Ready").await;
    }
    let born = pods(&installed.cluster);
    for (round, registry, next) in [
        (2, "two.example.com", &this),
        (3, "three.example.com", before),
    ] {
        installed.edit(&format!("{registry}/agents"));
        let on = || {
            let all = pods(&installed.cluster).into_values();
            all.filter(|it| it.image.starts_with(registry)).count()
        };
        until("the first moves", || on() > 1).await;
        end(operator).await;
        assert!(on() < FLEET, "it was too late to change the version");
        operator = installed.run(next).await;
        until("the move of all", || on() == FLEET).await;
        for name in &names {
            until(name, || state(&installed.cluster, name) == "Ready").await;
        }
        for (name, pod) in pods(&installed.cluster) {
            assert_eq!(pod.uid, born[&name].uid, "{name} is moved in its Pod");
            assert_eq!(pod.generation, round, "{name} is moved once each time");
        }
    }
    end(operator).await;
}

struct Told {
    uid: String,
    generation: i64,
    image: String,
}

/// The Pods of the Workspaces, by name.
fn pods(cluster: &Cluster) -> BTreeMap<String, Told> {
    let label = "app.kubernetes.io/name=workspace";
    let list = get(&cluster.kubectl(), &["pods", "-n", "default", "-l", label]);
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let told = |it: &Value| {
        let told = Told {
            uid: text(&it["metadata"]["uid"]),
            generation: it["metadata"]["generation"].as_i64().unwrap_or_default(),
            image: text(&it["spec"]["containers"][0]["image"]),
        };
        (text(&it["metadata"]["name"]), told)
    };
    let items = list["items"].as_array().into_iter().flatten();
    items.map(told).collect()
}
