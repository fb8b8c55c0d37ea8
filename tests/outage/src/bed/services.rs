//! What Pods find in a cluster: the API server behind its Service, and names.
//!
//! The operator reaches the API server as on any cluster, by the Service `kubernetes`; kube-proxy
//! makes that of it. CoreDNS runs beside the kubelet and not in a Pod, at the node's address.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use cluster::{Cluster, Process};

use super::NODE;
use super::ground::{ADDRESS, PODS};
use super::programs::spawn;

/// Starts kube-proxy and CoreDNS.
pub fn start(folder: &Path, cluster: &Cluster) -> Result<[Process; 2]> {
    let proxy = cluster.user_kubeconfig("system:kube-proxy", "")?;
    let file = folder.join("kube-proxy.yaml");
    // Limits of connections are the whole machine's: it leaves them alone.
    let config = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\n\
         kind: KubeProxyConfiguration\n\
         mode: nftables\n\
         hostnameOverride: {NODE}\n\
         clusterCIDR: {PODS}\n\
         bindAddress: {ADDRESS}\n\
         healthzBindAddress: 127.0.0.1:10256\n\
         metricsBindAddress: 127.0.0.1:10249\n\
         oomScoreAdj: 0\n\
         conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}\n\
         clientConnection: {{kubeconfig: {}}}\n",
        proxy.display()
    );
    fs::write(&file, config)?;
    let mut command = Command::new(cluster::tool("kube-proxy")?);
    let proxy = spawn("kube-proxy", command.arg("--config").arg(&file))?;

    let dns = cluster.user_kubeconfig("coredns", "system:masters")?;
    let file = folder.join("Corefile");
    let config = format!(
        ".:53 {{\n    bind {ADDRESS}\n    errors\n    kubernetes cluster.local {{\n        \
         kubeconfig {}\n        ttl 0\n    }}\n}}\n",
        dns.display()
    );
    fs::write(&file, config)?;
    let mut command = Command::new(cluster::tool("coredns")?);
    let dns = spawn("coredns", command.arg("-conf").arg(&file))?;
    Ok([proxy, dns])
}
