//! A cluster: how it starts, what it offers, how it ends.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::audit::Audit;
use crate::binaries::{self, Binaries};
use crate::bootstrap::{self, until};
use crate::components::{Launcher, Ports};
use crate::kubectl::Kubectl;
use crate::nodes;
use crate::pki::Pki;
use crate::stages::{self, Outages};
use crate::watchdog::Watchdog;

/// How often a start is tried when other processes take its ports before it does.
const ATTEMPTS: usize = 4;

/// What a cluster is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes kwok plays, named `node-1` and so on.
    pub nodes: u8,
    /// Whether every request is logged, for [`Cluster::audit`].
    pub audit: bool,
    /// More flags for kube-apiserver.
    pub apiserver_args: Vec<String>,
    /// Whether etcd waits for the disk. A test has no use for that, a benchmark may.
    pub fsync: bool,
    /// Whether a Pod's node writes once, and at once: that it is Ready with an address, or
    /// that its image cannot be pulled. Many Pods in parallel, no `kwok/behaviour`, no second
    /// try of a pull. For a benchmark, which is not to measure kwok.
    pub quick_pods: bool,
    /// CustomResourceDefinitions, as YAML, that are there before the controllers start.
    /// One applied later is unknown to the garbage collector for up to 30 seconds.
    pub crds: Vec<String>,
    /// Where real kubelets and the Pods on them reach the API server. With it nothing is played:
    /// there is no kwok, and there are no nodes and no StorageClasses but those that come to it.
    pub real_nodes_at: Option<IpAddr>,
    /// Whether who gives an object that is there an owner has to be allowed to delete it, by the
    /// admission plugin OwnerReferencesPermissionEnforcement. It is off in most clusters, and on in
    /// those that hold a controller to less than it could do.
    pub asks_owners: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            audit: true,
            apiserver_args: Vec::new(),
            fsync: false,
            quick_pods: false,
            crds: Vec::new(),
            real_nodes_at: None,
            asks_owners: true,
        }
    }
}

/// A running control plane. Dropping it ends it and leaves nothing behind.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    kubeconfig: PathBuf,
    pub(crate) binaries: Binaries,
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    version: String,
    pub(crate) pki: Pki,
    pub(crate) outages: tokio::sync::Mutex<Outages>,
    pub(crate) quick_pods: bool,
    /// Behind a lock only because asking a child how it is needs it exclusively.
    children: Mutex<Vec<Child>>,
    watchdog: Watchdog,
}

impl Cluster {
    /// Starts a cluster and waits until its nodes take Pods.
    ///
    /// # Errors
    /// When a program cannot be built or does not come up; with the end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(binaries::ensure).await??;
        for _ in 1..ATTEMPTS {
            let cluster = Self::launch(&binaries, &options)?;
            match cluster.bootstrap(&options).await {
                Err(error) if format!("{error:#}").contains("address already in use") => {}
                result => return result.map(|()| cluster),
            }
        }
        let cluster = Self::launch(&binaries, &options)?;
        cluster.bootstrap(&options).await?;
        Ok(cluster)
    }

    fn launch(binaries: &Binaries, options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir()?;
        // From here on the watchdog removes the folder, however this process ends.
        let watchdog = Watchdog::start(Some(folder.path()))?;
        let folder = folder.keep();
        let ports = Ports::free()?;
        let pki = Pki::create(&folder, format!("https://127.0.0.1:{}", ports.apiserver))?;
        pki.client_files("kubelet-client", "kube-apiserver", "system:masters")?;
        let cluster = Self {
            kubeconfig: pki.kubeconfig("admin", "system:masters")?,
            binaries: binaries.clone(),
            ports,
            options: options.clone(),
            version: binaries::kubernetes_version()?,
            pki,
            outages: tokio::sync::Mutex::default(),
            quick_pods: options.quick_pods,
            children: Mutex::default(),
            watchdog,
            folder,
        };
        let launcher = cluster.launcher();
        cluster.keep([launcher.etcd(&binaries.etcd, ports, options.fsync)?]);
        cluster.keep([launcher.apiserver(&binaries.kube_apiserver, ports, options)?]);
        Ok(cluster)
    }

    async fn bootstrap(&self, options: &Options) -> Result<()> {
        let client = self.client().await?;
        let alive = || self.check_alive();
        until("the API server", alive, || bootstrap::is_serving(&client)).await?;

        if options.real_nodes_at.is_none() {
            bootstrap::create_crds(&client, stages::CRD).await?;
        }
        for crd in &options.crds {
            bootstrap::create_crds(&client, crd).await?;
        }
        until("the API of a definition", alive, || {
            bootstrap::are_crds_served(&client)
        })
        .await?;
        self.keep(self.launcher().controllers(
            &self.binaries,
            [
                &self.pki.kubeconfig("system:kube-controller-manager", "")?,
                &self.pki.kubeconfig("system:kube-scheduler", "")?,
            ],
        )?);
        if options.real_nodes_at.is_some() {
            return until("an account", alive, || {
                bootstrap::is_ready_for_pods(&client)
            })
            .await;
        }
        let kwok = self.pki.kubeconfig("kwok", "system:masters")?;
        let launcher = self.launcher();
        self.keep([launcher.kwok(&self.binaries.kwok, &kwok, options.quick_pods)?]);
        stages::create(&client, options.quick_pods).await?;
        bootstrap::create_storage_classes(&client).await?;
        bootstrap::guard_successors(&client).await?;
        for number in 1..=options.nodes {
            nodes::add(
                &client,
                &format!("node-{number}"),
                number,
                &self.version,
                serde_json::Value::Null,
            )
            .await?;
        }
        until("a node", alive, || bootstrap::is_ready_for_pods(&client)).await
    }

    /// The administrator's kubeconfig file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig file for a user of this name in this group, who has a certificate; as a kubelet
    /// is the user `system:node:<name>` in `system:nodes`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn user_kubeconfig(&self, user: &str, group: &str) -> Result<PathBuf> {
        self.pki.kubeconfig(user, group)
    }

    /// An administrator's client. Made anew each time: a client belongs to the runtime
    /// that made it, and every test has its own.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client_for(&self.kubeconfig).await
    }

    /// kubectl, as the administrator.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl {
            program: self.binaries.kubectl.clone(),
            kubeconfig: self.kubeconfig.clone(),
            cache: self.folder.join("kubectl-cache"),
            plugins: None,
        }
    }

    /// The log of every request.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit {
            path: self.folder.join("audit.log"),
        }
    }

    /// A folder for files of the test's own, removed with the cluster. The programs'
    /// logs are in it, as `kube-scheduler.log` and so on.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's version, as in `v1.37.2`.
    #[must_use]
    pub fn kubernetes_version(&self) -> &str {
        &self.version
    }

    /// Ends the cluster and waits until nothing of it is left, as dropping it does.
    pub fn stop(self) {
        drop(self);
    }

    pub(crate) fn launcher(&self) -> Launcher<'_> {
        Launcher {
            folder: &self.folder,
            watchdog: &self.watchdog,
        }
    }

    fn keep(&self, started: impl IntoIterator<Item = Child>) {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(started);
    }

    /// The process id of one of the cluster's programs, such as `kube-apiserver`.
    #[must_use]
    pub fn process_id(&self, program: &str) -> Option<u32> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Launcher::ORDER.iter().position(|name| *name == program)?;
        children.get(at).map(Child::id)
    }

    /// Does something with the process of one of the programs in [`Launcher::ORDER`].
    pub(crate) fn with_child<T>(
        &self,
        name: &str,
        action: impl FnOnce(&mut Child) -> Result<T>,
    ) -> Result<T> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let named = children.iter_mut().zip(Launcher::ORDER);
        let mut named = named.filter(|(_, it)| *it == name);
        let (child, _) = named
            .next()
            .with_context(|| format!("there is no {name}"))?;
        action(child)
    }

    pub(crate) fn check_alive(&self) -> Result<()> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        for (child, name) in children.iter_mut().zip(Launcher::ORDER) {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.folder.join(format!("{name}.log")))?;
                let start = log.lines().count().saturating_sub(15);
                let last: Vec<&str> = log.lines().skip(start).collect();
                bail!("{name} ended ({status}):\n{}", last.join("\n"));
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let children = self
            .children
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.watchdog.close(children);
    }
}

/// A client for a kubeconfig file, as for one of [`Cluster::service_account_kubeconfig`].
///
/// # Errors
/// When the file cannot be read.
pub async fn client_for(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
