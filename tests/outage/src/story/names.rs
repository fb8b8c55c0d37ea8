//! Each Workspace has an address that stays.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use workspace_operator::settings::RUNTIMES;

use super::{LOOKED_AT, key};
use crate::eye::text;
use crate::world::{PATIENCE, World};

/// Step 12.
pub async fn resolve(world: &mut World) -> Result<()> {
    world.step("12. Each Workspace has a stable address, which resolves in the others.");
    let since = world.eye.mark();
    let others = RUNTIMES.iter().cycle().skip(1);
    for (number, (name, other)) in RUNTIMES.iter().zip(others).enumerate() {
        let key = key(name);
        let (own, address) = world.eye.now(|seen| {
            let own = text(seen.pod(&key), "/status/podIP").to_owned();
            let address = text(seen.workspace(&key), "/status/address").to_owned();
            (own, address)
        });
        ensure!(!address.is_empty(), "{name} has no address in its status");
        let lookup = ["exec", other, "--", "/agent", "lookup", &address];
        let start = Instant::now();
        loop {
            let found = world.quietly(&lookup).await;
            if found.as_ref().is_ok_and(|it| it.trim() == own) {
                break;
            }
            // What is called not ready has no address until it is called Ready again.
            let dips = world.dips(since).has(&key);
            let limit = if dips { PATIENCE } else { LOOKED_AT };
            ensure!(
                start.elapsed() < limit,
                "{address} is {own}, and resolves in {other} to {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if number == 0 {
            world.kubectl(&lookup).await?;
        }
    }
    world.holds(
        "What each of the nine has as its address in its status resolves to its Pod, each in \
         another one of them.",
    );
    Ok(())
}
