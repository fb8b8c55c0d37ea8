//! What a node had and may have lost, and what many nodes have.

use super::*;

/// A node that refuses a probe as it is short of disk has cleaned up: what it had is no proof any more.
#[test]
fn what_a_node_that_is_short_of_disk_had_is_no_proof_any_more() {
    let mut world = World::new();
    let (one, two) = (question("node-1", "codex"), question("node-1", "hermes"));
    world.want(&workspace("alice"), &one);
    world.settle();
    world.pull();
    assert_eq!(world.proof(&one), Proof::Proved);
    world.pass_time(60);
    world.want(&workspace("bob"), &two);
    world.settle();
    world.runs_short_of_disk();
    world.settle();
    assert_eq!(world.why(&two), "its node is short of disk");
    assert_ne!(world.proof(&one), Proof::Proved);
}

/// As of a fleet of 5,000 at 5 %, of which 516 are proved ahead at once. Each node takes two seconds for
/// a probe whose image it has.
#[test]
fn what_many_nodes_have_in_stock_is_proved_to_all_without_a_registry() {
    let mut world = World::new();
    let all: Vec<_> = (0..516)
        .map(|it| question(&format!("node-{it:04}"), "codex"))
        .collect();
    for (at, it) in all.iter().enumerate() {
        world.stock(&workspace(&at.to_string()), it);
    }
    for _ in 0..=all.len() / 16 + 1 {
        world.settle();
        world.pull();
    }
    assert_eq!(world.proofs.stocked(world.now).pulled, all.len());
    world.pass_time(3600);
    let silence = Sign::Silent("does not answer".into());
    world.signs.insert(REGISTRY.into(), silence);
    for (at, it) in all.iter().enumerate() {
        world.want(&workspace(&at.to_string()), it);
    }
    for _ in 0..200 {
        world.settle();
        world.pass_time(2);
        world.pull();
    }
    let unproved = all.iter().filter(|it| world.proof(it) != Proof::Proved);
    assert_eq!(unproved.count(), 0);
}

/// That a node has it is not told for ever, once it has cleaned up.
#[test]
fn what_a_node_that_is_short_of_disk_had_in_stock_is_looked_at_anew() {
    let mut world = World::new();
    let (one, two) = (question("node-1", "codex"), question("node-1", "hermes"));
    world.stock(&workspace("alice"), &one);
    world.settle();
    world.pull();
    world.stock(&workspace("bob"), &two);
    world.settle();
    world.runs_short_of_disk();
    world.pass_time(100_000);
    let sent = world.created().iter().filter(|it| ***it == one).count();
    assert!(sent > 1 || world.proofs.stocked(world.now).pulled == 0);
}
