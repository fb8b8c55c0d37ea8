//! A namespace with an operator in it, and words for what happens there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cluster::{Cluster, Kubectl, Mark, Options, Process, Signal, State};
use kube::Client;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::link::Link;
pub use crate::objects::{condition, image, text, uid, workspace};

static CLUSTER: OnceCell<Arc<Cluster>> = OnceCell::const_new();
static NAMESPACES: AtomicU32 = AtomicU32::new(1);

const CRD: &str = include_str!("../../crds/workspace.yaml");
const RBAC: &str = include_str!("../../deploy/base/rbac.yaml");

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster that all tests share.
pub async fn cluster() -> Arc<Cluster> {
    let options = Options {
        crds: vec![CRD.into()],
        ..Options::default()
    };
    let cluster = CLUSTER.get_or_init(|| start_cluster(options)).await;
    Arc::clone(cluster)
}

/// A cluster with the shipped roles in it. For a test that would harm the others in theirs.
pub async fn start_cluster(options: Options) -> Arc<Cluster> {
    let cluster = Cluster::start(options).await.expect("the cluster starts");
    cluster
        .kubectl()
        .apply(RBAC)
        .expect("the roles are applied");
    Arc::new(cluster)
}

/// A namespace with an operator that looks after it alone.
pub struct World {
    pub cluster: Arc<Cluster>,
    /// The namespace of the Workspaces, of the settings and of the operator's ServiceAccount.
    pub namespace: String,
    kubeconfig: PathBuf,
    /// For looking often: a kubectl for each look would keep the machine busy.
    pub client: Client,
    operator: Option<Process>,
    /// Since when requests count.
    pub since: Mark,
}

impl World {
    /// A new namespace, its operator running.
    pub async fn new() -> Self {
        let mut world = Self::without_operator().await;
        world.start();
        world
    }

    /// A new namespace in which the operator has not been started yet.
    pub async fn without_operator() -> Self {
        Self::in_cluster(cluster().await).await
    }

    /// The same, in a cluster of the test's own.
    pub async fn in_cluster(cluster: Arc<Cluster>) -> Self {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("test-{number}");
        cluster
            .kubectl()
            .apply(&grants(&namespace))
            .expect("the namespace is prepared");
        let kubeconfig = cluster
            .service_account_kubeconfig(&namespace, "workspace-operator")
            .await
            .expect("the ServiceAccount has a token");
        let client = cluster.client().await.expect("the kubeconfig is there");
        let since = cluster.audit().mark().expect("the audit log is there");
        Self {
            cluster,
            namespace,
            kubeconfig,
            client,
            operator: None,
            since,
        }
    }

    /// Starts the operator.
    pub fn start(&mut self) {
        self.start_with(&[], &[]);
    }

    /// Starts the operator with more flags and environment variables.
    pub fn start_with(&mut self, flags: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.command();
        command.args(flags).envs(environment.iter().copied());
        self.operator = Some(Process::spawn(&mut command).expect("the operator starts"));
    }

    /// Starts the operator for the Workspaces of another namespace.
    pub fn start_for(&mut self, namespace: &str) {
        let mut command = self.command_for(namespace);
        self.operator = Some(Process::spawn(&mut command).expect("the operator starts"));
    }

    /// The operator's command line in this namespace.
    pub fn command(&self) -> Command {
        self.command_for(&self.namespace)
    }

    /// The same, for the Workspaces of another namespace.
    pub fn command_for(&self, namespace: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_workspace-operator"));
        command
            .args([
                "run",
                "--namespace",
                namespace,
                "--settings-namespace",
                &self.namespace,
            ])
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("MOLECULE_IMAGE_REGISTRY");
        command
    }

    /// Lets an operator that is started from now on reach the API server over a link that the
    /// test can cut.
    pub fn link(&mut self) -> Link {
        let link = Link::to(self.server());
        self.reach(link.address());
        link
    }

    /// Where the operator reaches the API server.
    pub fn server(&self) -> SocketAddr {
        let kubeconfig = self.read_kubeconfig();
        let server = kubeconfig.split("https://").nth(1);
        let server = server.and_then(|it| it.lines().next()).unwrap_or_default();
        let server = server.trim_matches(['"', '\'', ' ', '/']);
        server.parse().expect("an address and a port")
    }

    /// Lets an operator that is started from now on reach the API server at this address.
    pub fn reach(&mut self, address: SocketAddr) {
        let server = self.server().to_string();
        let kubeconfig = self
            .read_kubeconfig()
            .replace(&server, &address.to_string());
        self.kubeconfig.set_extension("linked");
        std::fs::write(&self.kubeconfig, kubeconfig).expect("the kubeconfig is written");
    }

    fn read_kubeconfig(&self) -> String {
        std::fs::read_to_string(&self.kubeconfig).expect("the kubeconfig is there")
    }

    /// Gives the operator the one right that it has to have besides the shipped ones where the API
    /// server asks owners, for a change of `whenDeleted`. It is in force from then on.
    pub async fn may_own_claims(&self) {
        let account = format!("{}:workspace-operator", self.namespace);
        let of = "--resource=persistentvolumeclaims";
        self.kubectl(&["create", "role", "owner", "--verb=delete", of]);
        let to = format!("--serviceaccount={account}");
        self.kubectl(&["create", "rolebinding", "owner", "--role=owner", &to]);
        let user = format!("--as=system:serviceaccount:{account}");
        let asked = ["auth", "can-i", "delete", "persistentvolumeclaims", &user];
        let start = Instant::now();
        while self.try_kubectl(&asked).is_err() {
            assert!(start.elapsed() < PATIENCE, "the right does not come");
        }
    }

    /// The running operator.
    pub fn operator(&mut self) -> &mut Process {
        self.operator.as_mut().expect("the operator runs")
    }

    /// Every line of the running operator's log, as one text.
    pub fn log(&self) -> String {
        self.operator
            .as_ref()
            .map(|it| it.lines().join("\n"))
            .unwrap_or_default()
    }

    /// Kills the operator without a warning.
    pub async fn kill(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator
                .signal(Signal::SIGKILL)
                .expect("the operator is killed");
            operator.wait(PATIENCE).await.expect("the operator ends");
        }
    }

    /// Ends the operator as Kubernetes does. What it watched is in the audit log from then on.
    pub async fn stop(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator
                .signal(Signal::SIGTERM)
                .expect("the operator is told to stop");
            operator.wait(PATIENCE).await.expect("the operator ends");
        }
    }

    /// `kubectl -n <namespace>` as the cluster's admin.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args)
            .unwrap_or_else(|error| panic!("kubectl {args:?}: {error:#}"))
    }

    /// The same, where it may fail.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String> {
        self.admin()
            .must(&[&["-n", &self.namespace], args].concat())
    }

    /// `kubectl` as the cluster's admin.
    pub fn admin(&self) -> Kubectl {
        self.cluster.kubectl()
    }

    /// `kubectl apply` in the namespace.
    pub fn apply(&self, yaml: &str) {
        self.try_apply(yaml)
            .unwrap_or_else(|error| panic!("{error:#}\n{yaml}"));
    }

    /// The same, where it may fail. Returns what kubectl said.
    pub fn try_apply(&self, yaml: &str) -> Result<String> {
        let args = ["-n", &self.namespace, "apply", "-f", "-"];
        let output = self.admin().run_with_input(&args, yaml)?;
        if !output.ok() {
            bail!("{}", output.stderr);
        }
        Ok(output.stdout)
    }

    /// Applies a Workspace with this spec, written as YAML flow: `{runtime: codex}`.
    pub fn workspace(&self, name: &str, spec: &str) {
        self.apply(&workspace(name, spec));
    }

    /// Puts these into the settings ConfigMap, and nothing else.
    pub fn settings(&self, data: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
            .collect();
        let map = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "workspace-settings", "namespace": self.namespace},
            "data": data,
        });
        self.apply(&map.to_string());
    }

    /// Points the settings to this registry prefix.
    pub fn registry(&self, prefix: &str) {
        self.settings(&[("MOLECULE_IMAGE_REGISTRY", prefix)]);
    }

    /// A registry prefix that no other test uses.
    pub fn prefix(&self, name: &str) -> String {
        format!("{name}.{}.example.com/agents", self.namespace)
    }

    /// Lets a registry answer so from now on.
    pub async fn turn(&self, prefix: &str, state: State) {
        self.cluster
            .registry(prefix, state)
            .await
            .expect("the registry is turned");
    }

    /// An object as stored, null when there is none.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        let args = ["get", kind, name, "-o", "json", "--ignore-not-found"];
        let text = self.kubectl(&args);
        if text.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Every object of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// What the record of the settings in force says, empty when nothing.
    pub fn fleet(&self, key: &str) -> String {
        let fleet = self.get("configmap", "workspace-fleet");
        fleet["data"][key].as_str().unwrap_or_default().to_owned()
    }

    /// The Workspaces of these names and their Pods as they are now, in few words: the same words
    /// later mean that nothing touched them.
    pub fn versions(&self, names: &[&str]) -> Vec<String> {
        let version = |kind: &str, name: &str| {
            let object = self.get(kind, name);
            let version = text(&object, "/metadata/resourceVersion");
            format!("{kind} {name} {} {version}", uid(&object))
        };
        names
            .iter()
            .flat_map(|name| [version("workspace", name), version("pod", name)])
            .collect()
    }

    /// Adds a node that only Pods of this test get to, for they tolerate `only-for`. A first Pod
    /// shows that the scheduler knows it.
    pub async fn own_node(&self, name: &str) {
        let mut node = self.get("node", "node-1");
        node["metadata"] = serde_json::json!({
            "name": name, "labels": {"kubernetes.io/hostname": name},
        });
        node["spec"]["taints"] = serde_json::json!([
            {"key": "only-for", "value": self.namespace, "effect": "NoSchedule"},
        ]);
        let output = self
            .admin()
            .run_with_input(&["create", "-f", "-"], &node.to_string())
            .expect("kubectl runs");
        assert!(output.ok(), "{}", output.stderr);
        let probe = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": name},
                "tolerations": [{"key": "only-for", "operator": "Exists"}],
                "containers": [{"name": "probe", "image": "probe.example.com/probe"}],
            },
        });
        self.apply(&probe.to_string());
        self.until("pod", "probe", |it| it["status"]["phase"] == "Running")
            .await;
        self.kubectl(&["delete", "pod", "probe"]);
    }
}

impl Drop for World {
    /// What a test leaves must not slow down the others.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator's log:\n{}", self.log());
        }
        self.operator = None;
        let args = ["delete", "namespace", &self.namespace, "--wait=false"];
        let _ = self.cluster.kubectl().run(&args);
    }
}

/// The registry of a prefix.
pub fn host(prefix: &str) -> &str {
    prefix.split('/').next().unwrap_or_default()
}

/// The namespace, and in it the shipped roles for its operator.
fn grants(namespace: &str) -> String {
    let own = RBAC
        .split("\n---\n")
        .filter(|document| !document.contains("kind: ClusterRole"))
        .map(|document| document.replace("molecule-system", namespace))
        .collect::<Vec<_>>()
        .join("\n---\n");
    format!(
        "{own}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\n\
         kind: RoleBinding\n\
         metadata: {{name: workspace-operator-here, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, \
         name: workspace-operator}}\n\
         subjects: [{{kind: ServiceAccount, name: workspace-operator, \
         namespace: {namespace}}}]\n"
    )
}
