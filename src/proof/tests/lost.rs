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
    for key in world.on_their_way() {
        let told = Told {
            reason: "Evicted",
            message: "The node had condition: [DiskPressure]. ",
            is_dead: true,
            ..Told::default()
        };
        world.answer(&key, judge(&told).expect("an answer"));
    }
    world.settle();
    assert_eq!(world.why(&two), "its node is short of disk (node node-1)");
    assert_ne!(world.proof(&one), Proof::Proved);
}

fn stock(world: &mut World, key: &Key, question: &Question) {
    let want = Want {
        question: question.clone(),
        service_account: None,
    };
    world.proofs.stock(key, Some(want));
}

/// The stock of a fleet of 5,000 at 5 %: 516 are proved ahead at once, while no registry answers. Each
/// node takes two seconds for a probe whose image it has.
fn at_scale(count: usize, takes: i64) -> usize {
    let mut world = World::new();
    let all: Vec<_> = (0..count)
        .map(|it| question(&format!("node-{it:04}"), "codex"))
        .collect();
    for (at, it) in all.iter().enumerate() {
        stock(&mut world, &workspace(&at.to_string()), it);
    }
    for _ in 0..=count / 16 + 1 {
        world.settle();
        world.pull();
    }
    assert_eq!(world.proofs.stocked().pulled, count);
    world.pass_time(3600);
    world
        .signs
        .insert(REGISTRY.into(), Sign::Silent("does not answer".into()));
    for (at, it) in all.iter().enumerate() {
        world.want(&workspace(&at.to_string()), it);
    }
    for _ in 0..200 {
        world.settle();
        world.pass_time(takes);
        world.pull();
    }
    all.iter()
        .filter(|it| world.proof(it) != Proof::Proved)
        .count()
}

#[test]
fn what_many_nodes_have_in_stock_is_proved_to_all_without_a_registry() {
    assert_eq!(at_scale(516, 2), 0);
}

/// What a node had in stock it has cleaned up, as it was short of disk: that it has it is told for ever.
#[test]
fn what_a_node_that_is_short_of_disk_had_in_stock_is_looked_at_anew() {
    let mut world = World::new();
    let (one, two) = (question("node-1", "codex"), question("node-1", "hermes"));
    stock(&mut world, &workspace("alice"), &one);
    world.settle();
    world.pull();
    stock(&mut world, &workspace("bob"), &two);
    world.settle();
    for key in world.on_their_way() {
        let told = Told {
            reason: "Evicted",
            message: "The node had condition: [DiskPressure]. ",
            is_dead: true,
            ..Told::default()
        };
        world.answer(&key, judge(&told).expect("an answer"));
    }
    world.pass_time(100_000);
    let sent = world.created().iter().filter(|it| ***it == one).count();
    assert!(sent > 1 || world.proofs.stocked().pulled == 0);
}
