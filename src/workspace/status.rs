//! What the operator answers. The doc comments of the fields are their descriptions in the CRD.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What the operator answers. A Workspace that no one has looked at yet has observedGeneration -1.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The metadata.generation of the spec that this status speaks of; -1 before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: where the Workspace stands, which is also the reason of its
    /// conditions.
    #[serde(
        default,
        deserialize_with = "known_reason",
        skip_serializing_if = "Option::is_none"
    )]
    pub state: Option<Reason>,
    /// The reference that the Pod was told to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest of what its node says it runs. A digest only: a node names the first repository
    /// from which it ever knew that content, not the one it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The name of the Pod; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The DNS name that stays the same across Pods, `<name>.workspaces.<namespace>.svc`. Absent
    /// where the Service `workspaces` belongs to someone else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled` and `Suspended`, after kstatus. Reconciling and Stalled
    /// exclude each other; a suspended Workspace has no Ready condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The agent answers.
pub const READY: &str = "Ready";
/// Something is under way.
pub const RECONCILING: &str = "Reconciling";
/// Someone has to act.
pub const STALLED: &str = "Stalled";
/// There is no Pod, as the user asked.
pub const SUSPENDED: &str = "Suspended";

impl WorkspaceStatus {
    /// Whether it has this condition, and it holds.
    #[must_use]
    pub fn is_true(&self, condition: &str) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|it| it.type_ == condition && it.status == "True")
    }
}

/// A newer operator may have written a reason that this one does not know: that must not make
/// the whole Workspace undecodable, and the next status replaces it anyway.
fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let written = Option::<serde_json::Value>::deserialize(deserializer)?;
    Ok(written.and_then(|reason| serde_json::from_value(reason).ok()))
}

/// The one word that says where a Workspace stands: `status.state`, and the reason of its conditions.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema,
)]
pub enum Reason {
    /// The agent answers on port 8000.
    Ready,
    /// There is no Pod because the user asked for none; the storage stays.
    Suspended,
    /// There is no Pod because `spec.expiresAt` has passed; the storage stays.
    Expired,
    /// The Pod is being stopped because the user asked for none.
    Suspending,
    /// The Pod is about to be created.
    Pending,
    /// The Pod waits for its volumes, its sandbox or its first start.
    Starting,
    /// The image is being pulled.
    Pulling,
    /// The Pod or its container is being replaced: the user asked for another, or the settings
    /// changed, move what runs, and it is its turn.
    Replacing,
    /// The Pod runs on, and is not stopped for another image or settings: the image is not proved to be
    /// on its node, or another Pod could not have its storage again. The message says which, with the
    /// registry and its answer; it is asked again with growing pauses, and at once after an edit of the
    /// settings.
    RolloutBlocked,
    /// An older Pod of the same name is still going away.
    WaitingForOldPod,
    /// An older claim of the same name is still going away.
    WaitingForOldVolume,
    /// The claim is not bound yet and no node can take the Pod; the message is the scheduler's.
    VolumePending,
    /// The Pod failed or was evicted; it stays for its logs and is replaced after a back-off of 10
    /// s to 5 min.
    PodFailed,
    /// The agent runs but does not answer on port 8000; its log says why.
    NotReady,
    /// The image cannot be pulled; the message names the registry and its answer. An edit of the
    /// settings, or the image appearing there, heals it.
    ImagePullFailed,
    /// No node can take the Pod; the message is the scheduler's.
    Unschedulable,
    /// The agent keeps exiting; the message has its last exit, `kubectl logs --previous` its log.
    CrashLooping,
    /// A ConfigMap, a Secret or a key that the container needs is missing; create what the message
    /// names.
    ConfigMissing,
    /// The container cannot be created on its node; `kubectl describe pod` says more.
    ContainerError,
    /// The runtime is none of the known ones, so there is no image: change it, or add it to
    /// `EXTRA_RUNTIMES` in the settings.
    UnknownRuntime,
    /// The settings are invalid and there are no last good ones, so no Pod is started until they
    /// are mended.
    InvalidSettings,
    /// The stored object does not decode, as after a downgrade: apply it again.
    InvalidSpec,
    /// The API server refused the Pod, or the probe that comes before it, in the words of the
    /// message: a quota, Pod Security, a policy. An older Pod runs on; it is tried again with growing
    /// pauses.
    PodRejected,
    /// A Pod of the same name belongs to someone else: delete it, or rename the Workspace.
    PodNotOwned,
    /// The Pod has lost the annotation by which it is known whether it is what was asked for. It is
    /// left alone: delete it to have it started anew.
    PodAltered,
    /// The old Pod hangs in Terminating, as on a lost node (taint that node as out of service) or by
    /// a finalizer. Nothing is ever force-deleted.
    PodStuckTerminating,
    /// A claim of the same name has no label of ours: add the label `molecule.ai/workspace`, or
    /// delete it.
    VolumeNotOwned,
    /// The API server refused the claim or its growth, in the words of the message. What runs runs
    /// on.
    VolumeRejected,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
