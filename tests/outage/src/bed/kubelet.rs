//! The kubelet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::{Cluster, Process};
use serde_json::json;

use super::NODE;
use super::ground::ADDRESS;
use super::programs::{last_words, spawn, until};
use super::runtime::SOCKET;

/// Starts it; a second one finds what the first one left.
pub fn start(folder: &Path, cluster: &Cluster) -> Result<Process> {
    let root = make_cgroups(folder)?;
    fs::write(folder.join("resolv.conf"), "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": cluster.folder().join("ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        // Its cgroups are the machine's: those of this run are known by their root.
        "cgroupRoot": root,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "resolvConf": folder.join("resolv.conf"),
        // A machine that is short of room is no part of the story.
        "evictionHard": {"memory.available": "1Mi"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        // Its own place for this is on the machine's disk.
        "volumePluginDir": folder.join("volume-plugins"),
    });
    let file = folder.join("kubelet.yaml");
    fs::write(&file, config.to_string())?;
    let identity = cluster.user_kubeconfig(&format!("system:node:{NODE}"), "system:nodes")?;
    let mut command = Command::new(cluster::tool("kubelet")?);
    command
        .arg(format!("--config={}", file.display()))
        .arg(format!("--kubeconfig={}", identity.display()))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={ADDRESS}"));
    spawn("kubelet", &command)
}

/// Waits until the node takes Pods.
pub async fn until_ready(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let started = jiff::Timestamp::now();
    let ready = until("a node that is Ready", async || {
        let path = "{range .status.conditions[?(@.type==\"Ready\")]}{.status} \
                    {.lastHeartbeatTime}{end}{range .spec.taints[*]} {.key}{end}";
        let path = format!("jsonpath={path}");
        let seen = kubectl.run(&["get", "node", NODE, "-o", &path])?.stdout;
        let mut words = seen.split_whitespace();
        let is_ready = words.next() == Some("True");
        let heard = words
            .next()
            .and_then(|it| it.parse::<jiff::Timestamp>().ok());
        // It is told in whole seconds.
        let is_news = heard.is_some_and(|it| it.as_second() >= started.as_second());
        Ok(is_ready && is_news && words.next().is_none())
    });
    if let Err(error) = ready.await {
        let words = last_words("kubelet");
        bail!("{error:#}; the kubelet's last words:\n{words}");
    }
    Ok(())
}

/// Makes the cgroup that all of this run's are in, and says its name. The keeper removes it by the
/// name of the folder.
fn make_cgroups(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|it| it.to_str());
    let name = name.context("a folder with a name")?;
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
        // In the older version, a new one has no processors.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = group.join(file);
            if hierarchy.ends_with("cpuset") && own.exists() {
                fs::write(own, fs::read(hierarchy.join(file))?)?;
            }
        }
    }
    Ok(format!("/{name}"))
}

/// One in the newer version of cgroups, one for each controller in the older.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let top = PathBuf::from("/sys/fs/cgroup");
    if top.join("cgroup.controllers").exists() {
        return Ok(vec![top]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&top)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path().join("tasks").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
