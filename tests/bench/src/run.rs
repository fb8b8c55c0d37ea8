//! One run: from its start until all is written and told, and what that cost meanwhile.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::Plan;
use crate::bed::{Bed, PATIENCE};
use crate::eye::Sight;
use crate::machine::{Others, Share};
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
    /// What others had of the machine during each.
    pub others: Vec<Share>,
}

/// One run.
pub struct Run {
    pub pods: Duration,
    pub ready: Option<Duration>,
    pub client_cpu: Duration,
    pub apiserver_cpu: Duration,
    pub others: Share,
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
        self.others.push(run.others);
    }
}

/// Runs of three kinds. Each kind comes first, second and last in turn: what changes about the
/// machine meanwhile is to favour none.
pub async fn interleaved(
    part: &str,
    plan: &Plan,
    names: [&str; 3],
    run: impl AsyncFn(usize) -> Result<Run>,
) -> Result<[Runs; 3]> {
    let mut all: [Runs; 3] = Default::default();
    for number in 0..plan.runs() {
        eprintln!("{part}: run {} of {}", number + 1, plan.runs());
        for turn in 0..names.len() {
            let kind = (number + turn) % names.len();
            let one = undisturbed(names[kind], async || run(kind).await).await?;
            all[kind].add(&one, plan.count());
        }
    }
    Ok(all)
}

/// Makes a run until one had the machine to itself, or there is no point in trying again: the last
/// one counts in any case, and the table tells.
async fn undisturbed(what: &str, run: impl AsyncFn() -> Result<Run>) -> Result<Run> {
    for _ in 1..TRIES {
        let one = run().await?;
        tell(what, &one);
        if !one.others.is_too_much() {
            return Ok(one);
        }
        eprintln!("  … others worked meanwhile, so that run does not count");
    }
    let last = run().await?;
    tell(what, &last);
    if last.others.is_too_much() {
        eprintln!("  … others worked meanwhile again, and that run counts all the same");
    }
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
        run.others.foreign,
        run.others.stolen
    );
}

/// Where a run ends.
pub struct Goal<W> {
    /// When the last Pod was written, once all are.
    pub written: W,
    /// How many Workspaces say that they are Ready, where somebody says so.
    pub told: Option<usize>,
}

/// A run that has not begun yet.
pub struct Ready<'a> {
    bed: &'a Bed,
    others: Others,
    apiserver: Duration,
}

impl<'a> Ready<'a> {
    pub fn on(bed: &'a Bed, others: Others) -> Result<Self> {
        Ok(Self {
            bed,
            others,
            apiserver: bed.apiserver_cpu()?,
        })
    }

    /// Waits from the start for the goal. The client's CPU is asked for when all is quiet again.
    pub async fn run<W: Fn(&Sight) -> Option<Instant>>(
        self,
        start: Instant,
        goal: Goal<W>,
        client_cpu: impl AsyncFnOnce() -> Result<Duration>,
    ) -> Result<Run> {
        let eye = &self.bed.eye;
        let pods = eye.until("all Pods", PATIENCE, goal.written).await? - start;
        let ready = match goal.told {
            None => None,
            Some(count) => {
                let all = |sight: &Sight| sight.all_in("Ready", count);
                Some(eye.until("all Ready", PATIENCE, all).await? - start)
            }
        };
        tokio::time::sleep(SETTLED).await;
        Ok(Run {
            pods,
            ready,
            client_cpu: client_cpu().await?,
            apiserver_cpu: self.bed.apiserver_cpu()? - self.apiserver,
            others: self.others.so_far()?,
        })
    }
}

/// What else the machine did during the runs that count.
pub fn disturbance(report: &mut Report, all: &[&Runs]) {
    let shares = all.iter().flat_map(|it| it.others.iter().copied());
    report.others(&shares.collect::<Vec<_>>());
}
