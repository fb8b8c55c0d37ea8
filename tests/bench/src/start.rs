//! Many Workspaces that are there before the operator: how long until each has its Pod and says
//! that it is Ready, and what that costs; beside the bare client.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::Plan;
use crate::bare::Work;
use crate::bed::{Bed, PATIENCE, stop};
use crate::eye::Sight;
use crate::machine::{self, FOREIGN_AT_MOST, Moment};
use crate::report::Report;
use crate::samples::Samples;

/// After the last status: the controllers' part in it has to end as well.
const SETTLED: Duration = Duration::from_secs(3);
/// How often a run is made anew because others used the machine meanwhile.
const TRIES: usize = 3;

/// What the runs of one kind took.
#[derive(Default, Serialize)]
pub struct Runs {
    /// Seconds until the last Pod was written.
    pub pods: Samples,
    /// Seconds until the last Workspace said that it is Ready.
    pub ready: Samples,
    /// Milliseconds for each Workspace.
    pub client_cpu: Samples,
    /// Milliseconds for each Workspace.
    pub apiserver_cpu: Samples,
    /// Percent of the machine in others' hands.
    pub foreign: Samples,
    /// Percent of the machine that its host gave to others.
    pub stolen: Samples,
}

/// One run.
pub struct Run {
    pub pods: Duration,
    pub ready: Option<Duration>,
    pub client_cpu: Duration,
    pub apiserver_cpu: Duration,
    pub foreign: f64,
    pub stolen: f64,
}

impl Runs {
    pub fn add(&mut self, run: &Run, count: usize) {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1000.0 / count as f64;
        self.pods.add(run.pods.as_secs_f64());
        if let Some(ready) = run.ready {
            self.ready.add(ready.as_secs_f64());
        }
        self.client_cpu.add(each(run.client_cpu));
        self.apiserver_cpu.add(each(run.apiserver_cpu));
        self.foreign.add(run.foreign * 100.0);
        self.stolen.add(run.stolen * 100.0);
    }
}

/// Makes a run until one had the machine to itself, or there is no point in trying again.
pub async fn undisturbed(what: &str, mut run: impl AsyncFnMut() -> Result<Run>) -> Result<Run> {
    for _ in 1..TRIES {
        let one = run().await?;
        tell(what, &one);
        if one.foreign <= FOREIGN_AT_MOST {
            return Ok(one);
        }
        eprintln!("  … others worked meanwhile, so that run does not count");
    }
    let last = run().await?;
    tell(what, &last);
    Ok(last)
}

fn tell(what: &str, run: &Run) {
    eprintln!(
        "  {what}: Pods {:.2} s, Ready {:.2} s, CPU {} ms, kube-apiserver {} ms; \
         others {:.1} %, stolen {:.1} %",
        run.pods.as_secs_f64(),
        run.ready.unwrap_or_default().as_secs_f64(),
        run.client_cpu.as_millis(),
        run.apiserver_cpu.as_millis(),
        run.foreign * 100.0,
        run.stolen * 100.0
    );
}

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let (mut f1, mut f2, mut ours) = (Runs::default(), Runs::default(), Runs::default());
    for number in 1..=plan.runs() {
        eprintln!("start: run {number} of {}", plan.runs());
        let run = undisturbed("F1", async || floor(plan, Work::Create).await).await?;
        f1.add(&run, count);
        let run = undisturbed("F2", async || floor(plan, Work::CreateAndTell).await).await?;
        f2.add(&run, count);
        let run = undisturbed("operator", async || operator(plan).await).await?;
        ours.add(&run, count);
    }
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
    disturbance(report, &[&f1, &f2, &ours]);
    report.keep("start", &[f1, f2, ours])
}

/// What else the machine did during the runs that count.
pub fn disturbance(report: &mut Report, all: &[&Runs]) {
    let most = |share: fn(&Runs) -> &Samples| {
        let shares = all.iter().map(|it| share(it).most());
        shares.fold(0.0, f64::max)
    };
    let (foreign, stolen) = (most(|it| &it.foreign), most(|it| &it.stolen));
    report.note(
        "… of the machine with others' work, at most",
        format!("{foreign:.1} %, of it stolen by its host {stolen:.1} %"),
    );
}

async fn floor(plan: &Plan, work: Work) -> Result<Run> {
    let count = plan.count();
    let bed = Bed::make(false).await?;
    bed.workspaces(count).await?;
    let mut client = bed.bare(work, plan).await?;
    plan.quiet().await?;
    let (moment, apiserver) = (Moment::now()?, bed.apiserver_cpu()?);
    let start = client.go().await?;
    let all = |sight: &Sight| sight.all_created(count);
    let pods = bed.eye.until("all Pods", PATIENCE, all).await?;
    let ready = match work {
        Work::CreateAndTell => {
            let all = |sight: &Sight| sight.all_in("Ready", count);
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
    let count = plan.count();
    let bed = Bed::make(false).await?;
    bed.workspaces(count).await?;
    plan.quiet().await?;
    let (moment, apiserver) = (Moment::now()?, bed.apiserver_cpu()?);
    let start = std::time::Instant::now();
    let operator = bed.operator(plan)?;
    let all = |sight: &Sight| sight.all_created(count);
    let pods = bed.eye.until("all Pods", PATIENCE, all).await?;
    let all = |sight: &Sight| sight.all_in("Ready", count);
    let ready = bed.eye.until("all Ready", PATIENCE, all).await?;
    tokio::time::sleep(SETTLED).await;
    let run = Run {
        pods: pods - start,
        ready: Some(ready - start),
        client_cpu: machine::cpu_of(operator.id())?,
        apiserver_cpu: bed.apiserver_cpu()? - apiserver,
        foreign: moment.foreign_since()?,
        stolen: moment.stolen_since()?,
    };
    stop(operator).await?;
    Ok(run)
}
