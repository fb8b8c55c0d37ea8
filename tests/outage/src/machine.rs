//! What this machine needs to have a node.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where systems put the network plugins.
pub const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Each program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
];

/// One sentence about what is missing; nothing where all is there.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it runs on Linux only, where a node's containers are".into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("it must be run by root, for a node mounts and makes networks".into());
    }
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            return Some(format!(
                "the program {program} is missing: install Debian's package {package}"
            ));
        }
    }
    for plugin in ["bridge", "host-local", "loopback"] {
        if !PLUGINS
            .iter()
            .any(|it| Path::new(it).join(plugin).is_file())
        {
            return Some(format!(
                "the network plugin {plugin} is missing: install Debian's package \
                 containernetworking-plugins"
            ));
        }
    }
    if !Path::new("/sys/fs/cgroup").is_dir() || !can_have_namespaces() {
        return Some(
            "this system lets root make no namespaces, mounts or cgroups of its own".into(),
        );
    }
    None
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|it| it.join(program));
    candidates.find(|it| it.is_file())
}

fn can_have_namespaces() -> bool {
    let script = "mount -t tmpfs none /run && ip link add probe0 type bridge";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--mount-proc"]);
    command.args(["sh", "-c", script]).stderr(Stdio::null());
    command.status().is_ok_and(|it| it.success())
}
