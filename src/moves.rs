//! Which of the Workspaces that run may be moved to the settings in force now, and what there is to
//! say of the move; pure.
//!
//! Nothing is kept but whose turn it is, which whoever begins to lead works out anew: what was moved,
//! when, and from which image, is on the Pods.

mod fate;
mod pace;
mod room;
mod tally;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use self::fate::{Fate, due, fate, fate_of_stopped, provision_timeout};
use self::pace::Pace;
use self::room::{Room, Standing};
pub use self::tally::Tally;
use crate::plan::{How, When, how, is_over, lost_claim, refused_until, undone_until, when};
use crate::pod;
use crate::resolver::{self, Version};
use crate::seen::{Goes, Key, Left, Moved, Pod, Proof, Question, Seen, Turn, Wish, later};
use crate::settings::{Policy, Settings};
use crate::workspace::READY;

/// So many reasons are told apart.
const REASONS: usize = 16;
/// What people are told where nothing goes on.
const WAITS: &str = "as many Workspaces are not Ready as may be, and not for the move; mend, suspend or \
                     delete them, or allow more by ROLLOUT_MAX_UNAVAILABLE";
/// Why one is not moved whose Pod cannot be changed; the log has the answers.
const UNTAKEN: &str = "the API server does not take the change of the Pod";
/// Why one is not moved whose next Pod is refused, or the end of the one that it has.
const REFUSED: &str = "the API server refuses what its move asks for; its status has the answer";
/// All reasons beyond them.
const OTHER: &str = "other";
/// A status is written in a moment, or not at all.
const TELLING: SignedDuration = SignedDuration::from_secs(60);

/// Whose turn it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Those whose turn is not to wait.
    pub turns: BTreeMap<Key, Turn>,
    /// What there is to say; nothing where nothing is moved.
    pub tally: Option<Tally>,
    /// When to look again though nothing changed.
    pub wake: Option<Timestamp>,
}

/// Looks at all Workspaces. Whose turn it was keeps its place, for its move may be on its way.
#[must_use]
pub fn moves<'a>(
    all: impl Iterator<Item = Seen<'a>>,
    settings: Option<&Settings>,
    earlier: &BTreeMap<Key, Turn>,
    proof: impl Fn(&Question) -> Proof,
    now: Timestamp,
) -> Moves {
    let Some(settings) = settings.filter(|it| it.rollout().policy == Policy::Paced) else {
        return Moves::default();
    };
    let mut look = Look {
        settings,
        hash: pod::settings_hash(settings),
        now,
        tally: Tally::default(),
        workspaces: 0,
        leaves: 0,
        settle: 0,
        candidates: Vec::new(),
        failed: Vec::new(),
        failed_stopped: 0,
        failed_down: 0,
        put_back: Vec::new(),
        pace: Pace::default(),
        wake: None,
    };
    for seen in all {
        look.add(seen);
    }
    look.conclude(earlier, proof)
}

/// A Workspace that may be moved by its user.
struct Candidate<'a> {
    seen: Seen<'a>,
    pod: &'a Pod,
    image: String,
    how: How,
    goes: Option<Goes>,
    standing: Standing,
}

struct Look<'a> {
    settings: &'a Settings,
    /// Of all that a Pod takes from them besides its image.
    hash: String,
    now: Timestamp,
    tally: Tally,
    /// Those that are to run.
    workspaces: usize,
    /// Those whose old Pod is stopped for another, which is not there yet.
    leaves: usize,
    /// Those that were moved and are Ready, but not for long enough yet.
    settle: usize,
    candidates: Vec<Candidate<'a>>,
    /// Those that did not become Ready again in their time, or crash.
    failed: Vec<&'a Key>,
    /// How many of them have no Pod any more, or one that does not end.
    failed_stopped: usize,
    /// How many of them are not Ready.
    failed_down: usize,
    /// Those of them that were put back on what they ran.
    put_back: Vec<&'a Key>,
    pace: Pace,
    wake: Option<Timestamp>,
}

impl<'a> Look<'a> {
    fn add(&mut self, seen: Seen<'a>) {
        let Some(workspace) = seen.workspace.filter(|it| !it.deleting) else {
            return;
        };
        if seen.memory.namespace_terminating {
            return;
        }
        let wish = workspace.spec.as_ref().ok().map(|it| it.wish());
        if wish.as_ref().is_some_and(|it| self.is_off(it)) {
            return;
        }
        self.workspaces += 1;
        let pod = seen.pod.filter(|it| it.is_of(workspace) && it.stays());
        let goes = pod.and_then(|it| self.goes(&seen, it));
        let goes_soon = goes == Some(Goes::Soon);
        // Others go by what is told: until that is told it is not Ready, nor while it may be told otherwise.
        let shows = workspace.status.is_true(READY) && !seen.memory.telling;
        let is_told = shows || seen.memory.ignored.is_some();
        let is_up = is_told && !goes_soon && pod.is_some_and(|it| it.ready);
        if !is_up {
            self.tally.unavailable += 1;
            self.leaves(&seen, goes_soon, wish.as_ref());
        }
        // What is not as its user asked has a rollout of its own.
        let as_asked = |it: &&Pod| it.told.revision.as_ref() == Some(&workspace.revision);
        if let (Some(pod), Some(wish)) = (pod.filter(as_asked), wish) {
            self.place(seen, pod, goes, is_up, &wish);
        }
    }

    /// Whether it was told to go.
    fn goes(&mut self, seen: &Seen<'_>, pod: &Pod) -> Option<Goes> {
        let (goes, until) = seen.memory.goes(pod, self.now)?;
        if let Some(until) = until {
            self.wake_at(until);
        }
        Some(goes)
    }

    /// Counts it where its old Pod is on its way out for the move, or the new one about to be created.
    /// Without a new one in its time it has failed. Once something else is asked for it is down like any
    /// other.
    fn leaves(&mut self, seen: &Seen<'a>, goes_soon: bool, wish: Option<&Wish>) {
        let is_told = self.is_being_told(seen);
        let left = seen.memory.left.as_deref();
        let Some(left) = left.filter(|it| it.moved_from.is_some()) else {
            self.leaves += usize::from(goes_soon || is_told);
            return;
        };
        match fate_of_stopped(seen, wish, self.settings, self.now) {
            Fate::Failed(_) if self.still_asks_for(left, wish) => {
                self.failed.push(seen.key);
                self.failed_stopped += 1;
                self.failed_down += 1;
            }
            Fate::Failed(_) => {}
            fate => {
                if let Fate::Awaited(until) = fate {
                    self.wake_at(until);
                }
                let is_next = seen.memory.pod_refusal.is_none();
                self.leaves += usize::from(goes_soon || is_told || is_next);
            }
        }
    }

    /// Whether it serves, and is being told so: for so long, as a status may be refused for ever.
    fn is_being_told(&mut self, seen: &Seen<'_>) -> bool {
        let serves = seen.memory.telling && seen.pod.is_some_and(|it| it.ready);
        let showing = seen.memory.showing.as_ref().filter(|_| serves);
        let until = showing.map(|(_, since)| later(*since, TELLING));
        let until = until.filter(|it| self.now < *it);
        if let Some(until) = until {
            self.wake_at(until);
        }
        until.is_some()
    }

    /// Whether the settings still give what it was stopped for; where they give nothing, nothing else is
    /// tried.
    fn still_asks_for(&self, left: &Left, wish: Option<&Wish>) -> bool {
        let Some((to, wish)) = left.moved_to.as_ref().zip(wish) else {
            return true;
        };
        let image = self.image(wish);
        image.is_none_or(|it| it == to.image && self.hash == to.settings)
    }

    /// What the settings give, if they give anything.
    fn image(&self, wish: &Wish) -> Option<String> {
        let version = Version::of(wish.digest.as_deref(), wish.tag.as_deref());
        resolver::image(self.settings, &wish.runtime, version).ok()
    }

    fn is_off(&self, wish: &Wish) -> bool {
        wish.suspend || is_over(wish.expires_at.as_ref(), self.now)
    }

    fn place(
        &mut self,
        seen: Seen<'a>,
        pod: &'a Pod,
        goes: Option<Goes>,
        is_up: bool,
        wish: &Wish,
    ) {
        let Some(image) = self.image(wish) else {
            return;
        };
        let Some(how) = how(pod, &image, &self.hash) else {
            return self.has_it(&seen, pod, &image, is_up, wish);
        };
        let when = when(wish.rollout.as_ref(), self.now);
        if when != When::Never && pod.told.was_put_back_from(&image) {
            self.put_back.push(seen.key);
            self.failed_down += usize::from(!is_up);
            return;
        }
        match when {
            When::Never => self.tally.opted_out += 1,
            When::From(at) => {
                self.tally.to_move += 1;
                self.tally.deferred += 1;
                self.wake_at(at);
            }
            When::Now => {
                self.tally.to_move += 1;
                let candidate = Candidate {
                    seen,
                    pod,
                    image,
                    how,
                    goes,
                    standing: self.standing(pod, goes, wish),
                };
                self.candidates.push(candidate);
            }
        }
    }

    fn has_it(&mut self, seen: &Seen<'a>, pod: &Pod, image: &str, is_up: bool, wish: &Wish) {
        self.tally.moved += 1;
        let Some(moved) = &pod.told.moved else {
            return;
        };
        self.pace.note(moved.at, self.now);
        match fate(pod, moved, image, wish, self.settings, self.now) {
            Fate::Over => self.comes_back(pod, moved, is_up, wish),
            Fate::Awaited(until) => {
                self.tally.moving += 1;
                self.settle += usize::from(is_up);
                self.wake_at(until);
            }
            Fate::Failed(until) => {
                self.failed.push(seen.key);
                self.failed_down += usize::from(!is_up);
                if let Some(until) = until {
                    self.wake_at(until);
                }
            }
        }
    }

    /// Its agent answers, and that is still to be told. A status that is refused holds its place only for
    /// so long.
    fn comes_back(&mut self, pod: &Pod, moved: &Moved, is_up: bool, wish: &Wish) {
        let until = due(moved.at, wish, self.settings);
        if pod.ready && !is_up && self.now < until {
            self.tally.moving += 1;
            self.wake_at(until);
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = self.wake.into_iter().chain([at]).min();
    }

    fn conclude(
        mut self,
        earlier: &BTreeMap<Key, Turn>,
        proof: impl Fn(&Question) -> Proof,
    ) -> Moves {
        let rollout = self.settings.rollout();
        let most = rollout.max_unavailable.of(self.workspaces).max(1);
        self.tally.max_unavailable = most;
        self.tally.max_failed = rollout.max_failed.of(self.workspaces);
        self.tally.failed = self.failed.len();
        self.tally.put_back = self.put_back.len();
        self.tally.paused = rollout.paused;
        self.tally.halted = self.halted();
        let mut turns = BTreeMap::new();
        if !rollout.paused && self.tally.halted.is_none() {
            let is_moving = |key: &Key| earlier.get(key) == Some(&Turn::Moves);
            let mut candidates = std::mem::take(&mut self.candidates);
            candidates.sort_by_key(|it| (it.pod.ready, !is_moving(it.seen.key), it.seen.key));
            let mut room = Room::of(most, self.taken(), self.tally.moving + self.leaves);
            for candidate in &candidates {
                let earlier = earlier.get(candidate.seen.key).copied();
                let turn = self.turn(candidate, earlier.unwrap_or_default(), &proof, &mut room);
                if turn != Turn::Waits {
                    turns.insert(candidate.seen.key.clone(), turn);
                }
            }
            let waits = room.is_stuck() && candidates.iter().any(|it| it.pod.ready);
            self.tally.waits = waits.then(|| WAITS.to_owned());
        }
        self.tally.estimated_end = self.estimated_end();
        Moves {
            turns,
            tally: Some(self.tally),
            wake: self.wake,
        }
    }

    /// How many places are taken. One that has failed within the budget holds none for ever; one that
    /// has just come back may be about to fail.
    fn taken(&self) -> usize {
        let excused = self.failed_down.min(self.tally.max_failed);
        self.tally.unavailable.saturating_sub(excused) + self.settle
    }

    /// More have failed than may.
    fn halted(&mut self) -> Option<String> {
        let Tally {
            failed,
            put_back,
            max_failed,
            ..
        } = self.tally;
        let all = failed + put_back;
        if all <= max_failed {
            return None;
        }
        let (those, what, to_do) = if failed > 0 {
            let what = "were moved and are not Ready again in their time, or crash";
            (&mut self.failed, what, "mend, suspend or delete them")
        } else {
            let what = "were put back on the image that they ran, for they were not Ready in their \
                        time on that of the settings";
            let to_do = "restart them to try it again, suspend or delete them";
            (&mut self.put_back, what, to_do)
        };
        those.sort_unstable();
        let first = those.first()?;
        let besides = if failed > 0 && put_back > 0 {
            format!(", and {put_back} that were put back")
        } else {
            String::new()
        };
        let have_pods = failed > self.failed_stopped;
        let roll_back = if have_pods && !self.settings.rollout().roll_back {
            "; ROLLOUT_ROLL_BACK puts such ones back on the image that they ran"
        } else {
            ""
        };
        Some(format!(
            "Workspaces that {what}: {}, the first of them {first}{besides}; {to_do}, have the settings \
             give another image, or let ROLLOUT_MAX_FAILED be {all} at least{roll_back}",
            those.len()
        ))
    }

    fn estimated_end(&self) -> Option<String> {
        let Tally {
            moving,
            to_move,
            deferred,
            ..
        } = self.tally;
        let stands = self.tally.halted.is_some() || self.tally.waits.is_some();
        if self.tally.paused || stands {
            return None;
        }
        let blocked: usize = self.tally.blocked.values().sum();
        let left = (moving + to_move).saturating_sub(blocked + deferred);
        self.pace.end(left, self.now)
    }

    fn standing(&self, pod: &Pod, goes: Option<Goes>, wish: &Wish) -> Standing {
        let seconds = provision_timeout(wish, self.settings);
        let until = pod.due(wish.termination_grace_period_seconds, seconds);
        if goes == Some(Goes::Soon) || !pod.may_serve(until, self.now) {
            Standing::Down
        } else if pod.ready {
            Standing::Serves
        } else {
            Standing::Misses
        }
    }

    fn block(&mut self, why: String) {
        let known = self.tally.blocked.len() < REASONS;
        let why = if known || self.tally.blocked.contains_key(&why) {
            why
        } else {
            OTHER.to_owned()
        };
        *self.tally.blocked.entry(why).or_default() += 1;
    }

    fn turn(
        &mut self,
        candidate: &Candidate<'_>,
        earlier: Turn,
        proof: &impl Fn(&Question) -> Proof,
        room: &mut Room,
    ) -> Turn {
        let Candidate {
            seen,
            pod,
            image,
            how,
            goes,
            standing,
        } = candidate;
        // What is told to be blocked stays told so while there is no room, also by the next operator.
        let is_told = seen.workspace.is_some_and(|it| it.told_blocked().is_some());
        if earlier == Turn::Waits && !is_told && room.is_full(*standing) {
            return Turn::Waits;
        }
        if *goes == Some(Goes::InVain) {
            self.block(UNTAKEN.to_owned());
            return Turn::Waits;
        }
        // It tells so as long as it is looked at; its place is for others.
        if let Some(retry) = refused_until(seen, image, self.now) {
            self.block(REFUSED.to_owned());
            self.wake_at(retry);
            return Turn::Proves;
        }
        if let Some(retry) = undone_until(seen, image, self.now) {
            self.wake_at(retry);
            return Turn::Proves;
        }
        let spec = seen.workspace.and_then(|it| it.spec.as_ref().ok());
        let spec = spec.map(|it| it.unpack());
        let storage = spec.as_ref().and_then(|it| it.storage.as_ref());
        if let Some(why) = lost_claim(seen, storage, *how) {
            self.block(format!("its PersistentVolumeClaim {why}"));
            return Turn::Proves;
        }
        let want = spec.and_then(|spec| how.want(seen.key, &spec, self.settings, pod, image));
        let Some(want) = want else {
            return Turn::Waits;
        };
        let proof = proof(&want.question);
        if let Some(why) = proof.why_not() {
            self.block(why);
            return Turn::Proves;
        }
        // Its move may be on its way: its place stays taken.
        let keeps = earlier == Turn::Moves && *standing != Standing::Down;
        // A pull that is under way is not begun anew.
        let pulls = earlier == Turn::Proves && proof == Proof::UnderWay;
        let turn = if (proof == Proof::Proved || keeps) && room.take(*standing) {
            Turn::Moves
        } else if room.prove(*standing) || is_told || pulls {
            Turn::Proves
        } else {
            return Turn::Waits;
        };
        room.mends |= *standing != Standing::Serves && !pod.is_leaving();
        turn
    }
}

#[cfg(test)]
mod tests;
