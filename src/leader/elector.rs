//! Takes the Lease, renews it, and lets it go: the task that stands for election.

use std::mem::{Discriminant, discriminant};

use futures::StreamExt;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::candidate::{Candidate, Claim, Next, Term};
use super::lease::{self, Fault, Lease};

/// What the loop and this task tell one another.
pub(super) struct Line {
    /// The lists are complete: from now on this process may lead.
    pub(super) enter: oneshot::Receiver<()>,
    /// The last write is done.
    pub(super) stop: oneshot::Receiver<()>,
    pub(super) terms: watch::Sender<Term>,
    pub(super) outlook: watch::Sender<Outlook>,
}

/// What this task can tell of who leads.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlook {
    /// Until when somebody is known to lead.
    pub(super) led_until: Option<Instant>,
    /// What was wrong last with the Lease, in one sentence.
    pub(super) trouble: Option<String>,
}

pub(super) struct Elector {
    lease: Lease,
    candidate: Candidate,
    terms: watch::Sender<Term>,
    outlook: watch::Sender<Outlook>,
    /// The holder that was told last.
    told: Option<String>,
    trouble: Option<Discriminant<Fault>>,
}

/// Stands for election until it is told to stop, and then lets the Lease go.
pub(super) async fn run(lease: Lease, identity: String, mut line: Line) {
    let mut watch = lease.watch();
    let mut elector = Elector {
        candidate: Candidate::new(identity, Instant::now()),
        lease,
        terms: line.terms,
        outlook: line.outlook,
        told: None,
        trouble: None,
    };
    let mut entered = false;
    loop {
        let mut wake = None;
        if entered {
            match elector.candidate.next(Instant::now()) {
                Next::Read => {
                    if elector.read().await {
                        watch = elector.lease.watch();
                    }
                    wake = Some(Instant::now());
                }
                Next::Claim(claim) => {
                    elector.claim(claim).await;
                    wake = Some(Instant::now());
                }
                Next::Wait(until) => wake = Some(until),
            }
        }
        tokio::select! {
            biased;
            // Without the loop there is nobody to lead for.
            _ = &mut line.stop => break,
            _ = &mut line.enter, if !entered => entered = true,
            Some(seen) = watch.next() => {
                elector.candidate.saw(seen, Instant::now());
                elector.publish();
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
    elector.release().await;
}

impl Elector {
    /// Returns whether the watch missed something.
    async fn read(&mut self) -> bool {
        let answer = self.lease.read().await;
        let now = Instant::now();
        match answer {
            Ok(record) => {
                if record.is_none() {
                    self.tell(Fault::Missing);
                }
                let missed = self.candidate.read(record, now);
                self.publish();
                missed
            }
            Err(fault) => {
                self.failed(fault, now);
                false
            }
        }
    }

    async fn claim(&mut self, claim: Claim) {
        let (sent, time) = (Instant::now(), lease::now());
        match self.lease.claim(&claim, &time).await {
            Ok(record) => {
                self.candidate.claimed(&claim, record, sent, Instant::now());
                if self.trouble.take().is_some() {
                    info!("the {} can be renewed again", self.lease);
                }
                self.publish();
            }
            Err(fault) => {
                if fault == Fault::Unheard {
                    self.candidate.not_heard(time, sent);
                }
                self.failed(fault, Instant::now());
            }
        }
    }

    fn failed(&mut self, fault: Fault, now: Instant) {
        self.candidate.failed(fault == Fault::Outdated, now);
        self.tell(fault);
    }

    /// Tells of trouble once, by its kind. That another was quicker is none.
    fn tell(&mut self, fault: Fault) {
        if fault == Fault::Outdated {
            return;
        }
        let (kind, sentence) = (discriminant(&fault), self.lease.sentence(&fault));
        if self.trouble != Some(kind) {
            warn!("{sentence}; trying again");
            self.trouble = Some(kind);
        }
        self.outlook.send_modify(|it| it.trouble = Some(sentence));
    }

    /// Tells the loop of the term, and people of another leader.
    fn publish(&mut self) {
        let led_until = self.candidate.led_until();
        let led = led_until.is_some_and(|until| Instant::now() < until);
        self.outlook.send_modify(|it| {
            it.led_until = led_until;
            it.trouble.take_if(|_| led);
        });
        let term = self.candidate.term();
        self.terms.send_if_modified(|it| {
            let is_news = term.is_news_after(*it);
            *it = term;
            is_news
        });
        let holder = self.candidate.holder().map(str::to_owned);
        if holder == self.told {
            return;
        }
        match &holder {
            Some(_) if self.candidate.holds() => {}
            Some(leader) => info!(leader, "standing by: another operator leads"),
            None => {}
        }
        self.told = holder;
    }

    /// Another one waits for this: it is tried twice, for the watch may lag behind.
    async fn release(mut self) {
        for _ in 0..2 {
            let Some(version) = self.candidate.held() else {
                return;
            };
            match self.lease.release(version).await {
                Ok(_) => {
                    info!("the {} is free", self.lease);
                    return;
                }
                Err(Fault::Outdated) => {
                    self.read().await;
                }
                Err(fault) => {
                    self.tell(fault);
                    return;
                }
            }
        }
    }
}
