//! Measures what the operator costs, beside a bare client that does the same writes.

mod bare;
mod bed;
mod bodies;
mod counts;
mod edits;
mod eye;
mod heal;
mod machine;
mod moved;
mod probe;
mod report;
mod rest;
mod restart;
mod run;
mod samples;
mod start;
mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::machine::Others;
use crate::report::Report;

/// Measures what the operator costs, beside a bare client that does the same writes on the same
/// control plane.
#[derive(Debug, Parser)]
#[command(max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    inner: Option<Inner>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Debug, Subcommand)]
enum Inner {
    /// The bare client
    #[command(hide = true)]
    Bare(bare::Task),
}

/// With so many, a run takes longer than what is learnt from it is worth.
const LARGE: usize = 10_000;

/// What to measure.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// How many Workspaces. What is measured once is measured with the first number; from 10000 on
    /// only what the number could slow down is [default: 1000,5000; 200 with --quick]
    #[arg(long, value_delimiter = ',')]
    count: Vec<usize>,
    /// How many runs of each kind; their median counts [default: 3; 5 from 5000 Workspaces on]
    #[arg(long)]
    runs: Option<usize>,
    /// Only the counts of requests, which need no quiet machine; it fails when one is not exact, or
    /// above its ceiling
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How many requests the operator and the bare client have under way at once; the bare client
    /// was found no quicker with more than 16
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// How long the converged operator is watched, in seconds [default: 300; 5 with --quick]
    #[arg(long)]
    idle: Option<u64>,
    /// How long to wait for a quiet machine before each run, in seconds
    #[arg(long, default_value_t = 900)]
    patience: u64,
    /// The operator [default: the one beside this program]
    #[arg(long, default_value_os_t = beside())]
    operator: PathBuf,
    /// Where the figures go, for machines
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Requests, counted in the audit log
    Counts,
    /// A fleet that moves at a pace: how many are down at once, and requests
    Move,
    /// Time and CPU from the operator's start to all Ready
    Start,
    /// Time and CPU from the edit to all healed
    Heal,
    /// One new Workspace while others start or heal
    Probe,
    /// From the edit to the first rollout that uses it; a restart after that
    Edits,
    /// Memory
    Rest,
}

impl Plan {
    /// A plan for each number of Workspaces.
    fn each(&self) -> Vec<Self> {
        let counts = match (&self.count[..], self.quick) {
            ([], true) => &[200],
            ([], false) => &[1000, 5000][..],
            (asked, _) => asked,
        };
        let one = |count: &usize| Self {
            count: vec![*count],
            ..self.clone()
        };
        counts.iter().map(one).collect()
    }

    /// The number of a plan that has one.
    fn count(&self) -> usize {
        self.count.first().copied().unwrap_or_default()
    }

    fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.count() < 5000 { 3 } else { 5 })
    }

    fn idle(&self) -> Duration {
        Duration::from_secs(self.idle.unwrap_or(if self.quick { 5 } else { 300 }))
    }

    fn has(&self, part: Part) -> bool {
        let asked = self.only.is_empty() || self.only.contains(&part);
        asked && (!self.quick || [Part::Counts, Part::Move].contains(&part))
    }

    /// Before what depends on the time: waits for a quiet machine, and looks from then on at what
    /// others do on it. A quick run depends on no time.
    async fn quiet(&self) -> Result<Others> {
        let patience = Duration::from_secs(self.patience);
        let was_quiet = self.quick || machine::quiet(patience).await?;
        Others::from_now_on(was_quiet)
    }
}

fn beside() -> PathBuf {
    std::env::current_exe().map_or_else(
        |_| bed::OPERATOR.into(),
        |it| it.with_file_name(bed::OPERATOR),
    )
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.inner {
        Some(Inner::Bare(task)) => one_thread().and_then(|it| it.block_on(bare::run(&task))),
        None => one_thread().and_then(|it| it.block_on(measure(&cli.plan))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn one_thread() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

async fn measure(plan: &Plan) -> Result<()> {
    tokio::task::spawn_blocking(cluster::ensure)
        .await?
        .context("building the control plane")?;
    let plans = plan.each();
    let (first, last) = match &plans[..] {
        [first, .., last] => (first, last),
        [only] => (only, only),
        [] => bail!("--count names no number"),
    };
    let mut report = Report::new(plan)?;
    if plan.has(Part::Counts) {
        counts::measure(first, &mut report).await?;
    }
    if plan.has(Part::Move) {
        moved::measure(last, &mut report).await?;
    }
    if plan.has(Part::Start) {
        for plan in plans.iter().filter(|it| it.count() < LARGE) {
            start::measure(plan, &mut report).await?;
        }
    }
    if plan.has(Part::Heal) {
        heal::measure(first, &mut report).await?;
    }
    if plan.has(Part::Probe) {
        probe::starting(last, &mut report).await?;
        probe::healing(first, &mut report).await?;
    }
    if plan.has(Part::Edits) {
        let counts = BTreeSet::from([0, first.count(), last.count()]);
        edits::measure(plan, &counts, &mut report).await?;
    }
    if plan.has(Part::Rest) {
        for plan in &plans {
            rest::measure(plan, &mut report).await?;
        }
    }
    report.finish(&plan.json)
}
