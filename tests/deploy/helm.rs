//! A release: installed, upgraded, rolled back, uninstalled, installed again.

mod before;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::{Cluster, Kubectl};
use serde_json::Value;

use crate::bed::{
    SYSTEM, create_settings, empty, folder, get, guarded, must, run, shell, tool, until,
};
use crate::objects::args;

const OLD: &str = "old.example.com/a";
const MIRROR: &str = "mirror.example.com/a";
const WORKSPACE: &str = "apiVersion: molecule.ai/v1alpha1\n\
                         kind: Workspace\n\
                         metadata: {name: alice, namespace: default}\n\
                         spec: {runtime: codex}\n";

/// Helm, with nothing of a person's own.
pub struct Helm<'a> {
    pub program: PathBuf,
    pub cluster: &'a Cluster,
}

impl Helm<'_> {
    /// Runs a command on the release in the operator's namespace, which must succeed.
    pub fn must(&self, args: &[&str]) -> String {
        self.must_in(SYSTEM, args)
    }

    fn must_in(&self, namespace: &str, args: &[&str]) -> String {
        run(&mut self.command(namespace, args))
    }

    /// What it says where it must not succeed.
    pub fn refused(&self, namespace: &str, args: &[&str]) -> String {
        let output = self.command(namespace, args).output();
        let output = output.expect("helm runs");
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs commands as a person would.
    pub fn shell(&self, commands: &str) {
        let folder = self.program.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.env("PATH", format!("{folder}:{path}"));
        run(self.at_home(shell.args(["-exc", commands])));
    }

    fn command(&self, namespace: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        self.at_home(command.args(args).args(["--namespace", namespace]));
        command
    }

    fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let home = self.cluster.folder().join("helm");
        command
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|it| (it, &home)))
    }
}

/// An empty cluster, and Helm.
pub async fn bed() -> (Cluster, PathBuf) {
    (empty().await, tool("helm").await)
}

/// The chart as it was before the definition got its short name and one of its fields, in a folder
/// of the test's own.
fn older_chart(name: &str) -> String {
    let older = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::remove_dir_all(&older).ok();
    run(Command::new("cp")
        .arg("-R")
        .arg(folder("chart"))
        .arg(&older));
    let file = older.join("files/workspace.yaml");
    let crd = std::fs::read_to_string(&file).expect("the definition");
    let nameless = crd.replace("    shortNames:\n    - ws\n", "");
    assert_ne!(crd, nameless);
    let field = "              provisionTimeoutSeconds:\n";
    let (before, after) = nameless.split_once(field).expect("the field");
    let rest = after
        .split_inclusive('\n')
        .skip_while(|it| it.starts_with("                "));
    let without = format!("{before}{}", rest.collect::<String>());
    std::fs::write(&file, without).expect("it is written");
    older.display().to_string()
}

fn registry(kubectl: &Kubectl) -> String {
    let settings = get(kubectl, &["configmap", "workspace-settings", "-n", SYSTEM]);
    let value = &settings["data"]["MOLECULE_IMAGE_REGISTRY"];
    value.as_str().unwrap_or_default().to_owned()
}

/// What a person does at three in the morning.
fn switch(kubectl: &Kubectl) {
    let edit = format!(r#"{{"data":{{"MOLECULE_IMAGE_REGISTRY":"{MIRROR}"}}}}"#);
    let settings = ["configmap", "workspace-settings", "-n", SYSTEM];
    let patch = ["--type=merge", "-p", &edit];
    must(kubectl, &[&["patch"], &settings[..], &patch].concat());
}

fn has_short_name(kubectl: &Kubectl) -> bool {
    let crd = get(kubectl, &["crd", "workspaces.molecule.ai"]);
    crd["spec"]["names"]["shortNames"] == serde_json::json!(["ws"])
}

#[tokio::test]
async fn a_switch_outlives_every_upgrade_and_the_uninstall_keeps_what_people_have() {
    let (cluster, program) = bed().await;
    let kubectl = cluster.kubectl();
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    let (chart, older) = (folder("chart"), older_chart("older-chart"));
    let set = format!("--set=settings.MOLECULE_IMAGE_REGISTRY={OLD}");
    let release = "workspace-operator";

    let said = helm.must(&[
        "install",
        release,
        &older,
        "--create-namespace",
        "--wait",
        "--timeout=2m",
        &set,
    ]);
    assert!(said.contains("Its image is an example's"), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
    assert!(!said.contains("WORKSPACE_SETTINGS_NAMESPACE"), "{said}");
    assert!(
        said.contains("kubectl rollout status deployment/workspace-operator -n molecule-system"),
        "{said}"
    );
    assert_eq!(registry(&kubectl), OLD);
    assert!(!has_short_name(&kubectl));
    guarded(&kubectl, SYSTEM).await;
    kubectl.apply(WORKSPACE).expect("the Workspace is applied");

    // The switch, and then what a pipeline does.
    switch(&kubectl);
    let said = helm.must(&["upgrade", release, &chart, &set]);
    assert!(
        said.contains("MOLECULE_IMAGE_REGISTRY in the values is not what is in force"),
        "{said}"
    );
    assert_eq!(registry(&kubectl), MIRROR);
    assert!(
        has_short_name(&kubectl),
        "the upgrade did not bring the definition"
    );
    helm.must(&["upgrade", release, &chart]);
    assert_eq!(registry(&kubectl), MIRROR);
    helm.must(&["rollback", release, "1"]);
    assert_eq!(registry(&kubectl), MIRROR);
    assert!(!has_short_name(&kubectl));

    helm.must(&["uninstall", release]);
    assert_eq!(registry(&kubectl), MIRROR);
    must(&kubectl, &["get", "workspace", "alice"]);
    let left = must(
        &kubectl,
        &[
            "get",
            "deployments,serviceaccounts,roles,leases",
            "-n",
            SYSTEM,
            "-o",
            "name",
        ],
    );
    assert!(!left.contains("workspace-operator"), "{left}");
    helm.must(&["install", release, &chart, &set]);
    assert_eq!(registry(&kubectl), MIRROR);
    assert!(has_short_name(&kubectl));
}

#[tokio::test]
async fn where_the_first_of_two_releases_goes_the_second_keeps_its_guard_and_people_their_roles() {
    let (cluster, program) = bed().await;
    let kubectl = cluster.kubectl();
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    let (chart, second) = (folder("chart"), "second-system");
    must(&kubectl, &["create", "namespace", "agents"]);
    helm.must(&["install", "first", &chart, "--create-namespace"]);
    let alone = ["--set=shared=false,watchNamespace=agents"];
    let install = ["install", "second", &chart, "--create-namespace"];
    let own = ["--set=image.repository=ghcr.io/molecule-ai/operator"];
    let said = helm.must_in(second, &[&install[..], &alone, &own].concat());
    for words in [
        "WARNING: the operator's image is under ghcr.io/molecule-ai, as the Workspaces' are",
        "image.digest is better",
        "export WORKSPACE_SETTINGS_NAMESPACE=second-system",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    shell(&cluster, printed(&said, "A first Workspace:"));
    must(&kubectl, &["get", "workspace", "alice", "-n", "agents"]);
    guarded(&kubectl, second).await;

    helm.must(&["uninstall", "first"]);
    let shared = || {
        let roles = ["clusterrole", "workspace-view", "workspace-edit"];
        must(&kubectl, &[&["get"], &roles[..]].concat());
        let bad = create_settings(&kubectl, second, &["ROLLOUT=Never"], true);
        assert!(bad.stderr.contains("ROLLOUT is no way"), "{}", bad.stderr);
    };
    shared();

    // The second takes them over, to bring them up to date from now on.
    let upgrade = ["upgrade", "second", &chart, "--take-ownership"];
    let heir = ["--set=shared=true,watchNamespace=agents"];
    helm.must_in(second, &[&upgrade[..], &heir].concat());
    shared();
    let policy = get(
        &kubectl,
        &["validatingadmissionpolicy", "workspace-settings"],
    );
    let owner = &policy["metadata"]["annotations"]["meta.helm.sh/release-name"];
    assert_eq!(owner, "second");
}

#[tokio::test]
async fn what_cannot_be_installed_is_refused_in_a_sentence() {
    let (cluster, program) = bed().await;
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    let chart = folder("chart");
    for (set, words) in [
        ("shared=false", "Set watchNamespace where shared is false"),
        (
            "shared=false,watchNamespace=default,podRights=true",
            "podRights is for the whole cluster",
        ),
        (
            "watchNamespace=agent",
            "There is no namespace agent, which watchNamespace names: create it first",
        ),
    ] {
        let set = format!("--set={set}");
        let said = helm.refused(
            SYSTEM,
            &["install", "op", &chart, "--create-namespace", &set],
        );
        assert!(said.contains(words), "{said}");
    }
}

/// The commands that were printed after these words, as they would be pasted.
fn printed<'a>(said: &'a str, before: &str) -> &'a str {
    let rest = said.split_once(&format!("{before}\n\n"));
    let rest = rest
        .unwrap_or_else(|| panic!("{before} is not in {said}"))
        .1;
    rest.split("\n\n").next().unwrap_or(rest)
}

/// The operator's Pods that are not on their way out: UIDs, and what each was told to do.
fn pods(kubectl: &Kubectl) -> BTreeMap<String, Vec<String>> {
    let pods = get(kubectl, &["pods", "-n", SYSTEM]);
    let pods = pods["items"].as_array().into_iter().flatten();
    let live = pods.filter(|it| it["metadata"]["deletionTimestamp"].is_null());
    let of = |pod: &Value| {
        let args = args(&pod["spec"]["containers"][0]);
        (pod["metadata"]["uid"].to_string(), args)
    };
    live.map(of).collect()
}

/// Whether the definition that is in force knows the field that an older one lacks.
fn knows_the_field(kubectl: &Kubectl) -> bool {
    let spec = r#"{"spec":{"provisionTimeoutSeconds":60}}"#;
    let strict = ["--type=merge", "--dry-run=server", "-o", "json", "-p", spec];
    let patched = kubectl.run(&[&["patch", "workspace", "alice"][..], &strict].concat());
    let patched = patched.expect("kubectl runs");
    assert!(patched.ok(), "{}", patched.stderr);
    patched.stdout.contains("provisionTimeoutSeconds")
}

#[tokio::test]
async fn an_upgrade_brings_a_second_replica_and_a_newer_definition_and_a_rollback_takes_them_back()
{
    let (cluster, program) = bed().await;
    let kubectl = cluster.kubectl();
    let helm = Helm {
        program,
        cluster: &cluster,
    };
    let release = "workspace-operator";
    let ready = ["--wait", "--timeout=2m"];
    let older = older_chart("older-chart-of-one");
    let install = ["install", release, &older, "--create-namespace"];
    helm.must(&[&install[..], &ready, &["--set=replicas=1"]].concat());
    let alone = pods(&kubectl);
    assert_eq!(alone.len(), 1);
    kubectl.apply(WORKSPACE).expect("the Workspace is applied");
    let alice = get(&kubectl, &["workspace", "alice"])["metadata"]["uid"].take();
    assert!(!knows_the_field(&kubectl));

    let upgrade = ["upgrade", release, &folder("chart"), "--set=replicas=2"];
    let said = helm.must(&[&upgrade[..], &ready].concat());
    let both = pods(&kubectl);
    assert_eq!(both.len(), 2);
    for (pod, args) in &both {
        assert!(args.contains(&"--leader-elect".into()), "{args:?}");
        let before = alone.get(pod);
        assert!(before.is_none_or(|it| it == args), "{before:?} {args:?}");
    }
    let stays = alone.keys().all(|it| both.contains_key(it));
    assert!(stays, "one more replica is no restart of the first");
    until("the newer definition", || knows_the_field(&kubectl)).await;
    for before in [
        "is being started in molecule-system:",
        "For another registry:",
        "held to the strictest standard:",
        "A first Workspace:",
    ] {
        shell(&cluster, printed(&said, before));
    }

    helm.must(&[&["rollback", release, "1"][..], &ready].concat());
    until("one replica", || pods(&kubectl).len() == 1).await;
    let left = pods(&kubectl).into_iter().next().expect("one");
    assert_eq!(both.get(&left.0), Some(&left.1), "one of the two");
    until("the older definition", || !knows_the_field(&kubectl)).await;
    let kept = get(&kubectl, &["workspace", "alice"])["metadata"]["uid"].take();
    assert_eq!(kept, alice);
}
