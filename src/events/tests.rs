use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;
use crate::fleet::{Origin, Source, in_force, record};
use crate::index::{Awaited, Kind};
use crate::seen::{Ask, Left, Memory, Service, Turn, Version};
use crate::settings::Environment;
use crate::workspace::{READY, Reason, WorkspaceStatus};

fn of(shown: Shown, step: &Step, outcome: &Outcome) -> Option<Notice> {
    let seen = Seen {
        key: &Key::new("team", "alice"),
        workspace: None,
        pod: None,
        claim: None,
        service: Service::Ours,
        memory: &Memory::default(),
        proof: None,
        turn: Turn::default(),
    };
    of_step(&seen, shown, step, outcome)
}

fn written() -> Outcome {
    Outcome::Written(Awaited::Place(Kind::Workspace, 1))
}

fn status(condition: &str) -> Step {
    let condition = Condition {
        type_: condition.into(),
        status: "True".into(),
        reason: "PodRejected".into(),
        message: "the API server refused the Pod".into(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    };
    Step::PatchStatus {
        version: Version::default(),
        status: Box::new(WorkspaceStatus {
            state: Some(Reason::PodRejected),
            conditions: vec![condition],
            ..WorkspaceStatus::default()
        }),
    }
}

#[test]
fn a_stall_is_told_once_and_only_when_its_status_is_written() {
    let stalled = status(STALLED);
    let before = Shown::default();
    let notice = of(before, &stalled, &written()).expect("it is news");
    let note = "the API server refused the Pod".to_owned();
    assert_eq!(notice, Notice::warning("PodRejected", note));
    assert_eq!(of(before, &stalled, &Outcome::Stale), None);
    assert_eq!(of(before, &status(READY), &written()), None);
    let same = Shown {
        state: Some(Reason::PodRejected),
        is_stalled: true,
        has_pod: false,
    };
    assert_eq!(of(same, &stalled, &written()), None);
    let other = Shown {
        state: Some(Reason::UnknownRuntime),
        ..same
    };
    assert!(
        of(other, &stalled, &written()).is_some(),
        "for another reason"
    );
}

#[test]
fn what_goes_as_its_user_asked_is_not_told() {
    let delete = |why| Step::DeletePod {
        version: Version::default(),
        why,
        left: Box::new(Left::default()),
        failures: 0,
    };
    let told = |why| of(Shown::default(), &delete(why), &written()).map(|it| it.reason);
    assert_eq!(told(Rollout::Suspended), None);
    assert_eq!(told(Rollout::SpecChanged).as_deref(), Some("Replacing"));
    assert_eq!(told(Rollout::SettingsChanged).as_deref(), Some("Replacing"));
    assert_eq!(told(Rollout::PodFailed).as_deref(), Some("PodFailed"));
}

#[test]
fn a_pod_that_is_gone_is_told_and_one_that_was_replaced_is_not_told_again() {
    let create = Step::CreatePod {
        rollout: Rollout::NoPod,
        ask: Ask {
            revision: String::new(),
            image: String::new(),
            settings: String::new(),
        },
        pod: Box::default(),
    };
    let told = |shown| of(shown, &create, &written()).map(|it| it.reason);
    let ready = Shown {
        state: Some(Reason::Ready),
        ..Shown::default()
    };
    assert_eq!(told(Shown::default()), None, "a new Workspace");
    assert_eq!(told(ready), None, "it was told of the deletion");
    let has_pod = true;
    let gone = Shown { has_pod, ..ready };
    assert_eq!(told(gone).as_deref(), Some("PodGone"));
    let suspended = Shown {
        state: Some(Reason::Suspended),
        ..Shown::default()
    };
    assert_eq!(told(suspended).as_deref(), Some("Resuming"));
}

fn settings(data: &[(&str, &str)]) -> InForce {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    let (now, environment) = (Source::Present(data), Environment::default());
    in_force(&now, &Source::Absent, None, &environment)
}

/// What is told when a record of `before` becomes one of `next`.
fn switched(before: &InForce, next: &InForce) -> Vec<Notice> {
    let nothing = Source::Present(BTreeMap::new());
    let stored = record(before, &nothing, Timestamp::UNIX_EPOCH).unwrap_or_default();
    let stored = stored
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let stored: BTreeMap<_, _> = stored.collect();
    let held = Source::Present(stored.clone());
    let changes = record(next, &held, Timestamp::UNIX_EPOCH).expect("a change");
    of_settings(&changes, &stored, next)
}

#[test]
fn a_switch_is_told_with_both_registries_and_what_else_changed() {
    let a = settings(&[("MOLECULE_IMAGE_REGISTRY", "a.example.com/x")]);
    let b = settings(&[("MOLECULE_IMAGE_REGISTRY", "b.example.com/x")]);
    let more = [
        ("MOLECULE_IMAGE_REGISTRY", "a.example.com/x"),
        ("EXTRA_RUNTIMES", "own"),
    ];
    let more = settings(&more);
    let accepted = |note: &str| Notice::normal("SettingsAccepted", note.into());
    let note = "taken; new rollouts pull from b.example.com/x, and no longer from a.example.com/x";
    assert_eq!(switched(&a, &b), [accepted(note)]);
    let note = "taken; new rollouts pull from a.example.com/x as before; what else changed: \
                EXTRA_RUNTIMES";
    assert_eq!(switched(&a, &more), [accepted(note)]);
    let none = InForce {
        settings: None,
        error: None,
        warnings: Vec::new(),
        origin: Origin::Nothing,
    };
    assert_eq!(switched(&none, &a), [], "an installation");
}

#[test]
fn settings_that_are_not_taken_are_told_with_what_that_means() {
    let a = settings(&[("MOLECULE_IMAGE_REGISTRY", "a.example.com/x")]);
    let wrong = |settings: Option<Settings>| InForce {
        settings,
        error: Some("why".into()),
        warnings: Vec::new(),
        origin: Origin::LastGood,
    };
    let rejected = |note: &str| Notice::warning("SettingsRejected", note.into());
    let note = "not taken, so what is in force stays: why";
    assert_eq!(switched(&a, &wrong(a.settings.clone())), [rejected(note)]);
    let note = "not taken, and none are in force, so new rollouts wait: why";
    let nothing = InForce {
        settings: None,
        error: None,
        ..a.clone()
    };
    assert_eq!(switched(&nothing, &wrong(None)), [rejected(note)]);
    let note = "taken; new rollouts pull from a.example.com/x";
    let mended = Notice::normal("SettingsAccepted", note.into());
    assert_eq!(switched(&wrong(None), &a), [mended], "nothing was in force");
}

#[test]
fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
    let calm = Overview::default();
    let failing = |workspaces, outage| Overview {
        pull_failures: vec![PullFailure {
            registry: "a.example.com".into(),
            cause: "answered 401 Unauthorized".into(),
            outage,
            since: String::new(),
            workspaces,
        }],
        ..Overview::default()
    };
    let begun = of_outages(&calm, &failing(2, true));
    let note = "a.example.com answered 401 Unauthorized; Workspaces stuck on it: 2";
    assert_eq!(begun, [Notice::warning("RegistryFailing", note.into())]);
    assert_eq!(of_outages(&failing(2, true), &failing(3, true)), []);
    assert_eq!(of_outages(&calm, &failing(1, false)), [], "one image");
    let over = of_outages(&failing(3, true), &calm);
    assert_eq!(over[0].reason, "RegistryFailureOver");
}

#[test]
fn a_note_fits_and_another_note_is_another_event() {
    let long = event(Notice::normal("Healed", "ä".repeat(NOTE_AT_MOST)));
    assert!(long.note.is_some_and(|it| it.len() <= NOTE_AT_MOST));
    let action = |note: &str| event(Notice::normal("Healed", note.into())).action;
    assert_eq!(action("one"), action("one"));
    assert_ne!(action("one"), action("two"));
}

#[test]
fn there_are_never_too_many() {
    let start = Instant::now();
    let mut budget = Budget::new(start);
    let taken = |budget: &mut Budget, at| (0..1000).filter(|_| budget.take(at)).count() as u64;
    assert_eq!(taken(&mut budget, start), AT_ONCE);
    assert_eq!(taken(&mut budget, start + EARNED * 3), 3);
    assert_eq!(taken(&mut budget, start + EARNED * 1000), AT_ONCE);
}

/// The last one to be moved fails, and is mended.
#[test]
fn the_end_is_told_though_the_last_one_failed_at_first() {
    let overview = |moved, moving, to_move, failed, halted: bool| Overview {
        rollout: Some(Tally {
            moved,
            moving,
            to_move,
            failed,
            halted: halted.then(|| "why".to_owned()),
            ..Tally::default()
        }),
        ..Overview::default()
    };
    let story = [
        overview(9, 0, 1, 0, false),
        overview(10, 1, 0, 0, false),
        overview(10, 0, 0, 1, true),
        overview(10, 0, 0, 0, false),
    ];
    let told: Vec<_> = story
        .windows(2)
        .flat_map(|pair| of_rollout(&pair[0], &pair[1]))
        .map(|it| it.reason)
        .collect();
    assert_eq!(told, ["RolloutHalted", "RolloutOver"]);
}
