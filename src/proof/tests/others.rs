//! What others make of probes, and what they call one.

use super::*;

/// Admission may put another image into a Pod. Only who created it knows what it was to answer.
#[test]
fn a_probe_that_was_changed_answers_whoever_sent_it() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.lags = true;
    world.pass();
    world.pass();
    world.lags = false;
    world.events.clear();
    let key = world.pods.keys().next().expect("a probe").clone();
    let probe = world.pods.get_mut(&key).expect("it is there");
    probe.question.image = "mirror.example.com/codex:v1".into();
    world.answer(&key, Answer::Pulled(None));
    world.settle();
    assert_eq!(world.proof(&it), Proof::Proved);
    // After a crash nobody knows, and it is sent again.
    world.restart();
    world.want(&workspace("alice"), &it);
    assert_ne!(world.proof(&it), Proof::Proved);
    world.pass_time(60);
    assert_eq!(world.on_their_way().len(), 1);
    assert_eq!(world.pods.len(), 1, "the other one is gone");
}

/// Whoever may create Pods somewhere may put our labels on one, and call it as they like.
#[test]
fn a_pod_that_pulls_something_else_proves_nothing() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    let key = world.pods.keys().next().expect("a probe").clone();
    world.remove(&key);
    world.deliver();
    let probe = Probe {
        version: world.version(None),
        created: world.now,
        is_deleted: false,
        question: Question {
            image: "evil.example.com/codex:v1".into(),
            ..it.clone()
        },
        service_account: None,
        answer: Some(Answer::Pulled(None)),
        pulled: Some(world.now),
    };
    let key = Key::new("evil", &key.name);
    world.pods.insert(key.clone(), probe.clone());
    world.proofs.see(key.clone(), probe, world.now);
    assert_ne!(world.proof(&it), Proof::Proved);
    world.pass_time(40);
    assert!(
        !world.pods.contains_key(&key),
        "it has our labels, and goes"
    );
}

#[test]
fn of_two_probes_for_one_question_one_is_kept() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    world.pull();
    let (key, probe) = world.pods.first_key_value().expect("a probe");
    let (other, probe) = (Key::new("other", &key.name), probe.clone());
    let version = world.version(None);
    let created = world.now + SignedDuration::from_secs(1);
    let probe = Probe {
        version,
        created,
        ..probe
    };
    world.pods.insert(other.clone(), probe.clone());
    world.proofs.see(other, probe, world.now);
    world.settle();
    let namespaces: Vec<_> = world.pods.keys().map(|it| &*it.namespace).collect();
    assert_eq!(namespaces, ["team"]);
    assert_eq!(world.proof(&it), Proof::Proved);
}

/// The watch may be quicker than the answer to the creation, which tells whose it is.
#[test]
fn what_a_changed_probe_fails_at_is_learnt_once_it_is_known_whose_it_is() {
    let mut world = World::new();
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.pass();
    let (steps, _) = world.proofs.plan(world.now);
    let Some(Step::Create { pod, .. }) = steps.first() else {
        panic!("{steps:?}")
    };
    let name = pod.metadata.name.clone().expect("a name");
    let cause = crate::pull::cause("ErrImagePull", "401 Unauthorized").expect("a cause");
    let probe = Probe {
        version: world.version(Some("its-uid".into())),
        created: world.now,
        is_deleted: false,
        question: Question {
            image: "mirror.example.com/codex:v1".into(),
            ..it.clone()
        },
        service_account: None,
        answer: Some(Answer::Failed(cause)),
        pulled: None,
    };
    world.proofs.see(workspace(&name), probe, world.now);
    let done = Done::Done("its-uid".into());
    world.proofs.done(&steps[0], done, world.now);
    assert_eq!(world.why(&it), "a.example.com answered 401 Unauthorized");
}

/// The Pod that runs has no secret, and the ServiceAccount has one now: that a node can pull with it
/// says nothing of the Pod.
#[test]
fn what_was_pulled_with_secrets_proves_nothing_for_who_has_none() {
    let mut world = World::new();
    world.of_accounts = vec!["late".into()];
    let it = question("node-1", "codex");
    world.want(&workspace("alice"), &it);
    world.settle();
    let why = world.why(&it);
    assert!(why.contains("restart the Workspace"), "{why}");
    world.pull();
    assert_ne!(world.proof(&it), Proof::Proved);
    world.pass_time(6);
    assert!(world.pods.is_empty(), "it goes");
    world.of_accounts.clear();
    world.pass_time(10);
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
}

#[test]
fn what_was_pulled_with_the_secrets_of_an_account_proves_it_for_a_new_pod_of_it() {
    let mut world = World::new();
    world.of_accounts = vec!["late".into()];
    let it = Question {
        credentials: Credentials::OfServiceAccount {
            namespace: "team".into(),
            name: "default".into(),
        },
        ..question("node-1", "codex")
    };
    world.want(&workspace("alice"), &it);
    world.settle();
    world.pull();
    assert_eq!(world.proof(&it), Proof::Proved);
    world.restart();
    world.want(&workspace("alice"), &it);
    assert_eq!(
        world.proof(&it),
        Proof::Proved,
        "by its name, and its account"
    );
    let other = Credentials::OfServiceAccount {
        namespace: "team".into(),
        name: "other".into(),
    };
    let other = Question {
        credentials: other,
        ..it.clone()
    };
    world.want(&workspace("bob"), &other);
    assert_ne!(world.proof(&other), Proof::Proved);
    // Nor for who names a secret that is called as the account.
    let named = Question {
        credentials: credentials("team", vec!["default".into()]),
        ..it.clone()
    };
    assert_ne!(probe::name(&named), probe::name(&it));
}
