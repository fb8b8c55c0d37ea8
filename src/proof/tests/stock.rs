//! What is pulled before anybody waits for it.

use super::*;

#[test]
fn what_nobody_waits_for_is_pulled_one_by_one_and_kept() {
    let mut world = World::new();
    let all = ["codex", "hermes", "crewai"].map(|it| question("node-1", it));
    for (number, it) in all.iter().enumerate() {
        world.stock(&workspace(&number.to_string()), it);
        world.stock(&workspace(&format!("{number}-too")), it);
    }
    for pulled in 0..3 {
        world.settle();
        assert_eq!(world.on_their_way().len(), 1);
        let stocked = world.proofs.stocked(world.now);
        assert_eq!((stocked.wanted, stocked.pulled), (3, pulled));
        world.pull();
    }
    assert_eq!(world.proofs.stocked(world.now).pulled, 3);
    world.pass_time(3600);
    assert_eq!(
        (world.pods.len(), world.created().len()),
        (3, 3),
        "and stay"
    );
    assert_eq!(world.wake, None, "without a look");
    // They have long ceased to be proofs.
    assert_ne!(world.proof(&all[0]), Proof::Proved);
    world.want(&workspace("0"), &all[0]);
    world.settle();
    assert_eq!(world.created().len(), 4);
    world.pull();
    assert_eq!(world.proof(&all[0]), Proof::Proved);
    world.drop(&workspace("0"));
    // Off again.
    world.proofs.clear_stock();
    world.pass_time(60);
    assert!(world.pods.is_empty());
    assert!(world.proofs.is_idle());
}

#[test]
fn whoever_waits_comes_before_the_stock() {
    let mut world = World::new();
    for node in 0..20 {
        let node = format!("node-{node:02}");
        world.stock(&workspace(&node), &question(&node, "codex"));
    }
    let it = question("node-99", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    assert_eq!(world.created().len(), 16);
    assert!(world.created().contains(&&it));
}

#[test]
fn a_node_that_is_short_of_disk_gets_nothing_in_stock_for_half_an_hour() {
    let mut world = World::new();
    let all = ["codex", "hermes"].map(|it| question("node-1", it));
    for it in &all {
        world.stock(&workspace(&it.image), it);
    }
    world.settle();
    world.runs_short_of_disk();
    world.settle();
    let stocked = world.proofs.stocked(world.now);
    let failed: Vec<_> = stocked.failed.into_iter().collect();
    assert_eq!(failed, [("its node is short of disk".to_owned(), 1)]);
    world.pass_time(1799);
    assert_eq!(world.created().len(), 1);
    world.pass_time(1);
    assert_eq!(world.created().len(), 2);
    // It is proved to whoever waits for it all the same.
    world.want(&workspace("alice"), &all[0]);
    world.want(&workspace("bob"), &all[1]);
    world.settle();
    assert_eq!(world.on_their_way().len(), 2);
}

/// As it is where a switch is prepared: nobody knows yet how the Workspaces will get there.
#[test]
fn what_was_pulled_for_new_pods_of_an_account_without_secrets_serves_who_shows_none() {
    let mut world = World::new();
    let anew = Question {
        credentials: Credentials::OfServiceAccount {
            namespace: "team".into(),
            name: "default".into(),
        },
        ..question("node-1", "codex")
    };
    world.stock(&workspace("alice"), &anew);
    world.settle();
    world.pull();
    let in_place = question("node-1", "codex");
    world.want(&workspace("alice"), &in_place);
    assert_eq!(world.proof(&in_place), Proof::Proved);
    world.proofs.clear_stock();
    world.pass_time(300);
    assert_eq!(world.created().len(), 1, "and stays for it");
    world.drop(&workspace("alice"));
    world.pass_time(60);
    assert!(world.pods.is_empty());
}

#[test]
fn what_is_in_stock_is_proved_anew_without_its_registry() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.stock(&workspace("alice"), &it);
    world.settle();
    world.pull();
    world.pass_time(3600);
    let silence = Sign::Silent("does not answer".into());
    world.signs.insert(REGISTRY.into(), silence);
    let asked = world.asked();
    world.want(&workspace("alice"), &it);
    world.settle();
    assert_eq!((world.created().len(), world.asked()), (2, asked));
    assert!(!matches!(world.proof(&it), Proof::Failed { .. }));
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
    // What is not there is not looked for in vain.
    let other = question("node-1", "hermes");
    world.want(&workspace("bob"), &other);
    world.settle();
    assert_eq!((world.created().len(), world.asked()), (2, asked + 1));
}

#[test]
fn a_registry_that_cannot_be_asked_is_why_nothing_is_in_stock() {
    let mut world = World::new();
    let silent = Sign::Silent("does not answer in time".into());
    world.signs.insert(REGISTRY.into(), silent);
    for name in ["codex", "hermes"] {
        world.stock(&workspace(name), &question("node-1", name));
    }
    world.settle();
    let failed: Vec<_> = world.proofs.stocked(world.now).failed.into_iter().collect();
    let why = "a.example.com does not answer in time, asked by the operator";
    assert_eq!(failed, [(why.to_owned(), 2)]);
}
