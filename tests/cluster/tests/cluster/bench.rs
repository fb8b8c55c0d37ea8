//! What the tests of this crate share.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Cluster, Options};
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Something of our own that can own a Pod.
const OWNERS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: owners.test.example}
spec:
  group: test.example
  scope: Namespaced
  names: {kind: Owner, plural: owners}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";

/// One cluster for all tests of a file; it ends with the process.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_try_init(|| {
            Cluster::start(Options {
                crds: vec![OWNERS.to_owned()],
                ..Options::default()
            })
        })
        .await
        .expect("the cluster starts")
}

/// A namespace of the test's own, and its Pods.
pub struct Bench {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub pods: Api<Pod>,
}

impl Bench {
    pub async fn new(namespace: &str) -> Result<Self> {
        let cluster = cluster().await;
        let client = cluster.client().await?;
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let namespace = namespace.to_owned();
        let pods = Api::namespaced(client, &namespace);
        Ok(Self {
            cluster,
            namespace,
            pods,
        })
    }

    /// Creates a Pod with one container, `main`.
    pub async fn create(&self, name: &str, image: &str, behaviour: &str) -> Result<Pod> {
        let spec = json!({"containers": [{"name": "main", "image": image}]});
        self.create_spec(name, spec, behaviour).await
    }

    pub async fn create_spec(&self, name: &str, spec: Value, behaviour: &str) -> Result<Pod> {
        let mut spec = spec;
        // Else the Pod waits for the namespace's default ServiceAccount.
        spec["serviceAccountName"] = "default".into();
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {"kwok/behaviour": behaviour}},
            "spec": spec,
        }))?;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.pods.create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(status))
                    if status.code == 403 && Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                result => return Ok(result?),
            }
        }
    }

    /// Waits until the Pod is as asked, and gives it.
    pub async fn until(&self, name: &str, seconds: u64, is: impl Fn(&Pod) -> bool) -> Result<Pod> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let pod = self.pods.get(name).await?;
            if is(&pod) {
                return Ok(pod);
            }
            if Instant::now() > deadline {
                bail!(
                    "not in {seconds} s: {}",
                    serde_json::to_string_pretty(&pod.status)?
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_gone(&self, name: &str, seconds: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self.pods.get_opt(name).await?.is_some() {
            anyhow::ensure!(Instant::now() < deadline, "{name} is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub async fn set_image(&self, name: &str, image: &str) -> Result<()> {
        let patch = json!({"spec": {"containers": [{"name": "main", "image": image}]}});
        self.pods
            .patch(name, &PatchParams::default(), &Patch::Strategic(patch))
            .await?;
        Ok(())
    }

    pub async fn behave(&self, name: &str, behaviour: Option<&str>) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"kwok/behaviour": behaviour}}});
        self.pods
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }
}

pub fn container(pod: &Pod) -> Result<&ContainerStatus> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses
        .and_then(|all| all.first())
        .context("no container status yet")
}

pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

pub fn waiting(pod: &Pod) -> &str {
    let state = container(pod).ok().and_then(|is| is.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default()
}

pub fn message(pod: &Pod) -> &str {
    let state = container(pod).ok().and_then(|is| is.state.as_ref());
    let waiting = state.and_then(|state| state.waiting.as_ref());
    waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or_default()
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> &'a str {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let found = conditions.and_then(|all| all.iter().find(|is| is.type_ == kind));
    found.map(|is| is.status.as_str()).unwrap_or_default()
}

pub fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == "True"
}
