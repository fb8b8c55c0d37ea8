//! What a candidate does next, by what it saw of the Lease and when; pure.

use std::time::Duration;

use tokio::time::Instant;

/// For how long the holder asks the others to wait after a renewal.
pub(super) const LEASE: Duration = Duration::from_secs(4);
/// For how long after it *sent* a renewal the holder begins writes. It ends before the lease does,
/// which the others count from when they *saw* that renewal, so clocks may even run at rates that
/// differ by a quarter.
pub(super) const TERM: Duration = Duration::from_secs(3);
/// The holder renews this often: all that an operator does while nothing happens.
pub(super) const RENEWAL: Duration = Duration::from_millis(1250);
/// After a failure, or when there is no Lease, the next attempt comes this long after the last.
const RETRY: Duration = Duration::from_millis(500);

/// The Lease as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its `resourceVersion`.
    pub(super) version: String,
    /// The same as a number, to tell what is newer.
    pub(super) place: u64,
    /// Empty when nobody holds it.
    pub(super) holder: String,
    /// For how long its holder asks the others to wait.
    pub(super) lasts: Option<Duration>,
    pub(super) transitions: i32,
    /// When it was acquired and renewed, as it stands there. These are compared for being equal, and
    /// never with a clock: they are of another machine, and may be anything.
    pub(super) times: [Option<String>; 2],
}

impl Record {
    /// Whether its holder did nothing from one to the other. What others do, such as adding an
    /// annotation, must not keep a dead holder alive.
    fn is_unchanged(&self, later: &Self) -> bool {
        (&self.holder, self.lasts, self.transitions, &self.times)
            == (&later.holder, later.lasts, later.transitions, &later.times)
    }

    /// For how long the others wait after its holder did something.
    fn lasts(&self) -> Duration {
        self.lasts.unwrap_or(LEASE)
    }
}

/// A stretch of time during which this process may begin writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Term {
    /// Another number is another term: in between others may have led.
    number: u64,
    until: Option<Instant>,
}

impl Term {
    /// The number of the term, if it is not over.
    pub(super) fn at(&self, now: Instant) -> Option<u64> {
        self.until
            .is_some_and(|until| now < until)
            .then_some(self.number)
    }

    /// Whether one that knew of the other and of the clock would have to hear of this one.
    pub(super) fn is_news_after(self, other: Self) -> bool {
        (self.number, self.until.is_some()) != (other.number, other.until.is_some())
    }

    /// When it ends, unless it is renewed.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Read the Lease, for what is known of it may be outdated.
    Read,
    /// Write it.
    Claim(Claim),
    /// Nothing before this moment.
    Wait(Instant),
}

/// A write of the Lease, which the API server refuses if it is no longer as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The `resourceVersion` that it was seen in.
    pub(super) version: String,
    /// When it passes from one holder to another: how often it has then done so.
    pub(super) transitions: Option<i32>,
}

/// A claim of which nothing was heard. It may have been stored all the same.
#[derive(Debug)]
struct Unheard {
    /// The time that it wrote.
    time: String,
    sent: Instant,
}

/// One that would like to lead.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    /// `None`: there is no Lease, or none was seen yet.
    record: Option<Record>,
    /// When its holder was first seen to have done what is on record.
    since: Instant,
    term: Term,
    unheard: Option<Unheard>,
    /// Whether what is known of the Lease may be outdated.
    outdated: bool,
    /// Before this there is no other attempt.
    not_before: Instant,
    /// The failures in a row.
    failures: u32,
}

impl Candidate {
    pub(super) fn new(identity: String, now: Instant) -> Self {
        Self {
            identity,
            record: None,
            since: now,
            term: Term::default(),
            unheard: None,
            outdated: true,
            not_before: now,
            failures: 0,
        }
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Who holds the Lease, if anybody does.
    pub(super) fn holder(&self) -> Option<&str> {
        let holder = self.record.as_ref().map(|it| it.holder.as_str());
        holder.filter(|it| !it.is_empty())
    }

    /// Whether the Lease is on record as held by this process.
    pub(super) fn holds(&self) -> bool {
        self.holder() == Some(&self.identity)
    }

    /// Until when somebody is known to lead: this process, or another as far as was seen.
    pub(super) fn led_until(&self) -> Option<Instant> {
        if self.holds() {
            return self.term.until;
        }
        let record = self.record.as_ref().filter(|it| !it.holder.is_empty())?;
        Some(self.since + record.lasts())
    }

    /// The `resourceVersion` of the Lease, while it is held by this process.
    pub(super) fn held(&self) -> Option<&str> {
        let record = self.record.as_ref().filter(|_| self.holds());
        record.map(|it| it.version.as_str())
    }

    /// A watch showed the Lease, or that there is none. It may lag behind what was written.
    pub(super) fn saw(&mut self, record: Option<Record>, now: Instant) {
        let known = self.record.as_ref().map_or(0, |it| it.place);
        if record.as_ref().is_none_or(|it| it.place >= known) {
            self.take_in(record, now);
        }
    }

    /// The Lease was read. Returns whether the watch should have shown this before.
    pub(super) fn read(&mut self, record: Option<Record>, now: Instant) -> bool {
        let missed = self.record.is_some() && self.record != record;
        self.take_in(record, now);
        missed
    }

    fn take_in(&mut self, record: Option<Record>, now: Instant) {
        self.outdated = false;
        match (&self.record, &record) {
            (Some(known), Some(record)) if known.is_unchanged(record) => {}
            _ => self.since = now,
        }
        if record.is_none() {
            self.not_before = now + RETRY;
            self.outdated = true;
        }
        self.record = record;
        if !self.holds() {
            self.term.until = None;
        }
        if let Some(claim) = self.unheard.take_if(|it| {
            let record = self.record.as_ref().filter(|it| it.holder == self.identity);
            record.and_then(|it| it.times[1].as_ref()) == Some(&it.time)
        }) {
            self.begin_term(claim.sent, now);
        }
    }

    /// A claim that was sent at this moment is known to be stored.
    fn begin_term(&mut self, sent: Instant, now: Instant) {
        if self.term.at(now).is_none() {
            self.term.number += 1;
        }
        self.term.until = Some(sent + TERM);
    }

    /// What to do next.
    pub(super) fn next(&self, now: Instant) -> Next {
        if now < self.not_before {
            return Next::Wait(self.not_before);
        }
        let Some(record) = self.record.as_ref().filter(|_| !self.outdated) else {
            return Next::Read;
        };
        let free = if self.holds() {
            self.renewed().map_or(now, |renewed| renewed + RENEWAL)
        } else if record.holder.is_empty() {
            now
        } else {
            self.since + record.lasts()
        };
        if now < free {
            return Next::Wait(free);
        }
        Next::Claim(Claim {
            version: record.version.clone(),
            transitions: (!self.holds()).then(|| record.transitions.saturating_add(1)),
        })
    }

    /// When the last renewal was sent, while its term lasts.
    fn renewed(&self) -> Option<Instant> {
        self.term.until?.checked_sub(TERM)
    }

    /// A claim, sent at this moment, was stored as this.
    pub(super) fn claimed(&mut self, claim: &Claim, record: Record, sent: Instant, now: Instant) {
        // What changed nothing, the others cannot see: for them the lease runs out.
        if record.version == claim.version || record.holder != self.identity {
            return self.failed(false, now);
        }
        self.unheard = None;
        self.begin_term(sent, now);
        self.take_in(Some(record), now);
        self.failures = 0;
    }

    /// Nothing was heard of a claim that was sent at this moment and wrote this time. Should the
    /// Lease show it later, this process has led since.
    pub(super) fn not_heard(&mut self, time: String, sent: Instant) {
        self.unheard = Some(Unheard { time, sent });
    }

    /// A read or a claim failed, or nothing is known of what became of it; `refused` if the Lease
    /// is known to have changed meanwhile.
    pub(super) fn failed(&mut self, refused: bool, now: Instant) {
        self.outdated = true;
        self.failures = self.failures.saturating_add(1);
        // Whoever annotates the Lease must not cost the holder its term.
        let at_once = refused && self.failures == 1;
        self.not_before = if at_once { now } else { now + RETRY };
    }
}
