//! The node and what it needs: a control plane, registries, a network, a container runtime, a
//! kubelet. All of it in the namespaces that the keeper made.

mod front;
mod ground;
mod images;
mod kubelet;
mod programs;
mod registries;
mod runtime;
mod services;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::{Cluster, Options, Process};

pub use front::Answer;
pub use images::{Crane, LARGE, NEXT, OPERATOR, SECOND_UNMIRRORED, UNMIRRORED};
pub use programs::{show_on_node, type_on_node};
pub use registries::{MIRROR_NUMBER, PASSWORD, Registries, USER, platform};
pub use runtime::{containers, kill, mounts_of_pods, process_of, tasks};

use crate::keeper;

/// What is built before the node starts.
pub const PROGRAMS: [&str; 9] = [
    "agent",
    "containerd",
    "containerd-shim-runc-v2",
    "coredns",
    "crane",
    "ctr",
    "kube-proxy",
    "kubelet",
    "registry",
];

const CRD: &str = include_str!("../../../../crds/workspace.yaml");
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: first}
spec: {containers: [{name: agent, image: 'registry.example.com/platform/agent:1'}]}
";
/// The name of the node.
pub const NODE: &str = "node-1";

/// A node that is Ready.
pub struct Bed {
    pub cluster: Cluster,
    pub registries: Registries,
    pub crane: Crane,
    kubelet: Option<Process>,
    folder: PathBuf,
    _runtime: Process,
    _services: [Process; 2],
}

impl Bed {
    /// Starts everything, and waits until the node takes Pods.
    pub async fn start() -> Result<Self> {
        let folder = keeper::folder();
        ground::prepare(&folder).context("laying the ground")?;
        let crane = Crane::new(&folder)?;
        let cluster = Cluster::start(Options {
            real_nodes_at: Some(ground::ADDRESS.into()),
            crds: vec![CRD.to_owned()],
            ..Options::default()
        });
        let registries = Registries::start(&folder, &crane);
        let (cluster, registries) = tokio::try_join!(cluster, registries)?;
        let runtime = runtime::start(&folder).await?;
        let services = services::start(&folder, &cluster)?;
        let kubelet = kubelet::start(&folder, &cluster)?;
        kubelet::until_ready(&cluster).await?;
        Ok(Self {
            cluster,
            registries,
            crane,
            kubelet: Some(kubelet),
            folder,
            _runtime: runtime,
            _services: services,
        })
    }

    /// The node's own address.
    pub fn address(&self) -> std::net::Ipv4Addr {
        ground::ADDRESS
    }

    /// Runs a Pod on it, so that it has all that a node in use has.
    pub fn run_a_pod(&self) -> Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.apply(POD)?;
        let ready = [
            "wait",
            "--for=condition=Ready",
            "pod/first",
            "--timeout=60s",
        ];
        kubectl.must(&ready).map(drop)
    }

    /// A folder for files of the story's own.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes images from the node, as if they had never been there, and says how many were. What runs
    /// on them runs on.
    pub fn forget_images(&self, images: &[String]) -> Result<usize> {
        runtime::forget_images(images)
    }

    /// Kills the kubelet and starts it again, as after a crash.
    pub async fn restart_kubelet(&mut self) -> Result<()> {
        drop(self.kubelet.take());
        let kubelet = kubelet::start(&self.folder, &self.cluster)?;
        kubelet::until_ready(&self.cluster).await?;
        self.kubelet = Some(kubelet);
        Ok(())
    }
}
