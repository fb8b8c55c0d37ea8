//! The day this operator is for, told on a terminal: `make demo`.
//!
//! A real control plane, the real operator with the rights it ships with, and the real kubectl.
//! Each step of the story is checked from outside, by what the API server stores and by its audit
//! log, and the demo ends with an error where one does not hold.

mod edit;
mod fleet;
mod mirror;
mod scene;
mod story;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cluster::Terminal;
use tokio::signal::unix::{SignalKind, signal};

use crate::world::World;

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match demo() {
        Ok(code) => code,
        Err(error) => {
            Terminal::new().failed("demo", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<ExitCode> {
    let ends_by_itself = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--ci") => true,
        Some(other) => bail!("{other} is unknown; usage: demo [--ci]"),
    };
    enter_project()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        // Whatever is under way is dropped then, and the cluster with it.
        let world = tokio::select! {
            biased;
            stopped = interrupted() => return stopped.map(|()| ExitCode::from(INTERRUPTED)),
            world = tell() => world?,
        };
        if !ends_by_itself {
            stay(world).await?;
        }
        Ok(ExitCode::SUCCESS)
    });
    // A kubectl or a build that is still running has been interrupted as well.
    runtime.shutdown_background();
    done
}

async fn tell() -> Result<World> {
    let mut world = World::start(Terminal::new()).await?;
    if let Err(error) = story::tell(&mut world).await {
        world.show_what_is_there().await;
        return Err(error.context("this step did not hold"));
    }
    Ok(world)
}

/// Leaves the cluster to whoever watches, until Ctrl-C.
async fn stay(mut world: World) -> Result<()> {
    world.invite();
    tokio::select! {
        biased;
        stopped = interrupted() => stopped?,
        ended = world.follow_log() => ended?,
    }
    let end = "\nEnding the operator and the cluster; nothing of them is left behind.";
    world.terminal.say(end);
    Ok(())
}

async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The commands that are shown name files of the project.
fn enter_project() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(&root).with_context(|| format!("entering {}", root.display()))
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
