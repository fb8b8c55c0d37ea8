//! The registry is suspended: what runs goes on, what has to start is stuck, and both can be seen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Output;
use jiff::Timestamp;

use super::{LOST, NEWCOMER, PRIMARY, TOLD_WITHIN, ensure_within, image, key, nine, yaml};
use crate::bed::{Answer, process_of};
use crate::eye::{Kind, Life, Sight};
use crate::world::{Lives, SYSTEM, World, seconds};

/// For how long everything has to stand still.
const STILL: Duration = Duration::from_secs(60);
/// The agents whose processes are killed.
const KILLED: [&str; 3] = ["codex", "autogen", "crewai"];
/// How soon a container whose process ended has to run again: kubelets look once a second, and then it
/// takes a moment, on a busy machine a longer one.
const RESTARTED_WITHIN: f64 = 3.0;
/// What the alert WorkspaceRegistryFailing looks at.
const METRIC: &str = "workspace_operator_registry_outage";

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
pub async fn kill_processes(world: &mut World) -> Result<()> {
    world.step("3. The process of a container is killed, in one agent after the other.");
    world.bed.registries.primary.answers(Answer::Status(401));
    let asked = world.bed.registries.primary.requests();
    let mut took = Vec::new();
    for name in KILLED {
        took.push(kill_process(world, name).await?);
    }
    world.kubectl(&["get", "pods"]).await?;
    let requests = world.bed.registries.primary.requests() - asked;
    ensure!(requests == 0, "the registry was asked {requests} times");
    for it in &took {
        ensure_within("a restart", *it, RESTARTED_WITHIN)?;
    }
    let took: Vec<_> = took.iter().map(|it| format!("{it:.1} s")).collect();
    world.holds(&format!(
        "They are back after {}, from the image on the node: the registry was asked nothing.",
        took.join(", ")
    ));
    Ok(())
}

/// Returns the seconds until another container ran.
async fn kill_process(world: &World, name: &str) -> Result<f64> {
    let key = key(name);
    let before = world.eye.now(|seen| seen.life(&key));
    let process = process_of(before.container.trim_start_matches("containerd://"))?;
    world.on_node(&format!("kill -KILL {process}   # the agent of {name}"));
    let killed = Timestamp::now();
    crate::bed::kill(process)?;
    let back = world
        .until(&format!("another container of {name}"), |seen| {
            let now = seen.life(&key);
            now.runs && now.container != before.container
        })
        .await?;
    world
        .until(&format!("a Ready {name}"), |seen| {
            seen.life(&key).ready && seen.state(&key) == "Ready"
        })
        .await?;
    let now = world.eye.now(|seen| seen.life(&key));
    ensure!(now.uid == before.uid, "{name} has another Pod");
    ensure!(
        now.restarts == before.restarts + 1,
        "{name} was restarted {} times before, and {} times after it was killed once",
        before.restarts,
        now.restarts
    );
    Ok(seconds(killed, back))
}

/// Step 4.
pub async fn get_stuck(world: &mut World) -> Result<()> {
    world.step("4. A Pod is lost, and a new Workspace comes: both are stuck.");
    world.bed.registries.primary.answers(Answer::Status(401));
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
    world.check_unmoved(&rest, since)?;
    for (name, told) in &told {
        let what = format!("from the node's word until {name} said so");
        ensure_within(&what, told.since_node, TOLD_WITHIN)?;
        world.holds(&format!(
            "{name} says which registry refused with which code, {:.1} s after its node knew and \
             {:.1} s after its Pod came.",
            told.since_node, told.since_pod
        ));
    }
    see_the_outage(world).await
}

/// How soon a Workspace said what is wrong, in seconds.
pub struct Told {
    /// After its node was first seen to say it.
    since_node: f64,
    /// After its Pod was first seen.
    since_pod: f64,
}

/// Waits until the Workspace says this.
pub async fn stuck(world: &World, name: &str, words: &str) -> Result<Told> {
    let key = key(name);
    let told = world
        .until(&format!("{name}, which says {words:?}"), |seen| {
            seen.state(&key) == "ImagePullFailed" && seen.message(&key).ends_with(words)
        })
        .await?;
    let uid = world.eye.now(|seen| seen.life(&key).uid);
    let sights = world.eye.since(0);
    let first = |is: &dyn Fn(&Life) -> bool| {
        let mut pods = sights.iter().filter(|it| it.kind == Kind::Pod);
        let life = |it: &&Sight| Some(Life::of(&it.object)).filter(|life| life.uid == uid);
        let found = pods.find(|it| life(it).is_some_and(|it| is(&it)));
        found.context("a Pod that was never stuck").map(|it| it.at)
    };
    Ok(Told {
        since_node: seconds(first(&|it| it.waits == "ErrImagePull")?, told),
        since_pod: seconds(first(&|_| true)?, told),
    })
}

/// The record and the metrics tell it as well.
async fn see_the_outage(world: &mut World) -> Result<()> {
    let path = "jsonpath={.data.status}";
    let status = [
        "get",
        "configmap",
        "workspace-fleet",
        "-n",
        SYSTEM,
        "-o",
        path,
    ];
    let start = Timestamp::now();
    loop {
        let record = world.quietly(&status).await?;
        if is_outage(&record) {
            break;
        }
        ensure!(
            seconds(start, Timestamp::now()) < TOLD_WITHIN,
            "after {TOLD_WITHIN} s the record tells of no outage, but: {record:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.kubectl(&status).await?;
    let leader = leader(world).await?;
    let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{leader}:8080/proxy/metrics");
    let get = ["get", "--raw", &path];
    let found = world.kubectl_grep(&get, &format!("{METRIC}{{")).await?;
    ensure!(
        found.trim() == format!("{METRIC}{{registry=\"ghcr.io\"}} 2"),
        "the alert WorkspaceRegistryFailing would not tell of two at ghcr.io, but of: {found:?}"
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
