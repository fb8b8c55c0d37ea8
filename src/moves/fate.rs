//! What has become of a Workspace that was moved.

use jiff::{SignedDuration, Timestamp};

use crate::plan::TERMINATING_OVERDUE;
use crate::seen::{DEFAULT_GRACE, Moved, Pod, STABLE, Seen, Wish, later};
use crate::settings::Settings;
use crate::workspace::{READY, STALLED};

/// For how many seconds it may be on its way to Ready.
pub(super) fn provision_timeout(wish: &Wish, settings: &Settings) -> u32 {
    let own = wish.provision_timeout_seconds;
    own.unwrap_or_else(|| settings.provision_timeout_seconds())
}

/// Until when it is to be Ready, counted from then.
pub(super) fn due(since: Timestamp, wish: &Wish, settings: &Settings) -> Timestamp {
    let seconds = provision_timeout(wish, settings);
    later(since, SignedDuration::from_secs(seconds.into()))
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing more is to be said of its move.
    Over,
    /// It is not Ready again, or not for long enough, and has time until then.
    Awaited(Timestamp),
    /// It was not Ready again in its time, or crashes; one that answers in between is well again then.
    Failed(Option<Timestamp>),
}

impl Fate {
    /// It has until then.
    fn by(until: Timestamp, now: Timestamp) -> Self {
        if until <= now {
            Self::Failed(None)
        } else {
            Self::Awaited(until)
        }
    }
}

/// Of a Pod that has the image of the settings, which is this one.
pub(super) fn fate(
    pod: &Pod,
    moved: &Moved,
    image: &str,
    wish: &Wish,
    settings: &Settings,
    now: Timestamp,
) -> Fate {
    // It was put back, and has this image again as the other one cannot be had any more.
    if moved.back.as_deref() == Some(image) && !pod.answered {
        return Fate::Failed(None);
    }
    // A clock that was set back, or somebody's own hand; and one that was healed has a time of its own.
    let is_past = moved.at > now || pod.told.healed.is_some_and(|it| it > moved.at);
    // What was not Ready before has nothing to come back to.
    let was_down = moved.from.is_none() && moved.back.is_none();
    if is_past || was_down && pod.answered {
        return Fate::Over;
    }
    let leaves = pod.is_leaving();
    // Its node has not looked yet at what else was changed of it.
    if pod.answered && !leaves {
        return since_ready(pod, moved, settings, now);
    }
    let has_failed = if moved.from.is_some() {
        Fate::Failed(None)
    } else {
        Fate::Over
    };
    if moved.is_looping(&pod.agent, now) {
        return has_failed;
    }
    let seconds = provision_timeout(wish, settings);
    let grace = wish.termination_grace_period_seconds;
    if !leaves && moved.came_back(pod, grace, seconds) {
        return Fate::Over;
    }
    // What still uses its grace has Kubernetes' own where its user names none.
    let grace = grace.or(leaves.then_some(DEFAULT_GRACE));
    let stopped = moved.stopped(grace);
    let since = stopped.max(pod.ready_changed.unwrap_or(stopped));
    let deadline = due(since, wish, settings);
    if now < deadline {
        Fate::Awaited(deadline)
    } else {
        has_failed
    }
}

/// Of one whose Pod the move stopped, until another one takes its place.
pub(super) fn fate_of_stopped(
    seen: &Seen<'_>,
    wish: Option<&Wish>,
    settings: &Settings,
    now: Timestamp,
) -> Fate {
    let is_own = |pod: &&Pod| seen.workspace.is_some_and(|it| pod.is_of(it));
    if let Some(pod) = seen.pod.filter(is_own) {
        // The watch may not have shown yet that it goes.
        let Some(grace) = pod.deleting else {
            return Fate::Over;
        };
        return Fate::by(later(grace, TERMINATING_OVERDUE), now);
    }
    // Told Ready besides, it was Stalled for something else when it still had its Pod.
    let told = seen.workspace.map(|it| &it.status);
    if told.is_some_and(|it| it.is_true(STALLED) && !it.is_true(READY)) {
        return Fate::Failed(None);
    }
    let Some(((_, since), wish)) = seen.memory.showing.as_ref().zip(wish) else {
        return Fate::Over;
    };
    Fate::by(due(*since, wish, settings), now)
}

/// By the clock of its node; of one that is ahead nothing is known.
fn since_ready(pod: &Pod, moved: &Moved, settings: &Settings, now: Timestamp) -> Fate {
    let crashes = moved.crashes(&pod.agent, now);
    let time = if crashes > 0 {
        STABLE
    } else {
        SignedDuration::from_secs(settings.rollout().min_ready_seconds.into())
    };
    let changed = pod.ready_changed.filter(|it| *it <= now);
    let settled = later(changed.unwrap_or(moved.at).max(moved.at), time);
    if settled <= now {
        Fate::Over
    } else if moved.is_looping(&pod.agent, now) && moved.from.is_some() {
        Fate::Failed(Some(settled))
    } else {
        Fate::Awaited(settled)
    }
}
