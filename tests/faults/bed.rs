//! A namespace, an operator, a proxy between it and the API server, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cluster::{Events, Mark};
use futures::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use proxy::{Proxy, Request};
use serde_json::{Value, json};
use workspace_operator::names;
use workspace_operator::overview::{self, Overview};
use workspace_operator::proof;
use workspace_operator::workspace::Workspace;

use crate::fixture::{PATIENCE, World};
use crate::pods::{Pods, Sighting};

/// A Pod that looks like one of ours, and is no Workspace's.
const BYSTANDER: &str = "bystander";
/// A Pod that looks like a probe of the operator's, and was not made by it.
const OTHERS_PROBE: &str = "bystanding-probe";
const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";

pub struct Bed {
    pub world: World,
    pub proxy: Proxy,
    pub pods: Pods,
    pub client: Client,
    bystanders: [Pod; 2],
    begun: Mark,
    elects: bool,
}

/// Whether the long version of a test was asked for.
pub fn is_long() -> bool {
    std::env::var_os("FAULTS_LONG").is_some()
}

/// How long the operator has to be silent in the end.
fn silence() -> u64 {
    if is_long() { 30 } else { 10 }
}

/// `agent-000` and so on.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|it| format!("agent-{it:03}")).collect()
}

impl Bed {
    /// A new namespace. The operator has not been started yet.
    pub async fn new() -> Self {
        Self::of(World::without_operator().await).await
    }

    /// A new namespace with an operator that looks after it.
    pub async fn started() -> Self {
        let mut bed = Self::new().await;
        bed.start().await;
        bed
    }

    /// The same around a world.
    pub async fn of(mut world: World) -> Self {
        let folder = world.cluster.folder();
        let proxy = Proxy::start(world.server(), folder).expect("the proxy starts");
        world.reach(proxy.address());
        let client = world.cluster.client().await.expect("a client");
        let pods = Pods::watch(&world.cluster, &world.namespace).await;
        let begun = world
            .cluster
            .audit()
            .mark()
            .expect("the audit log is there");
        let pod_api = Api::<Pod>::namespaced(client.clone(), &world.namespace);
        let bystanders = [
            bystander(&pod_api, BYSTANDER, names::NAME).await,
            bystander(&pod_api, OTHERS_PROBE, proof::NAME).await,
        ];
        Self {
            world,
            proxy,
            pods,
            client,
            bystanders,
            begun,
            elects: true,
        }
    }

    /// From its next start on the operator leads without an election: for a test of how one operator
    /// paces itself, which one that lost its Lease on a busy machine begins anew.
    pub fn alone(mut self) -> Self {
        self.elects = false;
        self
    }

    /// Starts the operator, as in production: it stands for election, though it is alone.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same with more environment variables.
    pub fn run_with(&mut self, environment: &[(&str, &str)]) {
        let flags: &[&str] = if self.elects {
            &["--leader-elect"]
        } else {
            &[]
        };
        self.world.start_with(flags, environment);
    }

    /// Starts the operator, and waits until it has begun to act.
    pub async fn start(&mut self) {
        self.run();
        self.world.logged("looking after").await;
    }

    /// Kills the operator without a warning, and lets its Lease go: the next one would wait until it
    /// runs out, as it does in `tests/leader`.
    pub async fn kill(&mut self) {
        self.world.kill().await;
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.world.namespace);
        let free = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
        let freed = leases
            .patch(names::MANAGER, &PatchParams::default(), &free)
            .await;
        freed.expect("the Lease is let go");
    }

    /// Every request so far, but those of the Lease.
    pub fn asked(&self) -> Vec<Request> {
        let mut all = self.proxy.requests();
        all.retain(|it| !it.ask.about("leases"));
        all
    }

    pub fn workspaces(&self) -> Api<Workspace> {
        Api::namespaced(self.client.clone(), &self.world.namespace)
    }

    pub fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.world.namespace)
    }

    /// Creates these Workspaces with one spec.
    pub async fn create(&self, names: &[String], spec: Value) {
        let api = self.workspaces();
        let create = async |name: &String| {
            let object = json!({
                "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace",
                "metadata": {"name": name}, "spec": spec,
            });
            let workspace = serde_json::from_value(object).expect("a Workspace");
            api.create(&PostParams::default(), &workspace)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        join_all(names.iter().map(create)).await;
    }

    /// Changes these Workspaces by one merge patch.
    pub async fn patch(&self, names: &[String], patch: Value) {
        let api = self.workspaces();
        let params = PatchParams::default();
        let patch = Patch::Merge(patch);
        let edit = async |name: &String| {
            let patched = api.patch(name, &params, &patch).await;
            patched.unwrap_or_else(|error| panic!("{name}: {error}"));
        };
        join_all(names.iter().map(edit)).await;
    }

    /// Points the settings to a registry prefix, as often and as quickly as it takes.
    pub async fn registry(&self, prefix: &str) {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.world.namespace);
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workspace-settings"},
            "data": {REGISTRY: prefix},
        });
        let params = PatchParams::apply("test").force();
        let applied = api
            .patch("workspace-settings", &params, &Patch::Apply(map))
            .await;
        applied.expect("the settings are applied");
    }

    /// Deletes the settings.
    pub async fn no_settings(&self) {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.world.namespace);
        let deleted = api
            .delete("workspace-settings", &DeleteParams::default())
            .await;
        deleted.expect("the settings are deleted");
    }

    /// How many Workspaces there are, and how many of them show this state in their current
    /// generation.
    pub async fn count(&self, state: &str) -> (usize, usize) {
        // While a server is restarted there may be no answer.
        let Ok(all) = self.workspaces().list(&ListParams::default()).await else {
            return (0, 0);
        };
        let shows = |it: &&Workspace| {
            let status = serde_json::to_value(&it.status).unwrap_or_default();
            status["state"] == state
                && status["observedGeneration"].as_i64() == it.metadata.generation
        };
        (all.items.len(), all.iter().filter(shows).count())
    }

    /// Waits until this many Workspaces show this state, and there is no other.
    pub async fn all(&self, count: usize, state: &str) {
        let start = Instant::now();
        loop {
            let found = self.count(state).await;
            if found == (count, count) {
                return;
            }
            assert!(
                start.elapsed() < 2 * PATIENCE,
                "{} of {} Workspaces are {state}, not {count}\n{}",
                found.1,
                found.0,
                self.world.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < 2 * PATIENCE,
                "{what}\n{}",
                self.world.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How every test ends: all of so many Workspaces are Ready, the operator falls silent but for
    /// its watches and its Lease, each Workspace has one Pod and never had two at once, and no
    /// other Pod was touched. Returns every Pod of a Workspace that ever existed.
    pub async fn settled(&mut self, count: usize) -> Vec<Sighting> {
        self.all(count, "Ready").await;
        // The record is written on its own, and a part of it that failed is tried again later.
        let overview = overview::key(Some(&self.world.namespace));
        let is_recorded = |fleet: &Value| {
            let told = fleet["data"][&overview].as_str();
            let told = told.and_then(Overview::from_text).unwrap_or_default();
            fleet["data"]["registry"].is_string() && (told.workspaces, told.ready) == (count, count)
        };
        self.world
            .until("configmap", "workspace-fleet", is_recorded)
            .await;
        self.world.silence(silence()).await;
        self.assert_silent();
        let alive = self.alive_pods().await;
        self.until("the test's own watch lags", |bed| bed.pods.alive() == alive)
            .await;
        assert_eq!(self.pods.twice(), Vec::<String>::new(), "I1");
        let ever = self.pods.all();
        let owned = |it: &&Sighting| !it.gone && it.workspace.is_some();
        let pods: BTreeMap<_, _> = ever
            .values()
            .filter(owned)
            .map(|it| (it.name.clone(), it.workspace.clone().unwrap_or_default()))
            .collect();
        assert_eq!(
            pods,
            self.workspace_uids().await,
            "a Pod for each Workspace"
        );
        self.assert_others_untouched(&ever).await;
        ever.into_values()
            .filter(|it| it.workspace.is_some())
            .collect()
    }

    /// Since the silence began nothing was asked, not even whether something would be taken, but to
    /// go on watching and to go on leading.
    fn assert_silent(&self) {
        let asked = self.world.requests();
        let asked = asked.filter(|it| it.verb != "watch" && it.resource != "leases");
        assert!(asked.is_empty(), "{asked:#?}\n{}", self.world.log());
    }

    async fn alive_pods(&self) -> BTreeSet<String> {
        let all = self.pod_api().list(&ListParams::default()).await;
        let all = all.expect("the Pods are listed");
        all.iter().filter_map(ResourceExt::uid).collect()
    }

    async fn workspace_uids(&self) -> BTreeMap<String, String> {
        let all = self.workspaces().list(&ListParams::default()).await;
        let all = all.expect("the Workspaces are listed");
        let uid = |it: &Workspace| (it.name_any(), it.uid().unwrap_or_default());
        all.iter().map(uid).collect()
    }

    /// How many Pods the API server created for the operator's Workspaces.
    pub fn created(&self) -> usize {
        let writes = self.writes_of_pods();
        let created = writes.filter(|it| it.verb == "create");
        created.filter(|it| !is_probes(&it.name)).len()
    }

    /// How many patches of this Pod the API server took from the operator.
    pub fn patched(&self, name: &str) -> usize {
        let patches = self.writes_of_pods().filter(|it| it.verb == "patch");
        patches.filter(|it| it.name == name).len()
    }

    fn writes_of_pods(&self) -> Events {
        let audit = self.world.cluster.audit().events_since(self.begun);
        audit
            .expect("the audit log is there")
            .by_service_account(&self.world.namespace, names::MANAGER)
            .of("pods")
            .writes()
            .succeeded()
            .filter(|it| !it.dry_run)
    }

    /// No write of the operator's named a Pod that is neither a Workspace's nor a probe that it has
    /// created itself, and each create is a Pod that was seen.
    async fn assert_others_untouched(&self, ever: &BTreeMap<String, Sighting>) {
        let creates = self.writes_of_pods().filter(|it| it.verb == "create");
        let created: Vec<_> = creates.iter().map(|it| it.name.as_str()).collect();
        let is_own_probe = |it: &Sighting| it.is_probe && created.contains(&it.name.as_str());
        let others = self.writes_of_pods().filter(|it| it.verb != "create");
        for write in others.iter() {
            let body = write.request_object.as_ref().unwrap_or(&Value::Null);
            let is_delete = write.verb == "delete";
            let uid = if is_delete {
                &body["preconditions"]["uid"]
            } else {
                &body["metadata"]["uid"]
            };
            let pod = uid.as_str().and_then(|uid| ever.get(uid));
            let is_ours = |it: &Sighting| it.workspace.is_some() || is_delete && is_own_probe(it);
            assert!(pod.is_some_and(is_ours), "{write:?}");
        }
        let (probes, pods): (Vec<&str>, _) = created.iter().partition(|it| is_probes(it));
        let ours = ever.values().filter(|it| it.workspace.is_some()).count();
        assert!(pods.len() <= ours, "{pods:?} created, {ours} Pods seen");
        let seen = ever.values().filter(|it| is_own_probe(it)).count();
        assert!(
            probes.len() <= seen,
            "{probes:?} created, {seen} probes seen"
        );
        for before in &self.bystanders {
            let now = self.pod_api().get(&before.name_any()).await;
            let now = now.expect("the bystander is there");
            assert_eq!(now.metadata.uid, before.metadata.uid);
            assert_eq!(now.metadata.generation, before.metadata.generation);
            assert_eq!(now.metadata.labels, before.metadata.labels);
            assert_eq!(now.metadata.deletion_timestamp, None);
        }
    }
}

/// A Pod with all labels that the operator gives its own.
async fn bystander(pods: &Api<Pod>, name: &str, label: &str) -> Pod {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {
            names::LABEL_NAME: label,
            names::LABEL_INSTANCE: name,
            names::LABEL_MANAGED_BY: names::MANAGER,
        }},
        "spec": {"containers": [{"name": "agent", "image": "other.example.com/other"}]},
    }));
    let pod = pod.expect("a Pod");
    let created = pods.create(&PostParams::default(), &pod).await;
    created.expect("the bystander is created")
}

/// Whether the operator gives this name to its probes alone.
fn is_probes(name: &str) -> bool {
    name.starts_with(&format!("{}-", proof::NAME))
}
