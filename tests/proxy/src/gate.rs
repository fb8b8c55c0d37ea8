//! Stops the world at a write: so that a client can be killed there.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts the traps: a write that came before one was set is none of its business.
    traps: u64,
    trap: Option<Trap>,
}

#[derive(Debug)]
struct Trap {
    /// How many writes have come.
    come: u64,
    last: u64,
    moment: Moment,
    reached: Option<oneshot::Sender<()>>,
}

/// A write on its way. However it ends, one that was the last springs the trap.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    trap: u64,
    number: u64,
}

impl Gate {
    pub(crate) fn set(&self, last: u64, moment: Moment) -> oneshot::Receiver<()> {
        let (reached, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.traps += 1;
        state.trap = Some(Trap {
            come: 0,
            last,
            moment,
            reached: Some(reached),
        });
        receiver
    }

    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.traps += 1;
        state.trap = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write came. Returns when it may be passed on, or never.
    pub(crate) async fn enter(&self) -> Pass<'_> {
        let pass = {
            let mut state = self.lock();
            let mut number = 0;
            if let Some(trap) = &mut state.trap {
                trap.come += 1;
                number = trap.come;
                if number > trap.last && trap.moment == Moment::Between {
                    trap.spring();
                }
            }
            let is_held = state.trap.as_ref().is_some_and(|it| number > it.last);
            (!is_held).then_some((state.traps, number))
        };
        match pass {
            Some((trap, number)) => Pass {
                gate: self,
                trap,
                number,
            },
            None => pending().await,
        }
    }
}

impl Pass<'_> {
    /// The write was answered. Returns when the client may be told, or never.
    pub(crate) async fn leave(self) {
        if self.springs() {
            pending().await
        }
    }

    fn springs(&self) -> bool {
        let mut state = self.gate.lock();
        let is_mine = state.traps == self.trap;
        let trap = state.trap.as_mut().filter(|_| is_mine);
        let trap = trap.filter(|it| it.moment == Moment::Committed && it.last == self.number);
        trap.map(Trap::spring).is_some()
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.springs();
    }
}

impl Trap {
    fn spring(&mut self) {
        if let Some(reached) = self.reached.take() {
            let _ = reached.send(());
        }
    }
}
