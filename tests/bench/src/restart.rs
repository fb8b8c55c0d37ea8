//! A restart while all run: when it is able to act, and with how much memory.

use std::time::Instant;

use anyhow::Result;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, PROBES, stop};
use crate::bodies;
use crate::eye::Sight;
use crate::report::Report;
use crate::rest::{SETTLED, mib};
use crate::wire;

/// One Workspace came while there was no operator: it shows when the new one is able to act.
pub async fn measure(plan: &Plan, size: usize, bed: &Bed, report: &mut Report) -> Result<()> {
    let body = bodies::workspace("waiting");
    wire::post(&bed.client, &wire::workspaces_in(PROBES), body).await?;
    let others = plan.quiet().await?;
    let start = Instant::now();
    let operator = bed.operator(plan)?;
    let key = format!("{PROBES}/waiting");
    let pod = |sight: &Sight| sight.pods.get(&key).map(|it| it.created);
    let acted = bed.eye.until("its Pod", PATIENCE, pod).await? - start;
    let others = others.so_far()?;
    let what = format!(
        "restart with {size} running, after a graceful stop, which releases the Lease: the Pod of \
         one that waited is created after"
    );
    report.at_most(&what, acted.as_secs_f64(), 2.0, "s");
    tokio::time::sleep(SETTLED).await;
    let most = 20.0 + size as f64 * 2.0 / 1024.0;
    report.at_most("… resident memory", mib(&operator)?, most, "MiB");
    report.others(&[others]);
    report.keep(&format!("others while it restarts with {size}"), &[others])?;
    stop(operator).await
}
