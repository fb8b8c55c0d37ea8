//! The status that a finding asks for, and when it is due.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Decision, Finding, Kind, Plan, Step, earliest};
use crate::names;
use crate::seen::{Pod, Seen, Service, Workspace, later};
use crate::workspace::{READY, RECONCILING, Reason, STALLED, SUSPENDED, WorkspaceStatus};

/// A named problem is told when it lasts this long: shorter ones pass by themselves.
const PROBLEM_LASTS: SignedDuration = SignedDuration::from_secs(3);
/// Plain progress is told when it lasts this long: then someone may wonder.
const PROGRESS_LASTS: SignedDuration = SignedDuration::from_secs(30);

/// The plan that follows from a decision: its step if it has one, else the status if it is due.
pub(super) fn conclude(
    seen: &Seen<'_>,
    workspace: &Workspace,
    decision: Decision,
    now: Timestamp,
) -> Plan {
    let since = since(seen, &decision.finding, now);
    let plan = Plan {
        showing: Some((decision.finding.reason, since)),
        wants: decision.wants,
        ..Plan::default()
    };
    if decision.step.is_some() {
        let step = decision.step;
        return Plan { step, ..plan };
    }
    let status = status(seen, workspace, &decision.finding, now);
    let ignored = seen.memory.ignored.as_ref();
    if status == workspace.status || ignored.is_some_and(|it| *it == words(&status)) {
        let wake = decision.wake;
        return Plan { wake, ..plan };
    }
    let is_down = !own_pod(seen, workspace).is_some_and(serves);
    let due = due(
        is_down,
        &workspace.status,
        &status,
        decision.finding.kind,
        since,
    );
    if now < due {
        let wake = earliest(decision.wake, Some(due));
        return Plan { wake, ..plan };
    }
    let version = workspace.version.clone();
    let step = Some(Step::PatchStatus {
        version,
        status: Box::new(status),
    });
    Plan { step, ..plan }
}

/// Since when this reason has been seen without a break.
fn since(seen: &Seen<'_>, finding: &Finding, now: Timestamp) -> Timestamp {
    match seen.memory.showing {
        // A clock that was set back must not make a wait longer.
        Some((reason, since)) if reason == finding.reason => since.min(now),
        _ => now,
    }
}

fn due(
    is_down: bool,
    told: &WorkspaceStatus,
    status: &WorkspaceStatus,
    kind: Kind,
    since: Timestamp,
) -> Timestamp {
    // A false Ready is corrected at once. Of a Pod that serves on until it is replaced it is not.
    if told.is_true(READY) && !status.is_true(READY) && is_down {
        return since;
    }
    match kind {
        Kind::Ready | Kind::Suspended => since,
        Kind::Problem | Kind::Stalled => later(since, PROBLEM_LASTS),
        Kind::Progress => later(since, PROGRESS_LASTS),
    }
}

fn status(
    seen: &Seen<'_>,
    workspace: &Workspace,
    finding: &Finding,
    now: Timestamp,
) -> WorkspaceStatus {
    let pod = own_pod(seen, workspace);
    WorkspaceStatus {
        observed_generation: Some(workspace.generation),
        state: Some(finding.reason),
        image: pod.and_then(|pod| pod.told.image.clone()),
        digest: pod.and_then(|pod| pod.agent.digest.clone()),
        pod: pod.map(|_| seen.key.name.to_string()),
        address: match seen.service {
            Service::Ours => Some(names::address(&seen.key.namespace, &seen.key.name)),
            // It is about to be created anew: not a reason to write to each Workspace twice.
            Service::Missing => workspace.status.address.clone(),
            Service::Foreign | Service::Refused => None,
        },
        conditions: conditions(workspace, pod, finding, now),
    }
}

fn own_pod<'a>(seen: &Seen<'a>, workspace: &Workspace) -> Option<&'a Pod> {
    seen.pod.filter(|pod| pod.is_of(workspace))
}

fn conditions(
    workspace: &Workspace,
    pod: Option<&Pod>,
    finding: &Finding,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |type_: &str, is: bool, reason: Reason, message: &str| {
        let status = if is { "True" } else { "False" };
        let told = workspace
            .status
            .conditions
            .iter()
            .find(|told| told.type_ == type_);
        let changed = told.filter(|told| told.status == status);
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.to_string(),
            message: message.into(),
            observed_generation: Some(workspace.generation),
            last_transition_time: changed.map_or_else(
                || Time(whole_seconds(now)),
                |told| told.last_transition_time.clone(),
            ),
        }
    };
    let this = |type_: &str, is: bool| condition(type_, is, finding.reason, &finding.message);
    match finding.kind {
        Kind::Ready => vec![this(READY, true)],
        Kind::Suspended => vec![this(SUSPENDED, true)],
        Kind::Progress | Kind::Problem => vec![this(READY, false), this(RECONCILING, true)],
        // What is wanted cannot be had, and the Pod of before serves on.
        Kind::Stalled if pod.is_some_and(serves) => {
            let told = pod.and_then(|it| it.told.revision.as_ref());
            let message = if told.is_none_or(|it| *it == workspace.revision) {
                "the agent answers on port 8000"
            } else {
                "the agent answers on port 8000, as it was asked for before"
            };
            vec![
                condition(READY, true, Reason::Ready, message),
                this(STALLED, true),
            ]
        }
        Kind::Stalled => vec![this(READY, false), this(STALLED, true)],
    }
}

/// A status without its times, which differ each time that it is not stored.
pub(super) fn words(status: &WorkspaceStatus) -> String {
    let mut status = status.clone();
    for condition in &mut status.conditions {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    format!("{status:?}")
}

/// Kubernetes keeps its times in whole seconds.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn serves(pod: &Pod) -> bool {
    pod.ready && pod.stays()
}
