//! The outage that this project exists for, replayed on a real node: `make outage`.
//!
//! A kubelet, containerd and runc, four registries of which three can be told to fail, the control
//! plane, and the operator in the cluster, from its own image and by its own manifests. Each step is
//! checked from outside, by a watch, the audit log and what kubectl prints, and it ends with an error
//! where one does not hold.

mod bed;
mod dips;
mod eye;
mod keeper;
mod machine;
mod story;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use cluster::Terminal;

/// What is told of a machine that cannot have a node.
const CANNOT_RUN: u8 = 2;

#[derive(Parser)]
#[command(about = "Replays the registry outage on a real node")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Tell the whole story (the default)
    Story(Chosen),
    /// Say whether this machine can have the node; exit code 2 where it cannot
    Check,
    /// Build what the node is made of, where that is not there yet
    Build,
    /// Start the node with a Pod on it, and keep it until Ctrl-C
    Up,
    /// Start the node with a Pod on it, and panic
    #[command(hide = true)]
    Panic,
    /// What the keeper runs, in namespaces of its own
    #[command(hide = true)]
    Inside {
        #[command(subcommand)]
        task: Inside,
    },
}

/// What is done with a node.
#[derive(Subcommand)]
enum Inside {
    Story(Chosen),
    Up,
    Panic,
}

/// A part of the story, for whoever looks for the cause of a failure.
#[derive(Args, Default)]
struct Chosen {
    /// Only these steps, after the first and before the last; one may need what those before it left
    #[arg(value_name = "STEP", value_parser = PossibleValuesParser::new(story::names()))]
    steps: Vec<String>,
}

impl Inside {
    /// How it is asked for on the command line.
    fn words(&self) -> Vec<&str> {
        match self {
            Inside::Story(chosen) => {
                let steps = chosen.steps.iter().map(String::as_str);
                std::iter::once("story").chain(steps).collect()
            }
            Inside::Up => vec!["up"],
            Inside::Panic => vec!["panic"],
        }
    }
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    match perform(task.unwrap_or(Task::Story(Chosen::default()))) {
        Ok(code) => code,
        Err(error) => {
            Terminal::new().failed("outage", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Story(chosen) => where_it_can(|| keeper::run(&Inside::Story(chosen))),
        Task::Check => where_it_can(|| Ok(ExitCode::SUCCESS)),
        Task::Build => where_it_can(|| keeper::build().map(|()| ExitCode::SUCCESS)),
        Task::Up => where_it_can(|| keeper::run(&Inside::Up)),
        Task::Panic => where_it_can(|| keeper::run(&Inside::Panic)),
        Task::Inside { task } => inside(&task),
    }
}

fn where_it_can(work: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    let Some(missing) = machine::missing() else {
        return work();
    };
    eprintln!("outage: {missing}");
    Ok(ExitCode::from(CANNOT_RUN))
}

fn inside(task: &Inside) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match task {
            Inside::Story(chosen) => story::tell(&chosen.steps).await,
            Inside::Up => keeper::stay(bed::Bed::start().await?).await,
            Inside::Panic => {
                let bed = bed::Bed::start().await?;
                bed.run_a_pod()?;
                panic!("asked to, with the node {:?}", bed.address());
            }
        }
    });
    // Whatever is still running ends with the namespaces.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}
