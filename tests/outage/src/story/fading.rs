//! An image that answers for a moment gets no further than the first places.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use workspace_operator::settings::RUNTIMES;

use super::moving::{AT_ONCE, PATIENCE, agents, edit, set};
use super::prepared::forget;
use super::{MIRROR, PRIMARY};
use crate::eye::{Kind, Life};
use crate::world::{OVERVIEW_ON_RECORD, World};

const TAG: &str = "latest";

/// Step 16.
pub async fn images_that_fade(world: &mut World) -> Result<()> {
    world.step("16. The images of the primary are bad: they answer for 3 s, and end.");
    world.bed.registries.answer_themselves();
    let good = RUNTIMES.map(|it| Ok((it, world.bed.crane.fade(it, TAG)?)));
    let good = good.into_iter().collect::<Result<Vec<_>>>()?;
    let told = bad_move(world).await;
    for (runtime, digest) in good {
        world.bed.crane.tag(runtime, TAG, &digest)?;
    }
    let nothing = json!({"ROLLOUT_ROLL_BACK": null, "ROLLOUT_MIN_READY_SECONDS": null});
    edit(world, &nothing).await?;
    set(world, MIRROR, "OnRestart").await?;
    told
}

async fn bad_move(world: &mut World) -> Result<()> {
    forget(world, PRIMARY)?;
    let before = agents(world);
    let is_there = |it: &Life| it.ready && it.image.starts_with(MIRROR);
    ensure!(
        before.values().all(is_there),
        "not on the mirror: {before:?}"
    );
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
        .filter(|it| Life::of(&it.object).image.starts_with(PRIMARY))
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
