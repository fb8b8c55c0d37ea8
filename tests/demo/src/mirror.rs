//! The mirror: a real registry on this machine, so that whoever looks for images there is answered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cluster::Process;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::PATIENCE;

/// What a node of the demo is, and so what the images are for.
const PLATFORM: &str = "linux/amd64";
/// The image that all others are copies of.
const BASE: &str = "base:v1";

/// A running registry.
pub struct Mirror {
    host: String,
    crane: Crane,
    /// It ends with this.
    _process: Process,
}

/// What puts images into it.
#[derive(Clone)]
struct Crane {
    program: PathBuf,
    /// For it alone: a person's own passwords do not go in.
    config: PathBuf,
}

impl Crane {
    fn run(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(args).env("DOCKER_CONFIG", &self.config);
        let output = command.output().context("crane does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "crane {args:?}: {said}");
        Ok(())
    }
}

impl Mirror {
    /// Starts an empty one, which keeps its files in this folder.
    pub async fn start(folder: &Path) -> Result<Self> {
        let registry = spawn_blocking(|| cluster::tool("registry")).await??;
        let crane = spawn_blocking(|| cluster::tool("crane")).await??;
        let folder = folder.join("mirror");
        let config = folder.join("docker");
        fs::create_dir_all(&config)?;
        let file = folder.join("registry.yaml");
        let settings = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("store")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        fs::write(&file, settings.to_string())?;
        let process = Process::spawn(Command::new(registry).arg("serve").arg(&file))?;
        let sign = "listening on ";
        let line = process.wait_for_line(sign, PATIENCE).await?;
        let host = line.split(sign).nth(1).unwrap_or_default();
        let is_of_host = |it: &char| it.is_ascii_digit() || ['.', ':'].contains(it);
        let mirror = Self {
            host: host.chars().take_while(is_of_host).collect(),
            crane: Crane {
                program: crane,
                config,
            },
            _process: process,
        };
        mirror.push_base(&folder).await?;
        Ok(mirror)
    }

    /// The prefix of its images.
    pub fn prefix(&self) -> String {
        format!("{}/molecule-ai", self.host)
    }

    fn base(&self) -> String {
        format!("{}/{BASE}", self.host)
    }

    async fn push_base(&self, folder: &Path) -> Result<()> {
        let (crane, base, folder) = (self.crane.clone(), self.base(), folder.to_owned());
        let push = move || {
            let layer = folder.join("layer.tar");
            let (layer, file) = (layer.display().to_string(), folder.display().to_string());
            let mut tar = Command::new("tar");
            let done = tar
                .args(["-cf", &layer, "-C", &file, "registry.yaml"])
                .status()?;
            ensure!(done.success(), "tar ended with {done}");
            let append = [
                "append",
                "--oci-empty-base",
                "--new_layer",
                &layer,
                "--new_tag",
            ];
            crane.run(&[&append[..], &[&base]].concat())?;
            crane.run(&["mutate", &base, "--tag", &base, "--set-platform", PLATFORM])
        };
        spawn_blocking(push).await?
    }

    /// Adds the images of these runtimes.
    pub async fn add(&self, runtimes: impl Iterator<Item = &str>) -> Result<()> {
        let prefix = self.prefix();
        let images: Vec<_> = runtimes
            .map(|it| format!("{prefix}/workspace-template-{it}:latest"))
            .collect();
        let (crane, base) = (self.crane.clone(), self.base());
        let copy = move || {
            let mut images = images.iter();
            images.try_for_each(|it| crane.run(&["copy", &base, it]))
        };
        spawn_blocking(copy).await?
    }
}
