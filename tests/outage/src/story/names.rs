//! Each Workspace has an address that stays.

use anyhow::{Result, ensure};
use workspace_operator::names::address;
use workspace_operator::settings::RUNTIMES;

use super::key;
use crate::eye::text;
use crate::world::World;

/// Step 12.
pub async fn resolve(world: &mut World) -> Result<()> {
    world.step("12. Each Workspace has a stable address, which resolves in the others.");
    for (number, name) in RUNTIMES.iter().enumerate() {
        let own = world
            .eye
            .now(|seen| text(seen.pod(&key(name)), "/status/podIP").to_owned());
        let address = address("default", name);
        let lookup = ["exec", "codex", "--", "/agent", "lookup", &address];
        let found = match number {
            0 => world.kubectl(&lookup).await?,
            _ => world.quietly(&lookup).await?,
        };
        ensure!(
            found.trim() == own,
            "{address} is {own}, and resolves to {found:?}"
        );
    }
    world.holds("All nine names resolve to the addresses of their Pods.");
    Ok(())
}
