//! Every decision: `plan(what is seen, settings in force, now) -> at most one step, and when to
//! look again`. No I/O, no clock, no log.
//!
//! A step is so specific that applying it needs no choice, and each write names the state that it
//! was planned from. One step a pass, so that a crash between any two writes leaves a state that
//! `plan` already knows.

mod claim;
mod decide;
mod diagnosis;
mod memory;
mod moving;
mod outdated;
mod refused;
mod status;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;

use crate::fleet::InForce;
use crate::proof::Want;
use crate::seen::{Ask, Left, Moved, Pod, Refusal, Seen, Version, later};
use crate::volume::Change;
use crate::workspace::{Reason, WorkspaceStatus};

pub use claim::lost_claim;
pub use memory::{Answer, remember};
pub use outdated::{How, When, how, is_over, refused_until, undone_until, when};

/// What to do about one Workspace now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The one write of this pass.
    pub step: Option<Step>,
    /// When to look again though nothing changed; absent = never.
    pub wake: Option<Timestamp>,
    /// What [`crate::seen::Memory::showing`] becomes.
    pub showing: Option<(Reason, Timestamp)>,
    /// What has to be proved before this Workspace goes on, in every pass for as long as it waits
    /// for it; absent = nothing.
    pub wants: Option<Want>,
}

/// One write to the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the Pod.
    CreatePod {
        /// Why a Pod is created.
        rollout: Rollout,
        /// Its identity.
        ask: Ask,
        /// The Pod.
        pod: Box<core::Pod>,
    },
    /// Ask the API server, without creating anything, whether it would take this Pod.
    TryPod {
        /// Its identity.
        ask: Ask,
        /// The Pod, under a name of its own.
        pod: Box<core::Pod>,
        /// Whether it is asked ahead of a proof: what the server would take before a long pull, it
        /// may not take after it.
        ahead: bool,
    },
    /// Give the container of a stuck Pod another image.
    SetImage {
        /// The Pod.
        version: Version,
        /// Its identity from now on.
        ask: Ask,
        /// When, for the Pod's annotation.
        at: Timestamp,
        /// What it was stuck on.
        why: Stuck,
    },
    /// Give the container of a Pod that runs another image, which stops it.
    MovePod {
        /// The Pod.
        version: Version,
        /// Its identity from now on.
        ask: Ask,
        /// What it is moved from, for the Pod's annotations.
        moved: Box<Moved>,
    },
    /// Delete the Pod, with its grace.
    DeletePod {
        /// The Pod.
        version: Version,
        /// Why.
        why: Rollout,
        /// What [`crate::seen::Memory::left`] becomes.
        left: Box<Left>,
        /// What [`crate::seen::Memory::failures`] becomes.
        failures: u32,
    },
    /// Create the claim.
    CreateClaim {
        /// The size, to recognise a refusal by.
        size: String,
        /// The claim.
        claim: Box<core::PersistentVolumeClaim>,
    },
    /// Change the claim.
    PatchClaim {
        /// The claim.
        version: Version,
        /// The size asked for, to recognise a refusal by.
        size: String,
        /// What changes.
        change: Change,
    },
    /// Tell the user.
    PatchStatus {
        /// The Workspace.
        version: Version,
        /// The whole status.
        status: Box<WorkspaceStatus>,
    },
}

impl Step {
    /// The Pod that it stops, or whose container it replaces though it runs.
    #[must_use]
    pub fn stops(&self) -> Option<&Version> {
        match self {
            Self::MovePod { version, .. } | Self::DeletePod { version, .. } => Some(version),
            _ => None,
        }
    }
}

/// Why a Pod is started or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rollout {
    /// There is no Pod: the Workspace is new or resumed, or its Pod is gone.
    NoPod,
    /// The Pod failed, succeeded or was evicted: nothing restarts it.
    PodFailed,
    /// What the user asked for changed.
    SpecChanged,
    /// The Pod cannot start, and what it takes from the settings besides the image changed.
    SettingsChanged,
    /// The user asked for no Pod.
    Suspended,
    /// The time is over for which the user asked for a Pod.
    Expired,
    /// The Pod runs, and it is its turn to be moved to the settings in force.
    Moved,
    /// It was moved, was not Ready in its time, and is put back on the image that it ran.
    PutBack,
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a Pod counts as stuck: it cannot start, and waiting does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stuck {
    /// Its image cannot be pulled.
    Image,
    /// It has no node yet.
    Unscheduled,
    /// It has not started within the provision timeout.
    NeverStarted,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How long a Pod may go on terminating after its grace before its node counts as lost.
pub const TERMINATING_OVERDUE: SignedDuration = SignedDuration::from_secs(60);
const FAILURE_BACKOFF: Backoff = Backoff {
    first: 10,
    most: 300,
};
const REFUSAL_BACKOFF: Backoff = Backoff {
    first: 5,
    most: 300,
};

/// Exponential back-off, in seconds.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    first: i64,
    most: i64,
}

impl Backoff {
    /// The pause after this many earlier attempts.
    fn after(self, attempts: u32) -> SignedDuration {
        let factor = 1_i64 << attempts.min(16);
        SignedDuration::from_secs((self.first * factor).min(self.most))
    }

    fn is_longest(self, attempts: u32) -> bool {
        self.after(attempts).as_secs() == self.most
    }
}

/// What to do about one Workspace, given all that is seen of it.
#[must_use]
pub fn plan(seen: &Seen<'_>, in_force: &InForce, now: Timestamp) -> Plan {
    let Some(workspace) = seen.workspace else {
        return Plan::default();
    };
    if workspace.deleting || seen.memory.namespace_terminating {
        return Plan::default();
    }
    let decision = decide::decide(seen, workspace, in_force, now);
    status::conclude(seen, workspace, decision, now)
}

/// Whether an edit of the settings could matter to this Workspace: it does not to one that runs
/// as it was asked to.
#[must_use]
pub fn awaits_settings(seen: &Seen<'_>) -> bool {
    let runs = |pod: &Pod, asked: &str| {
        pod.ready
            && pod
                .told
                .revision
                .as_deref()
                .is_none_or(|told| told == asked)
    };
    seen.workspace
        .is_some_and(|it| !seen.pod.is_some_and(|pod| runs(pod, &it.revision)))
}

/// Until when a refused object may not be tried again; `None` = it may. A refusal from the future
/// was noted by a clock that was set back since: it must not make the wait longer.
fn retry_at<T>(refusal: &Refusal<T>, now: Timestamp) -> Option<Timestamp> {
    let retry = later(
        refusal.at,
        REFUSAL_BACKOFF.after(refusal.attempts.saturating_sub(1)),
    );
    (refusal.at <= now && now < retry).then_some(retry)
}

/// The finding of one pass: where the Workspace stands, for its status.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    reason: Reason,
    message: String,
    kind: Kind,
}

/// What a finding means for the conditions, after kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The agent answers.
    Ready,
    /// As the user asked, there is no Pod.
    Suspended,
    /// Under way, and nothing is wrong.
    Progress,
    /// Something is wrong that may pass by itself.
    Problem,
    /// Someone has to act.
    Stalled,
}

impl Finding {
    fn new(kind: Kind, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            kind,
        }
    }
}

/// What `decide` returns.
#[derive(Clone, Debug, PartialEq)]
struct Decision {
    step: Option<Step>,
    finding: Finding,
    wake: Option<Timestamp>,
    wants: Option<Want>,
}

impl Decision {
    fn act(step: Step, finding: Finding) -> Self {
        Self {
            step: Some(step),
            finding,
            wake: None,
            wants: None,
        }
    }

    fn wait(finding: Finding) -> Self {
        Self {
            step: None,
            finding,
            wake: None,
            wants: None,
        }
    }

    fn wanting(mut self, want: Want) -> Self {
        self.wants = Some(want);
        self
    }

    fn until(mut self, wake: Timestamp) -> Self {
        self.wake = earliest(self.wake, Some(wake));
        self
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
