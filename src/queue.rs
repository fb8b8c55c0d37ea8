//! What to look at next: each item at most once at a time, at once or at a set moment.
//!
//! What somebody waits for comes before the bulk of a start, an outage or a heal, and does not
//! hold it up either.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// A queue of items. An item that is added while it is being worked on is worked on again after.
#[derive(Debug)]
pub struct Queue<T> {
    urgent: VecDeque<T>,
    /// An item that became urgent stays here as well, and is passed over.
    usual: VecDeque<T>,
    /// In which lane, and since when.
    queued: HashMap<T, (Lane, Instant)>,
    /// How many urgent ones in a row were taken.
    in_a_row: u8,
    /// What is being worked on, from which lane, and whether it is to be worked on again.
    working: HashMap<T, (Lane, Option<Lane>)>,
    timers: BTreeSet<(Instant, T)>,
    /// When the timer of an item ends, and in which lane it comes back.
    due: HashMap<T, (Instant, Lane)>,
    /// How often an item failed in a row.
    failures: HashMap<T, u32>,
    /// Until when the server asked not to be asked about an item again.
    held: HashMap<T, Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Usual,
    Urgent,
}

/// After so many urgent ones it is the turn of one that waits in the usual way.
const IN_A_ROW: u8 = 3;
/// Below that, room for more costs next to nothing.
const SMALL: usize = 256;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

impl<T: Clone + Eq + Hash + Ord> Default for Queue<T> {
    fn default() -> Self {
        Self {
            urgent: VecDeque::new(),
            usual: VecDeque::new(),
            queued: HashMap::new(),
            in_a_row: 0,
            working: HashMap::new(),
            timers: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            held: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    /// Adds an item, to be worked on at once; or, if the server asked for a pause, after it.
    pub fn add(&mut self, item: T) {
        self.put(item, Lane::Usual);
    }

    /// Adds an item that somebody waits for.
    pub fn add_urgent(&mut self, item: T) {
        self.put(item, Lane::Urgent);
    }

    /// Adds an item that is being worked on once more, as urgently as it was taken: a step of
    /// several is done.
    pub fn add_as_taken(&mut self, item: T) {
        let lane = self.taken_from(&item);
        self.put(item, lane);
    }

    fn put(&mut self, item: T, mut lane: Lane) {
        if let Some((_, put_off)) = self.due.get_mut(&item) {
            lane = lane.max(*put_off);
            *put_off = lane;
        }
        if self.held.contains_key(&item) {
            return;
        }
        if let Some((_, again)) = self.working.get_mut(&item) {
            *again = (*again).max(Some(lane));
            return;
        }
        let queued = self.queued.get(&item).copied();
        if queued.map(|it| it.0) < Some(lane) {
            let since = queued.map_or_else(Instant::now, |it| it.1);
            self.queued.insert(item.clone(), (lane, since));
            match lane {
                Lane::Usual => self.usual.push_back(item),
                Lane::Urgent => self.urgent.push_back(item),
            }
        }
    }

    /// Sets the moment at which an item is added, in place of the one that was set before.
    pub fn wake(&mut self, item: T, at: Option<Instant>) {
        self.set_timer(item, at, Lane::Usual);
    }

    /// As [`Queue::wake`], for an item that is being worked on and could not be finished: somebody
    /// who waits for it does not wait behind the bulk because of that.
    pub fn put_off(&mut self, item: T, at: Instant) {
        let lane = self.taken_from(&item);
        self.set_timer(item, Some(at), lane);
    }

    fn set_timer(&mut self, item: T, at: Option<Instant>, mut lane: Lane) {
        let held = self.held.get(&item).copied();
        if let Some((earlier, was)) = self.due.remove(&item) {
            self.timers.remove(&(earlier, item.clone()));
            if held.is_some() {
                lane = lane.max(was);
            }
        }
        if let Some(at) = held.max(at) {
            self.due.insert(item.clone(), (at, lane));
            self.timers.insert((at, item));
        }
    }

    /// Takes the next item that is ready. It counts as worked on until [`Queue::done`].
    pub fn take(&mut self, now: Instant) -> Option<T> {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, item)) = self.timers.pop_first()
        {
            let lane = self.due.remove(&item).map_or(Lane::Usual, |it| it.1);
            self.held.remove(&item);
            self.put(item, lane);
        }
        let item = self.pop()?;
        let lane = self.queued.remove(&item).map_or(Lane::Usual, |it| it.0);
        self.working.insert(item.clone(), (lane, None));
        Some(item)
    }

    fn pop(&mut self) -> Option<T> {
        if self.in_a_row < IN_A_ROW
            && let Some(item) = self.urgent.pop_front()
        {
            self.in_a_row += 1;
            return Some(item);
        }
        self.in_a_row = 0;
        while let Some(item) = self.usual.pop_front() {
            if self.queued.get(&item).is_some_and(|it| it.0 == Lane::Usual) {
                return Some(item);
            }
        }
        let item = self.urgent.pop_front();
        if item.is_none() {
            self.give_back();
        }
        item
    }

    /// Gives back the memory that a start, an outage or a heal took.
    fn give_back(&mut self) {
        if self.usual.capacity() + self.urgent.capacity() > SMALL {
            self.urgent = VecDeque::new();
            self.usual = VecDeque::new();
            self.queued = HashMap::new();
            self.due.shrink_to(SMALL);
            self.failures.shrink_to(SMALL);
            self.held.shrink_to(SMALL);
        }
    }

    /// Whether somebody waits for an item that is being worked on.
    #[must_use]
    pub fn is_urgent(&self, item: &T) -> bool {
        self.taken_from(item) == Lane::Urgent
    }

    fn taken_from(&self, item: &T) -> Lane {
        self.working.get(item).map_or(Lane::Usual, |it| it.0)
    }

    /// The work on an item is over.
    pub fn done(&mut self, item: &T) {
        if let Some((_, Some(lane))) = self.working.remove(item) {
            self.put(item.clone(), lane);
        }
    }

    /// The work on an item failed: it is added again after a pause that doubles, or after the
    /// one that the server asked for if that is longer. Returns the pause.
    ///
    /// Our own pause ends early when the item is added meanwhile: the server is there, for it told
    /// us something, and so all goes on at once after an outage. A pause that the server asked for
    /// is kept. It is kept for this item alone: a webhook may ask for it as well, and one
    /// namespace must not hold up the others.
    pub fn retry(&mut self, item: &T, asked: Option<Duration>, now: Instant) -> Duration {
        let failures = self.failures.entry(item.clone()).or_default();
        let pause = FIRST_RETRY
            .saturating_mul(1 << (*failures).min(10))
            .min(LONGEST_RETRY);
        *failures = failures.saturating_add(1);
        let pause = asked.map_or(pause, |asked| asked.max(pause));
        self.held.remove(item);
        self.put_off(item.clone(), now + pause);
        if asked.is_some() {
            self.held.insert(item.clone(), now + pause);
        }
        pause
    }

    /// The work on an item went well: its next retry is quick again.
    pub fn succeeded(&mut self, item: &T) {
        self.failures.remove(item);
    }

    /// How many items are ready and have not been taken yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether nothing is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// For how long the oldest of them has been ready.
    #[must_use]
    pub fn oldest(&self, now: Instant) -> Duration {
        let since = self.queued.values().map(|it| it.1).min();
        since.map_or(Duration::ZERO, |it| now.saturating_duration_since(it))
    }

    /// The moment at which the next item becomes ready by itself.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests;
