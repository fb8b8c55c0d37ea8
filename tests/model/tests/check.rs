//! Every state within the bounds keeps every invariant. Without optimisation the bounds are
//! smaller; `make model` runs the whole.

use std::time::Duration;

use model::cluster::{Bounds, Cluster, Scenario};
use model::report::{Report, check};

const WHOLE: bool = !cfg!(debug_assertions);

/// No run takes longer; one that does was not complete, and fails.
const AT_MOST: Duration = Duration::from_secs(280);

const ONE_OPERATOR: Bounds = Bounds {
    edits: 1,
    settings: 1,
    registry: 1,
    faults: 1,
    times: &[0, 60, 3660],
    operators: 1,
    lag: 1,
};

fn holds(scenario: Scenario, bounds: Bounds) -> Report {
    let report = check(Cluster::new(scenario, bounds), AT_MOST);
    println!("{scenario:?}, {bounds:?}\n{report}\n");
    assert!(report.broken.is_empty(), "{report}");
    assert!(report.complete, "the bounds are too wide for {AT_MOST:?}");
    report
}
