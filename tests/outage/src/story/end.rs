//! Everything is deleted.

use anyhow::{Result, ensure};
use jiff::Timestamp;

use crate::bed::{mounts_of_pods, tasks};
use crate::world::{SYSTEM, World, seconds};

/// Step 13.
pub async fn delete_everything(world: &mut World) -> Result<()> {
    world.step("13. Everything is deleted.");
    let start = Timestamp::now();
    world
        .kubectl(&["delete", "ws", "--all", "-A", "--wait=false"])
        .await?;
    let gone = world
        .until("no Pod of a Workspace", |seen| {
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
    nothing_runs(world).await?;
    let claims = world.kubectl(&["get", "pvc"]).await?;
    ensure!(
        claims.contains("workspace-hermes") && claims.contains("Bound"),
        "the claim is gone"
    );
    world.holds("On the node there is no container and no mount left; the claim is there still.");
    Ok(())
}

/// Containers and mounts end a little later than their Pods.
async fn nothing_runs(world: &World) -> Result<()> {
    let start = Timestamp::now();
    loop {
        let (tasks, mounts) = (tasks()?, mounts_of_pods()?);
        if tasks.is_empty() && mounts.is_empty() {
            world.on_node("ls /run/containerd/io.containerd.runtime.v2.task/k8s.io; grep kubelet/pods /proc/mounts");
            return Ok(());
        }
        let took = seconds(start, Timestamp::now());
        ensure!(
            took < 30.0,
            "left on the node: containers {tasks:?}, mounts {mounts:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
