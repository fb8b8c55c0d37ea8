//! The operator is lost, and the registry that has its image as well.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::install::await_operator;
use super::{NEWCOMER, key, nine};
use crate::bed::Answer;
use crate::eye::{Kind, Life};
use crate::world::{SYSTEM, World, seconds};

/// How long whatever might happen after a restart of the kubelet is waited for.
const AFTER: Duration = Duration::from_secs(5);

/// Step 6.
pub async fn lose_it(world: &mut World) -> Result<()> {
    world.step("6. The operator is killed while the registry with its own image is down; then the kubelet.");
    let mut keys = nine();
    keys.push(key(NEWCOMER.0));
    let before = world.lives(keys.iter().map(String::as_str));
    let (mark, since) = (world.mark()?, world.eye.mark());
    world.bed.registries.platform.answers(Answer::Gone);
    let asked = world.bed.registries.platform.requests();
    let killed = Timestamp::now();
    let delete = ["delete", "pods", "-n", SYSTEM, "--all", "--grace-period=1"];
    world.kubectl(&delete).await?;
    await_operator(world).await?;
    let took = seconds(killed, Timestamp::now());
    world.kubectl(&["get", "pods", "-n", SYSTEM]).await?;
    let requests = world.bed.registries.platform.requests() - asked;
    ensure!(
        requests == 0,
        "the registry of the operator was asked {requests} times"
    );
    world.holds(&format!(
        "Both replicas are back {took:.1} s after they were killed, at no word to that registry."
    ));

    world.on_node("kill -KILL $(pidof kubelet); kubelet …");
    let mark_of_kubelet = world.eye.mark();
    world.bed.restart_kubelet().await?;
    tokio::time::sleep(AFTER).await;
    world
        .until("ten that are as they were", |seen| {
            before.iter().all(|(key, life)| seen.life(key) == *life)
        })
        .await?;
    world.kubectl(&["get", "nodes"]).await?;
    world.check_not_rolled(&before, since)?;
    let writes = world.writes(mark)?;
    // A kubelet that starts calls some agents not ready until it has asked them, and that is told.
    let (told, done): (Vec<_>, Vec<_>) = writes
        .into_iter()
        .partition(|it| it.subresource == "status");
    ensure!(done.is_empty(), "the operator wrote {done:?}");
    world.bed.registries.platform.answers(Answer::Itself);
    world.holds("No agent was stopped or started by any of it, and the operator wrote to no Pod.");
    let doubted = world.eye.since(mark_of_kubelet);
    let doubted = doubted.iter().filter(|it| before.contains_key(&it.key));
    let doubted = doubted.filter(|it| it.kind == Kind::Pod && !Life::of(&it.object).ready);
    let doubted: BTreeSet<_> = doubted.map(|it| &it.key).collect();
    let count = doubted.len();
    world.measured(&format!(
        "the kubelet called {count} of {} agents not ready for a moment after its restart, which \
         cost {} writes of a status",
        before.len(),
        told.len()
    ));
    Ok(())
}
