//! Two operators for one namespace.

use std::time::{Duration, Instant};

use cluster::Mark;
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use workspace_operator::workspace::{Workspace, WorkspaceSpec};

use crate::fixture::{PATIENCE, World};
use crate::member::{Deeds, Member};
use crate::pods::Pods;
use crate::scrape::get;

/// The two, by their ServiceAccounts.
const ACCOUNTS: [&str; 2] = ["workspace-operator", "second"];
/// The name of the Lease.
const LEASE: &str = "workspace-operator";

pub struct Pair {
    pub members: [Member; 2],
    pub pods: Pods,
    pub world: World,
    client: Client,
}

/// Whether the long version of a test was asked for.
pub fn is_long() -> bool {
    std::env::var_os("LEADER_LONG").is_some()
}

/// Lets the second ServiceAccount do what the first may.
fn second(namespace: &str) -> String {
    let binding = |name: &str, kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ACCOUNTS[0],
            },
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNTS[1], "namespace": namespace}],
        })
        .to_string()
    };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNTS[1], "namespace": namespace},
    });
    [
        account.to_string(),
        binding("second", "Role"),
        binding("second-here", "ClusterRole"),
    ]
    .join("\n---\n")
}

impl Pair {
    /// A new namespace with two operators that have not been started yet.
    pub async fn new() -> Self {
        let world = World::without_operator().await;
        world.apply(&second(&world.namespace));
        let client = world.cluster.client().await.expect("a client");
        let member = async |account| Member::new(&world.cluster, &world.namespace, account).await;
        Self {
            members: [member(ACCOUNTS[0]).await, member(ACCOUNTS[1]).await],
            pods: Pods::watch(&world.cluster, &world.namespace).await,
            client,
            world,
        }
    }

    /// The same, and both run.
    pub async fn started() -> Self {
        let mut pair = Self::new().await;
        pair.start(0).await;
        pair.start(1).await;
        pair
    }

    /// Starts one, and waits until it leads or stands by.
    pub async fn start(&mut self, member: usize) {
        self.members[member].start(self.world.command());
        let start = Instant::now();
        while self.members[member].says("standing by") + self.members[member].says("leading") == 0 {
            assert!(start.elapsed() < PATIENCE, "{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn logs(&self) -> String {
        let log = |it: &Member| format!("{}:\n{}", it.account, it.log().join("\n"));
        self.members.each_ref().map(log).join("\n")
    }

    /// Of any content: a test stores what does not decode as a Lease.
    pub fn lease_api(&self) -> Api<DynamicObject> {
        let lease = ApiResource::erase::<Lease>(&());
        Api::namespaced_with(self.client.clone(), &self.world.namespace, &lease)
    }

    pub async fn lease(&self) -> Value {
        let lease = self
            .lease_api()
            .get(LEASE)
            .await
            .expect("the Lease is there");
        serde_json::to_value(lease).expect("it is JSON")
    }

    pub async fn patch_lease(&self, patch: Value) {
        let patch = Patch::Merge(patch);
        let patched = self
            .lease_api()
            .patch(LEASE, &PatchParams::default(), &patch)
            .await;
        patched.expect("the Lease is patched");
    }

    /// Who holds the Lease.
    pub async fn holder(&self) -> Option<usize> {
        let lease = self.lease().await;
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        let is = |it: &Member| it.identity().as_deref() == Some(holder);
        self.members.iter().position(is)
    }

    /// The one that leads, and the other.
    pub async fn roles(&self) -> (usize, usize) {
        let start = Instant::now();
        loop {
            if let Some(leader) = self.holder().await {
                return (leader, 1 - leader);
            }
            assert!(start.elapsed() < PATIENCE, "nobody leads\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until this one holds the Lease.
    pub async fn leads(&self, member: usize) {
        let start = Instant::now();
        while self.holder().await != Some(member) {
            assert!(
                start.elapsed() < PATIENCE,
                "it does not lead\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until one answers so when it is asked whether it is ready.
    pub async fn says_of_itself(&self, member: usize, status: u16, text: &str) {
        let (start, at) = (Instant::now(), self.members[member].serves());
        loop {
            let answer = get(at, "/readyz", "*/*");
            if answer.status == status && answer.text.contains(text) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Creates a Workspace.
    pub async fn create(&self, name: &str) {
        let api = Api::<Workspace>::namespaced(self.client.clone(), &self.world.namespace);
        let workspace = Workspace::new(name, WorkspaceSpec::default());
        let created = api.create(&PostParams::default(), &workspace).await;
        created.expect("it is created");
    }

    /// Creates several at once, and returns their names.
    pub async fn create_all(&self, prefix: &str, count: usize) -> Vec<String> {
        let names: Vec<_> = (0..count).map(|it| format!("{prefix}-{it:02}")).collect();
        join_all(names.iter().map(|it| self.create(it))).await;
        names
    }

    /// Waits until all of these are Ready.
    pub async fn ready(&self, names: &[String]) {
        for name in names {
            self.world.ready(name).await;
        }
    }

    /// What one did since then.
    pub fn deeds(&self, member: usize, since: Mark) -> Deeds {
        let account = self.members[member].account;
        Deeds::of(&self.world.cluster, &self.world.namespace, account, since)
    }

    pub fn mark(&self) -> Mark {
        self.world
            .cluster
            .audit()
            .mark()
            .expect("the audit log is there")
    }

    /// Each of these Workspaces got one Pod, once. What was created though its sender had given up
    /// is in the audit log as an error, so Pods are counted, and not requests.
    pub async fn assert_one_pod_each(&self, names: &[String]) {
        let start = Instant::now();
        let ever = loop {
            let ever = self.pods.by_name();
            if names.iter().all(|it| ever.contains_key(it)) {
                break ever;
            }
            assert!(start.elapsed() < PATIENCE, "{names:?}, but {ever:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(self.pods.twice(), Vec::<String>::new(), "I1");
        for name in names {
            assert_eq!(ever.get(name), Some(&1), "{name}");
        }
    }
}
