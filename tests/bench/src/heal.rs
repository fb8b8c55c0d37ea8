//! Many stuck Pods, and the edit that heals them; beside a bare client that patches the same.

use std::time::Duration;

use anyhow::Result;
use cluster::Process;

use crate::Plan;
use crate::bare::Work;
use crate::bed::{Bed, PATIENCE, stop};
use crate::bodies::{DOWN, UP};
use crate::counts::all_stuck;
use crate::eye::Sight;
use crate::machine::{self, Moment};
use crate::report::Report;
use crate::start::{Run, Runs, disturbance, undisturbed};

const SETTLED: Duration = Duration::from_secs(3);

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let (mut patch, mut tell, mut ours) = (Runs::default(), Runs::default(), Runs::default());
    for number in 1..=plan.runs() {
        eprintln!("heal: run {number} of {}", plan.runs());
        let run = undisturbed("patches", async || floor(plan, Work::Heal).await).await?;
        patch.add(&run, count);
        let run = undisturbed("and statuses", async || {
            floor(plan, Work::HealAndTell).await
        });
        tell.add(&run.await?, count);
        let run = undisturbed("operator", async || operator(plan).await).await?;
        ours.add(&run, count);
    }
    let what = format!("{count} stuck: last Pod patched after the edit, beside a client's patches");
    report.beside(&what, "s", &ours.pods, &patch.pods, 1.10);
    let what = "… all Ready in status, beside a client that patches and tells";
    report.beside(what, "s", &ours.ready, &tell.ready, 1.10);
    let (cpu, floor) = (&ours.client_cpu, &tell.client_cpu);
    report.beside("… CPU for each, beside that client", "ms", cpu, floor, 1.5);
    disturbance(report, &[&patch, &tell, &ours]);
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
    plan.quiet().await?;
    let (moment, apiserver) = (Moment::now()?, bed.apiserver_cpu()?);
    let start = client.go().await?;
    let all = |sight: &Sight| sight.all_told(UP);
    let pods = bed.eye.until("all patched", PATIENCE, all).await?;
    let ready = match work {
        Work::HealAndTell => {
            let all = |sight: &Sight| sight.all_in("Ready", plan.count());
            Some(bed.eye.until("all Ready", PATIENCE, all).await?)
        }
        _ => None,
    };
    let client_cpu = client.end().await?;
    tokio::time::sleep(SETTLED).await;
    Ok(Run {
        pods: pods - start,
        ready: ready.map(|it| it - start),
        client_cpu,
        apiserver_cpu: bed.apiserver_cpu()? - apiserver,
        foreign: moment.foreign_since()?,
        stolen: moment.stolen_since()?,
    })
}

async fn operator(plan: &Plan) -> Result<Run> {
    let (bed, operator) = stuck(plan).await?;
    plan.quiet().await?;
    let (moment, apiserver) = (Moment::now()?, bed.apiserver_cpu()?);
    let before = machine::cpu_of(operator.id())?;
    let start = bed.edit(UP).await?;
    let all = |sight: &Sight| sight.all_told(UP);
    let pods = bed.eye.until("all patched", PATIENCE, all).await?;
    let all = |sight: &Sight| sight.all_in("Ready", plan.count());
    let ready = bed.eye.until("all Ready", PATIENCE, all).await?;
    tokio::time::sleep(SETTLED).await;
    let run = Run {
        pods: pods - start,
        ready: Some(ready - start),
        client_cpu: machine::cpu_of(operator.id())? - before,
        apiserver_cpu: bed.apiserver_cpu()? - apiserver,
        foreign: moment.foreign_since()?,
        stolen: moment.stolen_since()?,
    };
    stop(operator).await?;
    Ok(run)
}
