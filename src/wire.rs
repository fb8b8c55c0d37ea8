//! What the API server sends, decoded into what is seen. Only the fields in use are read: a watch
//! of many Pods costs what is decoded and kept.

mod lenient;
mod probe;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::lenient::{lean, time};
use self::told::told;
use crate::names;
use crate::resolver::is_tag;
use crate::revision::revision;
use crate::seen::{
    self, Agent, AgentState, Controller, Exit, Key, Packed, Phase, Service as SeenService, Version,
};
use crate::settings;
use crate::workspace::{self, AGENT, RESTARTED_AT, WorkspaceSpec, WorkspaceStatus};

/// As many characters of a container's identifier as people see of it elsewhere.
const CONTAINER: usize = 12;

/// A Workspace as stored. Decoding it never fails for what is in its spec or status, so that one
/// bad object does not end the list and the watch of the others.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = workspace::Workspace)]
pub struct Workspace {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

/// A Pod.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = core::Pod)]
pub struct Pod {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

/// A claim.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = core::PersistentVolumeClaim)]
pub struct Claim {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ClaimSpec,
    #[serde(default)]
    status: ClaimStatus,
}

/// A Service.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = core::Service)]
pub struct Service {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

/// A ConfigMap.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = core::ConfigMap)]
pub struct ConfigMap {
    #[serde(deserialize_with = "lean")]
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "binaryData")]
    binary_data: Option<BTreeMap<String, ByteString>>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    containers: Vec<Container>,
    image_pull_secrets: Vec<Named>,
    service_account_name: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Container {
    name: String,
    image: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    observed_generation: Option<i64>,
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    start_time: Option<Time>,
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, deserialize_with = "time")]
    last_transition_time: Option<Time>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    ready: bool,
    restart_count: i32,
    #[serde(rename = "containerID")]
    container_id: String,
    #[serde(rename = "imageID")]
    image_id: String,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<Value>,
    terminated: Option<Terminated>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    exit_code: i32,
    reason: String,
    #[serde(deserialize_with = "time")]
    started_at: Option<Time>,
    #[serde(deserialize_with = "time")]
    finished_at: Option<Time>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ClaimSpec {
    resources: ClaimResources,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ClaimResources {
    requests: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct ClaimStatus {
    phase: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    selector: BTreeMap<String, String>,
}

/// An object of the API that belongs to one Workspace or one namespace.
pub trait Wire: Resource<DynamicType = ()> {
    /// What is seen of it.
    type Seen;

    /// Decodes it.
    fn seen(self) -> Self::Seen;

    /// Whether the watches, which select by label, show it.
    fn is_watched(&self) -> bool {
        true
    }

    /// Its namespace and name.
    fn key(&self) -> Key {
        let meta = self.meta();
        let part = |part: &Option<String>| part.as_deref().unwrap_or_default().to_owned();
        Key::new(&part(&meta.namespace), &part(&meta.name))
    }

    /// Its `resourceVersion` as a number; the API server counts upwards for each kind.
    fn progress(&self) -> u64 {
        progress(self.meta().resource_version.as_deref().unwrap_or_default())
    }
}

/// A `resourceVersion` as a number, 0 if it is none.
#[must_use]
pub fn progress(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

fn version(meta: &ObjectMeta) -> Version {
    Version {
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
    }
}

impl Wire for Workspace {
    type Seen = seen::Workspace;

    fn seen(self) -> seen::Workspace {
        let annotation = self
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(RESTARTED_AT));
        let revision = revision(&self.spec, annotation.map(String::as_str));
        let spec = serde_json::from_value::<WorkspaceSpec>(self.spec)
            .map_err(|error| error.to_string())
            .and_then(|spec| fault(&spec).map_or_else(|| Ok(Packed::new(&spec)), Err));
        // One that does not decode is written anew.
        let mut status =
            serde_json::from_value(self.status).unwrap_or_else(|_| WorkspaceStatus::default());
        status.conditions.shrink_to_fit();
        seen::Workspace {
            version: version(&self.metadata),
            generation: self.metadata.generation.unwrap_or_default(),
            deleting: self.metadata.deletion_timestamp.is_some(),
            spec: spec.map_err(|error| {
                format!("the stored spec does not decode ({error}); apply the Workspace again")
            }),
            revision,
            status,
        }
    }
}

/// What is wrong with a spec though it decodes.
fn fault(spec: &WorkspaceSpec) -> Option<String> {
    version_fault(spec).or_else(|| time_fault(spec))
}

/// RFC 3339 has four digits for a year: another one would be packed, and never be read again.
fn time_fault(spec: &WorkspaceSpec) -> Option<String> {
    let not_before = spec.rollout.as_ref().and_then(|it| it.not_before.as_ref());
    let times = [
        ("expiresAt", spec.expires_at.as_ref()),
        ("rollout.notBefore", not_before),
    ];
    let years = times
        .into_iter()
        .filter_map(|(field, time)| Some((field, time?.0.to_zoned(TimeZone::UTC).year())));
    let (field, year) = years
        .into_iter()
        .find(|(_, year)| !(0..=9999).contains(year))?;
    Some(format!("{field}: the year {year} is not one of 0 to 9999"))
}

/// The CRD's schema refuses such a version; one that came past it must not become an image.
fn version_fault(spec: &WorkspaceSpec) -> Option<String> {
    match (&spec.tag, &spec.digest) {
        (_, Some(digest)) if digest.parse::<settings::Digest>().is_err() => {
            Some(format!("digest: {digest:?} is none"))
        }
        (Some(tag), _) if !is_tag(tag) => Some(format!("tag: {tag:?} is none")),
        _ => None,
    }
}

impl Wire for Pod {
    type Seen = seen::Pod;

    fn is_watched(&self) -> bool {
        label(&self.metadata, names::LABEL_NAME) == Some(names::NAME)
    }

    fn seen(self) -> seen::Pod {
        let watched = self.is_watched();
        let Self {
            metadata,
            spec,
            mut status,
        } = self;
        let agent = status
            .container_statuses
            .iter()
            .position(|it| it.name == AGENT);
        let agent = agent
            .map(|at| status.container_statuses.swap_remove(at))
            .unwrap_or_default();
        let condition = |type_: &str| status.conditions.iter().find(|it| it.type_ == type_);
        let is = |type_: &str| condition(type_).is_some_and(|it| it.status == "True");
        let lags = status.observed_generation.zip(metadata.generation);
        let observed = lags.is_none_or(|(observed, generation)| observed >= generation);
        let image = spec.containers.into_iter().find(|it| it.name == AGENT);
        let spec_image = image.and_then(|it| it.image).unwrap_or_default();
        let secrets = spec.image_pull_secrets.into_iter();
        let (agent, told) = (agent.seen(), told(metadata.annotations.as_ref()));
        let answered = is("Ready") && agent.ready && agent.state == AgentState::Running;
        let ready_changed = condition("Ready")
            .and_then(|it| it.last_transition_time.as_ref())
            .map(|time| time.0);
        seen::Pod {
            version: version(&metadata),
            controller: match controller(
                metadata.name.as_deref(),
                metadata.owner_references.as_deref().unwrap_or_default(),
            ) {
                Controller::Workspace(_) if !watched => Controller::Hidden,
                controller => controller,
            },
            created: metadata
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |t| t.0),
            deleting: metadata.deletion_timestamp.as_ref().map(|t| t.0),
            node: spec.node_name.filter(|node| !node.is_empty()),
            phase: match status.phase.as_deref() {
                Some("Failed" | "Succeeded") => Phase::Dead,
                _ => Phase::Alive,
            },
            unschedulable: condition("PodScheduled")
                .filter(|it| it.reason.as_deref() == Some("Unschedulable"))
                .map(|it| it.message.clone().unwrap_or_default()),
            sandbox_ready: is("PodReadyToStartContainers"),
            ready: answered
                && observed
                && !told.is_leaving(&agent, &spec_image)
                && metadata.deletion_timestamp.is_none(),
            answered,
            // A kubelet that sees it for the first time says at once that it is not Ready.
            was_ready: ready_changed > status.start_time.map(|it| it.0),
            ready_changed,
            status_reason: status.reason,
            spec_image,
            pull_secrets: secrets.map(|it| it.name).collect(),
            told,
            agent,
        }
    }
}

impl ContainerStatus {
    fn seen(self) -> Agent {
        let exit = |state: Option<Terminated>| {
            state.map(|it| {
                Box::new(Exit {
                    code: it.exit_code,
                    reason: if it.reason.is_empty() {
                        "Error".into()
                    } else {
                        it.reason
                    },
                    started: it.started_at.map(|time| time.0),
                    finished: it.finished_at.map(|time| time.0),
                })
            })
        };
        let now = self.state;
        Agent {
            ready: self.ready,
            restarts: self.restart_count,
            container: container(&self.container_id),
            digest: self
                .image_id
                .rfind("sha256:")
                .map(|at| self.image_id[at..].to_owned()),
            state: if now.running.is_some() {
                AgentState::Running
            } else if now.terminated.is_some() {
                AgentState::Terminated
            } else if let Some(waiting) = now.waiting {
                AgentState::Waiting {
                    reason: waiting.reason,
                    message: waiting.message,
                }
            } else {
                AgentState::Unknown
            },
            last_exit: exit(now.terminated).or_else(|| exit(self.last_state.terminated)),
        }
    }
}

/// Of `containerd://` and 64 digits what tells it from others.
fn container(id: &str) -> Option<Box<str>> {
    let id = id.rsplit('/').next().unwrap_or_default();
    let short = id.get(..CONTAINER).unwrap_or(id);
    (!short.is_empty()).then(|| short.into())
}

/// Who controls the Pod of this name. A Workspace controls only the Pod of its own name: one of
/// another name is some other controller.
fn controller(name: Option<&str>, owners: &[OwnerReference]) -> Controller {
    let is_workspace = |owner: &OwnerReference| {
        Some(&*owner.name) == name
            && owner.kind == workspace::Workspace::kind(&())
            && owner.api_version.split('/').next() == Some(&*workspace::Workspace::group(&()))
    };
    match owners.iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) if is_workspace(owner) => Controller::Workspace(owner.uid.clone()),
        Some(_) => Controller::Other,
        None => Controller::None,
    }
}

impl Wire for Claim {
    type Seen = seen::Claim;

    fn is_watched(&self) -> bool {
        label(&self.metadata, names::LABEL_WORKSPACE).is_some()
    }

    fn seen(mut self) -> seen::Claim {
        seen::Claim {
            version: version(&self.metadata),
            workspace: label(&self.metadata, names::LABEL_WORKSPACE).map(str::to_owned),
            owners: self.metadata.owner_references.clone().unwrap_or_default(),
            deleting: self.metadata.deletion_timestamp.is_some(),
            pending: self.status.phase.as_deref() == Some("Pending"),
            size: self.spec.resources.requests.remove("storage"),
        }
    }
}

impl Wire for Service {
    type Seen = SeenService;

    /// Ours by what it does: it gives our Pods their addresses only if it is headless and
    /// selects them.
    fn seen(self) -> SeenService {
        let headless = self.spec.cluster_ip.as_deref() == Some("None");
        let selects =
            |label: &str, value: &str| self.spec.selector.get(label).is_some_and(|it| it == value);
        let ours = selects(names::LABEL_NAME, names::NAME)
            && selects(names::LABEL_MANAGED_BY, names::MANAGER);
        if headless && ours {
            SeenService::Ours
        } else {
            SeenService::Foreign
        }
    }
}

impl Wire for ConfigMap {
    type Seen = BTreeMap<String, String>;

    /// kubectl puts a file that is no UTF-8 into `binaryData`. A setting that stands there is not
    /// absent: what is no text in it makes it invalid.
    fn seen(self) -> BTreeMap<String, String> {
        let binary = self.binary_data.unwrap_or_default().into_iter();
        let binary = binary.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into()));
        let mut data = self.data.unwrap_or_default();
        data.extend(binary);
        data
    }
}
