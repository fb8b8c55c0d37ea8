//! The questions by registry: one at a time for each, a few at a time for all, and none while a
//! registry is to be left alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Question;
use crate::registry::Refusal;
use crate::resolver::registry_host;

/// So many registries are asked at once.
const AT_ONCE: usize = 4;
/// The pause after a registry failed for the first time; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// However long a registry asks to be left alone, it is asked again a day later.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(86_400);
/// What has failed once may be well the next time, and is not told.
const TOLD_FROM: u32 = 2;

/// Whether a refusal says something of the registry, whatever it is asked for.
pub(super) fn is_of_host(refusal: &Refusal) -> bool {
    let fails = refusal.status.is_some_and(|it| it.is_server_error());
    fails || refusal.is_of_registry()
}

/// A registry.
#[derive(Debug)]
struct Host {
    waiting: VecDeque<Question>,
    /// Whether one is being asked.
    is_busy: bool,
    /// How often in a row it failed.
    failures: u32,
    /// What it did then.
    because: String,
    not_before: Instant,
}

impl Host {
    fn due(&self) -> Option<Instant> {
        let waits = !self.is_busy && !self.waiting.is_empty();
        waits.then_some(self.not_before)
    }
}

/// All registries.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: BTreeMap<String, Host>,
    /// What the next draw follows from.
    seed: u64,
}

impl Hosts {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            hosts: BTreeMap::new(),
            seed,
        }
    }

    /// A number below this one, another one each time.
    fn draw(&mut self, below: u32) -> u32 {
        // The constants are Knuth's.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = self.seed.wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.seed >> 33) % u64::from(below)).unwrap_or(0)
    }

    /// A pause that is up to a tenth shorter or longer, lest many come together for ever.
    pub(super) fn spread(&mut self, pause: Duration) -> Duration {
        pause * (900 + self.draw(201)) / 1000
    }

    /// These are to be asked, and what waited before is not any more.
    pub(super) fn ask(&mut self, questions: impl Iterator<Item = Question>, now: Instant) {
        for host in self.hosts.values_mut() {
            host.waiting.clear();
        }
        for question in questions {
            let host = registry_host(&question.image).to_owned();
            let host = self.hosts.entry(host).or_insert_with(|| Host {
                waiting: VecDeque::new(),
                is_busy: false,
                failures: 0,
                because: String::new(),
                not_before: now,
            });
            host.waiting.push_back(question);
        }
        let lives = |host: &Host| host.is_busy || !host.waiting.is_empty();
        self.hosts.retain(|_, host| lives(host));
    }

    fn busy(&self) -> usize {
        self.hosts.values().filter(|it| it.is_busy).count()
    }

    /// When there is something to ask for; `None` = not before an answer comes.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.busy() >= AT_ONCE {
            return None;
        }
        self.hosts.values().filter_map(Host::due).min()
    }

    /// What to ask for now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Question> {
        if self.busy() >= AT_ONCE {
            return None;
        }
        let mut hosts = self.hosts.values_mut();
        let host = hosts.find(|it| it.due().is_some_and(|it| it <= now))?;
        host.is_busy = true;
        host.waiting.pop_front()
    }

    fn of(&mut self, image: &str) -> Option<&mut Host> {
        self.hosts.get_mut(registry_host(image))
    }

    /// The registry of an image answers.
    pub(super) fn answered(&mut self, image: &str) {
        if let Some(host) = self.of(image) {
            (host.is_busy, host.failures) = (false, 0);
        }
    }

    /// The registry of an image fails, or asks for a pause. The question is asked again after it.
    pub(super) fn failed(&mut self, question: Question, refusal: &Refusal, now: Instant) {
        // A pause that was asked for may be longer, and never shorter.
        let asked = refusal.retry_after.unwrap_or_default().min(LONGEST_ASKED);
        let asked = asked * (1000 + self.draw(101)) / 1000;
        let times = self.of(&question.image).map_or(0, |it| it.failures);
        let pause = FIRST_PAUSE.saturating_mul(1 << times.min(10));
        let pause = self.spread(pause.min(LONGEST_PAUSE)).max(asked);
        if let Some(host) = self.of(&question.image) {
            host.is_busy = false;
            host.failures += 1;
            host.because = refusal.in_short().to_owned();
            host.not_before = now + pause;
            host.waiting.push_front(question);
        }
    }

    /// What a registry does in place of answering.
    pub(super) fn trouble(&self, host: &str) -> Option<&str> {
        let host = self.hosts.get(host)?;
        (host.failures >= TOLD_FROM).then_some(&host.because)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_draw_differently_wherever_their_seeds_differ() {
        let draws = |seed| {
            let mut hosts = Hosts::new(seed);
            [(); 8].map(|()| hosts.draw(201))
        };
        for bit in 0..64 {
            assert_ne!(draws(7), draws(7 ^ (1 << bit)), "{bit}");
        }
    }
}
