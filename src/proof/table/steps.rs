//! What to do next, and what became of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Done, GONE, Proofs, Step, Track, is_useless};
use crate::proof::Sign;
use crate::proof::held::Held;
use crate::proof::pause::Pause;
use crate::proof::probe;
use crate::proof::registries::Gate;
use crate::resolver;
use crate::seen::{Key, Question};

/// So many nodes pull for a probe at once. One that has pulled is over, and only stays as the proof.
const AT_ONCE: usize = 16;
/// So many probes are on their way on one node: nodes pull one image after the other, and Workspaces
/// want to pull as well.
const ON_ONE_NODE: usize = 2;
/// What nobody waits for comes one by one.
const STOCKED_AT_ONCE: usize = 1;
/// So many registries are asked at once.
const ASKED_AT_ONCE: usize = 4;
/// So many are taken away in one go.
const ENDED_AT_ONCE: usize = 16;
/// For so long after a proof is over its node is taken to have the image still.
const HAD_FOR: SignedDuration = SignedDuration::from_mins(10);
/// After this long the watch is taken to have missed a probe that was created.
const SHOWN_WITHIN: SignedDuration = SignedDuration::from_secs(40);
/// After a request of which nothing is known.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);

impl Proofs {
    /// What to do now, and when to look again though nothing has changed. Each step is to be begun,
    /// and its end to be told.
    pub fn plan(&mut self, now: Timestamp) -> (Vec<Step>, Option<Timestamp>) {
        self.miss(now);
        self.full.retain(|_, pause| pause.holds(now));
        self.hung.retain(|_, pause| pause.holds(now));
        let mut steps = self.ends(now);
        self.begins(now, &mut steps);
        self.questions
            .retain(|_, track| !is_useless(track) || track.is_paused(now));
        let (questions, registries) = (&self.questions, &mut self.registries);
        registries.retain(|registry| {
            let mut images = questions.keys().map(|it| &it.image);
            images.any(|it| resolver::registry_host(it) == registry)
        });
        (steps, self.wake(now))
    }

    /// A registry was asked.
    pub fn answered(&mut self, registry: &str, sign: Sign, now: Timestamp) {
        self.registries.answered(registry, sign, now);
    }

    /// A probe's creation or deletion has come to its end.
    pub fn done(&mut self, step: &Step, done: Done, now: Timestamp) {
        match step {
            Step::Ask { .. } => {}
            Step::Create { question, .. } => self.created(question, done, now),
            Step::Delete { key, version } => {
                let held = self.probes.get_mut(key);
                let held = held.filter(|it| it.probe.version.uid == version.uid);
                if let Some(held) = held
                    && !matches!(done, Done::Done(_))
                {
                    held.stays(version, now);
                }
            }
        }
    }

    fn created(&mut self, question: &Question, done: Done, now: Timestamp) {
        let Some(track) = self.questions.get_mut(question) else {
            return;
        };
        match done {
            Done::Done(uid) => {
                let mut probes = self.probes.iter();
                let seen = probes.find(|(_, it)| it.probe.version.uid == uid);
                let seen = seen.map(|(key, _)| key.clone());
                // It may have come and gone meanwhile.
                if seen.is_some() || track.creating.is_some() {
                    self.ours.insert(uid, question.clone());
                }
                if let Some(key) = seen {
                    self.join(&key, now);
                }
            }
            Done::Refused(message) => {
                track.creating = None;
                self.refuse(question, &message, now);
            }
            Done::Open => {
                track.creating = None;
                track.pause = Some(Pause::of(AGAIN, now));
            }
        }
    }

    /// What was created and is not seen is not there.
    fn miss(&mut self, now: Timestamp) {
        let missed = |track: &Track| track.creating.is_some_and(|it| !it.holds(now));
        let missed = self.questions.iter().filter(|(_, track)| missed(track));
        let missed: Vec<_> = missed.map(|(question, _)| question.clone()).collect();
        for question in missed {
            if let Some(track) = self.questions.get_mut(&question) {
                track.creating = None;
            }
            self.fail(&question, GONE.to_owned(), now);
        }
    }

    /// The probes that are over.
    fn ends(&mut self, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let keys: Vec<_> = self.probes.keys().cloned().collect();
        for key in keys {
            self.note(&key, now);
            let best = self.best(&key);
            let Some(held) = self.probes.get_mut(&key) else {
                continue;
            };
            let question = held.question.clone();
            let both = question.iter().chain([&held.probe.question]);
            let tracks: Vec<_> = both.filter_map(|it| self.questions.get(it)).collect();
            let is_wanted = tracks.iter().any(|it| it.is_wanted());
            let is_stocked = tracks.iter().any(|it| it.is_stocked());
            held.wanted(is_wanted, is_stocked, now);
            if steps.len() >= ENDED_AT_ONCE || !held.ends(best, now) {
                continue;
            }
            let version = held.probe.version.clone();
            if held.had_it() {
                let both = question.iter().chain([&held.probe.question]);
                for it in both {
                    if let Some(track) = self.questions.get_mut(it) {
                        track.had = Some(Pause::of(HAD_FOR, now));
                    }
                }
            }
            if let Some((question, why)) = question.zip(held.overdue(now)) {
                self.hangs(&question, now);
                self.fail(&question, why, now);
            }
            steps.push(Step::Delete { key, version });
        }
        steps
    }

    /// Whether no other probe answers the same better: two operators may have sent one each.
    fn best(&self, key: &Key) -> bool {
        let Some(question) = self.probes.get(key).and_then(|it| it.question.as_ref()) else {
            return true;
        };
        let track = self.questions.get(question);
        let keys = track.iter().flat_map(|it| &it.probes);
        let held = keys.filter_map(|key| Some((self.probes.get(key)?.rank()?, key)));
        held.min().is_none_or(|(_, best)| best == key)
    }

    /// The probes that are to be sent, and the registries that are to be asked before.
    fn begins(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let (mut busy, mut on_nodes) = self.busy(now);
        for (is_stock, question) in self.due(now) {
            let on_node = on_nodes.entry(question.node.clone()).or_default();
            let most = if is_stock {
                STOCKED_AT_ONCE
            } else {
                ON_ONE_NODE
            };
            if busy >= AT_ONCE || *on_node >= most {
                continue;
            }
            let registry = resolver::registry_host(&question.image);
            let track = self.questions.get(&question);
            let gate = if track.is_some_and(|it| it.is_had(now)) {
                Gate::Open
            } else {
                self.registries.gate(registry, now)
            };
            match gate {
                Gate::Open => {
                    busy += 1;
                    *on_node += 1;
                    steps.extend(self.send(question, now));
                }
                Gate::Ask if self.registries.asked() < ASKED_AT_ONCE => {
                    self.registries.asks(registry);
                    steps.push(Step::Ask {
                        registry: registry.to_owned(),
                        image: question.image.clone(),
                    });
                }
                Gate::Ask | Gate::Shut => {}
            }
        }
    }

    /// Each in its turn: those for which somebody waits come first, and then those for which the
    /// fewest probes were sent. Returns whether it is only for the stock.
    fn due(&self, now: Timestamp) -> Vec<(bool, Question)> {
        let is_full = |node: &str| self.full.get(node).is_some_and(|it| it.holds(now));
        let due = self.questions.iter().filter(|(question, track)| {
            let may = track.is_wanted() || !is_full(&question.node);
            let may = may && self.hung(question).is_none() && !self.is_proved(question, now);
            track.waits() && may && !track.is_paused(now)
        });
        let due = due.map(|(question, track)| (!track.is_wanted(), track.sent, question));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due.into_iter()
            .map(|(is_stock, _, question)| (is_stock, question.clone()))
            .collect()
    }

    /// How many probes are on their way, and on which nodes. One that was told to go, and whose node
    /// does not let go of it, or that takes long, is that node's matter: many of them, as where a
    /// whole zone is lost, must not hold up all others.
    fn busy(&self, now: Timestamp) -> (usize, BTreeMap<String, usize>) {
        let seen = self.probes.values().filter(|it| it.is_busy());
        let counts = |it: &Held| !it.probe.is_deleted && !it.is_late(now);
        let seen = seen.map(|it| (counts(it), &it.probe.question.node));
        let created = self.questions.iter();
        let created = created.filter(|(_, track)| track.creating.is_some());
        let created = created.map(|(question, _)| (true, &question.node));
        let (mut all, mut on_nodes) = (0, BTreeMap::new());
        for (counts, node) in seen.chain(created) {
            all += usize::from(counts);
            *on_nodes.entry(node.clone()).or_default() += 1;
        }
        (all, on_nodes)
    }

    fn send(&mut self, question: Question, now: Timestamp) -> Option<Step> {
        let track = self.questions.get_mut(&question)?;
        // What one namespace refuses, another may take.
        let asking = if track.is_wanted() {
            &track.wanted_by
        } else {
            &track.stocked_for
        };
        let turn = track.sent as usize % asking.len().max(1);
        let (key, account) = asking.iter().nth(turn)?;
        let pod = probe::pod(&question, &key.namespace, account.as_deref());
        track.sent = track.sent.saturating_add(1);
        track.creating = Some(Pause::of(SHOWN_WITHIN, now));
        let pod = Box::new(pod);
        Some(Step::Create { question, pod })
    }

    fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let probes = self.probes.values().filter_map(|it| it.wake(now));
        let tracks = self.questions.iter().filter_map(|(question, track)| {
            let registry = resolver::registry_host(&question.image);
            let pause = match track.creating {
                Some(creating) => Some(creating),
                None if track.is_paused(now) => track.pause,
                None if track.waits() => self.hung(question).or(self.registries.pause(registry)),
                None => None,
            };
            pause.map(|it| it.until)
        });
        let full = self.full.values().map(|it| it.until);
        let all = probes.chain(tracks).chain(full);
        all.filter(|at| *at > now).min()
    }
}
