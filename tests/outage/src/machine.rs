//! What this machine needs to have a node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where systems put the network plugins.
pub const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Each program, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 7] = [
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("hostname", "hostname"),
    ("tar", "tar"),
];

/// What a node does to its system, tried in namespaces of its own, and what it means where it fails.
const DEEDS: [(&str, &str); 5] = [
    ("true", "this system lets root make no namespaces"),
    (
        "mount -t tmpfs none /run",
        "this system lets root mount nothing",
    ),
    (
        "ip link add probe0 type bridge && ip link add probe1 type veth",
        "this system lets root make no networks",
    ),
    (
        "nft add table ip probe",
        "the kernel has no nftables, by which a node's Services are made",
    ),
    (
        "cd \"$1\" && mkdir lower upper work all \
         && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none all",
        "images cannot be unpacked in the folder for temporary files, whose file system takes no \
         overlay: name another one in TMPDIR",
    ),
];

/// One sentence about what is missing; nothing where all is there.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it runs on Linux only, where a node's containers are".into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("it must be run by root, for a node mounts and makes networks".into());
    }
    let program = PROGRAMS.iter().find(|(it, _)| find(it).is_none());
    if let Some((program, package)) = program {
        return Some(format!(
            "the program {program} is missing: install Debian's package {package}"
        ));
    }
    let is_there = |plugin: &str| {
        PLUGINS
            .iter()
            .any(|it| Path::new(it).join(plugin).is_file())
    };
    let mut plugins = ["bridge", "host-local", "loopback"].iter();
    if let Some(plugin) = plugins.find(|it| !is_there(it)) {
        return Some(format!(
            "the network plugin {plugin} is missing: install Debian's package \
             containernetworking-plugins"
        ));
    }
    let temporary = std::env::temp_dir();
    if tempfile::tempdir().is_err() {
        return Some(format!(
            "no folder can be made in {}, where files are put that are temporary: name another one in \
             TMPDIR",
            temporary.display()
        ));
    }
    let failing = DEEDS.iter().find(|(deed, _)| !can(deed));
    let failing = failing.map(|(_, meaning)| (*meaning).to_owned());
    failing
        .or_else(|| (!can_have_cgroups()).then(|| "this system lets root make no cgroups".into()))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|it| it.join(program));
    candidates.find(|it| it.is_file())
}

fn can(deed: &str) -> bool {
    let Ok(folder) = tempfile::Builder::new().prefix("outage-").tempdir() else {
        return false;
    };
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--fork"]);
    command.args(["--mount-proc", "sh", "-c", deed, "sh"]);
    command.arg(folder.path()).stderr(Stdio::null());
    command.status().is_ok_and(|it| it.success())
}

fn can_have_cgroups() -> bool {
    // In the older version, each controller has its own.
    let mut places = ["memory", ""]
        .map(|it| Path::new("/sys/fs/cgroup").join(it))
        .into_iter();
    let Some(place) = places.find(|it| it.is_dir()) else {
        return false;
    };
    let group = place.join(format!("outage-probe-{}", std::process::id()));
    fs::create_dir(&group)
        .and_then(|()| fs::remove_dir(&group))
        .is_ok()
}
