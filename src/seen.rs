//! What is seen of the cluster: small values of just the fields that a decision rests on.

mod facts;
mod going;
mod moved;
mod refusal;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use crate::workspace::{Reason, STALLED, WorkspaceSpec, WorkspaceStatus};

pub use facts::later;
pub use going::{Goes, ToldToGo};
pub use moved::{DEFAULT_GRACE, Left, Moved, STABLE, Turn, Wish};
pub use refusal::Refusal;

/// Where a Workspace lives. Its Pod has the same key; its claim is called `workspace-<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name of the Workspace and of its Pod.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these two names.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object at one moment. Every write to it names both, so that a write planned from an
/// older state is refused by the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Version {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
}

/// All that is known of one Workspace.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The Workspace itself, absent when it was deleted.
    pub workspace: Option<&'a Workspace>,
    /// The Pod of that name, whoever owns it.
    pub pod: Option<&'a Pod>,
    /// The claim `workspace-<name>`, whoever owns it.
    pub claim: Option<&'a Claim>,
    /// The namespace's Service `workspaces`.
    pub service: Service,
    /// What this process remembers; nothing in it is needed for safety, for a crash forgets it.
    pub memory: &'a Memory,
    /// What is known of the image that this Workspace wanted proved when it was last looked at.
    pub proof: Option<&'a Known>,
    /// Whether the move of the fleet has come to it.
    pub turn: Turn,
}

impl Seen<'_> {
    /// What is known of this image on this node; of one that nobody has asked about, nothing.
    #[must_use]
    pub fn proof(&self, question: &Question) -> Proof {
        let known = self.proof.filter(|it| it.question == *question);
        known.map_or(Proof::Unknown, |it| it.proof.clone())
    }
}

/// What has to be proved before a Ready Workspace is stopped for another image: that this node has
/// it, or can pull it, with these credentials. Equal questions have one proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// The node.
    pub node: String,
    /// The reference of the image.
    pub image: String,
    /// What the node would show to the registry.
    pub credentials: Credentials,
}

/// The pull secrets of a Pod: an image that was pulled with a secret is given from a node's cache
/// only to those who have it as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Credentials {
    /// None, neither of its own nor of its ServiceAccount.
    #[default]
    None,
    /// These.
    Secrets {
        /// Their namespace, which is that of the Pod.
        namespace: String,
        /// Their names, in alphabetical order, each once.
        names: Vec<String>,
    },
    /// Whatever admission gives to a new Pod that names none: those that its ServiceAccount has then.
    OfServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Proof {
    /// Nothing.
    #[default]
    Unknown,
    /// It is being found out.
    UnderWay,
    /// The node has pulled it, not long ago, and keeps it for now.
    Proved,
    /// The node cannot pull it, or is not asked for its registry hangs. It is tried again with
    /// growing pauses, and told so meanwhile.
    Failed {
        /// Why, in words that stay the same for as long as the cause does, such as
        /// `ghcr.io answered 401 Unauthorized`.
        why: String,
    },
    /// Nothing is known of the node: the API server refuses the Pod that would ask it, as a quota, a
    /// policy or Pod Security demands. It is tried again like what failed.
    Refused {
        /// The server's words.
        why: String,
    },
}

/// A question, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// The question.
    pub question: Question,
    /// What is known.
    pub proof: Proof,
}

/// A Workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct Workspace {
    /// The object at this moment.
    pub version: Version,
    /// `metadata.generation`
    pub generation: i64,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// What the user asked for, or in one sentence why it does not decode.
    pub spec: Result<Packed, String>,
    /// The hash of what the user asked for ([`crate::revision`]).
    pub revision: String,
    /// The status as stored.
    pub status: WorkspaceStatus,
}

/// Where a Workspace stood, by its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// `status.state`
    pub state: Option<Reason>,
    /// Whether it had the condition `Stalled`.
    pub is_stalled: bool,
    /// Whether it named a Pod, and not one that the operator has stopped since.
    pub has_pod: bool,
}

impl From<&WorkspaceStatus> for Shown {
    fn from(status: &WorkspaceStatus) -> Self {
        Self {
            state: status.state,
            is_stalled: status.is_true(STALLED),
            has_pod: status.pod.is_some(),
        }
    }
}

/// A spec as JSON. Decoded, it takes ten times the memory; there are many, and each is looked at
/// now and then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packed(Box<str>);

impl Packed {
    /// Packs a spec.
    ///
    /// # Panics
    /// Never: all keys in a spec are strings.
    #[must_use]
    pub fn new(spec: &WorkspaceSpec) -> Self {
        let json = serde_json::to_string(spec).expect("all keys in a spec are strings");
        Self(json.into())
    }

    /// The runtime alone, which costs a fraction of the spec.
    ///
    /// # Panics
    /// Never: it was a spec when it was packed.
    #[must_use]
    pub fn runtime(&self) -> String {
        #[derive(Deserialize)]
        struct Only {
            runtime: String,
        }
        self.read::<Only>().runtime
    }

    /// The spec with nothing in it but what its pull credentials follow from, at a fraction of what
    /// the whole costs.
    ///
    /// # Panics
    /// Never: it was a spec when it was packed.
    #[must_use]
    pub fn credentials(&self) -> WorkspaceSpec {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Only {
            #[serde(default)]
            image_pull_secrets: Vec<LocalObjectReference>,
            service_account_name: Option<String>,
        }
        let only = self.read::<Only>();
        WorkspaceSpec {
            image_pull_secrets: only.image_pull_secrets,
            service_account_name: only.service_account_name,
            ..WorkspaceSpec::default()
        }
    }

    /// The spec.
    ///
    /// # Panics
    /// Never: it was a spec when it was packed.
    #[must_use]
    pub fn unpack(&self) -> WorkspaceSpec {
        self.read()
    }

    /// The spec, or a part of it.
    fn read<'a, T: Deserialize<'a>>(&'a self) -> T {
        serde_json::from_str(&self.0).expect("it was a spec when it was packed")
    }
}

/// Whose an object is, by the UID of its controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Controller {
    /// It has none.
    #[default]
    None,
    /// A Workspace of this UID.
    Workspace(String),
    /// A Workspace, but someone took away the label by which the watch shows our Pods: what
    /// becomes of it is not seen.
    Hidden,
    /// Something that is no Workspace.
    Other,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// The object at this moment.
    pub version: Version,
    /// Who controls it.
    pub controller: Controller,
    /// When it was created.
    pub created: Timestamp,
    /// When its grace ends, if it was told to go.
    pub deleting: Option<Timestamp>,
    /// What we told it, from its annotations.
    pub told: Told,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// `status.reason`, such as `Evicted`.
    pub status_reason: Option<String>,
    /// Why the scheduler found no node, when it says so.
    pub unschedulable: Option<String>,
    /// `PodReadyToStartContainers`: whether the volumes and the sandbox are there.
    pub sandbox_ready: bool,
    /// The condition `Ready`, of the Pod's current generation and of the container that it was last
    /// told to run.
    pub ready: bool,
    /// Whether its agent answered when its node last looked, be it at an earlier generation of the Pod,
    /// or the container that is being stopped: it may serve.
    pub answered: bool,
    /// When the condition `Ready` last changed.
    pub ready_changed: Option<Timestamp>,
    /// Whether it has changed since its node saw it first: it is Ready, or has been.
    pub was_ready: bool,
    /// The image in the live spec, which admission may have rewritten; only good for
    /// recognising messages about it.
    pub spec_image: String,
    /// The names of the pull secrets in the live spec, where admission has put those of the
    /// ServiceAccount if the Pod names none of its own.
    pub pull_secrets: Vec<String>,
    /// Our container.
    pub agent: Agent,
}

/// What we told a Pod when we created or healed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Told {
    /// The image.
    pub image: Option<String>,
    /// The hash of the other fields that come from the settings.
    pub settings: Option<String>,
    /// The hash of what the user asked for.
    pub revision: Option<String>,
    /// How many Pods before it failed in a row.
    pub failures: u32,
    /// When the image was last healed in place.
    pub healed: Option<Timestamp>,
    /// How it was last moved to other settings, if it was.
    pub moved: Option<Box<Moved>>,
}

/// Where a Pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// Not started, running, or unknown.
    #[default]
    Alive,
    /// `Failed` or `Succeeded`: nothing restarts it.
    Dead,
}

/// Our container in a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Agent {
    /// What it does now.
    pub state: AgentState,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was restarted.
    pub restarts: i32,
    /// The first characters of its identifier, once it has one.
    pub container: Option<Box<str>>,
    /// How its last run ended.
    pub last_exit: Option<Box<Exit>>,
    /// The digest of what the node says it runs.
    pub digest: Option<String>,
}

/// What our container does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum AgentState {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// It waits, for a reason and with a message of the kubelet's.
    Waiting {
        /// Such as `ImagePullBackOff`.
        reason: String,
        /// The kubelet's words.
        message: String,
    },
    /// It runs.
    Running,
    /// It ended.
    Terminated,
}

/// How a run of our container ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// The exit code.
    pub code: i32,
    /// Such as `Error` or `OOMKilled`.
    pub reason: String,
    /// When it had started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The object at this moment.
    pub version: Version,
    /// The value of our label on it.
    pub workspace: Option<String>,
    /// All its owners.
    pub owners: Vec<OwnerReference>,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Whether it is not bound yet.
    pub pending: bool,
    /// The size it asks for.
    pub size: Option<String>,
}

/// The Service `workspaces` of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Service {
    /// There is none; one is about to be created.
    #[default]
    Missing,
    /// Ours.
    Ours,
    /// The name belongs to someone else, so there are no addresses.
    Foreign,
    /// The API server refused ours, so there are no addresses for now.
    Refused,
}

/// What this process remembers of a Workspace between two passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// The reason that holds now, and since when it has been seen.
    pub showing: Option<(Reason, Timestamp)>,
    /// The Pod that the API server refused.
    pub pod_refusal: Option<Box<Refusal<Ask>>>,
    /// The claim that the API server refused, by the size asked for.
    pub claim_refusal: Option<Box<Refusal<String>>>,
    /// The Pod that the API server refused to delete, by its UID.
    pub delete_refusal: Option<Box<Refusal<String>>>,
    /// What a Pod was last healed to, or replaced for. Whoever undoes that is not answered at once
    /// again and again.
    pub healed: Option<Box<Refusal<Ask>>>,
    /// The Pod that is to be created replaces one that did not fit the settings.
    pub replaces: bool,
    /// What the Pod that is to be created takes the place of.
    pub left: Option<Box<Left>>,
    /// A status of it is on its way, and was not seen yet: what it shows is older than what it is told.
    pub telling: bool,
    /// The words of a status that the API server took and did not store.
    pub ignored: Option<String>,
    /// The trial that the API server accepted before it was known whether the image can be had.
    pub foreseen: Option<Box<Ask>>,
    /// The trial that the API server accepted, right before the old Pod stops, and when.
    pub accepted: Option<Box<(Ask, Timestamp)>>,
    /// What was told to the Pod that is there.
    pub told_to_go: Option<Box<ToldToGo>>,
    /// How many Pods failed in a row before the one that is to be created.
    pub failures: u32,
    /// The namespace is going away: nothing can be created in it any more.
    pub namespace_terminating: bool,
}

/// The identity of a Pod to be: two equal ones make the same Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The hash of what the user asked for.
    pub revision: String,
    /// The image.
    pub image: String,
    /// The hash of the other fields that come from the settings.
    pub settings: String,
}
