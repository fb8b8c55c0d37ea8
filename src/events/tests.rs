use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;
use crate::index::{Awaited, Kind};
use crate::seen::{Memory, Service, Version};
use crate::workspace::{READY, Reason, WorkspaceStatus};

fn of(shown: Shown, step: &Step, outcome: &Outcome) -> Option<Notice> {
    let seen = Seen {
        key: &Key::new("team", "alice"),
        workspace: None,
        pod: None,
        claim: None,
        service: Service::Ours,
        memory: &Memory::default(),
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
        failures: 0,
    };
    let told = |why| of(Shown::default(), &delete(why), &written()).map(|it| it.reason);
    assert_eq!(told(Rollout::Suspended), None);
    assert_eq!(told(Rollout::SpecChanged).as_deref(), Some("Replacing"));
    assert_eq!(told(Rollout::SettingsChanged).as_deref(), Some("Replacing"));
    assert_eq!(told(Rollout::PodFailed).as_deref(), Some("PodFailed"));
}

#[test]
fn a_switch_is_told_with_both_registries() {
    let some = |text: &str| Some(text.to_owned());
    let to = |registry: &str| {
        Changes::from([
            (FLEET_LAST_GOOD.to_owned(), some("{}")),
            (FLEET_REGISTRY.to_owned(), some(registry)),
        ])
    };
    let first = of_settings(&to("a.example.com/x"), "");
    assert_eq!(first, [], "an installation");
    let note = "taken; new rollouts pull from b.example.com/x, and no longer from a.example.com/x";
    let switched = of_settings(&to("b.example.com/x"), "a.example.com/x");
    assert_eq!(switched, [Notice::normal("SettingsAccepted", note.into())]);
    let rejected = Changes::from([(FLEET_ERROR.to_owned(), some("why"))]);
    let rejected = of_settings(&rejected, "a.example.com/x");
    assert_eq!(rejected[0].reason, "SettingsRejected");
    let mended = Changes::from([(FLEET_ERROR.to_owned(), None)]);
    let mended = of_settings(&mended, "a.example.com/x");
    let note = "taken; new rollouts pull from a.example.com/x as before";
    assert_eq!(mended, [Notice::normal("SettingsAccepted", note.into())]);
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
