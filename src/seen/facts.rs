//! What follows from what is seen.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Agent, AgentState, Controller, Phase, Pod, Proof, Workspace};
use crate::workspace::{Reason, STALLED};

impl Pod {
    /// Whether it is this very Workspace's, and no earlier one's of its name.
    #[must_use]
    pub fn is_of(&self, workspace: &Workspace) -> bool {
        matches!(&self.controller, Controller::Workspace(uid) if *uid == workspace.version.uid)
    }

    /// Whether it was not told to go, and is not dead.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.deleting.is_none() && self.phase == Phase::Alive
    }
}

impl Agent {
    /// Whether a process of this container ever ran: then its Pod has something to lose.
    #[must_use]
    pub fn has_run(&self) -> bool {
        matches!(self.state, AgentState::Running | AgentState::Terminated)
            || self.restarts > 0
            || self.last_exit.is_some()
    }

    /// How long the last run of this container that has ended lasted.
    #[must_use]
    pub fn last_run(&self) -> Option<SignedDuration> {
        let exit = self.last_exit.as_ref()?;
        Some(exit.finished?.duration_since(exit.started?))
    }
}

impl Workspace {
    /// What it tells of a proof that cannot be had, if it does.
    #[must_use]
    pub fn told_blocked(&self) -> Option<&Condition> {
        let is_blocked = |it: &Reason| [Reason::RolloutBlocked, Reason::PodRejected].contains(it);
        self.status.state.as_ref().filter(|it| is_blocked(it))?;
        let mut conditions = self.status.conditions.iter();
        conditions.find(|it| {
            let is_current = it.observed_generation == Some(self.generation);
            it.type_ == STALLED && it.status == "True" && is_current
        })
    }
}

impl Proof {
    /// Why there is none, if it cannot be had as it seems.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::Failed { why } => Some(why.clone()),
            Self::Refused { why } => Some(format!("the API server refuses a probe: {why}")),
            Self::Unknown | Self::UnderWay | Self::Proved => None,
        }
    }
}

/// Some of the times that are seen are what anyone wrote into an annotation: at the end of time there
/// is no later.
#[must_use]
pub fn later(than: Timestamp, pause: SignedDuration) -> Timestamp {
    than.checked_add(pause).unwrap_or(Timestamp::MAX)
}
