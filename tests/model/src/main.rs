//! The longer run, by default one operator and one of everything, some million states:
//! `cargo run --profile fast -p model -- --help`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use model::cluster::{Bounds, Cluster, Scenario};
use model::report::check;

/// Checks every interleaving within bounds, and says what it found.
#[derive(Parser)]
struct Arguments {
    /// What it is about: images, storage, or moves.
    #[arg(long, default_value = "images", value_parser = scenario)]
    scenario: Scenario,
    /// Edits, suspensions and deletions by users, at most.
    #[arg(long, default_value_t = 1)]
    edits: u8,
    /// Edits of the settings, at most.
    #[arg(long, default_value_t = 1)]
    settings: u8,
    /// Changes of the registry's mind, at most.
    #[arg(long, default_value_t = 1)]
    registry: u8,
    /// Crashes, lost answers, evictions, lost nodes, ..., at most.
    #[arg(long, default_value_t = 1)]
    faults: u8,
    /// Points in time, at most.
    #[arg(long, default_value_t = 2)]
    times: usize,
    /// Operators at once: 1 or 2.
    #[arg(long, default_value_t = 1)]
    operators: usize,
    /// How many versions of an object a cache may be behind.
    #[arg(long, default_value_t = 1)]
    lag: usize,
    /// After so many seconds what was checked has to do.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

/// Now; after all that has to last; after every time-out; and the same again.
const TIMES: [i64; 5] = [0, 60, 3660, 3720, 7320];

fn scenario(name: &str) -> Result<Scenario, String> {
    match name {
        "images" => Ok(Scenario::Images),
        "storage" => Ok(Scenario::Storage),
        "moves" => Ok(Scenario::Moves),
        _ => Err("images, storage or moves".into()),
    }
}

fn main() -> ExitCode {
    let given = Arguments::parse();
    let bounds = Bounds {
        edits: given.edits,
        settings: given.settings,
        registry: given.registry,
        faults: given.faults,
        times: &TIMES[..given.times.clamp(1, TIMES.len())],
        operators: given.operators.clamp(1, 2),
        lag: given.lag,
    };
    let cluster = Cluster::new(given.scenario, bounds);
    let report = check(cluster, Duration::from_secs(given.seconds));
    println!("{bounds:?}\n{report}");
    if report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
