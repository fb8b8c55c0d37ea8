//! Stops the world at a write: so that a client can be killed there.

use std::future::pending;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Where the world stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The write is committed, and the client does not know.
    Committed,
    /// The client knows of the write, and the next one is on its way but not committed.
    Between,
}

/// Lets so many writes through and no more.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Option<Trap>>);

#[derive(Debug)]
struct Trap {
    /// How many writes have come.
    come: u64,
    last: u64,
    moment: Moment,
    reached: Option<oneshot::Sender<()>>,
}

impl Gate {
    pub(crate) fn set(&self, last: u64, moment: Moment) -> oneshot::Receiver<()> {
        let (reached, receiver) = oneshot::channel();
        *self.lock() = Some(Trap {
            come: 0,
            last,
            moment,
            reached: Some(reached),
        });
        receiver
    }

    pub(crate) fn open(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write came. Returns its number, or never.
    pub(crate) async fn enter(&self) -> u64 {
        let number = {
            let mut trap = self.lock();
            let Some(trap) = trap.as_mut() else { return 0 };
            trap.come += 1;
            if trap.come > trap.last && trap.moment == Moment::Between {
                trap.spring();
            }
            (trap.come <= trap.last).then_some(trap.come)
        };
        match number {
            Some(number) => number,
            None => pending().await,
        }
    }

    /// A write was answered. Returns when the client may be told, or never.
    pub(crate) async fn leave(&self, number: u64) {
        let stops = {
            let mut trap = self.lock();
            let last = trap
                .as_mut()
                .filter(|it| it.moment == Moment::Committed && it.last == number);
            last.map(Trap::spring).is_some()
        };
        if stops {
            pending().await
        }
    }
}

impl Trap {
    fn spring(&mut self) {
        if let Some(reached) = self.reached.take() {
            let _ = reached.send(());
        }
    }
}
