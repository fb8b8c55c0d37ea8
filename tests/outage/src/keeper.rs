//! Gives the node namespaces of its own, and sees to it that nothing is left of it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Terminal;
use tokio::signal::unix::{SignalKind, signal};

use crate::Inside;
use crate::bed::{Bed, PROGRAMS};

/// What runs a command in namespaces of its own.
const SCRIPT: &str = include_str!("keeper.sh");
/// What removes the files and cgroups of a run.
const SWEEP: &str = include_str!("sweep.sh");
/// The operator's image, as an OCI layout, and what else `make image` makes.
pub const IMAGE: &str = "target/outage/image";
/// The logs of the last run, for whoever has to find out why it failed.
pub const LOGS: &str = "target/outage/logs";
/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What would lead the node's programs out of its network, where there is no way.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Builds what is missing, for there is no way out of the node's network; then runs the task in it.
pub fn run(task: &Inside) -> Result<ExitCode> {
    enter_project()?;
    let _alone = alone()?;
    build()?;
    fs::remove_dir_all(LOGS).ok();
    fs::create_dir_all(LOGS)?;
    let folder = tempfile::Builder::new().prefix("outage-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From here on scripts remove the folder.
    let folder = folder.keep();
    let code = runtime.block_on(keep(start(task, &folder)?));
    sweep(&folder)?;
    code
}

/// Removes what the keeper could not, as it was killed.
fn sweep(folder: &Path) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", SWEEP, "sweep"]).arg(folder);
    shell.status().context("sweeping").map(drop)
}

/// Waits for the end of another run, which has its image and its logs at the same place. It is over when
/// what is returned is dropped.
fn alone() -> Result<File> {
    let place = Path::new(LOGS).with_file_name("");
    fs::create_dir_all(&place)?;
    let lock = File::create(place.join(".lock"))?;
    if lock.try_lock().is_err() {
        Terminal::new().say("Another one runs here; waiting for its end.");
        lock.lock().context("waiting for the end of another run")?;
    }
    Ok(lock)
}

/// The folder of this run, once inside.
pub fn folder() -> PathBuf {
    std::env::temp_dir()
}

/// Says where the node is, and waits for its end.
pub async fn stay(bed: Bed) -> Result<()> {
    bed.run_a_pod()?;
    Terminal::new().say(&format!(
        "The node {} is Ready, and so is a Pod on it; it ends with Ctrl-C.",
        bed.address()
    ));
    std::future::pending().await
}

fn start(task: &Inside, folder: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "keeper"])
        .arg(folder)
        .arg(std::env::current_exe()?)
        .arg("inside")
        .args(task.words())
        .env("TMPDIR", folder)
        .env("SWEEP", SWEEP)
        .stdin(Stdio::piped())
        // A Ctrl-C reaches this process alone, which then ends the other in order.
        .process_group(0);
    for name in PROXIES {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.spawn().context("starting the keeper")
}

async fn keep(mut keeper: Child) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupted = false;
    loop {
        if let Some(status) = keeper.try_wait()? {
            if interrupted {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            return Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        tokio::select! {
            _ = interrupt.recv() => interrupted = true,
            _ = terminate.recv() => interrupted = true,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        if interrupted {
            drop(keeper.stdin.take());
        }
    }
}

/// Builds what is not there yet: the control plane, the node's programs, the operator's image.
pub fn build() -> Result<()> {
    enter_project()?;
    cluster::ensure().context("building the control plane")?;
    for program in PROGRAMS {
        cluster::tool(program)?;
    }
    let status = Command::new("make")
        .args(["--silent", "image"])
        // What a release does besides takes minutes.
        .env("PROFILE", "dev")
        .env("OUT", IMAGE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("running make")?;
    ensure!(status.success(), "make image: {status}");
    Ok(())
}

/// The commands that are shown name files of the project.
fn enter_project() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(&root).with_context(|| format!("entering {}", root.display()))
}
