//! A cluster ends with its owner and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Cluster, Options, Process, Signal};

#[tokio::test]
async fn two_clusters_stand_side_by_side_and_leave_nothing() -> Result<()> {
    let start = || {
        Cluster::start(Options {
            nodes: 1,
            ..Options::default()
        })
    };
    let (one, two) = tokio::try_join!(start(), start())?;
    one.kubectl().must(&["create", "namespace", "only-here"])?;
    ensure!(!two.kubectl().run(&["get", "namespace", "only-here"])?.ok());
    let folders = [one.folder().to_owned(), two.folder().to_owned()];
    for folder in &folders {
        ensure!(processes_of(folder)? >= 5);
    }
    one.stop();
    drop(two);
    for folder in &folders {
        ensure!(!folder.exists() && processes_of(folder)? == 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_ends_when_its_owner_is_killed() -> Result<()> {
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        let mut owner = Process::spawn(command.arg("up"))?;
        let line = owner
            .wait_for_line("export KUBECONFIG=", Duration::from_secs(60))
            .await?;
        let kubeconfig = PathBuf::from(line.trim_start_matches("export KUBECONFIG="));
        let folder = kubeconfig.parent().context("a file in a folder")?;
        ensure!(processes_of(folder)? >= 5);
        owner.signal(signal)?;
        owner.wait(Duration::from_secs(10)).await?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while folder.exists() || processes_of(folder)? > 0 {
            ensure!(
                Instant::now() < deadline,
                "{} is still in use",
                folder.display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_process_is_heard_and_ended() -> Result<()> {
    let script = "echo ready; echo oops >&2; exec sleep 600";
    let process = Process::spawn(Command::new("sh").args(["-c", script]))?;
    process
        .wait_for_line("ready", Duration::from_secs(5))
        .await?;
    process
        .wait_for_line("oops", Duration::from_secs(5))
        .await?;
    let id = process.id().to_string();
    drop(process);
    ensure!(!Command::new("kill").args(["-0", &id]).status()?.success());
    Ok(())
}

/// How many processes have the folder in their command line.
fn processes_of(folder: &Path) -> Result<usize> {
    let output = Command::new("ps").args(["-eo", "stat=,args="]).output()?;
    let folder = folder.display().to_string();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('Z') && line.contains(&folder))
        .count())
}
