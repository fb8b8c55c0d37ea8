//! From the answer to an edit of the settings to the first rollout that uses it, seen by a watch.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, PROBES, stop};
use crate::bodies::{self, DOWN};
use crate::eye::Sight;
use crate::machine::Share;
use crate::report::Report;
use crate::rest::STARTED;
use crate::restart;
use crate::samples::Samples;
use crate::wire;

const EDITS: usize = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Milliseconds from the edit's answer.
#[derive(Default, Serialize)]
struct Waits {
    /// Until a stuck Pod has its new image.
    stuck: Samples,
    /// Until a Workspace that is created right then has a Pod with its image.
    new: Samples,
    /// How many of those were so quick that their Pod still followed the older settings; then
    /// the next one's counts.
    overtook: usize,
    /// What others had of the machine meanwhile.
    others: Vec<Share>,
}

pub async fn measure(plan: &Plan, counts: &BTreeSet<usize>, report: &mut Report) -> Result<()> {
    for &count in counts {
        eprintln!("edits: {EDITS} of each kind while {count} Workspaces run");
        let bed = Bed::make(false).await?;
        bed.workspaces(count).await?;
        let operator = bed.operator(plan)?;
        operator.wait_for_line(STARTED, PATIENCE).await?;
        if count > 0 {
            let ready = |sight: &Sight| sight.all_in("Ready", count);
            bed.eye.until("all Ready", PATIENCE, ready).await?;
        }
        let others = plan.quiet().await?;
        let mut waits = Waits::default();
        stuck(&bed, &mut waits).await?;
        new(&bed, &mut waits).await?;
        waits.others.push(others.so_far()?);
        stop(operator).await?;
        if count > 0 {
            restart::measure(plan, count, &bed, report).await?;
        }
        let kinds = [
            ("a stuck Pod gets its image", &waits.stuck),
            ("a Workspace created right then has its Pod", &waits.new),
        ];
        for (what, samples) in kinds {
            let what = format!("edit while {count} run, until {what}");
            report.at_most(&format!("{what}: p50"), samples.median(), 25.0, "ms");
            report.at_most(&format!("{what}: p99"), samples.p99(), 100.0, "ms");
        }
        report.note(
            "… Workspaces created right then that the operator saw before the edit",
            format!("{} of {EDITS}", waits.overtook),
        );
        report.others(&waits.others);
        report.keep(&format!("edits while {count} run"), &waits)?;
    }
    Ok(())
}

/// The registries are all down, so the Pod is stuck again after each.
async fn stuck(bed: &Bed, waits: &mut Waits) -> Result<()> {
    bed.edit(&format!("{DOWN}/first")).await?;
    bed.in_force(&format!("{DOWN}/first")).await?;
    let body = bodies::workspace("stuck");
    wire::post(&bed.client, &wire::workspaces_in(PROBES), body).await?;
    let key = format!("{PROBES}/stuck");
    for number in 0..=EDITS {
        let registry = format!("{DOWN}/agents-{number}");
        let edited = bed.edit(&registry).await?;
        let told = |sight: &Sight| {
            let pod = sight.pods.get(&key)?;
            (pod.image.starts_with(&format!("{registry}/")) && pod.looked_at).then_some(pod.told)
        };
        let told = bed.eye.until("the new image", PATIENCE, told).await?;
        // Before the first the Pod may not have been there.
        if number > 0 {
            waits.stuck.add_ms(told.saturating_duration_since(edited));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn new(bed: &Bed, waits: &mut Waits) -> Result<()> {
    for number in 0..EDITS {
        let registry = format!("up-{number}.example.com/agents");
        let edited = bed.edit(&registry).await?;
        for attempt in 0.. {
            let name = format!("new-{number}-{attempt}");
            let body = bodies::workspace(&name);
            wire::post(&bed.client, &wire::workspaces_in(PROBES), body).await?;
            let key = format!("{PROBES}/{name}");
            let pod = |sight: &Sight| {
                let pod = sight.pods.get(&key)?;
                Some((pod.created, pod.image.starts_with(&registry)))
            };
            let (created, uses_it) = bed.eye.until(&name, PATIENCE, pod).await?;
            if uses_it {
                waits.new.add_ms(created.saturating_duration_since(edited));
                break;
            }
            waits.overtook += 1;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
