//! What the move of a fleet leaves on a Pod, and what it tells a Workspace.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

use super::{Agent, AgentState, Ask, Packed, Pod, Told, later};
use crate::pull;
use crate::workspace::Rollout;

/// Whether the move of the fleet has come to a Workspace. It alone moves nothing: what is to be
/// stopped has to be proved as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Turn {
    /// It has not.
    #[default]
    Waits,
    /// Its image is to be proved, so that it can go on at once when its turn comes.
    Proves,
    /// It may be moved.
    Moves,
}

/// A run that lasted for so long did not fail to start. It is when a kubelet, too, forgets the crashes
/// before it.
pub const STABLE: SignedDuration = SignedDuration::from_mins(10);
/// A run that lasted for so long was of use to somebody.
const OF_USE: SignedDuration = SignedDuration::from_mins(1);
/// Kubernetes' default, in seconds.
pub const DEFAULT_GRACE: i64 = 30;
/// A crash that comes later than this is not the move's doing.
const BLAMED: SignedDuration = SignedDuration::from_hours(1);

/// A Pod that was moved to other settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moved {
    /// The image on which it was Ready before; absent = it was not Ready.
    pub from: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The run of its container that was to be stopped ([`Pod::run`]); absent where another Pod was.
    pub over: Option<String>,
    /// The image from which it was put back, for it was not Ready on it in its time.
    pub back: Option<String>,
}

impl Moved {
    /// When what was to be stopped has used the grace that its user asked for, in seconds.
    #[must_use]
    pub fn stopped(&self, grace: Option<i64>) -> Timestamp {
        later(
            self.at,
            SignedDuration::from_secs(grace.unwrap_or_default().max(0)),
        )
    }

    /// Whether this is the first run after the one that was to be stopped.
    #[must_use]
    pub fn is_first_run(&self, agent: &Agent) -> bool {
        self.first_run() == Some(agent.restarts)
    }

    /// How often the container will have been restarted when it runs what it was moved to.
    fn first_run(&self) -> Option<i32> {
        let (restarts, _) = self.over.as_deref()?.split_once('-')?;
        restarts.parse::<i32>().ok()?.checked_add(1)
    }

    /// How often what it was moved to has crashed: ended soon after its start, not long after the move.
    #[must_use]
    pub fn crashes(&self, agent: &Agent, now: Timestamp) -> i32 {
        if agent.last_run().is_some_and(|it| it >= STABLE) || later(self.at, BLAMED) <= now {
            return 0;
        }
        // It counts as restarted only once it runs again.
        let ended = match &agent.state {
            AgentState::Terminated => true,
            AgentState::Waiting { reason, .. } => reason == "CrashLoopBackOff",
            AgentState::Running | AgentState::Unknown => false,
        };
        let first = self.first_run().unwrap_or_default();
        let restarts = agent.restarts.saturating_sub(first);
        restarts.saturating_add(i32::from(ended)).max(0)
    }

    /// Whether what it was moved to crashes again and again.
    #[must_use]
    pub fn is_looping(&self, agent: &Agent, now: Timestamp) -> bool {
        self.crashes(agent, now) > 1
    }

    /// Whether a Pod that is not Ready was Ready since: it ceased to be after the time that it had for
    /// it. What happens then is not the move's doing.
    #[must_use]
    pub fn came_back(&self, pod: &Pod, grace: Option<i64>, timeout_seconds: u32) -> bool {
        let timeout = SignedDuration::from_secs(timeout_seconds.into());
        // What stops later than that may be one whose user named no grace, and that took all of it.
        let grace = grace.or(Some(DEFAULT_GRACE));
        let deadline = later(self.stopped(grace), timeout);
        let ceased = pod.ready_changed.filter(|_| pod.was_ready);
        ceased.is_some_and(|at| at > deadline)
    }
}

/// What a new Pod takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Left {
    /// The node that has its image: the new Pod had better be there too.
    pub node: Option<String>,
    /// The image on which it was Ready, where it is the move of the fleet that stops it.
    pub moved_from: Option<String>,
    /// When that was, where it was before this.
    pub moved_at: Option<Timestamp>,
    /// The image from which it was put back, where it was.
    pub moved_back: Option<String>,
    /// What it was stopped for by the move of the fleet.
    pub moved_to: Option<Ask>,
}

impl Agent {
    /// Which run of the container it is: another one has another identifier, or one restart more.
    #[must_use]
    pub fn run(&self) -> String {
        let container = self.container.as_deref().unwrap_or_default();
        format!("{}-{container}", self.restarts)
    }
}

impl Pod {
    /// Which run of its container it is, and with which image in the live spec.
    #[must_use]
    pub fn run(&self) -> String {
        format!("{} {}", self.agent.run(), self.spec_image)
    }

    /// Until when it may be on its way to Ready, with this grace and this time, both in seconds: counted
    /// from when it last had reason to start.
    #[must_use]
    pub fn due(&self, grace: Option<i64>, timeout_seconds: u32) -> Timestamp {
        let moved = self.told.moved.as_ref().map(|it| it.stopped(grace));
        let since = [
            Some(self.created),
            self.ready_changed,
            self.told.healed,
            moved,
        ];
        let since = since.into_iter().flatten().max().unwrap_or(self.created);
        later(since, SignedDuration::from_secs(timeout_seconds.into()))
    }

    /// Whether its agent answers, or may answer again by itself until then: one that misses a probe or
    /// two, whose node is not heard of for a moment, or that has served and is restarted from the image on
    /// its node, has as much to lose.
    #[must_use]
    pub fn may_serve(&self, until: Timestamp, now: Timestamp) -> bool {
        let may_again = match &self.agent.state {
            AgentState::Running => true,
            AgentState::Terminated => self.has_served(),
            AgentState::Waiting { reason, .. } => {
                self.has_served() && self.agent.has_run() && !pull::is_failure(reason)
            }
            AgentState::Unknown => false,
        };
        self.answered || (may_again && now < until)
    }

    /// Whether it was of use before it ended: one that ends again and again was not.
    fn has_served(&self) -> bool {
        let is_first = self.agent.restarts == 0;
        self.was_ready && (is_first || self.agent.last_run().is_some_and(|it| it >= OF_USE))
    }

    /// Whether its container is being stopped for another image.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.told.is_leaving(&self.agent, &self.spec_image)
    }
}

impl Told {
    /// Whether the container of a Pod with this image in its live spec is still the one that was to be
    /// stopped for another image. While it uses its grace it answers, and its Pod counts as Ready.
    ///
    /// Where the live spec is as it was, a policy gives both the same image, or somebody had put it
    /// there: then nothing stops it.
    #[must_use]
    pub fn is_leaving(&self, agent: &Agent, spec_image: &str) -> bool {
        let Some(over) = self.moved.as_ref().and_then(|it| it.over.as_deref()) else {
            return false;
        };
        match over.split_once(' ') {
            Some((run, image)) => run == agent.run() && image != spec_image,
            None => over == agent.run(),
        }
    }

    /// Whether it was put back from this image, which is not tried again on it.
    #[must_use]
    pub fn was_put_back_from(&self, image: &str) -> bool {
        let back = self.moved.as_ref().and_then(|it| it.back.as_deref());
        back == Some(image)
    }
}

/// Of a spec what says whether and when its Pod is moved: it costs a fraction of the whole.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// `spec.runtime`
    pub runtime: String,
    /// `spec.tag`
    pub tag: Option<String>,
    /// `spec.digest`
    pub digest: Option<String>,
    /// `spec.provisionTimeoutSeconds`
    pub provision_timeout_seconds: Option<u32>,
    /// `spec.terminationGracePeriodSeconds`
    pub termination_grace_period_seconds: Option<i64>,
    /// `spec.suspend`
    #[serde(default)]
    pub suspend: bool,
    /// `spec.expiresAt`
    pub expires_at: Option<Time>,
    /// `spec.rollout`
    pub rollout: Option<Rollout>,
}

impl Packed {
    /// Whether and when its Pod is moved.
    ///
    /// # Panics
    /// Never: it was a spec when it was packed.
    #[must_use]
    pub fn wish(&self) -> Wish {
        self.read()
    }
}
