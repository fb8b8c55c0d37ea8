//! What a reply of the API server to a step means; pure.

use std::time::Duration;

use kube::Error;
use kube::core::Status;

use crate::index::{Awaited, Kind};
use crate::plan::{Answer, Step};
use crate::seen::{Claim, Pod};
use crate::wire::{Wire, progress};

/// What came back.
#[derive(Debug)]
pub enum Reply {
    /// It is done, and the object is stored in this version; what was only tried has none.
    Done(String),
    /// The API server says no.
    Status(Box<Status>),
    /// Nothing is known of what became of it, for this reason.
    Unheard(String),
}

/// What became of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It was written; the watches will show it.
    Written(Awaited),
    /// It was taken, and what is stored is as it was.
    NoEffect,
    /// The API server would take the object.
    Accepted,
    /// What it was planned from is no more; the watches will show what is.
    Stale,
    /// An object of that name exists already.
    Exists(Existing),
    /// The API server refused it, in these words.
    Refused(String),
    /// The namespace is going away, or gone.
    NamespaceTerminating,
    /// Nothing is known of what became of it.
    Failed {
        /// Why, in one sentence.
        error: String,
        /// The pause that the server asked for.
        retry_after: Option<Duration>,
    },
}

/// What a create ran into.
#[derive(Debug)]
pub enum Existing {
    /// It has gone away meanwhile.
    NoMore,
    /// The watches will show it.
    Watched(Awaited),
    /// A Pod that the watches do not show, for it has no label of ours.
    Pod(Box<Pod>),
    /// A claim that the watches do not show.
    Claim(Box<Claim>),
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => Self::Status(status),
            error => Self::Unheard(error.to_string()),
        }
    }
}

impl Outcome {
    /// What a reply to a step means. `None`: an object of that name exists, and only a look at it
    /// tells whose it is ([`Existing::of`]).
    #[must_use]
    pub fn of(step: &Step, reply: Reply) -> Option<Self> {
        let stored = match reply {
            Reply::Done(stored) => stored,
            Reply::Status(status) => return not_done(step, &status),
            unheard @ Reply::Unheard(_) => return Some(Self::without(unheard)),
        };
        let written = |kind| Self::Written(Awaited::Place(kind, progress(&stored)));
        // Of a patch: one that changes nothing is answered with the version that it named.
        Some(match step {
            Step::SetImage { version, .. }
            | Step::MovePod { version, .. }
            | Step::PatchClaim { version, .. }
            | Step::PatchStatus { version, .. }
                if stored == version.resource_version =>
            {
                Self::NoEffect
            }
            Step::TryPod { .. } => Self::Accepted,
            Step::DeletePod { version, .. } => {
                Self::Written(Awaited::PodGoing(version.uid.clone()))
            }
            Step::CreatePod { .. } | Step::SetImage { .. } | Step::MovePod { .. } => {
                written(Kind::Pod)
            }
            Step::CreateClaim { .. } | Step::PatchClaim { .. } => written(Kind::Claim),
            Step::PatchStatus { .. } => written(Kind::Workspace),
        })
    }

    /// What a reply means that says nothing of an object.
    #[must_use]
    pub fn without(reply: Reply) -> Self {
        match reply {
            Reply::Done(_) => Self::Accepted,
            Reply::Status(status) => refusal(&status),
            Reply::Unheard(error) => Self::Failed {
                error,
                retry_after: None,
            },
        }
    }

    /// What of it is remembered, if anything is.
    #[must_use]
    pub fn remembered(&self) -> Option<Answer> {
        match self {
            Self::Written(_) | Self::Accepted => Some(Answer::Done),
            Self::NoEffect => Some(Answer::NoEffect),
            Self::Refused(message) => Some(Answer::Refused(message.clone())),
            Self::NamespaceTerminating => Some(Answer::NamespaceTerminating),
            Self::Stale | Self::Exists(_) | Self::Failed { .. } => None,
        }
    }
}

impl Existing {
    /// What a look at the object that a create ran into means. The object itself matters only
    /// where the watches do not show it.
    #[must_use]
    pub fn of<K: Wire>(
        found: Option<K>,
        kind: Kind,
        unwatched: impl Fn(Box<K::Seen>) -> Self,
    ) -> Self {
        match found {
            None => Self::NoMore,
            Some(found) if found.is_watched() => {
                Self::Watched(Awaited::Place(kind, found.progress()))
            }
            Some(found) => unwatched(Box::new(found.seen())),
        }
    }
}

fn not_done(step: &Step, status: &Status) -> Option<Outcome> {
    match step {
        Step::CreatePod { .. } | Step::CreateClaim { .. } if status.is_already_exists() => None,
        // A webhook with side effects cannot be asked beforehand: then there is nothing to know.
        Step::TryPod { .. } if status.message.contains("does not support dry run") => {
            Some(Outcome::Accepted)
        }
        Step::CreatePod { .. } | Step::CreateClaim { .. } | Step::TryPod { .. } => {
            Some(not_created(status))
        }
        _ => Some(refusal(status)),
    }
}

/// What is created rests on nothing that the watches could show anew: who answers that it is
/// missing, or in conflict, refuses it.
pub(super) fn not_created(status: &Status) -> Outcome {
    match refusal(status) {
        // A quota was counted anew at the same moment: that passes.
        Outcome::Stale if status.is_conflict() => failed(status),
        Outcome::Stale => Outcome::Refused(status.message.clone()),
        outcome => outcome,
    }
}

fn refusal(status: &Status) -> Outcome {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let terminating = causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating");
    let namespace_gone = status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces");
    match status.code {
        _ if terminating || namespace_gone => Outcome::NamespaceTerminating,
        404 | 409 => Outcome::Stale,
        400 | 403 | 405 | 413 | 422 => Outcome::Refused(status.message.clone()),
        // A webhook that cannot be called: someone has to know of it. Any other 500 is the trouble of the
        // API server or of its etcd, which may have stored the write before it gave up.
        500 if status.message.contains("webhook") => Outcome::Refused(status.message.clone()),
        _ => failed(status),
    }
}

fn failed(status: &Status) -> Outcome {
    Outcome::Failed {
        error: format!("{} ({})", status.message, status.code),
        retry_after: pause(status),
    }
}

/// The pause that the server asks for.
pub(super) fn pause(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}
