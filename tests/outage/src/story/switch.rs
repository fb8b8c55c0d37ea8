//! One edit of the settings: the stuck are freed in place, and nothing else moves.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Events, Mark};
use jiff::Timestamp;

use super::install::read_note;
use super::outage::{rest, stuck};
use super::{
    HEALED_WITHIN, LOST, MIRROR, NEWCOMER, PRIMARY, ensure_within, image, key, nine, yaml,
};
use crate::bed::Answer;
use crate::eye::text;
use crate::world::{Lives, World, seconds};

/// The one that the failing mirror stops, and the one that comes meanwhile with its runtime.
const SECOND_LOST: &str = "gemini-cli";
const SECOND_NEWCOMER: (&str, &str) = ("latecomer", "openclaw");

/// Longer than the operator takes to look at a Pod that has changed, and to tell of it.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// Step 5.
pub async fn to_the_mirror(world: &mut World) -> Result<()> {
    world.step("5. One edit of the settings, to the mirror.");
    let stuck = [(LOST, LOST), NEWCOMER];
    let rest = rest(world);
    switch(world, PRIMARY, MIRROR, &stuck, &rest).await?;
    look_at_the_running(world, &rest).await?;
    read_note(world).await?;
    world.holds("The storage of the one that was lost has its file.");
    Ok(())
}

/// An edit looks at nobody who runs. What happens to a Pod later does, and then the settings in force
/// name another image than it runs.
async fn look_at_the_running(world: &mut World, rest: &Lives) -> Result<()> {
    let (mark, since) = (world.mark()?, world.eye.mark());
    let mut label = vec!["label", "pod"];
    label.extend(rest.keys().filter_map(|it| it.strip_prefix("default/")));
    label.push("team=agents");
    world.kubectl(&label).await?;
    world
        .until("the label on every one that ran", |seen| {
            let labelled = |key: &String| text(seen.pod(key), "/metadata/labels/team") == "agents";
            rest.keys().all(labelled)
        })
        .await?;
    tokio::time::sleep(LOOKED_AT).await;
    world.check_unmoved(rest, since)?;
    let writes = world.writes(mark)?;
    ensure!(writes.is_empty(), "the operator wrote {writes:?}");
    world.holds("Somebody labels the Pods that run: none moves, and the operator writes nothing.");
    Ok(())
}

/// Step 7.
pub async fn and_back(world: &mut World) -> Result<()> {
    world.step("7. The primary is back, the mirror fails: the same, the other way.");
    world.bed.registries.primary.answers(Answer::Itself);
    world.bed.registries.mirror.answers(Answer::Status(503));
    for runtime in [SECOND_LOST, SECOND_NEWCOMER.1] {
        world.bed.forget_image(&image(PRIMARY, runtime, "latest"))?;
    }
    let (name, runtime) = SECOND_NEWCOMER;
    let lost = [SECOND_LOST, LOST];
    let delete = ["delete", "pod", lost[0], lost[1]];
    world.kubectl(&delete).await?;
    world
        .apply(&yaml(name, &format!("runtime: {runtime}")), &[])
        .await?;
    let both = [(SECOND_LOST, SECOND_LOST), SECOND_NEWCOMER];
    for (name, runtime) in both {
        let image = image(MIRROR, runtime, "latest");
        let words = format!(
            "{image} cannot be pulled: mirror.example.com answered 503 Service Unavailable"
        );
        stuck(world, name, &words).await?;
    }
    let back = key(LOST);
    world
        .until("the one whose image is on its node", |seen| {
            seen.life(&back).ready
        })
        .await?;
    world.kubectl(&["get", "ws"]).await?;
    let mut rest = world.lives(nine().iter().map(String::as_str));
    rest.remove(&key(SECOND_LOST));
    switch(world, MIRROR, PRIMARY, &both, &rest).await?;
    read_note(world).await?;
    world.holds("The storage has its file still.");
    world.bed.registries.mirror.answers(Answer::Itself);
    Ok(())
}

/// The edit, and everything that has to be so of it.
async fn switch(
    world: &mut World,
    from: &str,
    to: &str,
    stuck: &[(&str, &str)],
    rest: &Lives,
) -> Result<()> {
    let keys: Vec<_> = stuck.iter().map(|(name, _)| key(name)).collect();
    let before = world.lives(keys.iter().map(String::as_str));
    let (mark, since) = (world.mark()?, world.eye.mark());
    let edited = world.edit(host(from), host(to)).await?;
    let is_on = |prefix: &str, runtime: &str, life: &crate::eye::Life| {
        life.image == image(prefix, runtime, "latest")
    };
    let running = world
        .until("the stuck, running", |seen| {
            let mut each = stuck.iter().map(|(name, it)| (seen.life(&key(name)), it));
            each.all(|(life, runtime)| life.runs && is_on(to, runtime, &life))
        })
        .await?;
    world
        .until("the stuck, Ready", |seen| {
            keys.iter().all(|it| seen.state(it) == "Ready")
        })
        .await?;
    world.kubectl(&["get", "ws"]).await?;
    let after = world.lives(keys.iter().map(String::as_str));
    for key in &keys {
        ensure!(after[key].uid == before[key].uid, "{key} has another Pod");
    }
    world.check_unmoved(rest, since)?;
    let writes = settled(world, mark, 1 + 2 * stuck.len()).await?;
    check_cost(&writes, stuck)?;
    let took = seconds(edited, running);
    ensure_within("from the edit until the stuck ran", took, HEALED_WITHIN)?;
    world.holds(&format!(
        "Both run {took:.2} s after the edit, in the same Pods; nobody else moved. The operator \
         wrote each Pod once, each status once, and the record once."
    ));
    Ok(())
}

/// A request is in the log before it is answered, but what it stored can be seen a little earlier.
async fn settled(world: &World, mark: Mark, count: usize) -> Result<Events> {
    let start = Timestamp::now();
    loop {
        let writes = world.writes(mark)?;
        if writes.len() >= count || seconds(start, Timestamp::now()) > 5.0 {
            return Ok(writes);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn check_cost(writes: &Events, stuck: &[(&str, &str)]) -> Result<()> {
    let count = |resource: &str, subresource: &str, name: &str| {
        let same = writes.iter().filter(|it| {
            it.resource == resource && it.subresource == subresource && it.name == name
        });
        same.count()
    };
    let mut as_promised = count("configmaps", "", "workspace-fleet") == 1;
    for (name, _) in stuck {
        as_promised &= count("pods", "", name) == 1 && count("workspaces", "status", name) == 1;
    }
    let all: Vec<_> = writes
        .iter()
        .map(|it| format!("{} {}/{} {}", it.verb, it.resource, it.subresource, it.name))
        .collect();
    ensure!(
        as_promised && all.len() == 1 + 2 * stuck.len(),
        "an edit writes the record once, and each stuck Pod and its status once, not {all:#?}"
    );
    Ok(())
}

fn host(prefix: &str) -> &str {
    prefix.split('/').next().unwrap_or(prefix)
}
