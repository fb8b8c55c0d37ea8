//! The registry is suspended: what runs goes on, what has to start is stuck, and both can be seen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Output;
use jiff::Timestamp;

use super::{LOST, NEWCOMER, PRIMARY, TOLD_WITHIN, ensure_within, image, key, nine, yaml};
use crate::bed::{Answer, process_of};
use crate::eye::{Kind, Life};
use crate::world::{Lives, SYSTEM, World, seconds};

/// For how long everything has to stand still.
const STILL: Duration = Duration::from_secs(60);
/// How soon a container whose process ended has to run again; kubelets look once a second.
const RESTARTED_WITHIN: f64 = 3.0;
/// What is asked of the metrics, as the alert asks it.
const METRIC: &str = "workspace_operator_workspaces{";

/// Step 2.
pub async fn suspend(world: &mut World) -> Result<()> {
    world.step("2. The primary is suspended: every pull answers 401. Nobody who runs notices.");
    let before = lives_of_nine(world);
    let (since, mark) = (world.eye.mark(), world.mark()?);
    world.bed.registries.primary.answers(Answer::Status(401));
    tokio::time::sleep(STILL).await;
    world.kubectl(&["get", "ws"]).await?;
    world.check_unmoved(&before, since)?;
    let writes = world.writes(mark)?;
    ensure!(writes.is_empty(), "the operator wrote {writes:?}");
    world.holds(
        "For 60 s no UID, no containerID, no restart count and no readiness of the nine has moved, \
         and the operator wrote nothing.",
    );
    Ok(())
}

/// Step 3.
pub async fn kill_a_process(world: &mut World) -> Result<()> {
    world.step("3. The process of a container is killed.");
    let codex = key("codex");
    let before = world.eye.now(|seen| seen.life(&codex));
    let asked = world.bed.registries.primary.requests();
    let id = before.container.trim_start_matches("containerd://");
    let process = process_of(id)?;
    world.on_node(&format!("kill -KILL {process}   # the agent of codex"));
    let killed = Timestamp::now();
    crate::bed::kill(process)?;
    let back = world
        .until("another container", |seen| {
            let now = seen.life(&codex);
            now.runs && now.container != before.container
        })
        .await?;
    world
        .until("a Ready agent", |seen| {
            seen.life(&codex).ready && seen.state(&codex) == "Ready"
        })
        .await?;
    world.kubectl(&["get", "pod", "codex"]).await?;
    let now = world.eye.now(|seen| seen.life(&codex));
    ensure!(now.uid == before.uid, "another Pod");
    ensure!(now.restarts == before.restarts + 1, "{now:?}");
    let requests = world.bed.registries.primary.requests() - asked;
    ensure!(requests == 0, "the registry was asked {requests} times");
    let took = seconds(killed, back);
    ensure_within("the restart", took, RESTARTED_WITHIN)?;
    world.holds(&format!(
        "It is back after {took:.1} s, from the image on the node: the registry was asked nothing."
    ));
    Ok(())
}

/// Step 4.
pub async fn get_stuck(world: &mut World) -> Result<()> {
    world.step("4. A Pod is lost, and a new Workspace comes: both are stuck.");
    // The first image that a Pod asks for is on the node: it has to be gone, as on another node.
    world.bed.forget_image(&image(PRIMARY, LOST, "latest"))?;
    world
        .bed
        .forget_image(&image(PRIMARY, NEWCOMER.1, "latest"))?;
    world.on_node(&format!(
        "ctr -n k8s.io images rm {} {}   # as if on another node",
        image(PRIMARY, LOST, "latest"),
        image(PRIMARY, NEWCOMER.1, "latest")
    ));
    let rest = rest(world);
    let since = world.eye.mark();
    world.kubectl(&["delete", "pod", LOST]).await?;
    let (name, runtime) = NEWCOMER;
    world
        .apply(&yaml(name, &format!("runtime: {runtime}")), &[])
        .await?;
    let mut told = Vec::new();
    for (name, runtime) in [(LOST, LOST), NEWCOMER] {
        let words = format!(
            "{} cannot be pulled: ghcr.io answered 401 Unauthorized",
            image(PRIMARY, runtime, "latest")
        );
        told.push((name, stuck(world, name, &words).await?));
    }
    world.kubectl(&["get", "ws"]).await?;
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}";
    world.kubectl(&["get", "ws", LOST, "-o", path]).await?;
    for (name, after) in &told {
        ensure_within(
            &format!("telling that {name} is stuck"),
            *after,
            TOLD_WITHIN,
        )?;
    }
    world.check_unmoved(&rest, since)?;
    world.holds(&format!(
        "{} said so {:.1} s after its node did, {} after {:.1} s.",
        told[0].0, told[0].1, told[1].0, told[1].1
    ));
    see_the_outage(world).await
}

/// Waits until the Workspace says this. Returns how long after its Pod was seen to be stuck.
pub async fn stuck(world: &World, name: &str, words: &str) -> Result<f64> {
    let key = key(name);
    let told = world
        .until(&format!("{name}, which says {words:?}"), |seen| {
            seen.state(&key) == "ImagePullFailed" && seen.message(&key).ends_with(words)
        })
        .await?;
    let uid = world.eye.now(|seen| seen.life(&key).uid);
    let is_stuck = |life: &Life| life.uid == uid && life.waits == "ErrImagePull";
    let sights = world.eye.since(0);
    let mut sights = sights.iter().filter(|it| it.kind == Kind::Pod);
    let first = sights.find(|it| is_stuck(&Life::of(&it.object)));
    Ok(seconds(
        first.context("a Pod that was never stuck")?.at,
        told,
    ))
}

/// The record and the metrics tell it as well.
async fn see_the_outage(world: &mut World) -> Result<()> {
    let status = [
        "get",
        "configmap",
        "workspace-fleet",
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.data.status}",
    ];
    let start = Timestamp::now();
    while !is_outage(&world.quietly(&status).await?) {
        let took = seconds(start, Timestamp::now());
        ensure_within("the record of the outage", took, TOLD_WITHIN)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.kubectl(&status).await?;
    let leader = leader(world).await?;
    let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{leader}:8080/proxy/metrics");
    let found = world
        .kubectl_grep(&["get", "--raw", &path], "ImagePullFailed")
        .await?;
    let alerting: u32 = found
        .lines()
        .filter(|it| it.starts_with(METRIC) && it.contains("registry=\"ghcr.io\""))
        .filter_map(|it| it.rsplit(' ').next()?.parse::<u32>().ok())
        .sum();
    ensure!(
        alerting >= 2,
        "the alert WorkspaceRegistryFailing would be silent: {found}"
    );
    world.holds("The record calls it an outage, and the metric of the alert WorkspaceRegistryFailing is at 2.");
    Ok(())
}

fn is_outage(status: &str) -> bool {
    ["outage: true", "answered 401 Unauthorized"]
        .iter()
        .all(|it| status.contains(it))
}

/// The Pod of the operator that leads.
pub async fn leader(world: &World) -> Result<String> {
    let pods = ["get", "pods", "-n", SYSTEM, "-o", "name"];
    for pod in world.quietly(&pods).await?.lines() {
        let pod = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
        let metrics: Result<Output> = world.bed.cluster.kubectl().run(&["get", "--raw", &path]);
        if metrics?.stdout.contains("\nworkspace_operator_leader 1") {
            return Ok(pod.to_owned());
        }
    }
    anyhow::bail!("none of the operators leads")
}

fn lives_of_nine(world: &World) -> Lives {
    world.lives(nine().iter().map(String::as_str))
}

/// The nine without the one that is lost.
pub fn rest(world: &World) -> Lives {
    let mut lives = lives_of_nine(world);
    lives.remove(&key(LOST));
    lives
}
