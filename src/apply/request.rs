//! What is asked of the API server for a step, as a value. It names the state that the step was
//! planned from, so that the API server refuses what is outdated; pure.

use kube::api::{Patch, Preconditions};
use serde::Serialize;
use serde_json::{Value, json};

use crate::index::Kind;
use crate::names;
use crate::plan::Step;
use crate::seen::{Ask, Key, Moved, Version};
use crate::volume::Change;
use crate::workspace::{AGENT, WorkspaceStatus};

/// One request about one object in the namespace of its Workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What it is about.
    pub kind: Kind,
    /// The name of the object.
    pub name: String,
    /// What is asked.
    pub call: Call,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Create this object.
    Create {
        /// As JSON.
        body: Vec<u8>,
        /// Whether only to say if it could be.
        dry_run: bool,
    },
    /// Patch it.
    Patch {
        /// The subresource; `None` = the object itself.
        part: Option<&'static str>,
        /// What changes, with the version that it was planned from in its metadata.
        patch: Patch<Value>,
    },
    /// Delete it, with its grace.
    Delete {
        /// What it was planned from.
        preconditions: Preconditions,
    },
}

impl Call {
    /// Delete what is at this version.
    #[must_use]
    pub fn delete(version: &Version) -> Self {
        Self::Delete {
            preconditions: Preconditions {
                uid: Some(version.uid.clone()),
                resource_version: Some(version.resource_version.clone()),
            },
        }
    }
}

impl Request {
    /// The request of a step.
    #[must_use]
    pub fn of(key: &Key, step: &Step) -> Self {
        match step {
            Step::CreatePod { pod, .. } => create(Kind::Pod, pod.metadata.name.as_ref(), pod),
            Step::TryPod { pod, .. } => {
                let mut request = create(Kind::Pod, pod.metadata.name.as_ref(), pod);
                if let Call::Create { dry_run, .. } = &mut request.call {
                    *dry_run = true;
                }
                request
            }
            Step::SetImage {
                version, ask, at, ..
            } => {
                let patch = Patch::Strategic(heal_patch(version, ask, &at.to_string()));
                patched(Kind::Pod, &key.name, None, patch)
            }
            Step::MovePod {
                version,
                ask,
                moved,
            } => {
                let patch = Patch::Strategic(move_patch(version, ask, moved));
                patched(Kind::Pod, &key.name, None, patch)
            }
            Step::DeletePod { version, .. } => Self {
                kind: Kind::Pod,
                name: key.name.to_string(),
                call: Call::delete(version),
            },
            Step::CreateClaim { claim, .. } => {
                create(Kind::Claim, claim.metadata.name.as_ref(), claim)
            }
            Step::PatchClaim {
                version, change, ..
            } => {
                let patch = Patch::Merge(claim_patch(version, change));
                patched(Kind::Claim, &names::claim(&key.name), None, patch)
            }
            Step::PatchStatus { version, status } => {
                let patch = Patch::Merge(status_patch(version, status));
                patched(Kind::Workspace, &key.name, Some("status"), patch)
            }
        }
    }
}

fn create(kind: Kind, name: Option<&String>, object: &impl Serialize) -> Request {
    let body = serde_json::to_vec(object).expect("all keys in an object are strings");
    Request {
        kind,
        name: name.cloned().unwrap_or_default(),
        call: Call::Create {
            body,
            dry_run: false,
        },
    }
}

fn patched(kind: Kind, name: &str, part: Option<&'static str>, patch: Patch<Value>) -> Request {
    Request {
        kind,
        name: name.to_owned(),
        call: Call::Patch { part, patch },
    }
}

fn heal_patch(version: &Version, ask: &Ask, at: &str) -> Value {
    image_patch(
        version,
        ask,
        json!({names::TOLD_IMAGE: ask.image, names::TOLD_HEALED: at}),
    )
}

/// What is absent of the move is null, so that nothing is left of an earlier one.
fn move_patch(version: &Version, ask: &Ask, moved: &Moved) -> Value {
    image_patch(
        version,
        ask,
        json!({
            names::TOLD_IMAGE: ask.image,
            names::MOVED_FROM: moved.from,
            names::MOVED_AT: moved.at.to_string(),
            names::MOVED_OVER: moved.over,
            names::MOVED_BACK: moved.back,
        }),
    )
}

/// The image, and what is told of it.
fn image_patch(version: &Version, ask: &Ask, annotations: Value) -> Value {
    json!({
        "metadata": {
            "uid": version.uid,
            "resourceVersion": version.resource_version,
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": AGENT, "image": ask.image}]},
    })
}

fn claim_patch(version: &Version, change: &Change) -> Value {
    let mut metadata = json!({"uid": version.uid, "resourceVersion": version.resource_version});
    if let Some(owners) = &change.owners {
        metadata["ownerReferences"] = json!(owners);
    }
    let mut patch = json!({"metadata": metadata});
    if let Some(size) = &change.size {
        patch["spec"] = json!({"resources": {"requests": {"storage": size}}});
    }
    patch
}

/// In a merge patch what is absent stays, so each field that has no value is set to null.
fn status_patch(version: &Version, status: &WorkspaceStatus) -> Value {
    let mut fields = json!({"image": null, "digest": null, "pod": null, "address": null});
    if let (Value::Object(fields), Ok(Value::Object(told))) =
        (&mut fields, serde_json::to_value(status))
    {
        fields.extend(told);
    }
    json!({
        "metadata": {"resourceVersion": version.resource_version},
        "status": fields,
    })
}
