//! A checker that cannot fail proves nothing: every broken rule is found, by the invariant that
//! it breaks, with a counterexample that a person can read.

use std::time::Duration;

use model::cluster::{Bounds, Cluster};
use model::invariants::{NAMES, name};
use model::mutants::MUTANTS;
use model::report::refute;

/// Enough for the shortest counterexamples.
const BOUNDS: Bounds = Bounds {
    edits: 1,
    settings: 1,
    registry: 1,
    faults: 1,
    times: &[0, 60, 3660],
    operators: 1,
    lag: 1,
};

fn caught(name_of_mutant: &str) {
    let mutant = MUTANTS.iter().find(|it| it.name == name_of_mutant);
    let mutant = mutant.expect("there is such a mutant");
    let cluster = Cluster::new(mutant.scenario, BOUNDS).with_rule(mutant.rule);
    let report = refute(cluster, mutant.breaks, Duration::from_secs(600));

    let expected = name(mutant.breaks);
    let found = report.broken.iter().find(|(name, _)| *name == expected);
    let (_, counterexample) = found.unwrap_or_else(|| panic!("{expected} still holds:\n{report}"));
    let says = format!("=> {:?}: ", mutant.breaks);
    assert!(counterexample.contains(&says), "{counterexample}");
    println!("An operator that {name_of_mutant} breaks {expected}:\n{counterexample}\n");
}

macro_rules! caught {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { caught($name); })*

        #[test]
        fn every_mutant_has_its_test() {
            let tested = [$($name),*];
            let all: Vec<_> = MUTANTS.iter().map(|it| it.name).collect();
            assert_eq!(all, tested);
        }
    };
}

caught! {
    gives_each_pod_a_name_of_its_own: "gives each Pod a name of its own",
    puts_the_image_into_the_revision: "puts the image into the revision",
    ignores_that_a_container_has_run: "ignores that a container has run",
    takes_a_pod_that_runs_for_a_stuck_one: "takes a Pod that runs for a stuck one",
    deletes_pods_of_others: "deletes Pods of others",
    deletes_without_naming_a_version: "deletes without naming a version",
    heals_without_naming_a_version: "heals without naming a version",
    tells_without_naming_a_version: "tells without naming a version",
    creates_pods_that_no_workspace_controls: "creates Pods that no Workspace controls",
    tells_ready_before_it_is: "tells Ready before it is",
    tells_ready_of_another_generation: "tells Ready of another generation",
    lets_ready_stand: "lets Ready stand",
    has_every_claim_go_with_its_workspace: "has every claim go with its Workspace",
    never_stops_to_write: "never stops to write",
    never_looks_again: "never looks again",
    tries_under_a_name: "tries under a name",
    gives_up_a_pod_that_failed: "gives up a Pod that failed",
    uses_settings_that_are_invalid: "uses settings that are invalid",
}

#[test]
fn every_invariant_has_a_mutant() {
    for (invariant, name) in NAMES {
        assert!(MUTANTS.iter().any(|it| it.breaks == invariant), "{name}");
    }
}
