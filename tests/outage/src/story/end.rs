//! Everything is deleted.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::LOST;
use super::install::check_disk;
use crate::bed::{containers, mounts_of_pods, tasks, type_on_node};
use crate::world::{SYSTEM, World, seconds};

/// A node ends seventy Pods one after the other.
const PATIENCE: Duration = Duration::from_secs(180);

/// Step 13.
pub async fn delete_everything(world: &mut World) -> Result<()> {
    world.step("13. Everything is deleted.");
    let start = Timestamp::now();
    world
        .kubectl(&["delete", "ws", "--all", "-A", "--wait=false"])
        .await?;
    let gone = world
        .eye
        .until("no Pod of a Workspace", PATIENCE, |seen| {
            let of_operator = |key: &str| key.starts_with(SYSTEM);
            seen.keys_of_pods().all(of_operator)
        })
        .await?;
    world.kubectl(&["get", "pods", "-A"]).await?;
    world.holds(&format!(
        "No Pod of a Workspace is left after {:.1} s.",
        seconds(start, gone)
    ));
    let overlay = world.bed.folder().join("overlay").display().to_string();
    world.kubectl(&["delete", "-k", &overlay]).await?;
    world
        .until("no Pod at all", |seen| seen.keys_of_pods().next().is_none())
        .await?;
    nothing_runs().await?;
    world.holds("On the node there is no container and no mount left.");
    let claim = format!("workspace-{LOST}");
    let claims = world.kubectl(&["get", "pvc"]).await?;
    let kept = claims.lines().find(|it| it.starts_with(&claim));
    ensure!(
        kept.is_some_and(|it| it.contains("Bound")),
        "the claim {claim} was to be kept, and there is: {claims:?}"
    );
    check_disk()?;
    world.holds("The claim is there still, and so is its file.");
    Ok(())
}

/// Containers end and mounts go a little later than their Pods; of the containers that ended a kubelet
/// takes away what is left once a minute.
async fn nothing_runs() -> Result<()> {
    let start = Timestamp::now();
    loop {
        let (running, mounts) = (tasks()?, mounts_of_pods()?);
        let all = containers()?;
        if all.is_empty() && running.is_empty() && mounts.is_empty() {
            break;
        }
        let took = seconds(start, Timestamp::now());
        ensure!(
            took < 30.0 || running.is_empty() && mounts.is_empty(),
            "left on the node: running {running:?}, mounts {mounts:?}"
        );
        let count = all.len();
        ensure!(
            took < PATIENCE.as_secs_f64(),
            "left on the node: {count} containers that ended, {all:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for command in [
        "ls /run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "ctr -n k8s.io containers ls -q",
        "findmnt --noheadings --output TARGET | grep kubelet/pods || true",
    ] {
        let said = type_on_node(command)?;
        ensure!(said.is_empty(), "{command} shows {said:?}");
    }
    Ok(())
}
