//! One probe: what it proves, and when it is over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::pause::Pause;
use super::{Answer, Probe};
use crate::seen::{Question, Version, later};

/// For so long a proof holds: what a node has may be taken off it again.
const HOLDS: SignedDuration = SignedDuration::from_mins(10);
/// How long a node may pull.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// After this long a node, or its registry, may be one that does not answer.
const LATE: SignedDuration = SignedDuration::from_mins(3);
/// A probe of which its node has told nothing until then, from its creation on, is given up: the node
/// itself may be gone.
const OVERDUE: SignedDuration = SignedDuration::from_mins(16);
/// One that nobody wants stays for so long: who comes back, or has just begun to look, wants it.
const LINGERS: SignedDuration = SignedDuration::from_secs(30);

/// One of which it is not known what it answers: the answer to its creation would tell.
const UNKNOWN_LINGERS: SignedDuration = SignedDuration::from_secs(5);

/// A probe, and what was made of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) probe: Probe,
    /// What it answers; `None` = nobody knows.
    pub(super) question: Option<Question>,
    /// Whether its node's answer was taken in.
    is_noted: bool,
    /// Since when it has been a proof, and until when it is.
    proof: Option<Pause>,
    /// Its node may have taken the image away since.
    is_lost: bool,
    /// Since when nobody has wanted it.
    unwanted: Option<Timestamp>,
    was_wanted: bool,
    /// Whether it stays though nobody waits for it.
    is_stocked: bool,
    /// It is being deleted.
    goes: bool,
    /// How often that went wrong in a row.
    failures: u32,
    pause: Option<Pause>,
}

impl Held {
    pub(super) fn new(probe: Probe) -> Self {
        Self {
            probe,
            question: None,
            is_noted: false,
            proof: None,
            is_lost: false,
            unwanted: None,
            was_wanted: false,
            is_stocked: false,
            goes: false,
            failures: 0,
            pause: None,
        }
    }

    /// It is so now; what a deletion ran into may be over.
    pub(super) fn see(&mut self, probe: Probe) {
        self.probe = probe;
        self.pause = None;
    }

    /// What its node has said, the first time.
    pub(super) fn note(&mut self, now: Timestamp) -> Option<Answer> {
        if self.is_noted || self.goes {
            return None;
        }
        let answer = self.probe.answer.clone()?;
        self.is_noted = true;
        if let Answer::Pulled(_) = answer {
            let created = self.probe.created;
            let pulled = self.probe.pulled.map_or(created, |it| it.max(created));
            self.proof = Some(Pause::of(HOLDS, pulled.min(now)));
        }
        Some(answer)
    }

    fn is_there(&self) -> bool {
        !self.goes && !self.probe.is_deleted
    }

    fn has_pulled(&self) -> bool {
        matches!(self.probe.answer, Some(Answer::Pulled(_)))
    }

    /// Whether its node has pulled the image, and not cleaned up since.
    pub(super) fn had_it(&self) -> bool {
        self.has_pulled() && !self.is_lost
    }

    /// It proves nothing any more.
    pub(super) fn may_have_lost_it(&mut self) {
        if self.has_pulled() {
            (self.proof, self.is_lost) = (None, true);
        }
    }

    pub(super) fn proves(&self, now: Timestamp) -> bool {
        self.is_there() && self.proof.is_some_and(|it| it.holds(now))
    }

    /// Whether its node has taken so long that it may never answer.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        later(self.probe.created, LATE) <= now
    }

    /// Whether its node may be at work on it.
    pub(super) fn is_busy(&self) -> bool {
        !self.has_pulled()
    }

    /// Whether it is no wonder that it is gone.
    pub(super) fn is_over(&self) -> bool {
        self.goes || (self.is_noted && !self.has_pulled())
    }

    /// Whether its node has the image and keeps it.
    pub(super) fn is_kept(&self) -> bool {
        self.is_there() && self.has_pulled() && !self.is_lost
    }

    pub(super) fn wanted(&mut self, is: bool, is_stocked: bool, now: Timestamp) {
        self.is_stocked = is_stocked && !is;
        if is || is_stocked {
            (self.unwanted, self.was_wanted) = (None, true);
        } else {
            // A clock that was set back must not make a wait longer.
            self.unwanted = Some(self.unwanted.map_or(now, |it| it.min(now)));
        }
    }

    /// Of several for one question, the least is kept.
    pub(super) fn rank(&self) -> Option<(bool, Timestamp)> {
        let rank = (!self.has_pulled(), self.probe.created);
        self.is_there().then_some(rank)
    }

    /// Whether it is to be deleted now, and then it goes.
    pub(super) fn ends(&mut self, is_best: bool, now: Timestamp) -> bool {
        if !self.is_there() || self.pause.is_some_and(|it| it.holds(now)) {
            return false;
        }
        let stays = self.is_stocked && self.has_pulled() && !self.is_lost;
        let over = self.is_noted && !stays && !self.proof.is_some_and(|it| it.holds(now));
        self.goes = !is_best || over || self.due().is_some_and(|at| at <= now);
        self.goes
    }

    /// When it is to be deleted though nothing changes.
    fn due(&self) -> Option<Timestamp> {
        // What is still on its way holds up others.
        let lingers = match &self.question {
            Some(_) if self.was_wanted && self.probe.answer.is_none() => SignedDuration::ZERO,
            Some(_) => LINGERS,
            None => UNKNOWN_LINGERS,
        };
        let unwanted = self.unwanted.map(|since| later(since, lingers));
        let own = match (&self.probe.answer, self.proof) {
            (None, _) => Some(later(self.probe.created, OVERDUE)),
            (Some(_), _) if self.is_stocked && !self.is_lost => None,
            (_, proof) => proof.map(|it| it.until),
        };
        unwanted.into_iter().chain(own).min()
    }

    /// Why it failed, if its node has told nothing at all.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<String> {
        let overdue = later(self.probe.created, OVERDUE) <= now;
        (self.probe.answer.is_none() && overdue)
            .then(|| "its node tells neither success nor failure".to_owned())
    }

    /// This version of it could not be deleted.
    pub(super) fn stays(&mut self, version: &Version, now: Timestamp) {
        self.goes = false;
        if self.probe.version != *version {
            return;
        }
        self.pause = Some(Pause::after(self.failures, now));
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_there() {
            return None;
        }
        let late = later(self.probe.created, LATE);
        let late = Some(late).filter(|at| self.is_busy() && *at > now);
        match self.pause.filter(|it| it.holds(now)) {
            Some(pause) => Some(pause.until),
            None => self.due().into_iter().chain(late).min(),
        }
    }
}
