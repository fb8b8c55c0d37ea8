//! Memory with no Workspace, with all of them, and after they are gone: in one process.

use std::time::Duration;

use anyhow::Result;
use cluster::Process;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, stop};
use crate::eye::Sight;
use crate::machine;
use crate::report::Report;

/// Until memory is as it stays.
pub const SETTLED: Duration = Duration::from_secs(10);
/// After all is gone: connections that nobody uses are closed after 90 s.
const FORGOTTEN: Duration = Duration::from_secs(100);
/// What the operator logs once it works.
pub const STARTED: &str = "looking after Workspaces";

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let size = plan.count();
    eprintln!("rest: {size} Workspaces");
    let bed = Bed::make(false).await?;
    let others = plan.quiet().await?;
    let operator = bed.operator(plan)?;
    operator.wait_for_line(STARTED, PATIENCE).await?;
    tokio::time::sleep(SETTLED).await;
    let empty = mib(&operator)?;
    report.at_most("resident memory with no Workspace", empty, 20.0, "MiB");

    bed.workspaces(size).await?;
    let ready = |sight: &Sight| sight.all_in("Ready", size);
    bed.eye.until("all Ready", PATIENCE, ready).await?;
    tokio::time::sleep(SETTLED).await;
    let most = 20.0 + size as f64 * 2.0 / 1024.0;
    let what = format!("resident memory with {size} Workspaces");
    report.at_most(&what, mib(&operator)?, most, "MiB");
    bed.delete_workspaces().await?;
    tokio::time::sleep(FORGOTTEN).await;
    let gone = mib(&operator)?;
    report.at_most("… after all are deleted", gone, 1.1 * empty, "MiB");
    let others = [others.so_far()?];
    report.others(&others);
    report.keep(&format!("others during the memory of {size}"), &others)?;
    stop(operator).await
}

/// The resident memory.
pub fn mib(operator: &Process) -> Result<f64> {
    Ok(machine::resident_kib(operator.id())? as f64 / 1024.0)
}
