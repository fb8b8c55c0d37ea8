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
mod tests {
    use super::*;

    #[test]
    fn an_item_is_worked_on_once_at_a_time_and_again_if_added_meanwhile() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(1);
        queue.add(1);
        assert_eq!(queue.take(now), Some(1));
        assert_eq!(queue.take(now), None);
        queue.add(1);
        assert_eq!(queue.take(now), None, "it is being worked on");
        queue.done(&1);
        assert_eq!(queue.take(now), Some(1));
        queue.done(&1);
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn what_somebody_waits_for_comes_first_and_lets_one_in_four_pass() {
        let now = Instant::now();
        let mut queue = Queue::default();
        (0..3).for_each(|it| queue.add(it));
        (10..15).for_each(|it| queue.add_urgent(it));
        queue.add_urgent(2);
        queue.add(10);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
        assert_eq!(taken, [10, 11, 12, 0, 13, 14, 2, 1], "each once");
        assert!(queue.usual.is_empty());
    }

    #[test]
    fn what_becomes_urgent_while_it_is_worked_on_is_urgent_afterwards() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(1);
        assert_eq!(queue.take(now), Some(1));
        queue.add_urgent(1);
        queue.add(1);
        queue.add(2);
        queue.done(&1);
        assert_eq!(queue.take(now), Some(1));
        assert_eq!(queue.take(now), Some(2));
    }

    #[test]
    fn a_later_wake_replaces_an_earlier_one() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.wake(1, Some(now));
        queue.wake(1, Some(now + Duration::from_secs(5)));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(5)));
        assert_eq!(queue.take(now + Duration::from_secs(5)), Some(1));
        queue.done(&1);
        assert_eq!(queue.next_due(), None, "nothing is left to wake for");
    }

    #[test]
    fn a_retry_waits_longer_each_time_and_never_less_than_asked() {
        let now = Instant::now();
        let mut queue = Queue::default();
        assert_eq!(queue.retry(&1, None, now), FIRST_RETRY);
        assert_eq!(queue.retry(&1, None, now), FIRST_RETRY * 2);
        let asked = Some(Duration::from_secs(9));
        assert_eq!(queue.retry(&1, asked, now), Duration::from_secs(9));
        queue.succeeded(&1);
        assert_eq!(queue.retry(&1, None, now), FIRST_RETRY);
        for _ in 0..20 {
            queue.retry(&1, None, now);
        }
        assert_eq!(queue.retry(&1, None, now), LONGEST_RETRY);
    }

    #[test]
    fn what_happens_meanwhile_ends_our_own_pause_but_none_that_was_asked_for() {
        let now = Instant::now();
        let asked = Duration::from_secs(9);
        let mut queue = Queue::default();
        for item in [1, 2] {
            queue.add(item);
            assert_eq!(queue.take(now), Some(item));
        }
        queue.add(2);
        queue.retry(&1, None, now);
        queue.retry(&2, Some(asked), now);
        queue.done(&1);
        queue.done(&2);
        queue.add(1);
        queue.add(2);
        queue.wake(2, None);
        queue.wake(2, Some(now));
        assert_eq!(queue.take(now), Some(1));
        queue.wake(1, None);
        assert_eq!(
            queue.take(now + asked / 2),
            None,
            "it is being asked to wait"
        );
        queue.done(&1);
        assert_eq!(queue.take(now + asked), Some(2));
        queue.done(&2);
        queue.add(2);
        assert_eq!(queue.take(now + asked), Some(2), "the pause is over");
    }

    #[test]
    fn what_is_worked_on_is_as_urgent_as_it_was_taken() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(1);
        assert_eq!(queue.take(now), Some(1));
        queue.add_urgent(1);
        assert!(!queue.is_urgent(&1));
        queue.done(&1);
        assert_eq!(queue.take(now), Some(1));
        assert!(queue.is_urgent(&1));
        queue.done(&1);
        assert!(!queue.is_urgent(&1));
    }

    /// Takes an item that somebody waits for, with another one behind it in the usual lane.
    fn urgent_and_usual(now: Instant) -> Queue<u32> {
        let mut queue = Queue::default();
        queue.add_urgent(1);
        assert_eq!(queue.take(now), Some(1));
        queue.add(2);
        queue
    }

    #[test]
    fn what_somebody_waits_for_is_urgent_after_a_failure_as_well() {
        let now = Instant::now();
        let mut queue = urgent_and_usual(now);
        let pause = queue.retry(&1, None, now);
        queue.done(&1);
        assert_eq!(queue.take(now + pause), Some(1));
        queue.wake(1, Some(now + pause));
        queue.done(&1);
        assert_eq!(
            queue.take(now + pause),
            Some(2),
            "a look in time is not urgent"
        );
    }

    #[test]
    fn what_ends_a_pause_before_its_time_leaves_the_item_as_urgent_as_it_was() {
        let now = Instant::now();
        let mut queue = urgent_and_usual(now);
        queue.put_off(1, now + FIRST_RETRY);
        queue.done(&1);
        queue.add(1);
        assert_eq!(queue.take(now), Some(1));
    }

    #[test]
    fn what_becomes_urgent_in_a_pause_that_was_asked_for_is_urgent_after_it() {
        let now = Instant::now();
        let asked = Duration::from_secs(9);
        let mut queue = Queue::default();
        queue.add(1);
        assert_eq!(queue.take(now), Some(1));
        queue.retry(&1, Some(asked), now);
        queue.done(&1);
        queue.add_urgent(1);
        queue.wake(1, Some(now));
        queue.add(2);
        assert_eq!(queue.take(now + asked), Some(1));
        assert_eq!(queue.take(now + asked), Some(2));
    }

    #[test]
    fn the_next_step_of_what_somebody_waits_for_is_urgent_too() {
        let now = Instant::now();
        let mut queue = urgent_and_usual(now);
        queue.add_as_taken(1);
        queue.done(&1);
        assert_eq!(queue.take(now), Some(1));
    }

    #[test]
    fn an_item_that_becomes_urgent_is_as_old_as_before() {
        let mut queue = Queue::default();
        assert_eq!(queue.oldest(Instant::now()), Duration::ZERO);
        queue.add(1);
        let added = Instant::now();
        let pause = Duration::from_millis(20);
        std::thread::sleep(pause);
        queue.add_urgent(1);
        queue.add(2);
        assert_eq!(queue.len(), 2);
        assert!(queue.oldest(added + pause) >= pause);
        let now = Instant::now();
        assert_eq!((queue.take(now), queue.len()), (Some(1), 1));
        assert!(queue.oldest(now) < pause, "the other one came later");
        assert_eq!((queue.take(now), queue.len()), (Some(2), 0));
    }
}
