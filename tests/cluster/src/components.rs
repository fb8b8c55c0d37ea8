//! The programs of the control plane, with the flags that make them a small, quick cluster.

use std::fs::{self, File};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::binaries::{Binaries, mutating_admission};
use crate::cluster::Options;
use crate::watchdog::Watchdog;

const KWOK_CONFIG: &str = "\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  enableCRDs: [Stage]
  manageAllNodes: true
  nodeLeaseDurationSeconds: 40
  nodeLeaseParallelism: 4
  podPlayStageParallelism: $PODS_AT_ONCE
  nodePlayStageParallelism: 4
  podsOnNodeSyncParallelism: 4
  enableDebuggingHandlers: false
";

/// Where the servers of one cluster listen, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) apiserver: u16,
}

impl Ports {
    /// Three that are free now. Another process may take one before it is used; starting
    /// a cluster is therefore tried more than once.
    pub(crate) fn free() -> Result<Self> {
        let held = [bind()?, bind()?, bind()?];
        let [etcd, etcd_peer, apiserver] = &held;
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        Ok(Self {
            etcd: port(etcd)?,
            etcd_peer: port(etcd_peer)?,
            apiserver: port(apiserver)?,
        })
    }
}

fn bind() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")
}

/// Starts programs in one group, each with a log file in the cluster's folder.
#[derive(Debug)]
pub(crate) struct Launcher<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) watchdog: &'a Watchdog,
}

impl Launcher<'_> {
    /// The programs in the order in which they are started.
    pub(crate) const ORDER: [&'static str; 5] = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    ];

    pub(crate) fn etcd(&self, program: &Path, ports: Ports, fsync: bool) -> Result<Child> {
        let client = format!("http://127.0.0.1:{}", ports.etcd);
        let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
        let mut args = vec![
            "--name=test".to_owned(),
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=test={peer}"),
            // A lone member waits this long before it elects itself.
            "--heartbeat-interval=20".to_owned(),
            "--election-timeout=200".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        if !fsync {
            args.push("--unsafe-no-fsync".to_owned());
        }
        self.spawn("etcd", program, args)
    }

    pub(crate) fn apiserver(
        &self,
        program: &Path,
        ports: Ports,
        options: &Options,
    ) -> Result<Child> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut args = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            format!("--secure-port={}", ports.apiserver),
            "--bind-address=127.0.0.1".to_owned(),
            "--external-hostname=localhost".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--profiling=false".to_owned(),
            format!("--cert-dir={}", file("certificates")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!(
                "--service-account-key-file={}",
                file("service-accounts.pub")
            ),
            format!(
                "--service-account-signing-key-file={}",
                file("service-accounts.key")
            ),
        ];
        let mutating = mutating_admission()?;
        if mutating.ends_with("beta1") {
            args.push("--feature-gates=MutatingAdmissionPolicy=true".to_owned());
            args.push(format!("--runtime-config={mutating}=true"));
        }
        args.extend(match options.real_nodes_at {
            Some(address) => self.for_real_nodes(address),
            // Nothing in this cluster connects to the Service `kubernetes`, and its
            // Endpoints may not be on the loopback.
            None => vec!["--endpoint-reconciler-type=none".to_owned()],
        });
        if options.asks_owners {
            let plugin = "OwnerReferencesPermissionEnforcement";
            args.push(format!("--enable-admission-plugins={plugin}"));
        }
        if options.audit {
            fs::write(
                self.folder.join("audit-policy.yaml"),
                include_str!("audit-policy.yaml"),
            )?;
            args.extend([
                format!("--audit-policy-file={}", file("audit-policy.yaml")),
                format!("--audit-log-path={}", file("audit.log")),
                // The line is in the file before the answer is complete.
                "--audit-log-mode=blocking".to_owned(),
                "--audit-log-maxsize=100000".to_owned(),
            ]);
        }
        args.extend_from_slice(&options.apiserver_args);
        self.spawn("kube-apiserver", program, args)
    }

    /// The later of two flags wins, but for lists, which grow.
    fn for_real_nodes(&self, address: IpAddr) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={address}"),
            "--authorization-mode=Node".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!(
                "--kubelet-client-certificate={}",
                file("kubelet-client.crt")
            ),
            format!("--kubelet-client-key={}", file("kubelet-client.key")),
        ]
    }

    pub(crate) fn controllers(
        &self,
        binaries: &Binaries,
        kubeconfig: [&Path; 2],
    ) -> Result<Vec<Child>> {
        let [manager, scheduler] =
            kubeconfig.map(|path| format!("--kubeconfig={}", path.display()));
        let file = |name: &str| self.folder.join(name).display().to_string();
        let common = [
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]
        .map(str::to_owned);
        let mut manager = vec![
            manager,
            "--use-service-account-credentials=true".to_owned(),
            format!("--root-ca-file={}", file("ca.crt")),
            format!(
                "--service-account-private-key-file={}",
                file("service-accounts.key")
            ),
            "--pvclaimbinder-sync-period=2s".to_owned(),
            "--concurrent-gc-syncs=20".to_owned(),
            "--concurrent-namespace-syncs=10".to_owned(),
            "--namespace-sync-period=5s".to_owned(),
            "--node-monitor-period=1s".to_owned(),
            // Where it looks by itself is on the machine's disk, and it would make that.
            format!("--flex-volume-plugin-dir={}", file("volume-plugins")),
        ];
        manager.extend(common.clone());
        let mut scheduler = vec![scheduler];
        scheduler.extend(common);
        Ok(vec![
            self.spawn(
                "kube-controller-manager",
                &binaries.kube_controller_manager,
                manager,
            )?,
            self.spawn("kube-scheduler", &binaries.kube_scheduler, scheduler)?,
        ])
    }

    pub(crate) fn kwok(
        &self,
        program: &Path,
        kubeconfig: &Path,
        quick_pods: bool,
    ) -> Result<Child> {
        let pods_at_once = if quick_pods { "64" } else { "16" };
        let config = KWOK_CONFIG.replace("$PODS_AT_ONCE", pods_at_once);
        let file = self.folder.join("kwok.yaml");
        fs::write(&file, config)?;
        let args = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--config={}", file.display()),
        ];
        self.spawn("kwok", program, args)
    }

    fn spawn(&self, name: &str, program: &Path, args: Vec<String>) -> Result<Child> {
        // A restart goes on in the same file.
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{name}.log")))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder)
            // kwok reads ~/.kwok, and none of them may leave anything in a home.
            .env("HOME", self.folder)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.watchdog
            .spawn(&mut command)
            .with_context(|| format!("starting {}", program.display()))
    }
}
