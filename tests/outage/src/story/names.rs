//! Each Workspace has an address that stays.

use anyhow::{Result, ensure};
use workspace_operator::settings::RUNTIMES;

use super::key;
use crate::eye::text;
use crate::world::World;

/// Step 12.
pub async fn resolve(world: &mut World) -> Result<()> {
    world.step("12. Each Workspace has a stable address, which resolves in the others.");
    for (number, name) in RUNTIMES.iter().enumerate() {
        let key = key(name);
        let (own, address) = world.eye.now(|seen| {
            let own = text(seen.pod(&key), "/status/podIP").to_owned();
            let address = text(seen.workspace(&key), "/status/address").to_owned();
            (own, address)
        });
        ensure!(!address.is_empty(), "{name} has no address in its status");
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
    world.holds("What each of the nine has as its address in its status resolves to its Pod.");
    Ok(())
}
