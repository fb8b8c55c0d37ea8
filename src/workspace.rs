//! The `Workspace` API: what a user asks for, what the operator answers, and the names both use.

use std::fmt;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, PodSecurityContext,
    ResourceRequirements, SecurityContext, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The runtime of a Workspace that names none.
pub const DEFAULT_RUNTIME: &str = "langgraph";
/// The name of our container in a Pod.
pub const AGENT: &str = "agent";
/// The annotation whose new value restarts a Workspace.
pub const RESTARTED_AT: &str = "molecule.ai/restartedAt";

/// What the user asks for.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "molecule.ai",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "ws",
    category = "all",
    namespaced,
    status = "WorkspaceStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// The agent runtime.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// The tag of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the container sees as `WORKSPACE_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// No Pod while true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Sources of environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Compute resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Security context of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Labels added to the Pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations added to the Pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Pull secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// ServiceAccount of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Node labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Scheduling constraints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Spreading over topology domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// PriorityClass of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// RuntimeClass of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Seconds between TERM and KILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// The ConfigMap projected into `/configs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Kept storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How long until a Pod that is not Ready makes the Workspace Stalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provision_timeout_seconds: Option<u32>,
}

fn default_runtime() -> String {
    DEFAULT_RUNTIME.to_owned()
}

/// Kept storage: one PersistentVolumeClaim `workspace-<name>`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Requested size.
    pub size: Quantity,
    /// StorageClass of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Access modes of the claim; absent = `ReadWriteOnce`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// What becomes of the claim when the Workspace is deleted.
    #[serde(default)]
    pub when_deleted: WhenDeleted,
}

/// What becomes of the claim when the Workspace is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum WhenDeleted {
    /// The claim stays.
    #[default]
    Retain,
    /// The claim is deleted with its Workspace.
    Delete,
}

/// What the operator answers.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Reason>,
    /// The reference that the Pod was told to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The digest of what its node says it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The name of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The stable DNS name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `Ready`, `Reconciling`, `Stalled` and `Suspended`, after kstatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The one word that says where a Workspace stands: `status.state`, and the reason of its conditions.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema,
)]
pub enum Reason {
    /// The agent answers on its port.
    Ready,
    /// There is no Pod because the user asked for none; the storage stays.
    Suspended,
    /// The Pod is being stopped because the user asked for none.
    Suspending,
    /// The Pod is about to be created.
    Pending,
    /// The Pod waits for its volumes, its sandbox or its first start.
    Starting,
    /// The image is being pulled.
    Pulling,
    /// The Pod is being replaced because what the user asked for changed.
    Replacing,
    /// An older Pod of the same name is still going away.
    WaitingForOldPod,
    /// An older claim of the same name is still going away.
    WaitingForOldVolume,
    /// The claim is not bound yet.
    VolumePending,
    /// The Pod failed or was evicted; it is replaced after a back-off.
    PodFailed,
    /// The container runs but does not answer on its port.
    NotReady,
    /// The image cannot be pulled.
    ImagePullFailed,
    /// No node can take the Pod.
    Unschedulable,
    /// The agent keeps exiting.
    CrashLooping,
    /// A ConfigMap, a Secret or a key that the container needs is missing.
    ConfigMissing,
    /// The container cannot be created on its node.
    ContainerError,
    /// The runtime is none of the known ones, so there is no image.
    UnknownRuntime,
    /// The settings are invalid and there are no last good ones.
    InvalidSettings,
    /// The stored object does not decode.
    InvalidSpec,
    /// The API server refused the Pod.
    PodRejected,
    /// A Pod of the same name belongs to someone else.
    PodNotOwned,
    /// The old Pod hangs in Terminating.
    PodStuckTerminating,
    /// A claim of the same name belongs to someone else.
    VolumeNotOwned,
    /// The API server refused the claim or its change.
    VolumeRejected,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
