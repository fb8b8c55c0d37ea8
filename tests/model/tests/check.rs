//! Every state within the bounds keeps every invariant. Without optimisation the bounds are
//! narrower, for a quick look; `make model` runs the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use model::cluster::{Bounds, Cluster, Scenario};
use model::report::check;
use model::settle::MOST_STEPS;

const WHOLE: bool = !cfg!(debug_assertions);

/// In CI at least so many distinct states are checked. Runs of the same scenario overlap, so what is
/// added up is the largest run of each.
const AT_LEAST: usize = if WHOLE { 1_000_000 } else { 1_000 };

/// All runs together, each complete within its bounds, take half of that on two quiet cores.
const AT_MOST: Duration = Duration::from_secs(300);

const NOTHING: Bounds = Bounds {
    edits: 0,
    settings: 0,
    registry: 0,
    faults: 0,
    times: &[0, 60],
    operators: 1,
    lag: 1,
};

const NARROW: [(&str, Scenario, Bounds); 2] = [
    (
        "two operators that are never behind, and a fault",
        Scenario::Images,
        Bounds {
            operators: 2,
            lag: 0,
            faults: 1,
            ..NOTHING
        },
    ),
    (
        "an edit of storage",
        Scenario::Storage,
        Bounds {
            edits: 1,
            ..NOTHING
        },
    ),
];

const WIDE: [(&str, Scenario, Bounds); 13] = [
    (
        "one operator that is never behind, an edit, an edit of the settings and a fault",
        Scenario::Images,
        Bounds {
            edits: 1,
            settings: 1,
            faults: 1,
            lag: 0,
            ..NOTHING
        },
    ),
    (
        "one operator, an outage, a fault, and until every time-out is over",
        Scenario::Images,
        Bounds {
            settings: 1,
            registry: 1,
            faults: 1,
            times: &[0, 60, 3660],
            ..NOTHING
        },
    ),
    (
        "one operator, settings that go back and forth in an outage, seen late",
        Scenario::Images,
        Bounds {
            settings: 2,
            registry: 1,
            lag: 2,
            ..NOTHING
        },
    ),
    (
        "one operator, settings that go back and forth in an outage, a fault, at one moment",
        Scenario::Images,
        Bounds {
            settings: 2,
            registry: 1,
            faults: 1,
            times: &[0],
            ..NOTHING
        },
    ),
    (
        "one operator that sees all very late, an edit and a fault",
        Scenario::Images,
        Bounds {
            edits: 1,
            faults: 1,
            lag: 3,
            ..NOTHING
        },
    ),
    (
        "two operators and a fault, until every time-out is over",
        Scenario::Images,
        Bounds {
            faults: 1,
            operators: 2,
            times: &[0, 60, 3660],
            ..NOTHING
        },
    ),
    (
        "two operators and an edit",
        Scenario::Images,
        Bounds {
            edits: 1,
            operators: 2,
            ..NOTHING
        },
    ),
    (
        "two operators, an outage and an edit of the settings",
        Scenario::Images,
        Bounds {
            settings: 1,
            registry: 1,
            operators: 2,
            ..NOTHING
        },
    ),
    (
        "a fleet moves: an edit, an edit of the settings and an outage",
        Scenario::Moves,
        Bounds {
            edits: 1,
            settings: 1,
            registry: 1,
            ..NOTHING
        },
    ),
    (
        "a fleet moves: settings that go back and forth, until every time-out is over",
        Scenario::Moves,
        Bounds {
            settings: 2,
            times: &[0, 60, 3660],
            ..NOTHING
        },
    ),
    (
        "a fleet moves: an edit of the settings and a fault",
        Scenario::Moves,
        Bounds {
            settings: 1,
            faults: 1,
            ..NOTHING
        },
    ),
    (
        "a fleet moves: two operators that are never behind, an edit of the settings and a fault",
        Scenario::Moves,
        Bounds {
            settings: 1,
            faults: 1,
            operators: 2,
            times: &[0],
            lag: 0,
            ..NOTHING
        },
    ),
    (
        "storage, two edits and a fault",
        Scenario::Storage,
        Bounds {
            edits: 2,
            faults: 1,
            ..NOTHING
        },
    ),
];

/// What the runs must come across: a check that never gets there proves nothing.
const REACHED: [&str; 17] = [
    "Ready is told",
    "Suspended is told",
    "a stuck Pod is healed in place",
    "a Pod is replaced for another spec",
    "a Pod is moved in place",
    "RolloutBlocked is told",
    "ImagePullFailed is told",
    "PodStuckTerminating is told",
    "PodNotOwned is told",
    "PodRejected is told",
    "PodFailed is told",
    "InvalidSpec is told",
    "UnknownRuntime is told",
    "the end of a Pod is refused",
    "the settings are back, a healed Pod is not",
    "a cache is two versions behind",
    "a second Workspace of the name exists",
];

#[test]
fn every_interleaving_within_the_bounds_keeps_every_invariant() {
    let runs: &[_] = if WHOLE { &WIDE } else { &NARROW };
    let (start, mut states, mut most_steps) = (Instant::now(), 0, 0);
    let (mut reached, mut largest) = (BTreeSet::new(), BTreeMap::new());
    for (name, scenario, bounds) in runs {
        let left = AT_MOST.saturating_sub(start.elapsed());
        let report = check(Cluster::new(*scenario, *bounds), left);
        println!("{name}: {bounds:?}\n  {report}");
        assert!(report.broken.is_empty(), "{name}: {report}");
        assert!(report.complete, "{name} ends later than {AT_MOST:?}");
        states += report.states;
        most_steps = report.most_steps.max(most_steps);
        let of_scenario = largest.entry(*scenario).or_insert(0);
        *of_scenario = report.states.max(*of_scenario);
        reached.extend(report.reached);
    }
    let distinct: usize = largest.values().sum();
    println!(
        "{states} states in all runs, each distinct within its run; the largest run of each \
         scenario: {largest:?}, {distinct} together; all settle within {most_steps} of \
         {MOST_STEPS} steps"
    );
    assert!(
        distinct >= AT_LEAST,
        "the bounds are too narrow: {distinct} states in the largest run of each scenario"
    );
    let expected = if WHOLE { &REACHED[..] } else { &REACHED[..1] };
    for name in expected {
        assert!(reached.contains(name), "never reached: {name}");
    }
}
