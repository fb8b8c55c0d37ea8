//! The pause after work: while nothing happens, what the work took is given back.

use std::time::Duration;

use tokio::time::Instant;

/// Shorter than anything that repeats while there is work.
const QUIET: Duration = Duration::from_secs(1);
/// Some of it becomes free later, as connections that nobody uses are closed.
const AGAIN: Duration = Duration::from_secs(10);

/// When to rest, and what to do then.
#[derive(Debug)]
pub(super) struct Rest {
    due: Option<Instant>,
    begin: fn(),
}

impl Rest {
    pub(super) fn new(begin: fn()) -> Self {
        Self { due: None, begin }
    }

    /// Something happened.
    pub(super) fn put_off(&mut self) {
        self.due = Some(Instant::now() + QUIET);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Nothing has happened for so long.
    pub(super) fn begin(&mut self) {
        self.due = Some(Instant::now() + AGAIN);
        (self.begin)();
    }
}
