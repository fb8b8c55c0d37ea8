//! The API server: what it makes of a request, and what it replies. A write is refused when the
//! version that it names is not the newest; one that names none is done, and is a broken invariant.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::api::{Patch, Preconditions};
use kube::core::{ObjectMeta, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workspace_operator::apply::{Call, Existing, Reply, Request};
use workspace_operator::index::Kind;
use workspace_operator::names;
use workspace_operator::revision::short_hash;
use workspace_operator::seen::Controller;
use workspace_operator::wire::{self, Wire};

use crate::invariants::{Broken, Invariant, judge_container, judge_proof, judge_stop};
use crate::operator::{Basis, resource_version, workspace_uid};
use crate::state::{Claim, Life, Owner, Pod, State, Workspace, pod_uid};

/// How the API server says no.
type No = Box<Status>;

/// The grace of a Pod.
pub const GRACE: SignedDuration = SignedDuration::from_secs(30);

/// The version of what was just written, to whoever wrote it.
const WRITTEN: &str = "written";

/// Does what is asked, or says no. The basis is only for the invariants.
pub fn serve(state: &mut State, basis: &Basis, request: &Request) -> Reply {
    let done = match (request.kind, &request.call) {
        (Kind::Pod, Call::Create { body, dry_run }) => create_pod(state, basis, body, *dry_run),
        (Kind::Claim, Call::Create { body, .. }) => create_claim(state, body),
        _ if request.name != name(request.kind) => Err(missing()),
        (Kind::Pod, Call::Patch { part: None, patch }) => patch_pod(state, basis, patch),
        (Kind::Claim, Call::Patch { part: None, patch }) => patch_claim(state, patch),
        (Kind::Workspace, Call::Patch { part, patch }) => {
            patch_workspace(state, basis, *part, patch)
        }
        (Kind::Pod, Call::Delete { preconditions }) => delete_pod(state, basis, preconditions),
        _ => Err(no(
            405,
            "MethodNotAllowed",
            "the server does not allow this",
        )),
    };
    match done {
        Ok(version) => Reply::Done(version),
        Err(no) => Reply::Status(no),
    }
}

/// What a server answers whose etcd was too slow to say that it has stored a write.
#[must_use]
pub fn timed_out() -> Reply {
    Reply::Status(no(500, "", "etcdserver: request timed out"))
}

/// What a create ran into, by the production rule.
#[must_use]
pub fn look(state: &State, kind: Kind) -> Existing {
    match kind {
        Kind::Claim => {
            let claim = state.claim.now().as_ref().map(stored_claim);
            Existing::of(claim, kind, Existing::Claim)
        }
        _ => {
            let pod = state.pod.now().as_ref().map(stored_pod);
            Existing::of(pod, kind, Existing::Pod)
        }
    }
}

/// As much of the object as tells whether a watch shows it.
fn stored<T: DeserializeOwned>(labels: &Value) -> T {
    let object = json!({"metadata": {"labels": labels}});
    serde_json::from_value(object).expect("an object needs no more")
}

fn stored_pod(pod: &Pod) -> wire::Pod {
    let ours = json!({names::LABEL_NAME: names::NAME});
    stored(if pod.is_watched() {
        &ours
    } else {
        &Value::Null
    })
}

fn stored_claim(claim: &Claim) -> wire::Claim {
    let ours = json!({names::LABEL_WORKSPACE: "w"});
    stored(if claim.ours { &ours } else { &Value::Null })
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Claim => names::claim("w"),
        Kind::Workspace | Kind::Pod => "w".into(),
    }
}

fn no(code: u16, reason: &str, message: &str) -> No {
    Status::failure(message, reason).with_code(code).boxed()
}

fn refused() -> No {
    no(403, "Forbidden", "a quota or a policy forbids it")
}

fn missing() -> No {
    no(404, "NotFound", "not found")
}

fn exists() -> No {
    no(409, "AlreadyExists", "already exists")
}

fn outdated() -> No {
    no(409, "Conflict", "the object has been modified")
}

fn invalid() -> No {
    no(422, "Invalid", "the object is invalid")
}

/// Whether a write may meet this object, by what it names. What it does not name is not looked at.
fn meets(uid: Option<&str>, version: Option<&str>, object: &str) -> bool {
    uid.is_none_or(|it| it == object) && version.is_none_or(|it| it == resource_version(0))
}

/// What a patch names in its metadata.
fn named<'a>(patch: &'a Value, field: &str) -> Option<&'a str> {
    patch["metadata"][field]
        .as_str()
        .filter(|it| !it.is_empty())
}

fn note(state: &mut State, broken: Option<Broken>) {
    if state.broken.is_none() {
        state.broken = broken;
    }
}

fn note_foreign(state: &mut State, how: &str) {
    let (invariant, how) = (Invariant::I4, how.to_owned());
    note(state, Some(Broken { invariant, how }));
}

/// The version that a write is answered with: that of before, where it changed nothing.
fn version(changed: bool) -> String {
    if changed {
        WRITTEN.into()
    } else {
        resource_version(0)
    }
}

/// Whatever name can be made of the Workspace's alone, there is an object that has it.
fn is_taken(meta: &ObjectMeta, basis: &Basis) -> bool {
    let uid = short_hash(&workspace_uid(basis.workspace));
    meta.name.as_ref().is_none_or(|it| !it.contains(&uid))
}

fn create_pod(state: &mut State, basis: &Basis, body: &[u8], dry_run: bool) -> Result<String, No> {
    let pod: wire::Pod = serde_json::from_slice(body).map_err(|_| invalid())?;
    if state.refuses {
        return Err(refused());
    }
    let meta = kube::Resource::meta(&pod);
    if dry_run {
        let taken = is_taken(meta, basis);
        return if taken {
            Err(exists())
        } else {
            Ok(String::new())
        };
    }
    if meta.name.as_deref() != Some("w") {
        state.strays.push(basis.workspace);
        return Ok(WRITTEN.into());
    }
    if state.pod.now().is_some() {
        return Err(exists());
    }
    let (hidden, pod) = (!pod.is_watched(), pod.seen());
    let owner = match &pod.controller {
        Controller::Workspace(uid) => workspace_of(uid).map(Owner::Workspace),
        _ => None,
    };
    let (uid, created) = (state.fresh_pod_uid(), state.now);
    state.pod.write(Some(Pod {
        uid,
        owner: owner.unwrap_or(Owner::Foreign { watched: !hidden }),
        asked: basis.asks_for,
        created,
        going: None,
        told: Arc::new(pod.told),
        image: pod.spec_image.into(),
        life: Life::Unscheduled,
        starts: 0,
        unread: false,
        lost: false,
        changed: None,
        hidden,
    }));
    Ok(WRITTEN.into())
}

fn workspace_of(uid: &str) -> Option<u8> {
    uid.strip_prefix("ws-")?.parse().ok()
}

/// The Pod that a write is meant for, if its preconditions hold.
fn target(
    state: &mut State,
    basis: &Basis,
    uid: Option<&str>,
    version: Option<&str>,
) -> Result<Pod, No> {
    let pod = state.pod.now().clone().ok_or_else(missing)?;
    if !meets(uid, version, &pod_uid(pod.uid)) {
        return Err(outdated());
    }
    if pod.owner != Owner::Workspace(basis.workspace) {
        let how = "a Pod is written to that is not controlled by the Workspace's UID";
        note_foreign(state, how);
    }
    Ok(pod)
}

fn delete_pod(
    state: &mut State,
    basis: &Basis,
    preconditions: &Preconditions,
) -> Result<String, No> {
    let named = |it: &'_ Option<String>| it.clone().filter(|it| !it.is_empty());
    let uid = named(&preconditions.uid);
    let version = named(&preconditions.resource_version);
    let pod = target(state, basis, uid.as_deref(), version.as_deref())?;
    if state.refuses {
        return Err(refused());
    }
    if !basis.moves {
        note(state, judge_stop(&pod, basis.asks_for, basis.suspend, true));
    }
    let unproved = judge_proof(state, &pod, basis);
    note(state, unproved);
    let gone = pod.life == Life::Unscheduled;
    let going = pod.going.or(Some(state.now + GRACE));
    state.pod.write((!gone).then_some(Pod { going, ..pod }));
    Ok(WRITTEN.into())
}

/// By the rules of a strategic merge: containers are told apart by their names. In a plain merge a
/// list takes the place of the other, and no Pod may lose its containers.
fn patch_pod(state: &mut State, basis: &Basis, patch: &Patch<Value>) -> Result<String, No> {
    let Patch::Strategic(patch) = patch else {
        return Err(invalid());
    };
    let mut fields = json!({});
    // What a patch takes away is no part of an object.
    json_patch::merge(&mut fields, patch);
    let asked: wire::Pod = serde_json::from_value(fields).map_err(|_| invalid())?;
    let asked = asked.seen();
    if state.refuses {
        return Err(refused());
    }
    let (uid, resource_version) = (named(patch, "uid"), named(patch, "resourceVersion"));
    let before = target(state, basis, uid, resource_version)?;
    let mut pod = before.clone();
    if !basis.moves {
        note(
            state,
            judge_stop(&pod, basis.asks_for, basis.suspend, false),
        );
    }
    let unproved = judge_proof(state, &pod, basis);
    note(state, unproved);
    let told = Arc::make_mut(&mut pod.told);
    let asks = asked.told;
    told.image = asks.image.or_else(|| told.image.take());
    told.settings = asks.settings.or_else(|| told.settings.take());
    told.revision = asks.revision.or_else(|| told.revision.take());
    told.healed = asks.healed.or(told.healed);
    let moves = asks.moved.is_some();
    told.moved = asks.moved.or_else(|| told.moved.take());
    if !asked.spec_image.is_empty() && *asked.spec_image != *pod.image {
        pod.image = asked.spec_image.into();
        pod.life = match pod.life {
            Life::Failing { again, .. } => Life::Failing { again, stale: true },
            Life::Running => Life::Leaving,
            // What the node has of the old image does not help.
            Life::Crashed if moves => Life::Bereft,
            other => other,
        };
    }
    let changed = pod != before;
    state.pod.write(Some(pod));
    Ok(version(changed))
}

fn create_claim(state: &mut State, body: &[u8]) -> Result<String, No> {
    let claim: wire::Claim = serde_json::from_slice(body).map_err(|_| invalid())?;
    if state.claim.now().is_some() {
        return Err(exists());
    }
    let claim = claim.seen();
    state.claim.write(Some(Claim {
        ours: claim.workspace.as_deref() == Some("w"),
        owner: owner(claim.owners.iter().map(|it| it.uid.as_str())),
        size: size(claim.size.as_deref()),
    }));
    Ok(WRITTEN.into())
}

fn patch_claim(state: &mut State, patch: &Patch<Value>) -> Result<String, No> {
    let (Patch::Merge(patch) | Patch::Strategic(patch)) = patch else {
        return Err(invalid());
    };
    let asked = wire::Claim::deserialize(patch)
        .map_err(|_| invalid())?
        .seen();
    let before = state.claim.now().ok_or_else(missing)?;
    if !meets(
        named(patch, "uid"),
        named(patch, "resourceVersion"),
        "claim",
    ) {
        return Err(outdated());
    }
    let mut claim = before;
    if let Some(grown) = &asked.size {
        claim.size = size(Some(grown));
    }
    if patch["metadata"].get("ownerReferences").is_some() {
        claim.owner = owner(asked.owners.iter().map(|it| it.uid.as_str()));
    }
    state.claim.write(Some(claim));
    Ok(version(claim != before))
}

fn owner<'a>(mut uids: impl Iterator<Item = &'a str>) -> Option<u8> {
    workspace_of(uids.next()?)
}

fn size(quantity: Option<&str>) -> u8 {
    let number = quantity.and_then(|it| it.strip_suffix("Gi"));
    number.and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// The API server looks at the `resourceVersion` only: a uid in the body protects no status.
fn patch_workspace(
    state: &mut State,
    basis: &Basis,
    part: Option<&str>,
    patch: &Patch<Value>,
) -> Result<String, No> {
    let Patch::Merge(patch) = patch else {
        return Err(no(415, "UnsupportedMediaType", "not for a custom resource"));
    };
    let workspace = state.workspace.now().clone().ok_or_else(missing)?;
    let uid = workspace_uid(workspace.uid);
    if !meets(None, named(patch, "resourceVersion"), &uid) {
        return Err(outdated());
    }
    if part != Some("status") {
        note_foreign(state, "a Workspace itself is written, not its status");
    }
    if workspace.uid != basis.workspace {
        let how = "the status of another Workspace of this name is written";
        note_foreign(state, how);
    }
    let status = workspace.status.merged(&patch["status"]);
    let status = status.ok_or_else(invalid)?;
    if status.is("Ready") {
        note(state, judge_container(basis.pod.as_ref()));
    }
    let changed = status != workspace.status;
    state.workspace.write(Some(Workspace {
        status,
        ..workspace
    }));
    Ok(version(changed))
}
