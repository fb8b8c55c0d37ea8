//! Many Workspaces that are there before the operator: how long until each has its Pod and says
//! that it is Ready, and what that costs; beside the bare client.

use std::time::Instant;

use anyhow::Result;

use crate::Plan;
use crate::bare::Work;
use crate::bed::{Bed, stop};
use crate::eye::Sight;
use crate::machine;
use crate::report::Report;
use crate::run::{Goal, Ready, Run, disturbance, interleaved};

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let runs = interleaved(
        "start",
        plan,
        ["F1", "F2", "operator"],
        async |kind: usize| match kind {
            0 => floor(plan, Work::Create).await,
            1 => floor(plan, Work::CreateAndTell).await,
            _ => operator(plan).await,
        },
    );
    let [f1, f2, ours] = &runs.await?;
    let what = format!("{count} Workspaces: all Pods created from the start, beside F1");
    report.beside(&what, "s", &ours.pods, &f1.pods, 1.10);
    report.beside(
        "… all Ready in status, beside F2",
        "s",
        &ours.ready,
        &f2.ready,
        1.10,
    );
    let (cpu, floor) = (&ours.client_cpu, &f2.client_cpu);
    report.beside("… CPU for each, beside F2's client", "ms", cpu, floor, 1.5);
    let (cpu, floor) = (&ours.apiserver_cpu, &f2.apiserver_cpu);
    report.beside(
        "… kube-apiserver's CPU for each, beside F2",
        "ms",
        cpu,
        floor,
        1.15,
    );
    disturbance(report, &[f1, f2, ours]);
    report.keep(&format!("start of {count}"), &[f1, f2, ours])
}

async fn floor(plan: &Plan, work: Work) -> Result<Run> {
    let bed = Bed::make(false).await?;
    bed.workspaces(plan.count()).await?;
    let mut client = bed.bare(work, plan).await?;
    let ready = Ready::on(&bed, plan.quiet().await?)?;
    let start = client.go().await?;
    let told = work.tells().then_some(plan.count());
    ready
        .run(start, goal(plan, told), async || client.end().await)
        .await
}

async fn operator(plan: &Plan) -> Result<Run> {
    let bed = Bed::make(false).await?;
    bed.workspaces(plan.count()).await?;
    let ready = Ready::on(&bed, plan.quiet().await?)?;
    let start = Instant::now();
    let operator = bed.operator(plan)?;
    let cpu = async || machine::cpu_of(operator.id());
    let run = ready
        .run(start, goal(plan, Some(plan.count())), cpu)
        .await?;
    stop(operator).await?;
    Ok(run)
}

fn goal(plan: &Plan, told: Option<usize>) -> Goal<impl Fn(&Sight) -> Option<Instant>> {
    let count = plan.count();
    Goal {
        written: move |sight: &Sight| sight.all_created(count),
        told,
    }
}
