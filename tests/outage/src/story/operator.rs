//! The operator is lost, and the registry that has its image as well.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use cluster::Mark;
use jiff::Timestamp;

use super::failing::await_leader;
use super::{LOOKED_AT, key};
use crate::bed::{Answer, kill, process_of, show_on_node};
use crate::eye::{Life, Seen, condition, text};
use crate::world::{Lives, SYSTEM, World, seconds};

/// As many as its Deployment asks for.
const REPLICAS: usize = 2;

/// Step 6.
pub async fn lose_it(world: &mut World) -> Result<()> {
    world.step("6. The operator is killed while the registry with its own image is down; then the kubelet.");
    let before: Lives = world.eye.now(|seen| {
        let pods = seen.pods("default").map(|(name, _)| key(name));
        pods.map(|it| (it.clone(), seen.life(&it))).collect()
    });
    let (mark, since) = (world.mark()?, world.eye.mark());
    world.bed.registries.platform.answers(Answer::Gone);
    let asked = world.bed.registries.platform.requests();
    kill_processes(world).await?;
    lose_pods(world).await?;
    world.check_not_rolled(&before, since)?;
    nothing_written(world, mark, since)?;
    ensure_not_asked(world, asked)?;
    world.holds(
        "By either no agent was touched, the operator wrote nothing, and its registry was asked \
         nothing.",
    );
    lose_kubelet(world, &before).await?;
    world.check_not_rolled(&before, since)?;
    ensure_not_asked(world, asked)?;
    world.bed.registries.platform.answers(Answer::Itself);
    world.holds(
        "No agent was stopped or started by any of it, and none of the operator's own Pods.",
    );
    Ok(())
}

/// The processes of both replicas, that of the leader first.
async fn kill_processes(world: &mut World) -> Result<()> {
    let leader = await_leader(world).await?;
    let before = world.eye.now(replicas);
    let mut names: Vec<_> = before.keys().collect();
    names.sort_by_key(|it| **it != leader);
    let killed = Timestamp::now();
    for name in names {
        let container = &before[name].container;
        let process = process_of(container.trim_start_matches("containerd://"))?;
        show_on_node(&format!("kill -KILL {process}   # of {name}"));
        kill(process)?;
    }
    let back = world
        .until("both replicas, in other containers", |seen| {
            let now = replicas(seen);
            now.values().all(|it| it.ready)
                && before.iter().all(|(name, it)| {
                    let now = now.get(name).filter(|now| now.uid == it.uid);
                    now.is_some_and(|now| now.container != it.container)
                })
        })
        .await?;
    await_leader(world).await?;
    let led = seconds(killed, Timestamp::now());
    world.holds(&format!(
        "The processes of both replicas are back {:.1} s after they were killed, and one leads \
         after {led:.1} s.",
        seconds(killed, back)
    ));
    Ok(())
}

/// Both Pods at once, with no time to end.
async fn lose_pods(world: &mut World) -> Result<()> {
    let before = world.eye.now(replicas);
    let lost = Timestamp::now();
    let delete = ["delete", "pods", "-n", SYSTEM, "--all", "--grace-period=0"];
    world.kubectl(&[&delete[..], &["--force"]].concat()).await?;
    let back = world
        .until("two other replicas, Ready", |seen| {
            let now = replicas(seen);
            let is_new = |(name, it): (&String, &Replica)| it.ready && !before.contains_key(name);
            now.len() == REPLICAS && now.iter().all(is_new)
        })
        .await?;
    await_leader(world).await?;
    let led = seconds(lost, Timestamp::now());
    world.kubectl(&["get", "pods", "-n", SYSTEM]).await?;
    world.holds(&format!(
        "Two other Pods of it are Ready {:.1} s after both were lost, and one leads after {led:.1} s.",
        seconds(lost, back)
    ));
    Ok(())
}

/// The kubelet starts again; then the operator has to tell of those of which that told something.
async fn lose_kubelet(world: &mut World, before: &Lives) -> Result<()> {
    show_on_node("kill -KILL $(pidof kubelet); kubelet …");
    let operator = world.eye.now(replicas);
    let (mark, since) = (world.mark()?, world.eye.mark());
    world.bed.restart_kubelet().await?;
    tokio::time::sleep(LOOKED_AT).await;
    world
        .until("all as they were, and Ready", |seen| {
            let same = |(key, before): (&String, &Life)| {
                seen.life(key).is_still(before) && seen.is_ready(key)
            };
            let now = replicas(seen);
            let is_still = |(name, now): (&String, &Replica)| {
                let before = operator.get(name);
                now.ready && before.is_some_and(|it| now.is_still(it))
            };
            before.iter().all(same) && now.len() == operator.len() && now.iter().all(is_still)
        })
        .await?;
    world.kubectl(&["get", "nodes"]).await?;
    // A kubelet that starts calls some agents not ready until it has asked them, and that is told.
    nothing_written(world, mark, since)?;
    world.measured(&format!(
        "the kubelet called {} of {} agents not ready for a moment after its restart, which cost {} \
         writes of their statuses, and nothing else was written",
        world.dips(since).agents(),
        before.len(),
        world.writes(mark)?.len()
    ));
    Ok(())
}

/// But what it had to tell of dips.
fn nothing_written(world: &World, mark: Mark, since: usize) -> Result<()> {
    let writes = world.writes_but_of_dips(mark, since)?;
    ensure!(writes.is_empty(), "the operator wrote {writes:?}");
    Ok(())
}

fn ensure_not_asked(world: &World, before: usize) -> Result<()> {
    let requests = world.bed.registries.platform.requests() - before;
    ensure!(
        requests == 0,
        "the registry of the operator was asked {requests} times"
    );
    Ok(())
}

/// What a Pod of the operator is.
struct Replica {
    uid: String,
    container: String,
    ready: bool,
}

impl Replica {
    fn is_still(&self, other: &Self) -> bool {
        (&self.uid, &self.container) == (&other.uid, &other.container)
    }
}

/// All of them, by name.
fn replicas(seen: &Seen) -> BTreeMap<String, Replica> {
    let replica = |(name, pod): (&str, _)| {
        let replica = Replica {
            uid: text(pod, "/metadata/uid").to_owned(),
            container: text(pod, "/status/containerStatuses/0/containerID").to_owned(),
            ready: condition(pod, "Ready")["status"] == "True",
        };
        (name.to_owned(), replica)
    };
    seen.pods(SYSTEM).map(replica).collect()
}
