//! Many stuck Pods, and the edit that heals them; beside a bare client that patches the same.

use std::time::Instant;

use anyhow::Result;
use cluster::Process;

use crate::Plan;
use crate::bare::Work;
use crate::bed::{Bed, stop};
use crate::bodies::{DOWN, UP};
use crate::counts::all_stuck;
use crate::eye::Sight;
use crate::machine;
use crate::report::Report;
use crate::run::{Goal, Ready, Run, disturbance, interleaved};

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let names = ["patches", "and statuses", "operator"];
    let runs = interleaved("heal", plan, names, async |kind: usize| match kind {
        0 => floor(plan, Work::Heal).await,
        1 => floor(plan, Work::HealAndTell).await,
        _ => operator(plan).await,
    });
    let [patch, tell, ours] = &runs.await?;
    let what = format!("{count} stuck: last Pod patched after the edit, beside a client's patches");
    report.beside(&what, "s", &ours.pods, &patch.pods, 1.10);
    let what = "… all Ready in status, beside a client that patches and tells";
    report.beside(what, "s", &ours.ready, &tell.ready, 1.10);
    let (cpu, floor) = (&ours.client_cpu, &tell.client_cpu);
    report.beside("… CPU for each, beside that client", "ms", cpu, floor, 1.5);
    disturbance(report, &[patch, tell, ours]);
    report.keep("heal", &[patch, tell, ours])
}

/// A cluster in which every Pod waits for its image in vain.
pub async fn stuck(plan: &Plan) -> Result<(Bed, Process)> {
    let bed = Bed::make(false).await?;
    let down = format!("{DOWN}/agents");
    bed.edit(&down).await?;
    bed.workspaces(plan.count()).await?;
    let operator = bed.operator(plan)?;
    all_stuck(&bed, plan.count(), &down).await?;
    Ok((bed, operator))
}

async fn floor(plan: &Plan, work: Work) -> Result<Run> {
    let (bed, operator) = stuck(plan).await?;
    stop(operator).await?;
    let mut client = bed.bare(work, plan).await?;
    let ready = Ready::on(&bed, plan.quiet().await?)?;
    let start = client.go().await?;
    let told = work.tells().then_some(plan.count());
    ready
        .run(start, goal(told), async || client.end().await)
        .await
}

async fn operator(plan: &Plan) -> Result<Run> {
    let (bed, operator) = stuck(plan).await?;
    let ready = Ready::on(&bed, plan.quiet().await?)?;
    let before = machine::cpu_of(operator.id())?;
    let start = bed.edit(UP).await?;
    let cpu = async || Ok(machine::cpu_of(operator.id())? - before);
    let run = ready.run(start, goal(Some(plan.count())), cpu).await?;
    stop(operator).await?;
    Ok(run)
}

fn goal(told: Option<usize>) -> Goal<impl Fn(&Sight) -> Option<Instant>> {
    Goal {
        written: |sight: &Sight| sight.all_told(UP),
        told,
    }
}
