//! Mounts and networks of the node's own, before anything runs on them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};

use super::programs::must;
use super::registries::HOSTS;
use super::{NODE, front};

/// The node's address. Not of the loopback, which a kubelet refuses to be at; of a bridge.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The addresses of Pods.
pub const PODS: &str = "10.244.0.0/24";

/// What a kubelet insists on, and would set for the whole machine: it finds it set.
const TUNED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Prepares all of it; the namespaces are there already.
pub fn prepare(folder: &Path) -> Result<()> {
    must(&format!("hostname {NODE}"))?;
    // A node's programs have fixed places. Here these are the run's own.
    must("mount -t tmpfs none /run")?;
    for place in ["/var/lib", "/var/log"] {
        bind(&folder.join(place.trim_start_matches('/')), place, true)?;
    }
    let mut hosts = format!("127.0.0.1 localhost\n{ADDRESS} {NODE}\n");
    for (number, host) in HOSTS.iter().enumerate() {
        hosts.push_str(&format!("{} {host}\n", front::address(number)));
    }
    let file = folder.join("hosts");
    fs::write(&file, hosts)?;
    bind(&file, "/etc/hosts", false)?;
    for (name, value) in TUNED {
        let file = folder.join(name.replace('/', "-"));
        fs::write(&file, value)?;
        bind(&file, &format!("/proc/sys/{name}"), false)?;
    }
    must("ip link set lo up")?;
    must("ip link add node0 type bridge")?;
    must(&format!("ip address add {ADDRESS}/24 dev node0"))?;
    must("ip link set node0 up")?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forwarding between networks")
}

fn bind(from: &Path, to: &str, is_folder: bool) -> Result<()> {
    if is_folder {
        fs::create_dir_all(from)?;
    }
    must(&format!("mount --bind {} {to}", from.display())).map(drop)
}
