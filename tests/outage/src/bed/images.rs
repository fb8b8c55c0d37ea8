//! The images: all of them made on the spot from one small static program.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use workspace_operator::settings::RUNTIMES;

use super::programs::{must, output, show_on_node};
use super::registries::{behind_front, platform};
use crate::keeper::IMAGE;

/// The tag of which nodes have nothing until somebody asks for it.
pub const NEXT: &str = "v2";
/// The tag of a runtime whose image takes a while to be pulled, and its bytes.
pub const LARGE: (&str, u64) = ("large", 16 << 20);
/// The operator's image in the platform's registry.
pub const OPERATOR: &str = concat!("platform/workspace-operator:", env!("CARGO_PKG_VERSION"));
/// The bytes of all others, besides the agent.
const SMALL: u64 = 1 << 16;
/// The tag of an image that the mirrors lack.
pub const UNMIRRORED: &str = "unmirrored";
/// One more runtime of which they lack that.
pub const SECOND_UNMIRRORED: &str = "openclaw";

/// crane, for what has to be in a registry.
#[derive(Clone, Debug)]
pub struct Crane {
    program: PathBuf,
    /// For it alone: a person's own passwords do not go in.
    config: PathBuf,
}

impl Crane {
    pub fn new(folder: &Path) -> Result<Self> {
        let config = folder.join("docker");
        fs::create_dir_all(&config)?;
        Ok(Self {
            program: cluster::tool("crane")?,
            config,
        })
    }

    /// Runs it, and gives what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(line.split_whitespace());
        let said = output(command.env("DOCKER_CONFIG", &self.config))?;
        Ok(said.trim().to_owned())
    }

    /// The same, where the story is to show it.
    fn type_it(&self, line: &str) -> Result<()> {
        show_on_node(&format!("crane {line}"));
        self.run(line).map(drop)
    }

    /// The digest of an image of the primary.
    pub fn digest(&self, runtime: &str, tag: &str) -> Result<String> {
        self.run(&format!("digest {}", workspace(0, runtime, tag)))
    }

    /// Has an image of the primary answer for a few seconds only. Returns the digest of what it was.
    pub fn fade(&self, runtime: &str, tag: &str) -> Result<String> {
        let was = self.digest(runtime, tag)?;
        let image = workspace(0, runtime, tag);
        self.type_it(&format!("mutate {image} --tag {image} --cmd fade"))?;
        Ok(was)
    }

    /// Has a tag of the primary stand for this digest again.
    pub fn tag(&self, runtime: &str, tag: &str, digest: &str) -> Result<()> {
        let image = workspace(0, runtime, tag);
        let (name, _) = image.rsplit_once(':').unwrap_or((&image, ""));
        self.type_it(&format!("tag {name}@{digest} {tag}"))
    }

    /// Copies an image of the primary to another registry.
    pub fn mirror(&self, number: u16, runtime: &str, tag: &str) -> Result<()> {
        let (from, to) = (workspace(0, runtime, tag), workspace(number, runtime, tag));
        self.type_it(&format!("copy {from} {to}"))
    }
}

/// An image of a Workspace, past the front.
fn workspace(number: u16, runtime: &str, tag: &str) -> String {
    let registry = behind_front(number);
    format!("{registry}/molecule-ai/workspace-template-{runtime}:{tag}")
}

/// Puts all images into the primary and into the platform's registry.
pub async fn fill(folder: &Path, crane: &Crane) -> Result<()> {
    let (folder, crane) = (folder.to_owned(), crane.clone());
    tokio::task::spawn_blocking(move || {
        let platform = platform();
        let base = format!("{platform}/platform/agent:1");
        let root = folder.join("agent");
        fs::create_dir_all(&root)?;
        fs::copy(cluster::tool("agent")?, root.join("agent"))?;
        fs::set_permissions(root.join("agent"), fs::Permissions::from_mode(0o755))?;
        let layer = archive(&folder, "agent")?;
        crane.run(&format!(
            "append --oci-empty-base --new_layer {layer} --new_tag {base}"
        ))?;
        crane.run(&format!(
            "mutate {base} --tag {base} --set-platform linux/{} --entrypoint /agent",
            platform_name()
        ))?;
        crane.run(&format!(
            "mutate {base} --tag {platform}/platform/pause:1 --cmd pause"
        ))?;
        crane.run(&format!("push {IMAGE}/layout {platform}/{OPERATOR}"))?;
        for runtime in RUNTIMES {
            for tag in ["latest", NEXT] {
                add(&folder, &crane, &base, runtime, tag, SMALL)?;
            }
        }
        let (tag, bytes) = LARGE;
        add(&folder, &crane, &base, "codex", tag, bytes)
    })
    .await?
}

/// Puts images into the primary of which its mirrors do not hear.
pub async fn add_unmirrored(folder: &Path, crane: &Crane) -> Result<()> {
    let (folder, crane) = (folder.to_owned(), crane.clone());
    let base = format!("{}/platform/agent:1", platform());
    let add = move || {
        let mut both = ["langgraph", SECOND_UNMIRRORED].into_iter();
        both.try_for_each(|it| add(&folder, &crane, &base, it, UNMIRRORED, SMALL))
    };
    tokio::task::spawn_blocking(add).await?
}

/// Puts one more image into the primary: the agent, and so many bytes that no other image has.
fn add(
    folder: &Path,
    crane: &Crane,
    base: &str,
    runtime: &str,
    tag: &str,
    bytes: u64,
) -> Result<()> {
    let name = format!("{runtime}-{tag}");
    let root = folder.join(&name);
    fs::create_dir_all(&root)?;
    let mut random = File::open("/dev/urandom")?.take(bytes);
    io::copy(&mut random, &mut File::create(root.join("runtime"))?)?;
    let layer = archive(folder, &name)?;
    let image = workspace(0, runtime, tag);
    crane.run(&format!(
        "append --base {base} --new_layer {layer} --new_tag {image}"
    ))?;
    fs::remove_dir_all(root)?;
    Ok(())
}

fn archive(folder: &Path, name: &str) -> Result<String> {
    let file = folder.join(format!("{name}.tar")).display().to_string();
    let root = folder.join(name).display().to_string();
    must(&format!(
        "tar --create --file {file} --directory {root} --owner=0 --group=0 ."
    ))?;
    Ok(file)
}

fn platform_name() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    }
}
