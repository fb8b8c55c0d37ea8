//! One edit of the settings: the stuck are freed in place, and nothing else moves.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Event, Mark};
use jiff::Timestamp;

use super::failing::{Failing, MIRROR_FAILS, PRIMARY_FAILS, host};
use super::install::read_note;
use super::list::{Row, list};
use super::{HEALED_WITHIN, LOOKED_AT, LOST, PRIMARY, ensure_within, image, key, yaml};
use crate::bed::Answer;
use crate::eye::{Life, text};
use crate::world::{Lives, World, but_for_outrun, seconds};

/// Step 5.
pub async fn to_the_mirror(world: &mut World) -> Result<()> {
    world.step("5. One edit of the settings, to the mirror.");
    switch(world, &PRIMARY_FAILS, &[]).await?;
    read_note(world).await?;
    world.holds("The storage of the one that was lost has its file.");
    Ok(())
}

/// Step 7.
pub async fn and_back(world: &mut World) -> Result<()> {
    world.step("7. The primary is back, the mirror fails: the same, the other way.");
    let failing = MIRROR_FAILS;
    world.bed.registries.primary.answers(Answer::Itself);
    world.bed.registries.mirror.answers(Answer::Status(503));
    // As if on another node: the primary's images are there from before.
    let images = failing.stops.map(|(_, it)| image(PRIMARY, it, "latest"));
    world.bed.forget_images(&images)?;
    let [(lost, _), (newcomer, runtime)] = failing.stops;
    let mut rest = failing.rest(world);
    rest.remove(&key(LOST));
    let since = world.eye.mark();
    world.kubectl(&["delete", "pod", lost, LOST]).await?;
    let text = yaml(newcomer, &format!("runtime: {runtime}"));
    world.apply(&text, &[]).await?;
    failing.is_told(world).await?;
    let back = key(LOST);
    world
        .until("the one whose image is on its node", |seen| {
            seen.is_ready(&back)
        })
        .await?;
    let moved_before = PRIMARY_FAILS.healed();
    list(world, &[moved_before, failing.stopped()].concat()).await?;
    world.check_not_rolled(&rest, since)?;
    failing.is_recorded(world).await?;
    switch(world, &failing, &moved_before).await?;
    read_note(world).await?;
    world.holds("The storage has its file still.");
    world.bed.registries.mirror.answers(Answer::Itself);
    Ok(())
}

/// The edit, and everything that has to be so of it. `others` are those that the list shows besides.
async fn switch(world: &mut World, failing: &Failing, others: &[Row<'_>]) -> Result<()> {
    let rest = failing.rest(world);
    let keys = failing.stops.map(|(name, _)| key(name));
    let before = world.lives(keys.iter().map(String::as_str));
    let (mark, since) = (world.mark()?, world.eye.mark());
    let edited = world.edit(host(failing.from), host(failing.to)).await?;
    let runs =
        |life: Life, runtime: &str| life.runs && life.image == image(failing.to, runtime, "latest");
    let running = world
        .until("the stuck, running", |seen| {
            let mut each = failing.stops.iter();
            each.all(|(name, runtime)| runs(seen.life(&key(name)), runtime))
        })
        .await?;
    world
        .until("the stuck, Ready", |seen| {
            keys.iter().all(|it| seen.state(it) == "Ready")
        })
        .await?;
    list(world, &[others, &failing.healed()].concat()).await?;
    let after = world.lives(keys.iter().map(String::as_str));
    for key in &keys {
        ensure!(after[key].uid == before[key].uid, "{key} has another Pod");
    }
    check_cost(&settled(world, mark, since).await?, failing)?;
    world.check_not_rolled(&rest, since)?;
    let took = seconds(edited, running);
    world.holds(&format!(
        "Both run {took:.2} s after the edit, in the same Pods; nobody else moved. The operator \
         wrote each Pod once, each status once, and the record once."
    ));
    tell_of_the_rest(world, mark, since)?;
    failing.is_over(world).await?;
    look_at_the_running(world, &rest, failing.label).await?;
    // Last, so that a slow machine hides nothing else.
    ensure_within("from the edit until the stuck ran", took, HEALED_WITHIN)
}

/// Of what does not count as a cost, so that it cannot hide.
fn tell_of_the_rest(world: &mut World, mark: Mark, since: usize) -> Result<()> {
    let (overviews, events) = world.tellings(mark)?;
    ensure!(
        overviews <= OVERVIEWS && events <= EVENTS,
        "one edit was told by {overviews} overviews and {events} Events"
    );
    let all = world.writes_but_of_dips(mark, since)?;
    let count = all.len();
    let outrun = count - but_for_outrun(all).len();
    world.measured(&format!(
        "besides, it told of the edit by {overviews} overviews and {events} Events, and {outrun} \
         writes were refused, as a kubelet had written meanwhile"
    ));
    Ok(())
}

/// An edit looks at nobody who runs. What happens to a Pod later does, and then the settings in force
/// name another image than it runs.
async fn look_at_the_running(
    world: &mut World,
    rest: &Lives,
    (name, value): (&str, &str),
) -> Result<()> {
    let (mark, since) = (world.mark()?, world.eye.mark());
    let mut command = vec!["label", "pod"];
    command.extend(rest.keys().filter_map(|it| it.strip_prefix("default/")));
    let label = format!("{name}={value}");
    command.push(&label);
    world.kubectl(&command).await?;
    let path = format!("/metadata/labels/{name}");
    world
        .until("the label on every one that ran", |seen| {
            rest.keys().all(|it| text(seen.pod(it), &path) == value)
        })
        .await?;
    tokio::time::sleep(LOOKED_AT).await;
    world.check_not_rolled(rest, since)?;
    let writes = world.writes_but_of_dips(mark, since)?;
    ensure!(writes.is_empty(), "the operator wrote {writes:?}");
    world.holds("Somebody labels the Pods that run: none moves, and the operator writes nothing.");
    Ok(())
}

/// What an edit cost, dips left out: all that was written until some time after there was as much as
/// there may be.
async fn settled(world: &World, mark: Mark, since: usize) -> Result<Vec<Event>> {
    let start = Timestamp::now();
    let written = || Ok(but_for_outrun(world.writes_but_of_dips(mark, since)?));
    while written()?.len() < COST && seconds(start, Timestamp::now()) < LOOKED_AT.as_secs_f64() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(LOOKED_AT).await;
    written()
}

/// At most one a second while something changes.
const OVERVIEWS: usize = 10;
/// That the settings are accepted, that the outage is over, and one of the heal; twice that.
const EVENTS: usize = 6;
/// The record, and of each of two their Pod and their status.
const COST: usize = 5;

fn check_cost(writes: &[Event], failing: &Failing) -> Result<()> {
    let line = |resource: &str, name: &str| format!("{resource} {name}");
    let mut asked = vec![line("configmaps/", "workspace-fleet")];
    for (name, _) in failing.stops {
        asked.push(line("pods/", name));
        asked.push(line("workspaces/status", name));
    }
    let mut found: Vec<_> = writes
        .iter()
        .map(|it| line(&format!("{}/{}", it.resource, it.subresource), &it.name))
        .collect();
    asked.sort();
    found.sort();
    ensure!(
        found == asked,
        "an edit writes the record once, and each stuck Pod and its status once, not {writes:#?}"
    );
    Ok(())
}
