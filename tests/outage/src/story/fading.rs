//! An image that answers for a moment gets no further than the first places.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use workspace_operator::settings::RUNTIMES;

use super::moving::{AT_ONCE, PATIENCE, agents, gather};
use super::prepared::forget;
use super::settings::{edit, plain};
use super::{MIRROR, PRIMARY};
use crate::eye::{Kind, Life};
use crate::world::{OVERVIEW_ON_RECORD, World};

const TAG: &str = "latest";

/// Step 16.
pub async fn images_that_fade(world: &mut World) -> Result<()> {
    world.step("16. The images of the primary are bad: they answer for 3 s, and end.");
    world.bed.registries.answer_themselves();
    gather(world, MIRROR).await?;
    let mut good = Vec::new();
    let told = fade_and_move(world, &mut good).await;
    let mended = mend(world, &good).await;
    told.and(mended)
}

/// Says of what it made bad which digest was good.
async fn fade_and_move(world: &mut World, good: &mut Vec<(&str, String)>) -> Result<()> {
    for runtime in RUNTIMES {
        good.push((runtime, world.bed.crane.fade(runtime, TAG)?));
    }
    bad_move(world).await
}

/// As much of it as can be.
async fn mend(world: &World, good: &[(&str, String)]) -> Result<()> {
    let tag = |(runtime, digest): &(&str, String)| world.bed.crane.tag(runtime, TAG, digest);
    let tagged = good.iter().map(tag).fold(Ok(()), Result::and);
    let reset = plain(world, MIRROR).await;
    tagged.and(reset)
}

async fn bad_move(world: &mut World) -> Result<()> {
    forget(world, PRIMARY)?;
    let before = agents(world);
    let is_there = |it: &Life| it.ready && it.image.starts_with(MIRROR);
    world
        .until("all of them, Ready on the mirror", |seen| {
            before.keys().all(|it| is_there(&seen.life(it)))
        })
        .await?;
    let since = world.eye.mark();
    let data = json!({
        "MOLECULE_IMAGE_REGISTRY": PRIMARY,
        "ROLLOUT": "Paced",
        "ROLLOUT_MAX_UNAVAILABLE": AT_ONCE.to_string(),
        "ROLLOUT_MIN_READY_SECONDS": "10",
        "ROLLOUT_ROLL_BACK": "true",
    });
    edit(world, &data).await?;
    let start = Instant::now();
    loop {
        let told = world.told_of("rollout").await?;
        let is_over = told["halted"].is_string() && told["moving"] == 0 && told["failed"].is_null();
        if is_over && agents(world).values().all(is_there) {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "it did not halt: {told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = start.elapsed().as_secs_f32();
    world.kubectl(&OVERVIEW_ON_RECORD).await?;
    let sights = world.eye.since(since).into_iter();
    let bad: BTreeSet<_> = sights
        .filter(|it| it.kind == Kind::Pod && before.contains_key(&it.key))
        .filter(|it| it.life.image.starts_with(PRIMARY))
        .map(|it| it.key)
        .collect();
    ensure!(
        (1..=AT_ONCE).contains(&bad.len()),
        "{bad:?} were given an image that fades"
    );
    world.holds(&format!(
        "It halted after {} of {} agents, which run what they ran again, {took:.1} s after the edit.",
        bad.len(),
        before.len()
    ));
    Ok(())
}
