//! The pauses between attempts, which grow.

use jiff::{SignedDuration, Timestamp};

use crate::seen::later;

/// The first, and the longest, in seconds.
const FIRST: i64 = 10;
const LONGEST: i64 = 300;

/// A time in which something is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    since: Timestamp,
    /// When it is over.
    pub(super) until: Timestamp,
}

impl Pause {
    /// The one that follows after so many earlier attempts.
    pub(super) fn after(attempts: u32, now: Timestamp) -> Self {
        let seconds = (FIRST << attempts.min(16)).min(LONGEST);
        Self::of(SignedDuration::from_secs(seconds), now)
    }

    pub(super) fn of(pause: SignedDuration, now: Timestamp) -> Self {
        Self {
            since: now,
            until: later(now, pause),
        }
    }

    /// One that begins in the future was begun by a clock that was set back since: it must not make
    /// the wait longer.
    pub(super) fn holds(self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}
