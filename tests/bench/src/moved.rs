//! A fleet that runs is moved at a pace: seen from outside, and counted in the audit log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, stop};
use crate::bodies;
use crate::counts::{Since, Writes};
use crate::eye::Sight;
use crate::report::Report;
use crate::wire;

const MOVED_TO: &str = "moved.example.com/agents";
/// Of all, in per cent.
const AT_ONCE: usize = 5;
/// How long it must have been silent before the requests are counted: its probes linger for half a
/// minute.
const SETTLED: Duration = Duration::from_secs(45);

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    eprintln!("move: {count} Workspaces, {AT_ONCE} % of them at once, audited");
    let bed = Bed::make(true).await?;
    bed.workspaces(count).await?;
    let operator = bed.operator(plan)?;
    let ready = |sight: &Sight| sight.all_in("Ready", count);
    bed.eye.until("all Ready", PATIENCE, ready).await?;
    let nodes = nodes(&bed).await?;
    let others = plan.quiet().await?;
    bed.eye.sight().count_down_anew();

    let since = Since::now(&bed)?;
    let begun = Instant::now();
    let settings = bodies::paced(MOVED_TO, &format!("{AT_ONCE}%"));
    bed.set(settings).await?;
    let moved = |sight: &Sight| {
        sight.all_told(MOVED_TO)?;
        sight.all_in("Ready", count)
    };
    bed.eye.until("all moved", PATIENCE, moved).await?;
    let took = begun.elapsed();
    let most_down = bed.eye.sight().most_down();
    let others = [others.so_far()?];
    tokio::time::sleep(SETTLED).await;

    let writes = Writes::since(&bed, &since)?;
    let may_be_down = (count * AT_ONCE / 100).max(1);
    let what = format!("a fleet of {count} moves at {AT_ONCE} %: Workspaces not Ready at once");
    report.no_more(&what, most_down, may_be_down);
    ensure!(most_down > 0, "nobody was seen to be moved");
    report.exactly("… Pods patched", writes.pods_patched, count);
    report.no_more("… statuses written", writes.statuses, 2 * count);
    report.exactly("… probes, one a node", writes.pods_created, nodes);
    report.exactly("… and taken away again", writes.pods_deleted, nodes);
    report.exactly("… writes to the record of the settings", writes.fleet, 1);
    let rest = writes.others() - writes.pods_patched - writes.pods_deleted;
    report.exactly("… any other write", rest, 0);
    writes.told(report);
    report.note("… seconds", took.as_secs().to_string());
    if !plan.quick {
        report.others(&others);
        report.keep("others while a fleet moves", &others)?;
    }
    stop(operator).await
}

/// On how many nodes there are Pods.
async fn nodes(bed: &Bed) -> Result<usize> {
    let request = http::Request::get(wire::PODS).body(Vec::new())?;
    let list: Value = bed.client.request(request).await?;
    let pods = list["items"].as_array().context("a list of Pods")?;
    let nodes: BTreeSet<_> = pods
        .iter()
        .filter_map(|it| it["spec"]["nodeName"].as_str())
        .collect();
    Ok(nodes.len())
}
