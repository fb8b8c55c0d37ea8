//! The registry is suspended: what runs goes on, what has to start is stuck, and both can be seen.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::failing::PRIMARY_FAILS;
use super::list::list;
use super::{PRIMARY, ensure_within, image, key, nine, yaml};
use crate::bed::{Answer, process_of, show_on_node};
use crate::world::{PATIENCE, World, seconds};

/// For how long everything has to stand still.
const STILL: Duration = Duration::from_secs(60);
/// The agents whose processes are killed.
const KILLED: [&str; 3] = ["codex", "autogen", "crewai"];
/// How soon a container whose process ended has to run again: kubelets look once a second, and then it
/// takes a moment, on a busy machine a longer one.
const RESTARTED_WITHIN: f64 = 3.0;

/// Step 2.
pub async fn suspend(world: &mut World) -> Result<()> {
    world.step("2. The primary is suspended: every pull answers 401. Nobody who runs notices.");
    let keys = nine();
    world
        .until("the nine, Ready", |seen| {
            keys.iter().all(|it| seen.is_ready(it))
        })
        .await?;
    tell_of_nine(world).await?;
    let before = world.lives(keys.iter().map(String::as_str));
    let (since, mark) = (world.eye.mark(), world.mark()?);
    world.bed.registries.primary.answers(Answer::Status(401));
    tokio::time::sleep(STILL).await;
    list(world, &[]).await?;
    world.check_unmoved(&before, since)?;
    world.check_shown("default", &before).await?;
    let writes = world.writes(mark)?;
    ensure!(writes.is_empty(), "the operator wrote {writes:?}");
    let told = world.tellings(mark)?;
    ensure!(
        told == (0, 0),
        "it told of nothing by {told:?} overviews and Events"
    );
    world.holds(
        "For 60 s no UID, no containerID, no restart count and no readiness of the nine has moved, \
         and the operator wrote nothing.",
    );
    Ok(())
}

/// The overview follows what it tells of by up to a second.
async fn tell_of_nine(world: &World) -> Result<()> {
    let start = Timestamp::now();
    while world.told_of("ready").await? != nine().len() {
        let took = seconds(start, Timestamp::now());
        ensure!(took < PATIENCE.as_secs_f64(), "it does not tell of nine");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Step 3.
pub async fn kill_processes(world: &mut World) -> Result<()> {
    world.step("3. The process of a container is killed, in one agent after the other.");
    world.bed.registries.primary.answers(Answer::Status(401));
    let asked = world.bed.registries.primary.requests();
    let mut took = Vec::new();
    for name in KILLED {
        took.push(kill_process(world, name, "Ready").await?);
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

/// Returns the seconds until another container ran. It answers in the end, and this is its state.
pub async fn kill_process(world: &World, name: &str, state: &str) -> Result<f64> {
    let key = key(name);
    let before = world.eye.now(|seen| seen.life(&key));
    let process = process_of(before.container.trim_start_matches("containerd://"))?;
    show_on_node(&format!("kill -KILL {process}   # the agent of {name}"));
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
            seen.life(&key).ready && seen.state(&key) == state
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
    let failing = PRIMARY_FAILS;
    world.bed.registries.primary.answers(Answer::Status(401));
    // The first image that a Pod asks for is on the node: it has to be gone, as on another node.
    let images = failing.stops.map(|(_, it)| image(PRIMARY, it, "latest"));
    world.bed.forget_images(&images)?;
    let rest = failing.rest(world);
    let since = world.eye.mark();
    let [(lost, _), (newcomer, runtime)] = failing.stops;
    world.kubectl(&["delete", "pod", lost]).await?;
    let text = yaml(newcomer, &format!("runtime: {runtime}"));
    world.apply(&text, &[]).await?;
    failing.is_told(world).await?;
    list(world, &failing.stopped()).await?;
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}{\"\\n\"}";
    world.kubectl(&["get", "ws", lost, "-o", path]).await?;
    world.check_not_rolled(&rest, since)?;
    failing.is_recorded(world).await
}
