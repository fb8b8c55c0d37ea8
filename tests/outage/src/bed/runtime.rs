//! containerd, and the network that it gives to Pods.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cluster::Process;
use serde_json::json;

use super::ground::PODS;
use super::programs::{output, spawn, type_on_node, until};
use super::registries::HOSTS;
use crate::machine::PLUGINS;

/// Where it listens.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// Starts it, and waits until it answers.
pub async fn start(folder: &Path) -> Result<Process> {
    let networks = folder.join("networks");
    fs::create_dir_all(&networks)?;
    fs::write(networks.join("pods.conflist"), network())?;
    for host in HOSTS {
        let hosts = folder.join("registries").join(host);
        fs::create_dir_all(&hosts)?;
        // No certificates on this machine's own networks.
        fs::write(
            hosts.join("hosts.toml"),
            format!("server = \"http://{host}\"\n"),
        )?;
    }
    let file = folder.join("containerd.toml");
    fs::write(&file, config(folder))?;
    let program = cluster::tool("containerd")?;
    // It looks for its shim there.
    let mut path = program
        .parent()
        .context("a program in a folder")?
        .as_os_str()
        .to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(&program);
    command.arg("--config").arg(&file).env("PATH", path);
    let process = spawn("containerd", &command)?;
    until("containerd's socket", async || {
        Ok(Path::new(SOCKET).exists())
    })
    .await?;
    Ok(process)
}

fn config(folder: &Path) -> String {
    let plugins = PLUGINS.map(|it| format!("\"{it}\"")).join(", ");
    let [networks, registries, opt] = ["networks", "registries", "opt"].map(|it| folder.join(it));
    format!(
        "version = 3\n\
         # Its own place for this is on the machine's disk.\n\
         [plugins.'io.containerd.internal.v1.opt']\n\
         path = '{}'\n\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\n\
         sandbox = 'registry.example.com/platform/pause:1'\n\
         [plugins.'io.containerd.cri.v1.images'.registry]\n\
         config_path = '{}'\n\
         [plugins.'io.containerd.cri.v1.runtime']\n\
         # Root may not make a process less likely to be killed everywhere.\n\
         restrict_oom_score_adj = true\n\
         [plugins.'io.containerd.cri.v1.runtime'.cni]\n\
         bin_dirs = [{plugins}]\n\
         conf_dir = '{}'\n",
        opt.display(),
        registries.display(),
        networks.display()
    )
}

fn network() -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    });
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}).to_string()
}

/// Takes images from it, and says how many of them were there: what it has not is no error to ctr,
/// which prints the names of those that it took.
pub fn forget_images(images: &[String]) -> Result<usize> {
    let command = format!("ctr -n k8s.io images rm --sync {}", images.join(" "));
    let said = type_on_node(&command)?;
    let was_there = |it: &&String| said.lines().any(|line| line == *it);
    Ok(images.iter().filter(was_there).count())
}

/// The containers that there are, sandboxes of Pods included, whether they run or not.
pub fn containers() -> Result<Vec<String>> {
    let mut command = Command::new(cluster::tool("ctr")?);
    command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
    let found = output(command.args(["containers", "ls", "-q"]))?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// Those of them that run.
pub fn tasks() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/run/containerd/io.containerd.runtime.v2.task/k8s.io")? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(found)
}

/// What is mounted for Pods.
pub fn mounts_of_pods() -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let places = mounts.lines().filter_map(|it| it.split(' ').nth(1));
    let of_pods = |it: &&str| it.contains("/kubelet/pods/") || it.starts_with("/run/netns/");
    Ok(places.filter(of_pods).map(str::to_owned).collect())
}

/// The process of a container.
pub fn process_of(container: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if groups.contains(container) {
            return Ok(id);
        }
    }
    bail!("no process is in the container {container}")
}

/// Kills a process.
pub fn kill(process: u32) -> Result<()> {
    let process = nix::unistd::Pid::from_raw(process.cast_signed());
    Ok(nix::sys::signal::kill(
        process,
        nix::sys::signal::Signal::SIGKILL,
    )?)
}
