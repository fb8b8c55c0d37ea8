//! The outage that this project exists for, replayed on a real node: `make outage`.
//!
//! A kubelet, containerd and runc, four registries that can be told to fail, the control plane, and
//! the operator in the cluster, from its own image and by its own manifests. Each step is checked
//! from outside, by a watch, the audit log and what kubectl prints, and it ends with an error where
//! one does not hold.

mod bed;
mod eye;
mod keeper;
mod machine;
mod story;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use cluster::Terminal;

/// What is told of a machine that cannot have a node.
const CANNOT_RUN: u8 = 2;

#[derive(Parser)]
#[command(about = "Replays the registry outage on a real node")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Tell the whole story (the default)
    Story,
    /// Say whether this machine can have the node; exit code 2 where it cannot
    Check,
    /// Start the node, and keep it until the end of the input
    Up,
    /// Start the node, and panic
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
#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Story,
    Up,
    Panic,
}

fn main() -> ExitCode {
    let task = Arguments::parse().task.unwrap_or(Task::Story);
    match perform(task) {
        Ok(code) => code,
        Err(error) => {
            Terminal::new().failed("outage", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    let task = match task {
        Task::Inside { task } => return inside(task),
        Task::Check => None,
        Task::Story => Some(Inside::Story),
        Task::Up => Some(Inside::Up),
        Task::Panic => Some(Inside::Panic),
    };
    if let Some(missing) = machine::missing() {
        eprintln!("outage: {missing}");
        return Ok(ExitCode::from(CANNOT_RUN));
    }
    match task {
        Some(task) => keeper::run(task),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn inside(task: Inside) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match task {
            Inside::Story => story::tell().await,
            Inside::Up => keeper::stay(bed::Bed::start().await?).await,
            Inside::Panic => {
                let bed = bed::Bed::start().await?;
                panic!("asked to, with the node {:?}", bed.address());
            }
        }
    });
    // Whatever is still running ends with the namespaces.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}
