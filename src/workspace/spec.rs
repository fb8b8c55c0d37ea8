//! What a user asks for. The doc comments of the fields are their descriptions in the CRD.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, PodSecurityContext,
    ResourceRequirements, SecurityContext, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_RUNTIME, WorkspaceStatus};

/// What the user asks for. It holds no image: the image is the operator's settings' registry
/// prefix, the runtime, and the tag or digest.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "molecule.ai",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "ws",
    category = "all",
    namespaced,
    doc = "A long-lived single container that runs one agent runtime. Its Pod has the name of the Workspace, its image comes from the registry that the operator's settings name at the moment of each rollout.",
    status = "WorkspaceStatus",
    derive = "PartialEq",
    selectable = ".spec.runtime",
    selectable = ".status.state"
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// The agent runtime, such as `claude-code`; it selects the image. Default: `langgraph`.
    /// A runtime that the operator does not know has no image, and its Workspace is Stalled with
    /// the reason UnknownRuntime. At most 40 lower-case letters, digits and '-'.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// The tag of the image; excludes `digest`. Default: the settings' pin for the runtime, else
    /// `latest`. A node that has an image of this tag uses it without asking the registry, so a
    /// new build reaches a Workspace by another tag, a digest or a pin, never by a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest of the image, `sha256:` and 64 lower-case hex digits; excludes `tag`. It names
    /// the same bytes on every mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the container sees as `WORKSPACE_ID`. Default: the Workspace's UID. Set it where kept
    /// storage is restored or moved and the agent must keep its identity. Fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// While true there is no Pod; the storage stays. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Environment variables of the container, as in core/v1 Container. They override what the
    /// operator sets, except `WORKSPACE_ID` and `WORKSPACE_CONFIG_PATH`, which are refused here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become environment variables, as in core/v1 Container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// CPU, memory and other resources of the container, as in core/v1 Container; a fraction is
    /// written as a string, `500m` or `"0.5"`. Default: none, or what the namespace's LimitRange
    /// gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Security context of the container, as in core/v1 Container, without privileged, added
    /// capabilities, procMount and hostProcess. Default: no privilege escalation, seccomp profile
    /// RuntimeDefault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Security context of the Pod (users, groups, fsGroup, ...), as `securityContext` in core/v1
    /// PodSpec, without hostProcess.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// Labels added to the Pod. Keys under `molecule.ai/` and `app.kubernetes.io/` are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations added to the Pod. Keys under `molecule.ai/` and `app.kubernetes.io/` are
    /// reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Secrets of this namespace to pull the image with, as in core/v1 PodSpec; the settings'
    /// names are appended. When the joined list is not empty it replaces the ServiceAccount's
    /// pull secrets, by Kubernetes' own rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// ServiceAccount of the Pod, as in core/v1 PodSpec. Its token is not mounted. Default: the
    /// namespace's `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Labels that the node must have, as in core/v1 PodSpec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pod tolerates, as in core/v1 PodSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Scheduling constraints on nodes and other Pods, as in core/v1 PodSpec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How Pods spread over topology domains, as in core/v1 PodSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// PriorityClass of the Pod, as in core/v1 PodSpec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// RuntimeClass of the Pod, as in core/v1 PodSpec. It chooses how the node runs containers
    /// and has nothing to do with `runtime`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Seconds that the agent has between TERM and KILL, as in core/v1 PodSpec, but at least 1.
    /// Default: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// The name of a ConfigMap of this namespace that is projected into `/configs`. Default: none;
    /// `/configs` is a writable folder, kept where there is `storage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Storage that is kept across Pods, in one PersistentVolumeClaim `workspace-<name>`: it
    /// holds `/workspace`, `/configs` where `config` is absent, and `/root/.claude/sessions`.
    /// It can be added later, and never removed. Default: none; what the agent writes goes with
    /// its Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Seconds until a Pod that is not Ready makes the Workspace Stalled, 1 to 86400; the
    /// operator goes on trying. Default: the settings' `PROVISION_TIMEOUT_SECONDS`, 600 unless
    /// set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provision_timeout_seconds: Option<u32>,
    /// From this time on there is no Pod, as with `suspend`; the storage stays. A later time, or
    /// none, starts it again. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Whether and when a running Pod may be moved to other settings, where the operator's settings
    /// move what runs (`ROLLOUT: Paced`). It needs no new Pod. Default: whenever its turn comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// What the API server stores for `spec: {}`.
impl Default for WorkspaceSpec {
    fn default() -> Self {
        serde_json::from_value(serde_json::Value::Object(serde_json::Map::new()))
            .expect("no field of the spec is required")
    }
}

fn default_runtime() -> String {
    DEFAULT_RUNTIME.to_owned()
}

/// Whether and when a running Pod may be moved to other settings. It is one more restriction: where
/// the operator's settings move nothing that runs, nothing is moved, whatever stands here. A Pod that
/// starts anew for another reason always takes the settings of that moment.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `OnRestart`: this Pod is never moved while it runs. `Paced`: it is moved when its turn comes.
    /// Default: Paced.
    #[serde(default, skip_serializing_if = "is_paced")]
    pub policy: Policy,
    /// It is not moved before this time: let me finish my work first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// It is moved between these times of the day only. Default: at any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

fn is_paced(policy: &Policy) -> bool {
    *policy == Policy::Paced
}

/// Whether a running Pod is moved to other settings.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Policy {
    /// It is moved when its turn comes, where the operator's settings move what runs.
    #[default]
    Paced,
    /// It is never moved while it runs.
    OnRestart,
}

/// A part of each day, in UTC. A move that has begun in it may end after it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct Window {
    /// When it begins, as `22:00` in UTC.
    pub start: String,
    /// When it ends, as `06:00` in UTC, exclusive; before the start means on the next day.
    pub end: String,
}

/// Kept storage: one PersistentVolumeClaim `workspace-<name>`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The requested size in bytes, a quantity such as `20Gi`. It can grow, where the storage
    /// class allows it, and never shrink.
    pub size: Quantity,
    /// StorageClass of the claim. Default: the cluster's default class. Fixed once the storage
    /// is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// Access modes of the claim, as in core/v1 PersistentVolumeClaim. Default: `ReadWriteOnce`.
    /// Fixed once the storage is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// What becomes of the claim and its data when the Workspace is deleted. Default: Retain.
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
