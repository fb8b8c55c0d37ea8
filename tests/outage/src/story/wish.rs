//! A wish that cannot be had stops nothing, even where the agent ends by itself meanwhile.

use anyhow::{Result, ensure};
use serde_json::json;

use super::key;
use super::outage::kill_process;
use crate::world::World;

/// Who asks for it.
const WISHER: &str = "openclaw";
/// A tag that nobody has.
const MISSING: &str = "v9";

/// Before those that run are moved: this one runs since the story began.
pub async fn what_cannot_be_had(world: &mut World) -> Result<()> {
    world.step("   And somebody asks for a tag that the mirror lacks:");
    let wisher = key(WISHER);
    let uid = world.eye.now(|seen| seen.life(&wisher).uid);
    let told = serve_on(world).await;
    let taken_back = wish(world, None).await;
    told.and(taken_back)?;
    world
        .until("one that wishes for nothing", |seen| seen.is_ready(&wisher))
        .await?;
    let now = world.eye.now(|seen| seen.life(&wisher).uid);
    ensure!(now == uid, "{WISHER} has another Pod");
    world.holds("The wish is taken back, and it is as it was.");
    Ok(())
}

async fn serve_on(world: &mut World) -> Result<()> {
    let wisher = key(WISHER);
    let before = world.lives([&*wisher]);
    let since = world.eye.mark();
    wish(world, Some(MISSING)).await?;
    world
        .until("what is said of the wish", |seen| {
            seen.state(&wisher) == "RolloutBlocked"
        })
        .await?;
    world.kubectl(&["get", "ws", WISHER, "-o", "wide"]).await?;
    world.check_not_rolled(&before, since)?;
    let back = kill_process(world, WISHER, "RolloutBlocked").await?;
    world.holds(&format!(
        "It serves on, and says why. Its process is killed: back after {back:.1} s, in the same Pod."
    ));
    Ok(())
}

async fn wish(world: &World, tag: Option<&str>) -> Result<()> {
    let patch = json!({"spec": {"tag": tag}}).to_string();
    let args = ["patch", "ws", WISHER, "--type=merge", "-p", &patch];
    world.kubectl(&args).await.map(drop)
}
