//! A switch that is prepared needs no registry, and what a node loses of it is pulled again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::moving::{AWAY_AT_MOST, Moved, PATIENCE, agents, gather, move_all};
use super::settings::{edit, plain};
use super::{MIRROR, PRIMARY, ensure_within};
use crate::bed::Answer;
use crate::eye::Life;
use crate::world::World;

/// Step 15.
pub async fn what_comes(world: &mut World) -> Result<()> {
    world.step(
        "15. A switch is prepared: the node pulls its images before it. Then no registry answers.",
    );
    world.bed.registries.answer_themselves();
    gather(world, MIRROR).await?;
    let told = prepared_switch(world).await;
    let reset = plain(world, MIRROR).await;
    told.and(reset)
}

async fn prepared_switch(world: &mut World) -> Result<()> {
    forget(world, PRIMARY)?;
    let pulled = prepare(world, PRIMARY).await?;
    world.holds(&format!(
        "{pulled} images of the primary are on the node, and nothing that runs was touched."
    ));
    world.bed.registries.primary.answers(Answer::Gone);
    world.bed.registries.mirror.answers(Answer::Gone);
    let moved = move_all(world, PRIMARY, nobody_stays).await?;
    let away = longest(&moved)?;
    ensure_within("the longest absence", away, AWAY_AT_MOST)?;
    world.holds(&format!(
        "{} agents were moved while neither registry answered; away for {away:.2} s at most.",
        moved.away.len()
    ));
    lose_what_was_proved(world).await
}

/// The node's garbage collection takes what was proved, right before the move.
async fn lose_what_was_proved(world: &mut World) -> Result<()> {
    world.bed.registries.answer_themselves();
    prepare(world, MIRROR).await?;
    let images = forget(world, MIRROR)?;
    ensure!(images > 0, "the node had none of the images of {MIRROR}");
    let asked = world.bed.registries.mirror.requests();
    let moved = move_all(world, MIRROR, nobody_stays).await?;
    let requests = world.bed.registries.mirror.requests() - asked;
    ensure!(
        requests >= images,
        "the node had lost {images} images, and the mirror was asked {requests} times"
    );
    world.holds(&format!(
        "The node had lost {images} images after their proof, and pulled them again: {} agents were \
         moved, away for {:.2} s at most.",
        moved.away.len(),
        longest(&moved)?
    ));
    Ok(())
}

fn nobody_stays(_: &str, _: &Life) -> bool {
    false
}

fn longest(moved: &Moved) -> Result<f64> {
    let longest = moved.away.first();
    ensure!(longest.is_some(), "nobody was moved");
    Ok(longest.map_or(0.0, |(away, _)| away.as_secs_f64()))
}

/// Takes from the node what the agents would need under this prefix, and says how many images it had.
pub fn forget(world: &World, prefix: &str) -> Result<usize> {
    let images = agents(world).into_values().filter_map(|it| {
        let (_, name) = it.image.rsplit_once('/')?;
        Some(format!("{prefix}/{name}"))
    });
    let mut images: Vec<_> = images.collect();
    images.sort_unstable();
    images.dedup();
    world.bed.forget_images(&images)
}

/// Has the node pull what the agents would need under this prefix, and says how many images that is.
async fn prepare(world: &World, next: &str) -> Result<usize> {
    let before = agents(world);
    let since = world.eye.mark();
    edit(
        world,
        &json!({"NEXT_MOLECULE_IMAGE_REGISTRY": next, "PREPULL": "true"}),
    )
    .await?;
    let start = Instant::now();
    loop {
        let told = world.told_of("prepull").await?;
        let count = |field: &str| told[field].as_u64().unwrap_or_default();
        let (wanted, pulled) = (count("images"), count("pulled"));
        if told["registry"] == next && wanted > 0 && wanted == pulled {
            world.check_not_rolled(&before, since)?;
            return Ok(usize::try_from(pulled)?);
        }
        ensure!(start.elapsed() < PATIENCE, "it is not prepared: {told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
