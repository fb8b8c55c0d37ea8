//! The API server: what becomes of a step. Every write is refused when the version that it names
//! is not the newest; a write that names none is done, and is a broken invariant.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1 as core;
use workspace_operator::plan::Step;
use workspace_operator::revision::short_hash;
use workspace_operator::seen::{Ask, Controller, Version};
use workspace_operator::volume::Change;
use workspace_operator::wire::{self, Wire};
use workspace_operator::workspace::WorkspaceStatus;

use crate::cluster::Cluster;
use crate::invariants::{Broken, Invariant, judge_container, judge_stop};
use crate::operator::{Basis, resource_version, workspace_uid};
use crate::state::{Claim, Life, Owner, Pod, State, Status, Workspace, is_true};

/// The grace of a Pod.
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// What the API server answers.
pub enum Outcome {
    /// Done; of a trial: it would be.
    Done,
    /// What it was planned from is no more, or something of that name exists.
    Stale,
    /// A Pod of that name exists, and the watches do not show it.
    RanInto(Box<Pod>),
    /// Refused, in these words.
    Refused(String),
}

impl Cluster {
    /// Does a step, as the API server would.
    pub fn commit(&self, state: &mut State, basis: &Basis, step: &Step) -> Outcome {
        match step {
            Step::CreatePod { pod, .. } => create_pod(state, basis, pod),
            Step::TryPod { .. } if state.refuses => refused(),
            Step::TryPod { pod, .. } if is_taken(pod, basis) => Outcome::Stale,
            Step::TryPod { .. } => Outcome::Done,
            Step::SetImage {
                version, ask, at, ..
            } => set_image(state, basis, version, ask, *at),
            Step::DeletePod { version, .. } => delete_pod(state, basis, version),
            Step::CreateClaim { claim, .. } => create_claim(state, claim),
            Step::PatchClaim {
                version, change, ..
            } => patch_claim(state, version, change),
            Step::PatchStatus { version, status } => patch_status(state, basis, version, status),
        }
    }
}

/// Whatever name can be made of the Workspace's alone, there is an object that has it.
fn is_taken(pod: &core::Pod, basis: &Basis) -> bool {
    let uid = short_hash(&workspace_uid(basis.workspace));
    pod.metadata
        .name
        .as_ref()
        .is_none_or(|it| !it.contains(&uid))
}

fn refused() -> Outcome {
    Outcome::Refused("exceeded quota".into())
}

/// Whether a write passes the preconditions that it names.
fn is_newest(version: &Version, uid: &str) -> bool {
    (version.uid.is_empty() || version.uid == uid)
        && (version.resource_version.is_empty() || version.resource_version == resource_version(0))
}

fn note(state: &mut State, broken: Option<Broken>) {
    if state.broken.is_none() {
        state.broken = broken;
    }
}

fn create_pod(state: &mut State, basis: &Basis, pod: &core::Pod) -> Outcome {
    let json = serde_json::to_value(pod).unwrap_or_default();
    let decoded = serde_json::from_value::<wire::Pod>(json).map(Wire::seen);
    let Ok(decoded) = decoded else {
        return Outcome::Refused("the Pod does not decode".into());
    };
    if state.refuses {
        return refused();
    }
    let owner = if decoded.controller == Controller::Workspace(workspace_uid(basis.workspace)) {
        Owner::Workspace(basis.workspace)
    } else {
        Owner::Foreign { watched: true }
    };
    if pod.metadata.name.as_deref() != Some("w") {
        state.strays.push(basis.workspace);
        return Outcome::Done;
    }
    match state.pod.now() {
        Some(pod) if !pod.is_watched() => {
            return Outcome::RanInto(Box::new(pod.clone()));
        }
        Some(_) => return Outcome::Stale,
        None => {}
    }
    let uid = state.fresh_pod_uid();
    let created = state.now;
    state.pod.write(Some(Pod {
        uid,
        owner,
        asked: basis.asks_for,
        created,
        going: None,
        told: Arc::new(decoded.told),
        image: decoded.spec_image.into(),
        life: Life::Unscheduled,
        lost: false,
        changed: None,
        hidden: false,
    }));
    Outcome::Done
}

/// The Pod that a write is meant for, if its preconditions hold.
fn target(state: &mut State, basis: &Basis, version: &Version) -> Option<Pod> {
    let pod = state.pod.now().clone()?;
    if !is_newest(version, &format!("pod-{}", pod.uid)) {
        return None;
    }
    if pod.owner != Owner::Workspace(basis.workspace) {
        let how = "a Pod is written to that is not controlled by the Workspace's UID".into();
        let invariant = Invariant::I4;
        note(state, Some(Broken { invariant, how }));
    }
    Some(pod)
}

fn delete_pod(state: &mut State, basis: &Basis, version: &Version) -> Outcome {
    let Some(pod) = target(state, basis, version) else {
        return Outcome::Stale;
    };
    note(state, judge_stop(&pod, basis.asks_for, basis.suspend, true));
    let gone = pod.life == Life::Unscheduled;
    let going = pod.going.or(Some(state.now + GRACE));
    state.pod.write((!gone).then_some(Pod { going, ..pod }));
    Outcome::Done
}

fn set_image(
    state: &mut State,
    basis: &Basis,
    version: &Version,
    ask: &Ask,
    at: jiff::Timestamp,
) -> Outcome {
    if state.refuses {
        return refused();
    }
    let Some(mut pod) = target(state, basis, version) else {
        return Outcome::Stale;
    };
    note(
        state,
        judge_stop(&pod, basis.asks_for, basis.suspend, false),
    );
    let told = Arc::make_mut(&mut pod.told);
    told.image = Some(ask.image.clone());
    told.healed = Some(at);
    pod.image = ask.image.as_str().into();
    pod.life = match pod.life {
        Life::Failing { again, .. } => Life::Failing { again, stale: true },
        Life::Running => Life::Leaving,
        other => other,
    };
    state.pod.write(Some(pod));
    Outcome::Done
}

fn create_claim(state: &mut State, claim: &core::PersistentVolumeClaim) -> Outcome {
    if state.claim.now().is_some() {
        return Outcome::Stale;
    }
    let json = serde_json::to_value(claim).unwrap_or_default();
    let Ok(decoded) = serde_json::from_value::<wire::Claim>(json).map(Wire::seen) else {
        return Outcome::Refused("the claim does not decode".into());
    };
    state.claim.write(Some(Claim {
        ours: decoded.workspace.as_deref() == Some("w"),
        owner: owner(decoded.owners.iter().map(|it| it.uid.as_str())),
        size: size(decoded.size.as_deref()),
    }));
    Outcome::Done
}

fn patch_claim(state: &mut State, version: &Version, change: &Change) -> Outcome {
    let Some(mut claim) = *state.claim.now() else {
        return Outcome::Stale;
    };
    if !is_newest(version, "claim") {
        return Outcome::Stale;
    }
    if let Some(grown) = &change.size {
        claim.size = size(Some(&grown.0));
    }
    if let Some(owners) = &change.owners {
        claim.owner = owner(owners.iter().map(|it| it.uid.as_str()));
    }
    state.claim.write(Some(claim));
    Outcome::Done
}

fn owner<'a>(mut uids: impl Iterator<Item = &'a str>) -> Option<u8> {
    uids.next()?.strip_prefix("ws-")?.parse().ok()
}

fn size(quantity: Option<&str>) -> u8 {
    let number = quantity.and_then(|it| it.strip_suffix("Gi"));
    number.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// The API server looks at the `resourceVersion` only: a uid in the body protects no status.
fn patch_status(
    state: &mut State,
    basis: &Basis,
    version: &Version,
    status: &WorkspaceStatus,
) -> Outcome {
    let Some(workspace) = state.workspace.now().clone() else {
        return Outcome::Stale;
    };
    let uid = workspace_uid(workspace.uid);
    let unchecked = Version {
        uid: String::new(),
        resource_version: version.resource_version.clone(),
    };
    if !is_newest(&unchecked, &uid) {
        return Outcome::Stale;
    }
    if workspace.uid != basis.workspace {
        let how = "the status of another Workspace of this name is written".into();
        let invariant = Invariant::I4;
        note(state, Some(Broken { invariant, how }));
    }
    if is_true(status, "Ready") {
        note(state, judge_container(basis.pod.as_ref()));
    }
    let status = Status::new(status.clone());
    state.workspace.write(Some(Workspace {
        status,
        ..workspace
    }));
    Outcome::Done
}
