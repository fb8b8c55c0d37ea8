//! What `kubectl get ws` prints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use workspace_operator::settings::RUNTIMES;

use super::{PRIMARY, image};
use crate::world::{PATIENCE, World};

const GET: [&str; 2] = ["get", "ws"];
/// All but the age.
const COLUMNS: usize = 4;

/// A line of it: the name, the runtime, the status, and the prefix of the image.
pub type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Types it, and fails where it does not show the nine, Ready on the primary, and these, of the nine or
/// others, as they are named here.
pub async fn list(world: &World, these: &[Row<'_>]) -> Result<()> {
    let mut rows: BTreeMap<_, _> = RUNTIMES.map(|it| (it, (it, "Ready", PRIMARY))).into();
    for (name, runtime, status, prefix) in these {
        rows.insert(name, (runtime, status, prefix));
    }
    let head = ["NAME", "RUNTIME", "STATUS", "IMAGE"].map(str::to_owned);
    let asked = rows.iter().map(|(name, (runtime, status, prefix))| {
        let image = image(prefix, runtime, "latest");
        [name, runtime, status, &*image].map(str::to_owned).to_vec()
    });
    let asked: Vec<_> = std::iter::once(head.to_vec()).chain(asked).collect();
    // It may be typed while an agent is called not ready.
    let start = Instant::now();
    while cells(&world.quietly(&GET).await?) != asked && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = cells(&world.kubectl(&GET).await?);
    ensure!(found == asked, "it shows {found:#?}, and not {asked:#?}");
    Ok(())
}

fn cells(said: &str) -> Vec<Vec<String>> {
    let columns = |line: &str| {
        let words = line.split_whitespace().take(COLUMNS);
        words.map(str::to_owned).collect()
    };
    said.lines().map(columns).collect()
}
