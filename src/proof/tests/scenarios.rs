//! What is known and done, scenario by scenario.

use super::*;

#[test]
fn nothing_is_done_where_nothing_is_wanted() {
    let mut world = World::new();
    assert_eq!((world.pass(), world.wake), (0, None));
    assert!(world.proofs.is_idle());
}

#[test]
fn one_probe_proves_it_to_all_who_want_the_same() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    let keys = ["alice", "bob", "carol"].map(workspace);
    for key in &keys {
        world.want(key, &it);
    }
    assert_eq!(world.proof(&it), Proof::Unknown);
    world.settle();
    assert_eq!(world.proof(&it), Proof::UnderWay);
    assert_eq!(world.proofs.news(world.now), [], "nothing to go by yet");
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
    assert_eq!(world.proofs.news(world.now), keys);
    assert_eq!(world.proofs.news(world.now), [], "they are told once");
    assert_eq!((world.created().len(), world.asked()), (1, 1));
    let known = world.proofs.known(&keys[1], world.now);
    let proof = Proof::Proved;
    let question = it.clone();
    assert_eq!(known, Some(Known { question, proof }));
    // Whoever comes later need not wait.
    let want = Want {
        question: it,
        service_account: None,
    };
    let told = world.proofs.want(&workspace("dave"), Some(want), world.now);
    assert_eq!(told, (true, true));
}

#[test]
fn other_nodes_images_and_secrets_are_other_questions() {
    let mut world = World::new();
    let secrets = |namespace: &str, names: &[&str]| Question {
        credentials: credentials(namespace, names.iter().map(|it| (*it).to_owned()).collect()),
        ..question("node-1", "codex")
    };
    let all = [
        question("node-1", "codex"),
        question("node-2", "codex"),
        question("node-1", "hermes"),
        secrets("team", &["a"]),
        secrets("team", &["a", "b"]),
        secrets("other", &["a"]),
    ];
    assert_eq!(
        secrets("team", &["b", "a", "", "b"]),
        secrets("team", &["a", "b"])
    );
    assert_eq!(secrets("team", &[""]), all[0]);
    for (number, it) in all.iter().enumerate() {
        let namespace = match &it.credentials {
            Credentials::Secrets { namespace, .. } => namespace,
            _ => "team",
        };
        world.want(&Key::new(namespace, &number.to_string()), it);
    }
    for _ in 0..3 {
        world.settle();
        world.pull();
    }
    let created: BTreeSet<_> = world.created().into_iter().collect();
    assert_eq!(created, all.iter().collect());
    assert_eq!(world.created().len(), all.len());
    let names: BTreeSet<_> = world.pods.keys().map(|it| &it.name).collect();
    assert_eq!(names.len(), all.len());
}

#[test]
fn a_node_and_all_nodes_together_pull_few_at_a_time() {
    let mut world = World::new();
    for node in 0..12 {
        for image in 0..3 {
            let it = question(&format!("node-{node}"), &format!("image-{image}"));
            world.want(&workspace(&format!("{node}-{image}")), &it);
        }
    }
    for turn in 0..4 {
        world.settle();
        let on_their_way = world.on_their_way();
        let expected = if turn < 2 { 16 } else { 36 - 2 * 16 };
        if turn < 3 {
            assert_eq!(on_their_way.len(), expected, "turn {turn}");
        }
        let mut nodes: Vec<_> = on_their_way
            .iter()
            .map(|it| &world.pods[it].question.node)
            .collect();
        nodes.sort_unstable();
        assert!(nodes.windows(3).all(|it| it[0] != it[2]), "{nodes:?}");
        world.pull();
    }
    assert_eq!(world.created().len(), 36);
}

#[test]
fn what_a_node_fails_at_is_told_and_tried_again_with_growing_pauses() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.fail("unexpected status: 401 Unauthorized");
    assert_eq!(world.why(&it), "a.example.com answered 401 Unauthorized");
    assert_eq!(world.proofs.news(world.now), [workspace("alice")]);
    assert!(world.pods.is_empty(), "what failed is taken away");
    let mut pauses = Vec::new();
    let mut last = world.now;
    for _ in 0..7 {
        let count = world.created().len();
        while world.created().len() == count {
            world.pass_time(1);
        }
        pauses.push(world.now.duration_since(last).as_secs());
        last = world.now;
        assert_eq!(
            world.why(&it),
            "a.example.com answered 401 Unauthorized",
            "meanwhile too"
        );
        world.fail("unexpected status: 401 Unauthorized");
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(world.proofs.news(world.now), [], "nothing new");
    let news: Vec<_> = world.proofs.learnt().iter().map(|it| it.is_news).collect();
    assert_eq!(
        news,
        [true, false, false, false, false, false, false, false]
    );

    // Who edits the settings may have mended it.
    world.proofs.retry_now();
    world.settle();
    assert_eq!(world.on_their_way().len(), 1);
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
}

#[test]
fn no_node_is_sent_to_a_registry_that_does_not_answer() {
    let mut world = World::new();
    let silent = Sign::Silent("does not answer in time".into());
    world.signs.insert(REGISTRY.into(), silent);
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    let why = "a.example.com does not answer in time, asked by the operator";
    assert_eq!(world.why(&it), why);
    assert_eq!(world.proofs.news(world.now), [workspace("alice")]);
    world.pass_time(100);
    assert_eq!(world.asked(), 4, "after 0, 10, 30 and 70 s");
    assert_eq!(world.created().len(), 0);
    world.signs.clear();
    world.proofs.retry_now();
    assert_eq!(world.why(&it), why, "until it answers");
    world.settle();
    assert_eq!(world.on_their_way().len(), 1);
    // One that cannot be asked from here may be known to nodes.
    let mut world = World::new();
    world.signs.insert(REGISTRY.into(), Sign::NotFromHere);
    world.want(&workspace("alice"), &it);
    world.settle();
    assert_eq!(world.on_their_way().len(), 1);
}

#[test]
fn an_answer_of_a_registry_counts_for_ten_seconds() {
    let mut world = World::new();
    world.want(&workspace("alice"), &question("node-1", "codex"));
    world.settle();
    world.pass_time(9);
    world.want(&workspace("bob"), &question("node-2", "codex"));
    world.settle();
    assert_eq!((world.asked(), world.created().len()), (1, 2));
    world.pass_time(1);
    world.want(&workspace("carol"), &question("node-3", "codex"));
    world.settle();
    assert_eq!((world.asked(), world.created().len()), (2, 3));
}

#[test]
fn a_proof_holds_for_ten_minutes_and_is_renewed_while_it_is_wanted() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.pass_time(60);
    world.pull();
    world.proofs.news(world.now);
    world.pass_time(599);
    assert_eq!(world.proof(&it), Proof::Proved);
    assert_eq!(world.created().len(), 1);
    world.pass_time(1);
    assert_eq!(world.proof(&it), Proof::UnderWay);
    assert_eq!(world.proofs.news(world.now), [workspace("alice")]);
    assert_eq!(world.created().len(), 2);
}

#[test]
fn a_clock_that_was_set_back_makes_no_proof_last_longer() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.pull();
    world.now -= SignedDuration::from_hours(5);
    assert_ne!(world.proof(&it), Proof::Proved);
    world.settle();
    assert_eq!(world.created().len(), 2);
}

#[test]
fn a_probe_that_nobody_wants_goes() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.drop(&workspace("alice"));
    world.settle();
    assert!(world.pods.is_empty(), "at once while it is on its way");

    world.want(&workspace("alice"), &it);
    world.settle();
    world.pull();
    world.drop(&workspace("alice"));
    world.pass_time(29);
    assert_eq!(world.pods.len(), 1, "somebody else may want it");
    world.want(&workspace("bob"), &it);
    assert_eq!(world.proof(&it), Proof::Proved);
    world.drop(&workspace("bob"));
    world.pass_time(60);
    assert!(world.pods.is_empty());
    assert_eq!(world.wake, None);
    assert!(world.proofs.is_idle());
    assert_eq!(world.created().len(), 2);
}

#[test]
fn after_a_crash_the_proofs_are_seen_again_and_what_is_left_over_goes() {
    let mut world = World::new();
    let (kept, left) = (question("node-1", "codex"), question("node-2", "codex"));
    world.want(&workspace("alice"), &kept);
    world.want(&workspace("bob"), &left);
    world.settle();
    world.pull();
    world.restart();
    world.pass();
    world.want(&workspace("alice"), &kept);
    assert_eq!(world.proof(&kept), Proof::Proved);
    world.pass_time(60);
    let nodes: Vec<_> = world.pods.values().map(|it| &*it.question.node).collect();
    assert_eq!(nodes, ["node-1"]);
    assert_eq!(world.created().len(), 2, "none was sent again");

    // The same of one that stops leading, and goes on watching.
    world.proofs.forget();
    world.want(&workspace("alice"), &kept);
    world.settle();
    assert_eq!(world.proof(&kept), Proof::Proved);
}

#[test]
fn what_somebody_deletes_is_sent_again_after_a_pause() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    for pulled in [false, true] {
        if pulled {
            world.pull();
        }
        let key = world.pods.keys().next().expect("a probe").clone();
        world.remove(&key);
        world.settle();
        assert_eq!(world.why(&it), "the probe was deleted by somebody");
        assert!(world.pods.is_empty());
        world.pass_time(21);
        assert_eq!(world.on_their_way().len(), 1);
    }
    // One that is told to go is no proof any more.
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
    let key = world.pods.keys().next().expect("a probe").clone();
    let mut probe = world.pods[&key].clone();
    probe.is_deleted = true;
    world.proofs.see(key, probe, world.now);
    assert_ne!(world.proof(&it), Proof::Proved);
}

#[test]
fn a_node_that_says_nothing_is_given_up() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.pass_time(959);
    assert_eq!(world.proof(&it), Proof::UnderWay);
    world.pass_time(1);
    let why = "its node tells neither success nor failure";
    assert_eq!(world.why(&it), why);
    assert!(world.pods.is_empty());
}

/// A node that is gone lets go of nothing until somebody sees to it.
#[test]
fn a_node_that_a_registry_leaves_without_an_answer_is_not_sent_there_for_other_images() {
    let mut world = World::new();
    let (it, other) = (question("node-1", "codex"), question("node-1", "hermes"));
    let elsewhere = question("node-2", "hermes");
    world.want(&workspace("alice"), &it);
    world.pass_time(16 * 60);
    world.want(&workspace("bob"), &other);
    world.want(&workspace("carol"), &elsewhere);
    world.settle();
    let why = "a.example.com gives its node no answer";
    assert_eq!(world.why(&other), why);
    assert!(!world.created().contains(&&other));
    assert!(world.created().contains(&&elsewhere));
    world.drop(&workspace("alice"));
    world.pass_time(599);
    assert!(!world.created().contains(&&other));
    world.pass_time(2);
    assert!(world.created().contains(&&other));
}

/// It waited behind large images.
#[test]
fn a_node_that_is_refused_late_has_its_answer_and_is_sent_there_for_other_images() {
    for (cause, is_sent) in [("404 Not Found", true), ("i/o timeout", false)] {
        let mut world = World::new();
        let (it, other) = (question("node-1", "codex"), question("node-1", "hermes"));
        world.want(&workspace("alice"), &it);
        world.pass_time(240);
        world.fail(&format!("unexpected status: {cause}"));
        world.want(&workspace("bob"), &other);
        world.settle();
        assert_eq!(world.created().contains(&&other), is_sent, "{cause}");
    }
}

#[test]
fn an_edit_sends_a_node_there_again_at_once() {
    let mut world = World::new();
    let (it, other) = (question("node-1", "codex"), question("node-1", "hermes"));
    world.want(&workspace("alice"), &it);
    world.pass_time(200);
    world.fail("context deadline exceeded");
    world.want(&workspace("bob"), &other);
    world.settle();
    assert!(!world.created().contains(&&other), "it failed too late");
    world.proofs.retry_now();
    world.settle();
    assert!(world.created().contains(&&other));
}

#[test]
fn many_nodes_that_say_nothing_do_not_hold_up_all_others() {
    let mut world = World::new();
    for node in 0..16 {
        let node = format!("lost-{node:02}");
        world.want(&workspace(&node), &question(&node, "codex"));
    }
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.pass_time(179);
    assert!(!world.created().contains(&&it));
    world.pass_time(2);
    assert!(world.created().contains(&&it));
}

#[test]
fn a_node_that_keeps_what_was_told_to_go_holds_up_nobody_else() {
    let mut world = World::new();
    for node in 0..8 {
        for image in ["codex", "hermes"] {
            let it = question(&format!("lost-{node}"), image);
            world.want(&workspace(&format!("{node}-{image}")), &it);
        }
    }
    world.settle();
    assert_eq!(world.on_their_way().len(), 16);
    for key in world.on_their_way() {
        let mut probe = world.pods[&key].clone();
        probe.is_deleted = true;
        world.pods.insert(key.clone(), probe.clone());
        world.proofs.see(key, probe, world.now);
    }
    let (other, same) = (question("node-1", "codex"), question("lost-1", "crewai"));
    world.want(&workspace("alice"), &other);
    world.want(&workspace("bob"), &same);
    world.settle();
    assert_eq!(world.created().len(), 17);
    assert!(world.created().contains(&&other));
}

#[test]
fn what_one_namespace_refuses_another_may_take() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    let name = probe::name(&it);
    let refusal = format!("pods \"{name}\" is forbidden: exceeded quota");
    world.refuses.insert("a".into(), refusal);
    world.want(&Key::new("a", "alice"), &it);
    world.want(&Key::new("b", "bob"), &it);
    world.settle();
    // It says nothing of the node, and the name of a probe nothing to people.
    let why = "exceeded quota".into();
    assert_eq!(world.proof(&it), Proof::Refused { why });
    let learnt = world.proofs.learnt().pop().expect("it is told in the log");
    let told = Err("the API server refuses a probe: exceeded quota".into());
    assert_eq!(learnt.result, told);
    world.pass_time(10);
    let namespaces: Vec<_> = world.pods.keys().map(|it| &*it.namespace).collect();
    assert_eq!(namespaces, ["b"]);
}

#[test]
fn what_cannot_be_deleted_is_tried_again_with_growing_pauses() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.refuses_deletes = true;
    world.drop(&workspace("alice"));
    let deletes = |world: &World| {
        let is = |step: &&Step| matches!(step, Step::Delete { .. });
        world.steps.iter().filter(is).count()
    };
    world.pass_time(75);
    assert_eq!(deletes(&world), 4, "after 0, 10, 30 and 70 s");
    world.refuses_deletes = false;
    world.pass_time(80);
    assert!(world.pods.is_empty());
}

#[test]
fn what_is_created_and_never_seen_is_sent_again() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.lags = true;
    world.pass();
    world.pass();
    assert_eq!(world.created().len(), 1);
    world.pods.clear();
    world.events.clear();
    world.pass_time(39);
    assert_eq!(world.created().len(), 1);
    world.pass_time(12);
    assert_eq!(world.created().len(), 2);
}

#[test]
fn the_pod_of_a_probe_can_do_nothing_but_pull() {
    let it = Question {
        credentials: credentials("team", vec!["pull".into()]),
        ..question("node-1", "codex")
    };
    let pod = probe::pod(&it, "team", Some("robot"));
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.node_name.as_deref(), Some("node-1"));
    assert_eq!(spec.service_account_name.as_deref(), Some("robot"));
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.active_deadline_seconds, Some(900));
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    let secrets = spec.image_pull_secrets.unwrap_or_default();
    assert_eq!(
        secrets.iter().map(|it| &*it.name).collect::<Vec<_>>(),
        ["pull"]
    );
    let tolerations = spec.tolerations.unwrap_or_default();
    assert_eq!(tolerations.len(), 1);
    assert_eq!(tolerations[0].operator.as_deref(), Some("Exists"));
    assert_eq!(
        (&tolerations[0].key, &tolerations[0].effect),
        (&None, &None)
    );
    let container = &spec.containers[0];
    assert_eq!(container.image.as_ref(), Some(&it.image));
    assert_eq!(container.image_pull_policy.as_deref(), Some("IfNotPresent"));
    let security = container.security_context.clone().unwrap_or_default();
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let annotations = pod.metadata.annotations.unwrap_or_default();
    let about: Vec<_> = annotations.values().map(String::as_str).collect();
    assert_eq!(about, [&*it.image, "node-1"]);
}
