//! A checker that cannot fail proves nothing: every broken rule is found, by the invariant that
//! it breaks, with a counterexample that a person can read.

use std::time::Duration;

use model::cluster::{Bounds, Cluster, Scenario};
use model::invariants::{Invariant, NAMES, name};
use model::misapplied::MISAPPLIED;
use model::mutants::MUTANTS;
use model::report::{check, refute};

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

/// One edit of the settings, and nothing else but what the registry does.
const ONCE: Bounds = Bounds {
    edits: 0,
    faults: 0,
    times: &[0, 60],
    ..BOUNDS
};

fn caught(name_of_mutant: &str) {
    let mutant = MUTANTS.iter().find(|it| it.name == name_of_mutant);
    let mutant = mutant.expect("there is such a mutant");
    // What takes longer to get to has less beside it.
    let bounds = match mutant.settings {
        1 => BOUNDS,
        settings => Bounds { settings, ..ONCE },
    };
    let cluster = Cluster::new(mutant.scenario, bounds).with_rule(mutant.rule);
    refuted(name_of_mutant, cluster, mutant.breaks);
}

fn misapplied(name_of_mutant: &str) {
    let mutant = MISAPPLIED.iter().find(|it| it.name == name_of_mutant);
    let mutant = mutant.expect("there is such a mutant");
    let cluster = Cluster::new(Scenario::Images, BOUNDS).with_applying(mutant.applying);
    refuted(name_of_mutant, cluster, mutant.breaks);
}

fn refuted(name_of_mutant: &str, cluster: Cluster, breaks: Invariant) {
    let report = refute(cluster, breaks, Duration::from_secs(600));
    let expected = name(breaks);
    let found = report.broken.iter().find(|(name, _)| *name == expected);
    let (_, counterexample) = found.unwrap_or_else(|| panic!("{expected} still holds:\n{report}"));
    let says = format!("=> {breaks:?}: ");
    assert!(counterexample.contains(&says), "{counterexample}");
    println!("An operator that {name_of_mutant} breaks {expected}:\n{counterexample}\n");
}

macro_rules! each {
    ($caught:ident, $all:ident, $every:ident: $($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { $caught($name); })*

        #[test]
        fn $every() {
            let tested = [$($name),*];
            let all: Vec<_> = $all.iter().map(|it| it.name).collect();
            assert_eq!(all, tested);
        }
    };
}

each! {
    caught, MUTANTS, every_mutant_has_its_test:
    gives_each_pod_a_name_of_its_own: "gives each Pod a name of its own",
    puts_the_image_into_the_revision: "puts the image into the revision",
    ignores_that_a_container_has_run: "ignores that a container has run",
    takes_a_pod_that_runs_for_a_stuck_one: "takes a Pod that runs for a stuck one",
    takes_every_image_for_proved: "takes every image for proved",
    moves_what_is_not_proved: "moves what is not proved",
    takes_what_its_node_has_not_looked_at_for_down: "takes what its node has not looked at for down",
    takes_what_is_restarted_for_down: "takes what is restarted for down",
    moves_what_was_healed_back_with_the_settings: "moves what was healed back with the settings",
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
    uses_settings_that_nobody_has_set: "uses settings that nobody has set",
    forgets_the_tag: "forgets the tag",
}

each! {
    misapplied, MISAPPLIED, every_way_to_misapply_has_its_test:
    creates_what_it_tries: "creates what it tries",
    deletes_whatever_has_the_name: "deletes whatever has the name",
    patches_whatever_is_there: "patches whatever is there",
    patches_the_workspace_not_its_status: "patches the Workspace, not its status",
    patches_containers_as_a_plain_list: "patches containers as a plain list",
    takes_what_exists_for_a_refusal: "takes what exists for a refusal",
}

/// What goes wrong only when the settings go from one to the other and back is not found by a check
/// that edits them once.
#[test]
fn what_comes_back_with_the_settings_takes_two_edits_of_them() {
    let twice = Bounds {
        settings: 2,
        ..ONCE
    };
    let mutant = MUTANTS.iter().find(|it| it.settings == 2).expect("one");
    let broken = |bounds| {
        let cluster = Cluster::new(mutant.scenario, bounds).with_rule(mutant.rule);
        !check(cluster, Duration::from_secs(600)).broken.is_empty()
    };
    assert_eq!([ONCE, twice].map(broken), [false, true]);
}

#[test]
fn every_invariant_has_a_mutant() {
    for (invariant, name) in NAMES {
        assert!(MUTANTS.iter().any(|it| it.breaks == invariant), "{name}");
    }
}
