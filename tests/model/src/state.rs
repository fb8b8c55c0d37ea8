//! One state of the model: small, hashable, and the same for all that is the same to everyone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use workspace_operator::proof::Want;
use workspace_operator::seen::{Memory, Told};
use workspace_operator::workspace::WorkspaceStatus;

use crate::invariants::Broken;

/// How many operators run at once, at most.
pub const OPERATORS: usize = 2;

/// The whole of a small cluster: one name `w`, and what happens under it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The clock of the cluster, which all share.
    pub now: Timestamp,
    /// The Workspace `w`.
    pub workspace: History<Option<Workspace>>,
    /// The Pod `w`.
    pub pod: History<Option<Pod>>,
    /// The claim `workspace-w`.
    pub claim: History<Option<Claim>>,
    /// The settings ConfigMap.
    pub settings: History<Setting>,
    /// Pods under another name, each by the UID of the Workspace that controls it.
    pub strays: Vec<u8>,
    /// The last good settings on record.
    pub last_good: Setting,
    /// What the registry of [`Setting::A`] answers; the others serve.
    pub registry: Registry,
    /// The image that a probe was last sent for, and whether the node has it since.
    pub proof: Option<(Arc<str>, bool)>,
    /// Whether the API server refuses new Pods, new images and the end of Pods.
    pub refuses: bool,
    /// How many Workspaces there have been.
    pub born: u8,
    /// The operators.
    pub operators: [Operator; OPERATORS],
    /// What has happened already, against the bounds.
    pub spent: Spent,
    /// The first invariant that a write broke.
    pub broken: Option<Broken>,
}

/// What may still happen is bounded; this is what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// Of users.
    pub edits: u8,
    /// Of the settings.
    pub settings: u8,
    /// Of the registry.
    pub registry: u8,
    /// Everything that goes wrong.
    pub faults: u8,
    /// Steps of the clock.
    pub waits: u8,
}

/// The Workspace as stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workspace {
    /// Counts up with every Workspace of this name.
    pub uid: u8,
    /// `metadata.generation`
    pub generation: u8,
    /// Which of the scenario's specs.
    pub spec: u8,
    /// `spec.suspend`
    pub suspend: bool,
    /// Deleted in the foreground: it stays until its Pod is gone.
    pub deleting: bool,
    /// Its status.
    pub status: Status,
}

/// The Pod as stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its rank among the Pods that anyone still sees.
    pub uid: u8,
    /// Whose it is.
    pub owner: Owner,
    /// Which Pod the spec asked for that the operator had seen; no annotation, so that a plan
    /// that records something else is found out.
    pub asked: u8,
    /// When it was created.
    pub created: Timestamp,
    /// When its grace ends, if it was told to go.
    pub going: Option<Timestamp>,
    /// Its annotations.
    pub told: Arc<Told>,
    /// The image in its spec.
    pub image: Arc<str>,
    /// What its node makes of it.
    pub life: Life,
    /// How often its container has been started.
    pub starts: u8,
    /// Somebody changed it, and its node has not looked at that yet.
    pub unread: bool,
    /// Its node is lost, so it does not go away.
    pub lost: bool,
    /// When it last became Ready or ceased to be.
    pub changed: Option<Timestamp>,
    /// Someone took away the label by which the watches show it.
    pub hidden: bool,
}

impl Pod {
    /// Whether the watches show it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.hidden && self.owner != Owner::Foreign { watched: false }
    }
}

/// Whose a Pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A Workspace of this UID controls it.
    Workspace(u8),
    /// Someone else's, with or without the label by which ours are watched.
    Foreign {
        /// Whether the watches show it.
        watched: bool,
    },
}

/// What a Pod's node makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// No node takes it yet.
    Unscheduled,
    /// Its volumes and sandbox are there, its image is not.
    Pulling,
    /// The registry refused its image.
    Failing {
        /// Between two attempts: another reason, and no cause in the message.
        again: bool,
        /// The message still names the image of before.
        stale: bool,
    },
    /// It runs and answers.
    Running,
    /// It was told another image while it ran: the old process ends, and still counts as Ready.
    Leaving,
    /// Its container ended; the node has the image and is about to restart it.
    Crashed,
    /// The same, but the node has cleaned the image away and cannot pull it.
    Bereft,
    /// Evicted: nothing restarts it.
    Dead,
}

/// The claim as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Whether it has our label.
    pub ours: bool,
    /// The UID of the Workspace that owns it.
    pub owner: Option<u8>,
    /// In Gi.
    pub size: u8,
}

/// What the settings ConfigMap says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    /// The registry that can be suspended.
    A,
    /// A mirror.
    B,
    /// The same mirror, and a pull secret.
    Secret,
    /// There is no ConfigMap.
    Absent,
    /// Something that is no prefix.
    Invalid,
}

/// What a registry answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registry {
    /// It serves.
    Serves,
    /// 401.
    Denies,
    /// It accepts connections and never answers.
    Hangs,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    /// What it remembers.
    pub memory: Arc<Memory>,
    /// The settings that it has in force.
    pub in_force: Setting,
    /// What it wants proved.
    pub wants: Option<Arc<Want>>,
    /// A Pod that a create ran into and that the watches do not show.
    pub ran_into: Option<Box<Pod>>,
    /// Whether it is to look at the Workspace.
    pub queued: bool,
    /// When it looks again though nothing changed.
    pub wake: Option<Timestamp>,
}

/// A status, with a hash and a sentence of it made once.
#[derive(Clone, Debug)]
pub struct Status {
    /// The status.
    pub value: Arc<WorkspaceStatus>,
    text: Arc<str>,
}

impl Status {
    /// The status as the API server stores it. The times of its conditions are left out: the plan
    /// copies them from what is stored and decides nothing by them.
    #[must_use]
    pub fn new(mut status: WorkspaceStatus) -> Self {
        for condition in &mut status.conditions {
            condition.last_transition_time.0 = Timestamp::UNIX_EPOCH;
        }
        let text = serde_json::to_string(&status).unwrap_or_default();
        Self {
            value: Arc::new(status),
            text: text.into(),
        }
    }

    /// What a merge patch makes of it, if that is a status.
    #[must_use]
    pub fn merged(&self, patch: &Value) -> Option<Self> {
        let mut status = serde_json::from_str(&self.text).ok()?;
        json_patch::merge(&mut status, patch);
        serde_json::from_value(status).ok().map(Self::new)
    }

    /// Whether this condition is True.
    #[must_use]
    pub fn is(&self, condition: &str) -> bool {
        is_true(&self.value, condition)
    }
}

/// Whether this condition is True.
#[must_use]
pub fn is_true(status: &WorkspaceStatus, condition: &str) -> bool {
    let conditions = &status.conditions;
    conditions
        .iter()
        .any(|it| it.type_ == condition && it.status == "True")
}

impl PartialEq for Status {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Status {}

impl Hash for Status {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// The versions of one object that someone still sees, the oldest first, and which of them each
/// operator sees. A `resourceVersion` is how far a version is behind the newest, for all that
/// anyone does with it is to compare it with the newest: two states that differ in how they were
/// reached only are then the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History<T> {
    versions: Vec<T>,
    views: [u8; OPERATORS],
}

impl<T: Clone + PartialEq> History<T> {
    /// One version, seen by all.
    pub fn new(only: T) -> Self {
        Self {
            versions: vec![only],
            views: [0; OPERATORS],
        }
    }

    /// The object as it is.
    pub fn now(&self) -> &T {
        &self.versions[self.versions.len() - 1]
    }

    /// The object as this operator sees it.
    pub fn seen(&self, operator: usize) -> &T {
        &self.versions[usize::from(self.views[operator])]
    }

    /// How many versions this operator is behind.
    pub fn behind(&self, operator: usize) -> usize {
        self.versions.len() - 1 - usize::from(self.views[operator])
    }

    /// All versions that someone sees, to change what is the same in all of them.
    pub fn versions(&mut self) -> impl Iterator<Item = &mut T> {
        self.versions.iter_mut()
    }

    /// A new version. What is equal is no new version, as with the API server.
    pub fn write(&mut self, version: T) {
        if version != *self.now() {
            self.versions.push(version);
        }
    }

    /// This operator sees the next version.
    pub fn advance(&mut self, operator: usize) {
        if self.behind(operator) > 0 {
            self.views[operator] += 1;
        }
        self.trim();
    }

    /// Forgets what no one sees any more.
    fn trim(&mut self) {
        let oldest = self.views.iter().copied().min().unwrap_or_default();
        self.versions.drain(..usize::from(oldest));
        for view in &mut self.views {
            *view -= oldest;
        }
    }
}

/// The beginning of the model's time.
#[must_use]
pub fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56)
}

/// The UID of a Pod, as text.
#[must_use]
pub fn pod_uid(uid: u8) -> String {
    format!("pod-{uid}")
}

/// So many seconds after the beginning.
#[must_use]
pub fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

impl State {
    /// Gives Pods that anyone still sees the ranks 0, 1, ... as UIDs.
    pub fn rank_pods(&mut self) {
        let mut ranks: Vec<u8> = Vec::new();
        for pod in self.pod.versions().flatten() {
            let rank = ranks.iter().position(|uid| *uid == pod.uid);
            let rank = rank.unwrap_or_else(|| {
                ranks.push(pod.uid);
                ranks.len() - 1
            });
            pod.uid = u8::try_from(rank).unwrap_or(u8::MAX);
        }
        self.rank_refusals(&ranks);
    }

    /// What is remembered of a Pod that nobody sees any more matters no more, and would be taken for
    /// something about the next Pod of that rank.
    fn rank_refusals(&mut self, ranks: &[u8]) {
        for it in &mut self.operators {
            let refusal = it.memory.delete_refusal.as_ref();
            let Some(uid) = refusal.map(|it| it.what.clone()) else {
                continue;
            };
            let mut ranked = (0_u8..).zip(ranks);
            let rank = ranked.find(|(_, before)| pod_uid(**before) == uid);
            let memory = Arc::make_mut(&mut it.memory);
            match (rank, &mut memory.delete_refusal) {
                (Some((rank, _)), Some(refusal)) => refusal.what = pod_uid(rank),
                (_, refusal) => *refusal = None,
            }
        }
    }

    /// Who is due by the clock is due: since when makes no difference.
    pub fn wake_up(&mut self) {
        for it in &mut self.operators {
            if it.wake.is_some_and(|at| at <= self.now) {
                it.queued = true;
                it.wake = None;
            }
        }
    }

    /// What nobody wants proved is not known for long: once no operator is about to do anything, it
    /// might as well not be known any more.
    pub fn forget_proof(&mut self) {
        if self.operators.iter().any(|it| it.queued) {
            return;
        }
        let image = |it: &Operator| it.wants.as_ref().map(|it| it.question.image.clone());
        let mut wanted = self.operators.iter().filter_map(image);
        let known = self.proof.take();
        self.proof = known.filter(|(proved, _)| wanted.any(|it| *it == **proved));
    }

    /// Two operators that swap their places change nothing: one order stands for both.
    pub fn order(&mut self) {
        let all = |operator: usize| {
            let mut hasher = DefaultHasher::new();
            self.operators[operator].hash(&mut hasher);
            self.workspace.views[operator].hash(&mut hasher);
            self.pod.views[operator].hash(&mut hasher);
            self.claim.views[operator].hash(&mut hasher);
            self.settings.views[operator].hash(&mut hasher);
            hasher.finish()
        };
        if all(0) > all(1) {
            self.operators.swap(0, 1);
            self.workspace.views.swap(0, 1);
            self.pod.views.swap(0, 1);
            self.claim.views.swap(0, 1);
            self.settings.views.swap(0, 1);
        }
    }

    /// A UID that no Pod has.
    pub fn fresh_pod_uid(&mut self) -> u8 {
        let uids = self.pod.versions().flatten().map(|pod| pod.uid);
        uids.max().map_or(0, |it| it + 1)
    }
}
