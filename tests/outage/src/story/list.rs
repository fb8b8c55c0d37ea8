//! What `kubectl get ws` prints.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use workspace_operator::settings::RUNTIMES;

use super::{PRIMARY, image};
use crate::world::World;

/// A line of it: the name, the runtime, the status, and the prefix of the image.
pub type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Types it, and fails where it does not show the nine, Ready on the primary, and these, of the nine or
/// others, as they are named here.
pub async fn list(world: &World, these: &[Row<'_>]) -> Result<()> {
    let mut rows: BTreeMap<_, _> = RUNTIMES.map(|it| (it, (it, "Ready", PRIMARY))).into();
    for (name, runtime, status, prefix) in these {
        rows.insert(name, (runtime, status, prefix));
    }
    let said = world.kubectl(&["get", "ws"]).await?;
    let mut found = said
        .lines()
        .map(|it| it.split_whitespace().take(4).collect::<Vec<_>>());
    let head = found.next().unwrap_or_default();
    ensure!(
        head == ["NAME", "RUNTIME", "STATUS", "IMAGE"],
        "its columns are {head:?}"
    );
    let asked = rows.iter().map(|(name, (runtime, status, prefix))| {
        let image = image(prefix, runtime, "latest");
        vec![
            (*name).to_owned(),
            (*runtime).to_owned(),
            (*status).to_owned(),
            image,
        ]
    });
    let (asked, found): (Vec<_>, Vec<_>) = (asked.collect(), found.collect());
    ensure!(found == asked, "it shows {found:#?}, and not {asked:#?}");
    Ok(())
}
