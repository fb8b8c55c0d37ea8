//! Ctrl-C: it ends a wait, and never a write that is under way.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports of a program that Ctrl-C ended.
pub(super) const CODE: u8 = 130;

/// Somebody pressed Ctrl-C; where that left things is in the text.
#[derive(Debug, thiserror::Error)]
#[error("interrupted{0}")]
pub(super) struct Interrupted(String);

impl Interrupted {
    /// `left` is how things stand; empty where there is nothing to say.
    fn new(left: &str) -> Self {
        let colon = if left.is_empty() { "" } else { ": " };
        Self(format!("{colon}{left}"))
    }
}

/// Ctrl-C, and the request to end that a system sends.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From here on neither ends the process.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new() -> anyhow::Result<Self> {
        let to = |kind| signal(kind).context("Ctrl-C cannot be heard");
        Ok(Self {
            interrupt: to(SignalKind::interrupt())?,
            terminate: to(SignalKind::terminate())?,
        })
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Does something that may be left at any moment. `left` says how that leaves things.
    ///
    /// # Errors
    /// Those of what is done, and [`Interrupted`].
    pub(super) async fn may_end<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
        left: impl FnOnce() -> String,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.comes() => Err(Interrupted::new(&left()).into()),
            done = work => done,
        }
    }
}
