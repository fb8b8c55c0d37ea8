//! What a node says of an image that a probe asks it to pull.

use crate::pull;

/// Why a node takes no probe while it has too little disk for more.
pub(super) const SHORT_OF_DISK: &str = "its node is short of disk";
/// Why a probe that hung is over.
pub(super) const NO_TIME_LEFT: &str = "the probe had no time left";

/// What a node says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has pulled it; the digest that it tells.
    Pulled(Option<String>),
    /// It could not, for this cause, to be read after the registry's name.
    Failed(pull::Cause),
    /// It cannot be told, for this reason.
    Open(String),
}

/// What is known of a probe: the parts that an answer rests on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The image that its container has, as the node names it; empty while it has none.
    pub image_id: &'a str,
    /// What its container does.
    pub state: State<'a>,
    /// `status.reason`
    pub reason: &'a str,
    /// `status.message`
    pub message: &'a str,
    /// Whether nothing starts it any more.
    pub is_dead: bool,
    /// Whether it was told to go.
    pub is_deleted: bool,
}

/// What the container of a probe does, for which reason of the kubelet's.
#[derive(Clone, Copy, Debug, Default)]
pub enum State<'a> {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// It waits.
    Waiting {
        /// Such as `ErrImagePull`.
        reason: &'a str,
        /// The kubelet's words.
        message: &'a str,
    },
    /// It runs, which no probe does on a real node.
    Running,
    /// It ended.
    Ended {
        /// Such as `StartError`.
        reason: &'a str,
    },
}

/// What a node has said so far.
#[must_use]
pub fn judge(told: &Told<'_>) -> Option<Answer> {
    if !told.image_id.is_empty() {
        let digest = told.image_id.rsplit('@').next().unwrap_or_default();
        let digest = digest.starts_with("sha256:").then(|| digest.to_owned());
        return Some(Answer::Pulled(digest));
    }
    if let Some(why) = taken_away(told) {
        return Some(Answer::Open(why));
    }
    match told.state {
        State::Waiting { reason, message } => {
            // Between two attempts no cause is named.
            if pull::is_failure(reason) {
                return pull::cause(reason, message).map(Answer::Failed);
            }
            // The image is there, and the program is not.
            let is_there = [
                // As of one that names no user, and whose image runs as root.
                "CreateContainerConfigError",
                "CreateContainerError",
                "RunContainerError",
            ];
            is_there.contains(&reason).then_some(Answer::Pulled(None))
        }
        State::Ended { reason } => Some(ended(reason)),
        State::Running => Some(Answer::Pulled(None)),
        State::Unknown if told.is_dead => Some(Answer::Open(rejected(told.reason))),
        State::Unknown => None,
    }
}

/// Why a node does not go on with a probe, if it does not.
fn taken_away(told: &Told<'_>) -> Option<String> {
    match told.reason {
        "Evicted" if is_short_of_disk(told.message) => Some(SHORT_OF_DISK.to_owned()),
        "Evicted" => Some("its node evicted the probe".to_owned()),
        "DeadlineExceeded" => Some(NO_TIME_LEFT.to_owned()),
        _ if told.is_deleted => Some("the probe was deleted by somebody".to_owned()),
        _ => None,
    }
}

fn is_short_of_disk(message: &str) -> bool {
    let words = ["DiskPressure", "ephemeral-storage", "nodefs", "imagefs"];
    words.into_iter().any(|it| message.contains(it))
}

/// Of a Pod that a node did not even begin with.
fn rejected(reason: &str) -> String {
    match reason {
        "" => "its node does not take the probe".to_owned(),
        reason => format!("its node does not take the probe: {reason}"),
    }
}

/// What an end says: only what has started, or was about to, has its image. Of a container that has
/// never been there a node tells an end as well.
fn ended(reason: &str) -> Answer {
    match reason {
        "StartError" | "ContainerCannotRun" | "Error" | "Completed" => Answer::Pulled(None),
        _ => Answer::Open("the probe ended before its node told what it has pulled".to_owned()),
    }
}
