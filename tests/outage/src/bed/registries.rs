//! Four registries, each with its own images and a front: the primary, its mirror, one that asks for
//! a password, and the one of the platform, where the operator's image is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use cluster::Process;
use serde_json::json;

use super::front::{Answer, Front};
use super::images::{self, Crane};
use super::programs::{must, spawn, until};

/// Their names, as images have them.
pub const HOSTS: [&str; 4] = [
    "ghcr.io",
    "mirror.example.com",
    "private.example.com",
    "registry.example.com",
];

/// Which of them the mirror is.
pub const MIRROR_NUMBER: u16 = 1;

/// Who may read from the one that asks.
pub const USER: &str = "robot";
/// The password of that user.
pub const PASSWORD: &str = "beep";
/// The line of that user, as `htpasswd -B` makes it.
const PASSWORDS: &str = "robot:$2y$05$abcdefghijklmnopqrstuui5PKfyfQgOg68LtCF/ghk5ZVL95daHi\n";

/// The registries, running.
pub struct Registries {
    pub primary: Front,
    pub mirror: Front,
    pub platform: Front,
    _behind: Vec<Process>,
}

impl Registries {
    /// Fills them and starts them.
    pub async fn start(folder: &Path, crane: &Crane) -> Result<Self> {
        fs::write(folder.join("htpasswd"), PASSWORDS)?;
        let mut behind = vec![
            registry(folder, HOSTS[0], 0, false).await?,
            registry(folder, HOSTS[3], 3, false).await?,
        ];
        images::fill(folder, crane).await?;
        // Byte for byte the same, as a mirror is.
        for host in &HOSTS[1..3] {
            let (from, to) = (folder.join(HOSTS[0]), folder.join(host));
            must(&format!("cp -a {} {}", from.display(), to.display()))?;
        }
        images::add_unmirrored(folder, crane).await?;
        behind.push(registry(folder, HOSTS[1], 1, false).await?);
        behind.push(registry(folder, HOSTS[2], 2, true).await?);
        // Nobody tells this one to fail: its front only has the address and the port of a registry.
        Front::start(HOSTS[2], 2, behind_front(2)).await?;
        Ok(Self {
            primary: Front::start(HOSTS[0], 0, behind_front(0)).await?,
            mirror: Front::start(HOSTS[1], 1, behind_front(1)).await?,
            platform: Front::start(HOSTS[3], 3, behind_front(3)).await?,
            _behind: behind,
        })
    }
}

impl Registries {
    /// Each answers as itself from now on.
    pub fn answer_themselves(&self) {
        for front in [&self.primary, &self.mirror, &self.platform] {
            front.answers(Answer::Itself);
        }
    }
}

/// Where the registry itself listens, for whoever puts images into it.
pub fn behind_front(number: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 5001 + number))
}

/// Where the platform's registry itself listens.
pub fn platform() -> SocketAddr {
    behind_front(3)
}

async fn registry(folder: &Path, host: &str, number: u16, asks: bool) -> Result<Process> {
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": folder.join(host)}},
        "http": {"addr": behind_front(number)},
    });
    if asks {
        let htpasswd = json!({"realm": host, "path": folder.join("htpasswd")});
        config["auth"] = json!({"htpasswd": htpasswd});
    }
    let file = folder.join(format!("{host}.yaml"));
    fs::write(&file, config.to_string())?;
    let mut command = Command::new(cluster::tool("registry")?);
    let process = spawn(host, command.arg("serve").arg(&file))?;
    until("a registry that listens", async || {
        Ok(tokio::net::TcpStream::connect(behind_front(number))
            .await
            .is_ok())
    })
    .await?;
    Ok(process)
}
