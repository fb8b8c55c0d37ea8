//! A digest that the mirror does not have yet.

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::{MIRROR, RETRY, ensure_within, key, yaml};
use crate::bed::{MIRROR_NUMBER, UNMIRRORED};
use crate::world::{World, seconds};

/// The runtime of the one that is pinned.
const PINNED: &str = "langgraph";

/// Step 10.
pub async fn pin(world: &mut World) -> Result<()> {
    world.step("10. A digest that the mirror lacks.");
    let told = lack_and_push(world).await;
    if told.is_err() {
        // The steps after this one move what runs, and this with it.
        push_to_the_mirror(world, PINNED).ok();
    }
    told
}

/// The image of this runtime that the mirror lacks.
pub fn push_to_the_mirror(world: &World, runtime: &str) -> Result<()> {
    let crane = &world.bed.crane;
    crane.mirror(MIRROR_NUMBER, runtime, UNMIRRORED)
}

async fn lack_and_push(world: &mut World) -> Result<()> {
    let digest = world.bed.crane.digest(PINNED, UNMIRRORED)?;
    let spec = format!("runtime: {PINNED}, digest: '{digest}'");
    world.apply(&yaml("pinned", &spec), &[]).await?;
    let image = format!("{MIRROR}/workspace-template-{PINNED}@{digest}");
    let start = format!("{image} cannot be pulled: mirror.example.com ");
    let pinned = key("pinned");
    let words = ["answered 404 Not Found", "does not have it"];
    world
        .until("a clear reason", |seen| {
            words
                .iter()
                .any(|it| seen.message(&pinned) == format!("{start}{it}"))
        })
        .await?;
    world
        .kubectl(&["get", "ws", "pinned", "-o", "wide"])
        .await?;
    let said = world
        .eye
        .now(|seen| seen.message(&pinned).trim_start_matches(&start).to_owned());
    world.holds(&format!("It says that the mirror \"{said}\"."));
    let mark = world.mark()?;
    push_to_the_mirror(world, PINNED)?;
    let pushed = Timestamp::now();
    let ready = world
        .until("it, Ready", |seen| seen.state(&pinned) == "Ready")
        .await?;
    world.kubectl(&["get", "ws", "pinned"]).await?;
    ensure!(
        world.writes(mark)?.of("pods").is_empty(),
        "a Pod was written"
    );
    let took = seconds(pushed, ready);
    ensure_within("from the push to Ready", took, RETRY.as_secs_f64())?;
    world.holds(&format!(
        "Once the image is pushed there, it is Ready {took:.1} s later, by itself."
    ));
    Ok(())
}
