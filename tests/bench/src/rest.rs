//! Memory with more and more Workspaces and after they are gone, and a restart among them.

use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::Process;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, PROBES, stop};
use crate::bodies;
use crate::eye::Sight;
use crate::machine;
use crate::report::Report;
use crate::wire;

/// Until memory is as it stays.
const SETTLED: Duration = Duration::from_secs(10);
/// After all is gone: connections that nobody uses are closed after 90 s.
const FORGOTTEN: Duration = Duration::from_secs(100);
const STARTED: &str = "looking after Workspaces";

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let size = plan.count();
    eprintln!("rest: {size} Workspaces");
    let bed = Bed::make(false).await?;
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
    stop(operator).await?;

    let operator = restart(plan, report, &bed, size).await?;
    tokio::time::sleep(SETTLED).await;
    report.at_most("… after a restart", mib(&operator)?, most, "MiB");
    bed.delete_workspaces().await?;
    tokio::time::sleep(FORGOTTEN).await;
    let gone = mib(&operator)?;
    report.at_most("… after all are deleted", gone, 1.1 * empty, "MiB");
    stop(operator).await
}

fn mib(operator: &Process) -> Result<f64> {
    Ok(machine::resident_kib(operator.id())? as f64 / 1024.0)
}

/// One Workspace came while there was no operator: it shows when this one is able to act.
async fn restart(plan: &Plan, report: &mut Report, bed: &Bed, size: usize) -> Result<Process> {
    let body = bodies::workspace("waiting");
    wire::post(&bed.client, &wire::workspaces_in(PROBES), body).await?;
    plan.quiet().await?;
    let start = Instant::now();
    let operator = bed.operator(plan)?;
    let key = format!("{PROBES}/waiting");
    let pod = |sight: &Sight| sight.pods.get(&key).map(|it| it.created);
    let acted = bed.eye.until("its Pod", PATIENCE, pod).await? - start;
    let what = format!("restart with {size} running: the Pod of one that waited is created after");
    report.at_most(&what, acted.as_secs_f64(), 2.0, "s");
    Ok(operator)
}
