//! What each measurement starts from: a fresh control plane with the shipped roles in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Options, Process, Signal, State};
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::bare::Work;
use crate::bodies::{self, DOWN, UP};
use crate::eye::Eye;
use crate::machine;
use crate::{Plan, wire};

const CRD: &str = include_str!("../../../crds/workspace.yaml");
const RBAC: &str = include_str!("../../../deploy/base/rbac.yaml");
pub const SYSTEM: &str = "molecule-system";
pub const OPERATOR: &str = "workspace-operator";
/// Where the Workspaces are.
pub const NAMESPACES: [&str; 4] = ["team-a", "team-b", "team-c", "team-d"];
/// Where single ones are created beside them.
pub const PROBES: &str = "probes";
/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// A control plane, and an eye on it.
pub struct Bed {
    pub cluster: Cluster,
    /// The administrator.
    pub client: Client,
    /// The operator's identity.
    pub kubeconfig: PathBuf,
    pub eye: Eye,
}

/// A bare client that is ready to work.
pub struct Bare {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bed {
    pub async fn make(audit: bool) -> Result<Self> {
        let cluster = Cluster::start(Options {
            audit,
            fsync: true,
            quick_pods: true,
            nodes: 4,
            crds: vec![CRD.to_owned()],
            asks_owners: false,
            ..Options::default()
        })
        .await?;
        let namespaces = NAMESPACES.iter().chain([&PROBES]).map(|name| {
            format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
        });
        let kubectl = cluster.kubectl();
        kubectl.apply(&format!("{RBAC}\n{}", namespaces.collect::<String>()))?;
        let client = cluster.client().await?;
        let map = json!({
            "metadata": {"name": "workspace-settings"},
            "data": {"MOLECULE_IMAGE_REGISTRY": UP},
        });
        let maps = format!("/api/v1/namespaces/{SYSTEM}/configmaps");
        wire::post(&client, &maps, map.to_string()).await?;
        for namespace in NAMESPACES.iter().chain([&PROBES]) {
            accepts_pods(&client, namespace).await?;
        }
        cluster.registry(DOWN, State::Unauthorized).await?;
        let kubeconfig = cluster.service_account_kubeconfig(SYSTEM, OPERATOR).await?;
        Ok(Self {
            eye: Eye::open(&client),
            kubeconfig,
            client,
            cluster,
        })
    }

    /// Creates so many Workspaces, and waits until they are seen.
    pub async fn workspaces(&self, count: usize) -> Result<()> {
        let creates = (0..count).map(|number| {
            let namespace = NAMESPACES[number % NAMESPACES.len()];
            let body = bodies::workspace(&format!("agent-{number:05}"));
            let client = self.client.clone();
            async move { wire::post(&client, &wire::workspaces_in(namespace), body).await }
        });
        let created = futures::stream::iter(creates).buffer_unordered(16);
        created.try_collect::<()>().await?;
        let all = |sight: &crate::eye::Sight| (sight.workspaces.len() >= count).then_some(());
        self.eye.until("all Workspaces", PATIENCE, all).await
    }

    /// Deletes every Workspace, and waits until no Pod is left.
    pub async fn delete_workspaces(&self) -> Result<()> {
        let start = Instant::now();
        for namespace in NAMESPACES.iter().chain([&PROBES]) {
            let uri = wire::workspaces_in(namespace);
            // The server gives up a request after a minute, and goes on where it was the next time.
            loop {
                let request = http::Request::delete(&uri).body(Vec::new())?;
                match self.client.request_text(request).await {
                    Ok(_) => break,
                    Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
                    Err(error) => {
                        eprintln!("  deleting again: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
        let none = |sight: &crate::eye::Sight| {
            (sight.workspaces.is_empty() && sight.pods.is_empty()).then_some(())
        };
        self.eye.until("all gone", PATIENCE, none).await
    }

    /// Edits the settings. Returns the moment of the answer.
    pub async fn edit(&self, registry: &str) -> Result<Instant> {
        self.set(bodies::settings(registry)).await
    }

    /// The same, by a merge patch.
    pub async fn set(&self, patch: String) -> Result<Instant> {
        let uri = format!("/api/v1/namespaces/{SYSTEM}/configmaps/workspace-settings");
        wire::merge_patch(&self.client, &uri, patch).await?;
        Ok(Instant::now())
    }

    /// Waits until the record says that this registry is in force.
    pub async fn in_force(&self, registry: &str) -> Result<()> {
        let uri = format!("/api/v1/namespaces/{SYSTEM}/configmaps/workspace-fleet");
        let start = Instant::now();
        loop {
            let request = http::Request::get(&uri).body(Vec::new())?;
            let map: Value = self.client.request(request).await?;
            if map["data"]["registry"] == registry {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "{registry} is not in force");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts the operator as the manifests do, in a clean environment.
    pub fn operator(&self, plan: &Plan) -> Result<Process> {
        let mut command = Command::new(&plan.operator);
        command
            .args(["run", "--leader-elect"])
            .args(["--concurrency", &plan.concurrency.to_string()]);
        command.env_clear().env("KUBECONFIG", &self.kubeconfig);
        Process::spawn(&mut command).with_context(|| plan.operator.display().to_string())
    }

    /// Starts a bare client and waits until it knows its targets.
    pub async fn bare(&self, work: Work, plan: &Plan) -> Result<Bare> {
        self.bare_every(work, plan, None).await
    }

    /// Starts one that renews the Lease once in this time.
    pub async fn renewing(&self, plan: &Plan, every: Duration) -> Result<Bare> {
        self.bare_every(Work::Renew, plan, Some(every)).await
    }

    async fn bare_every(&self, work: Work, plan: &Plan, every: Option<Duration>) -> Result<Bare> {
        let work = clap::ValueEnum::to_possible_value(&work).context("a name")?;
        let mut command = tokio::process::Command::new(std::env::current_exe()?);
        command
            .args(["bare", "--work", work.get_name(), "--kubeconfig"])
            .arg(&self.kubeconfig)
            .args(["--concurrency", &plan.concurrency.to_string()])
            .args(every.map(|it| format!("--every={}", it.as_millis())))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("its input")?;
        let output = child.stdout.take().context("its output")?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next_line().await?;
        ensure!(
            line.as_deref() == Some("ready"),
            "the bare client: {line:?}"
        );
        Ok(Bare {
            child,
            input,
            lines,
        })
    }

    /// The CPU that kube-apiserver has used.
    pub fn apiserver_cpu(&self) -> Result<Duration> {
        let id = self.cluster.process_id("kube-apiserver");
        machine::cpu_of(id.context("kube-apiserver's process id")?)
    }
}

impl Bare {
    pub async fn go(&mut self) -> Result<Instant> {
        let now = Instant::now();
        self.input.write_all(b"go\n").await?;
        self.input.flush().await?;
        Ok(now)
    }

    /// Waits for its end. Returns the CPU that its work took.
    pub async fn end(mut self) -> Result<Duration> {
        let line = self.lines.next_line().await?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "the bare client ended: {status}");
        let milliseconds = line.context("its CPU")?.parse()?;
        Ok(Duration::from_millis(milliseconds))
    }
}

/// Ends the operator as Kubernetes does.
pub async fn stop(mut operator: Process) -> Result<()> {
    operator.signal(Signal::SIGTERM)?;
    operator.wait(Duration::from_secs(20)).await?;
    Ok(())
}

/// A namespace takes Pods once its default ServiceAccount is there.
async fn accepts_pods(client: &Client, namespace: &str) -> Result<()> {
    let uri = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    let start = Instant::now();
    loop {
        let request = http::Request::get(&uri).body(Vec::new())?;
        match client.request_text(request).await {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(60) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
