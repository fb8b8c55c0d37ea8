use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Error;
use kube::api::Patch;
use kube::core::Status;
use serde_json::{Value, json};

use super::{Call, Existing, Outcome, Reply, Request};
use crate::index::{Awaited, Kind};
use crate::plan::{Answer, Rollout, Step, Stuck};
use crate::pod;
use crate::seen::{Ask, Key, Moved, Version};
use crate::volume::Change;
use crate::wire;
use crate::workspace::{Reason, WorkspaceStatus};

fn key() -> Key {
    Key::new("ns", "w")
}

fn version() -> Version {
    Version {
        uid: "uid-1".into(),
        resource_version: "7".into(),
    }
}

fn ask() -> Ask {
    Ask {
        revision: "r".into(),
        image: "a.example.com/x:1".into(),
        settings: "s".into(),
    }
}

fn object<T: serde::de::DeserializeOwned>(name: &str) -> Box<T> {
    let object = serde_json::from_value(json!({"metadata": {"name": name}}));
    Box::new(object.expect("an object"))
}

fn create_pod() -> Step {
    Step::CreatePod {
        rollout: Rollout::NoPod,
        ask: ask(),
        pod: object::<core::Pod>("w"),
    }
}

fn try_pod() -> Step {
    Step::TryPod {
        ahead: false,
        ask: ask(),
        pod: object::<core::Pod>("w-try"),
    }
}

fn create_claim() -> Step {
    Step::CreateClaim {
        size: "1Gi".into(),
        claim: object("workspace-w"),
    }
}

fn set_image() -> Step {
    Step::SetImage {
        version: version(),
        ask: ask(),
        at: Timestamp::UNIX_EPOCH,
        why: Stuck::Image,
    }
}

fn delete_pod() -> Step {
    Step::DeletePod {
        version: version(),
        why: Rollout::SpecChanged,
        failures: 0,
        left: Box::default(),
    }
}

fn patch_claim(change: Change) -> Step {
    Step::PatchClaim {
        version: version(),
        size: "2Gi".into(),
        change,
    }
}

fn grows() -> Step {
    patch_claim(Change {
        size: Some(Quantity("2Gi".into())),
        owners: None,
    })
}

fn patch_status() -> Step {
    let status = WorkspaceStatus {
        state: Some(Reason::Pending),
        ..WorkspaceStatus::default()
    };
    Step::PatchStatus {
        version: version(),
        status: Box::new(status),
    }
}

fn steps() -> [Step; 7] {
    [
        create_pod(),
        try_pod(),
        create_claim(),
        set_image(),
        delete_pod(),
        grows(),
        patch_status(),
    ]
}

fn patch(step: &Step) -> (Request, Value) {
    let request = Request::of(&key(), step);
    let patch = match &request.call {
        Call::Patch {
            patch: Patch::Merge(patch) | Patch::Strategic(patch),
            ..
        } => patch.clone(),
        other => panic!("{other:?} is no patch"),
    };
    (request, patch)
}

#[test]
fn each_request_is_about_the_object_of_its_step() {
    let about = steps().map(|step| {
        let request = Request::of(&key(), &step);
        (request.kind, request.name)
    });
    let expected = [
        (Kind::Pod, "w"),
        (Kind::Pod, "w-try"),
        (Kind::Claim, "workspace-w"),
        (Kind::Pod, "w"),
        (Kind::Pod, "w"),
        (Kind::Claim, "workspace-w"),
        (Kind::Workspace, "w"),
    ];
    assert_eq!(about, expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[test]
fn a_trial_creates_nothing_and_a_create_does() {
    let dry_run = |step: &Step| match Request::of(&key(), step).call {
        Call::Create { dry_run, body } => {
            assert!(serde_json::from_slice::<Value>(&body).is_ok());
            dry_run
        }
        other => panic!("{other:?}"),
    };
    assert!(dry_run(&try_pod()));
    assert!(!dry_run(&create_pod()));
    assert!(!dry_run(&create_claim()));
}

#[test]
fn a_delete_names_uid_and_resource_version() {
    let Call::Delete { preconditions } = Request::of(&key(), &delete_pod()).call else {
        panic!("it is a delete");
    };
    assert_eq!(preconditions.uid.as_deref(), Some("uid-1"));
    assert_eq!(preconditions.resource_version.as_deref(), Some("7"));
}

#[test]
fn a_new_image_and_its_annotations_come_in_one_guarded_patch() {
    let (request, patch) = patch(&set_image());
    assert!(
        matches!(
            request.call,
            Call::Patch {
                part: None,
                patch: Patch::Strategic(_)
            }
        ),
        "the other containers stay"
    );
    let expected = json!({
        "metadata": {
            "uid": "uid-1", "resourceVersion": "7",
            "annotations": {
                "molecule.ai/image": "a.example.com/x:1",
                "molecule.ai/healedAt": "1970-01-01T00:00:00Z",
            },
        },
        "spec": {"containers": [{"name": "agent", "image": "a.example.com/x:1"}]},
    });
    assert_eq!(patch, expected);
}

#[test]
fn a_move_is_told_in_the_patch_of_its_image_and_nothing_is_left_of_an_earlier_one() {
    let (_, patch) = patch(&Step::MovePod {
        version: version(),
        ask: ask(),
        moved: Box::new(Moved {
            from: Some("a.example.com/x:0".into()),
            at: Timestamp::UNIX_EPOCH,
            over: Some("0-".into()),
            back: None,
        }),
    });
    let expected = json!({
        "metadata": {
            "uid": "uid-1", "resourceVersion": "7",
            "annotations": {
                "molecule.ai/image": "a.example.com/x:1",
                "molecule.ai/movedFrom": "a.example.com/x:0",
                "molecule.ai/movedAt": "1970-01-01T00:00:00Z",
                "molecule.ai/movedOver": "0-",
                "molecule.ai/movedBack": null,
            },
        },
        "spec": {"containers": [{"name": "agent", "image": "a.example.com/x:1"}]},
    });
    assert_eq!(patch, expected);
}

#[test]
fn a_patch_of_a_claim_has_only_what_changes() {
    let (_, grown) = patch(&grows());
    let guarded = json!({"uid": "uid-1", "resourceVersion": "7"});
    assert_eq!(
        grown,
        json!({
            "metadata": guarded,
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        })
    );
    let (_, owned) = patch(&patch_claim(Change {
        size: None,
        owners: Some(vec![pod::owner("w", "ws-1")]),
    }));
    assert_eq!(owned["metadata"]["resourceVersion"], "7");
    assert_eq!(owned["metadata"]["uid"], "uid-1");
    assert_eq!(owned["metadata"]["ownerReferences"][0]["uid"], "ws-1");
    assert_eq!(owned.get("spec"), None);
}

#[test]
fn a_status_is_patched_as_such_and_what_it_no_longer_has_is_taken_away() {
    let (request, patch) = patch(&patch_status());
    assert!(matches!(
        request.call,
        Call::Patch {
            part: Some("status"),
            patch: Patch::Merge(_)
        }
    ));
    assert_eq!(patch["metadata"], json!({"resourceVersion": "7"}));
    let status = patch["status"].as_object().expect("an object");
    assert_eq!(status["state"], "Pending");
    for field in ["image", "digest", "pod", "address"] {
        assert_eq!(status.get(field), Some(&Value::Null), "{field}");
    }
}

fn no(code: u16, reason: &str) -> Reply {
    let status = Status::failure("its words", reason).with_code(code);
    Reply::Status(status.boxed())
}

fn detailed(code: u16, details: Value) -> Reply {
    let mut status = Status::failure("its words", "x").with_code(code);
    status.details = serde_json::from_value(details).expect("details");
    Reply::Status(status.boxed())
}

/// An outcome in one word.
fn word(outcome: Option<&Outcome>) -> &'static str {
    match outcome {
        None => "exists",
        Some(Outcome::Written(_)) => "written",
        Some(Outcome::NoEffect) => "no effect",
        Some(Outcome::Accepted) => "accepted",
        Some(Outcome::Stale) => "stale",
        Some(Outcome::Exists(_)) => "looked at",
        Some(Outcome::Refused(_)) => "refused",
        Some(Outcome::NamespaceTerminating) => "terminating",
        Some(Outcome::Failed { .. }) => "failed",
    }
}

fn words(reply: impl Fn() -> Reply) -> [&'static str; 7] {
    steps().map(|step| word(Outcome::of(&step, reply()).as_ref()))
}

#[test]
fn what_each_reply_means_to_each_step() {
    let done = || Reply::Done("8".into());
    let as_it_was = || Reply::Done("7".into());
    let unheard = || Reply::Unheard("no route".into());
    assert_eq!(
        words(done),
        [
            "written", "accepted", "written", "written", "written", "written", "written"
        ]
    );
    assert_eq!(
        words(as_it_was),
        [
            "written",
            "accepted",
            "written",
            "no effect",
            "written",
            "no effect",
            "no effect"
        ]
    );
    assert_eq!(words(unheard), ["failed"; 7]);
    assert_eq!(
        words(|| no(409, "AlreadyExists")),
        [
            "exists", "refused", "exists", "stale", "stale", "stale", "stale"
        ]
    );
    assert_eq!(
        words(|| no(409, "Conflict")),
        [
            "failed", "failed", "failed", "stale", "stale", "stale", "stale"
        ]
    );
    assert_eq!(
        words(|| no(404, "NotFound")),
        [
            "refused", "refused", "refused", "stale", "stale", "stale", "stale"
        ]
    );
    for code in [400, 403, 405, 413, 422] {
        assert_eq!(words(|| no(code, "x")), ["refused"; 7], "{code}");
    }
    for code in [401, 429, 500, 503, 504] {
        assert_eq!(words(|| no(code, "x")), ["failed"; 7], "{code}");
    }
}

#[test]
fn a_webhook_that_cannot_be_called_refuses_and_an_etcd_that_is_slow_does_not() {
    let of = |message: &str| {
        let status = Status::failure(message, "InternalError").with_code(500);
        Outcome::of(&create_pod(), Reply::Status(status.boxed()))
    };
    let webhook = of("Internal error occurred: failed calling webhook \"x\": no route to host");
    assert_eq!(word(webhook.as_ref()), "refused");
    let etcd = of("etcdserver: request timed out");
    assert_eq!(word(etcd.as_ref()), "failed");
}

#[test]
fn a_namespace_that_ends_is_recognised_by_its_cause_and_one_that_is_gone_by_its_kind() {
    let ends = json!({"causes": [{"reason": "NamespaceTerminating"}]});
    assert_eq!(words(|| detailed(403, ends.clone())), ["terminating"; 7]);
    let gone = json!({"kind": "namespaces"});
    assert_eq!(words(|| detailed(404, gone.clone())), ["terminating"; 7]);
    assert_eq!(words(|| detailed(403, gone.clone())), ["refused"; 7]);
    let pod_gone = json!({"kind": "pods"});
    let deleted = Outcome::of(&delete_pod(), detailed(404, pod_gone));
    assert_eq!(word(deleted.as_ref()), "stale");
}

#[test]
fn a_trial_that_a_webhook_does_not_take_tells_nothing_against_the_pod() {
    let webhook = || {
        let words = "admission webhook \"x\" does not support dry run";
        let status = Status::failure(words, "BadRequest").with_code(400);
        Reply::Status(status.boxed())
    };
    let tried = Outcome::of(&try_pod(), webhook());
    assert_eq!(word(tried.as_ref()), "accepted");
    let created = Outcome::of(&create_pod(), webhook());
    assert_eq!(word(created.as_ref()), "refused");
}

#[test]
fn a_write_awaits_its_place_in_the_watch_of_its_kind_and_a_delete_its_going() {
    let awaited = |step: &Step| match Outcome::of(step, Reply::Done("8".into())) {
        Some(Outcome::Written(awaited)) => awaited,
        other => panic!("{other:?}"),
    };
    for step in [create_pod(), set_image()] {
        assert_eq!(awaited(&step), Awaited::Place(Kind::Pod, 8));
    }
    for step in [create_claim(), grows()] {
        assert_eq!(awaited(&step), Awaited::Place(Kind::Claim, 8));
    }
    let place = Awaited::Place(Kind::Workspace, 8);
    assert_eq!(awaited(&patch_status()), place);
    assert_eq!(awaited(&delete_pod()), Awaited::PodGoing("uid-1".into()));
}

#[test]
fn a_failure_says_why_and_how_long_to_wait() {
    let busy = detailed(429, json!({"retryAfterSeconds": 3}));
    let Some(Outcome::Failed { error, retry_after }) = Outcome::of(&create_pod(), busy) else {
        panic!("it failed");
    };
    assert_eq!(error, "its words (429)");
    assert_eq!(retry_after, Some(Duration::from_secs(3)));
    let at_once = detailed(429, json!({"retryAfterSeconds": 0}));
    let Some(Outcome::Failed { retry_after, .. }) = Outcome::of(&create_pod(), at_once) else {
        panic!("it failed");
    };
    assert_eq!(retry_after, None);
    let Reply::Status(status) = Reply::from(Error::Api(Status::default().boxed())) else {
        panic!("the API server answered");
    };
    assert_eq!(*status, Status::default());
    let lost = Reply::from(Error::LinesCodecMaxLineLengthExceeded);
    assert!(matches!(lost, Reply::Unheard(_)));
}

#[test]
fn what_says_nothing_of_an_object_is_accepted_refused_or_failed() {
    let word = |reply| word(Some(&Outcome::without(reply)));
    assert_eq!(word(Reply::Done("8".into())), "accepted");
    assert_eq!(word(no(409, "AlreadyExists")), "stale");
    assert_eq!(word(no(403, "Forbidden")), "refused");
    assert_eq!(word(Reply::Unheard("no route".into())), "failed");
}

#[test]
fn only_what_is_known_is_remembered() {
    let remembered = |outcome: Outcome| outcome.remembered();
    let place = Awaited::Place(Kind::Pod, 8);
    assert_eq!(remembered(Outcome::Written(place)), Some(Answer::Done));
    assert_eq!(remembered(Outcome::Accepted), Some(Answer::Done));
    assert_eq!(remembered(Outcome::NoEffect), Some(Answer::NoEffect));
    let refused = Outcome::Refused("no".into());
    assert_eq!(remembered(refused), Some(Answer::Refused("no".into())));
    let ends = Some(Answer::NamespaceTerminating);
    assert_eq!(remembered(Outcome::NamespaceTerminating), ends);
    assert_eq!(remembered(Outcome::Stale), None);
    assert_eq!(remembered(Outcome::Exists(Existing::NoMore)), None);
    let lost = Outcome::Failed {
        error: "lost".into(),
        retry_after: None,
    };
    assert_eq!(remembered(lost), None);
}

#[test]
fn what_a_create_ran_into_is_looked_at_only_where_no_watch_shows_it() {
    let found = |labels: Value| {
        let pod = json!({"metadata": {
            "name": "w", "uid": "pod-1", "resourceVersion": "9", "labels": labels,
        }});
        serde_json::from_value::<wire::Pod>(pod).expect("a Pod")
    };
    let of = |found| Existing::of(found, Kind::Pod, Existing::Pod);
    assert!(matches!(of(None), Existing::NoMore));
    let ours = found(json!({"app.kubernetes.io/name": "workspace"}));
    let Existing::Watched(awaited) = of(Some(ours)) else {
        panic!("the watch shows it");
    };
    assert_eq!(awaited, Awaited::Place(Kind::Pod, 9));
    let Existing::Pod(pod) = of(Some(found(json!({})))) else {
        panic!("no watch shows it");
    };
    assert_eq!(pod.version.uid, "pod-1");
}
