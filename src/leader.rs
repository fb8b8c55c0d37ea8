//! Who may write: of several operators, the one that holds the Lease.
//!
//! As client-go does it. A candidate takes the Lease over when it has not seen it change for as
//! long as its holder asked for, by its own monotonic clock; the times in it are for people, so
//! that clocks that differ do no harm. The API server takes a write of the Lease only in the state
//! in which it was last seen. The holder counts from before it sent a renewal, the others from when
//! they saw it, and its term is shorter than the lease: the one is over before the other can begin.
//!
//! The crates for this compare the times of different machines, which is why this is not one of
//! them.
//!
//! Unlike client-go, one that is no longer the leader goes on as a process, and stands by with its
//! watches warm.

mod candidate;
mod elector;
mod lease;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::task::Poll;
use std::time::Duration;

use futures::future::poll_fn;
use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use self::candidate::Term;
use self::elector::{Line, Outlook};
use self::lease::Lease;

/// A release that takes longer is no help to the one that waits for it.
const RELEASE: Duration = Duration::from_secs(4);

/// What became of the leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This process leads from now on.
    Begins,
    /// This process no longer leads.
    Ends,
}

/// Whether this process leads.
#[derive(Debug)]
pub struct Leader {
    /// `None`: there is nobody to agree with.
    election: Option<Election>,
    entered: bool,
    /// The term in which this process leads, as far as the loop was told.
    leads: Option<u64>,
}

#[derive(Debug)]
struct Election {
    enter: Option<oneshot::Sender<()>>,
    stop: oneshot::Sender<()>,
    terms: watch::Receiver<Term>,
    outlook: watch::Receiver<Outlook>,
    task: JoinHandle<()>,
}

impl Leader {
    /// This process is the only one.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            election: None,
            entered: false,
            leads: None,
        }
    }

    /// Agrees with the others by this Lease.
    #[must_use]
    pub fn elected(client: Client, namespace: &str, name: &str) -> Self {
        let identity = identity();
        info!(identity, lease = %format!("{namespace}/{name}"), "standing for election");
        let lease = Lease::new(client, namespace, name, &identity);
        let (enter, entered) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (sender, terms) = watch::channel(Term::default());
        let (teller, outlook) = watch::channel(Outlook::default());
        let line = Line {
            enter: entered,
            stop: stopped,
            terms: sender,
            outlook: teller,
        };
        let election = Election {
            enter: Some(enter),
            stop,
            terms,
            outlook,
            task: tokio::spawn(elector::run(lease, identity, line)),
        };
        Self {
            election: Some(election),
            ..Self::alone()
        }
    }

    /// From now on this process may lead: it knows all that it needs to know.
    pub fn enter(&mut self) {
        self.entered = true;
        let enter = self.election.as_mut().and_then(|it| it.enter.take());
        if let Some(enter) = enter {
            let _ = enter.send(());
        }
    }

    /// Whether this process leads, as far as [`Leader::turn`] has told.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads.is_some()
    }

    /// What keeps this process both from leading and from seeing who leads, in one sentence; `None`
    /// while somebody is known to lead.
    #[must_use]
    pub fn blind(&self, now: Instant) -> Option<String> {
        let outlook = self.election.as_ref()?.outlook.borrow();
        if outlook.led_until.is_some_and(|until| now < until) {
            return None;
        }
        let unknown = || "no operator is known to lead".to_owned();
        Some(outlook.trouble.clone().unwrap_or_else(unknown))
    }

    /// Whether a write may begin.
    #[must_use]
    pub fn may_write(&self, now: Instant) -> bool {
        self.leads.is_some() && self.leads == self.term(now)
    }

    /// The number of the term that lasts now.
    fn term(&self, now: Instant) -> Option<u64> {
        match &self.election {
            Some(election) => election.terms.borrow().at(now),
            None => self.entered.then_some(0),
        }
    }

    /// What became of the leadership since the last call. A new term after an old one is an end
    /// and then a beginning, for others may have led in between.
    pub fn turn(&mut self, now: Instant) -> Option<Turn> {
        let term = self.term(now);
        if self.leads == term {
            return None;
        }
        if self.leads.take().is_some() {
            warn!("no longer leading: what was under way is dropped");
            return Some(Turn::Ends);
        }
        self.leads = term;
        if self.election.is_some() {
            info!("leading");
        }
        Some(Turn::Begins)
    }

    /// Waits until there may be a turn; of a renewal nobody is woken, so that the end of a term that
    /// was renewed meanwhile is one such moment. Whenever it is polled it looks at the clock: a
    /// process that was stopped for a while must not go on with anything before it knows that its
    /// time is over.
    pub async fn changed(&mut self) {
        let Some(election) = &mut self.election else {
            return pending().await;
        };
        let until = self.leads.and_then(|_| election.terms.borrow().until());
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let late = poll_fn(|_| match until {
            Some(until) if until <= Instant::now() => Poll::Ready(()),
            _ => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = late => {}
            Ok(()) = election.terms.changed() => {}
            () = over => {}
        }
    }

    /// Lets the Lease go, if this process holds it. Nothing may be written any more.
    pub async fn release(self) {
        let Some(election) = self.election else {
            return;
        };
        let _ = election.stop.send(());
        if timeout(RELEASE, election.task).await.is_err() {
            warn!("the Lease could not be released; it runs out by itself");
        }
    }
}

/// Of this process alone: another one on the same machine, or the next one in the same container,
/// is another candidate.
fn identity() -> String {
    let host = hostname::get().ok().and_then(|it| it.into_string().ok());
    let host = host.unwrap_or_else(|| "unknown".into());
    // Its keys come from the system's source of randomness.
    let random = RandomState::new().build_hasher().finish();
    format!("{host}_{random:016x}")
}
