//! What the watch shows of the probes, and what is learnt from it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::stock::FULL_FOR;
use super::{GONE, Learnt, OTHER_SECRETS, Proofs, is_useless};
use crate::proof::Answer;
use crate::proof::held::Held;
use crate::proof::judge::{NO_TIME_LEFT, SHORT_OF_DISK};
use crate::proof::pause::Pause;
use crate::proof::probe::{self, Probe};
use crate::pull::About;
use crate::resolver;
use crate::seen::{Key, Proof, Question};

/// A node that a registry left without an answer is not sent there for so long.
const HUNG_FOR: SignedDuration = SignedDuration::from_mins(10);

impl Proofs {
    /// A list of the probes begins.
    pub fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// The list of the probes is complete: what it has not brought is gone.
    pub fn list_ends(&mut self, now: Timestamp) {
        let listed = self.listed.take().unwrap_or_default();
        let gone = self.probes.keys().filter(|it| !listed.contains(*it));
        let gone: Vec<_> = gone.cloned().collect();
        for key in gone {
            self.gone(&key, now);
        }
    }

    /// There is this probe, as it is now.
    pub fn see(&mut self, key: Key, probe: Probe, now: Timestamp) {
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        let earlier = self.probes.get(&key).map(|it| &it.probe);
        let is_other =
            |it: &Probe| it.version.uid != probe.version.uid || it.question != probe.question;
        if earlier.is_some_and(is_other) {
            self.gone(&key, now);
        }
        match self.probes.get_mut(&key) {
            Some(held) => held.see(probe),
            None => self.hold(key.clone(), probe),
        }
        self.join(&key, now);
    }

    /// One that asks something else than before is another one.
    pub(super) fn hold(&mut self, key: Key, probe: Probe) {
        let live = self.live.entry(probe.question.clone()).or_default();
        live.insert(key.clone());
        self.probes.insert(key, Held::new(probe));
    }

    /// There is no such probe any more.
    pub fn gone(&mut self, key: &Key, now: Timestamp) {
        let Some(held) = self.probes.remove(key) else {
            return;
        };
        self.ours.remove(&held.probe.version.uid);
        let live = &held.probe.question;
        if let Some(keys) = self.live.get_mut(live) {
            keys.remove(key);
            if keys.is_empty() {
                self.live.remove(live);
            }
        }
        let Some(question) = &held.question else {
            return;
        };
        if let Some(track) = self.questions.get_mut(question) {
            track.probes.remove(key);
        }
        if !held.is_over() {
            self.fail(question, GONE.to_owned(), now);
        }
        self.questions
            .retain(|it, track| it != question || !is_useless(track));
    }

    /// Joins a probe with what it answers, and takes in what its node has said of that.
    pub(super) fn join(&mut self, key: &Key, now: Timestamp) {
        if let Some(question) = self.link(key) {
            if let Some(track) = self.questions.get_mut(&question) {
                track.creating = None;
            }
            self.fail(&question, OTHER_SECRETS.to_owned(), now);
        }
        self.note(key, now);
    }

    /// Joins a probe with the question that it answers: the one that it asks, if it is called after
    /// that. Whoever makes such a Pod has asked the node for the same. Returns the question for which
    /// this process sent it, if it turns out that it does not answer it.
    pub(super) fn link(&mut self, key: &Key) -> Option<Question> {
        let held = self.probes.get_mut(key)?;
        let (uid, live) = (&held.probe.version.uid, &held.probe.question.credentials);
        let question = match self.ours.get(uid) {
            Some(ours) if !probe::shows(live, &ours.credentials) => return self.ours.remove(uid),
            Some(ours) => Some(ours.clone()),
            None => held.probe.asks(key),
        };
        if held.question == question {
            return None;
        }
        if let Some(earlier) = held.question.take()
            && let Some(track) = self.questions.get_mut(&earlier)
        {
            track.probes.remove(key);
        }
        if let Some(question) = question {
            let track = self.questions.entry(question.clone()).or_default();
            track.probes.insert(key.clone());
            track.creating = None;
            held.question = Some(question);
        }
        None
    }

    /// Takes in what a node has said, once.
    pub(super) fn note(&mut self, key: &Key, now: Timestamp) {
        let Some(held) = self.probes.get_mut(key) else {
            return;
        };
        // One of which it is not known what it answers is looked at again once that is known.
        let Some(question) = held.question.clone() else {
            return;
        };
        let Some(answer) = held.note(now) else {
            return;
        };
        let is_late = held.is_late(now);
        let (node, registry) = (&question.node, resolver::registry_host(&question.image));
        match answer {
            Answer::Pulled(_) => {
                if let Some(track) = self.questions.get_mut(&question) {
                    (track.failed, track.failures, track.pause) = (None, 0, None);
                }
                self.learn(&question, Ok(()), true);
            }
            Answer::Failed(cause) => {
                // One that was denied an image late may have waited behind large ones.
                if is_late && cause.about == About::Registry {
                    self.hangs(&question, now);
                }
                self.fail(&question, format!("{registry} {}", cause.words), now);
            }
            Answer::Open(why) => {
                if why == SHORT_OF_DISK {
                    let pause = Pause::of(FULL_FOR, now);
                    self.full.insert(node.clone(), pause);
                    self.cleans_up(node);
                }
                if why == NO_TIME_LEFT {
                    self.hangs(&question, now);
                }
                self.fail(&question, why, now);
            }
        }
    }

    /// A node that is short of disk first takes away the containers that have ended, probes' too, and
    /// then what images nothing runs on.
    fn cleans_up(&mut self, node: &str) {
        let held = self.probes.values_mut();
        let there = held.filter(|it| it.probe.question.node == node);
        there.for_each(Held::may_have_lost_it);
    }

    /// Its node does not get an answer there, and pulls one image after the other: what others want
    /// from elsewhere would wait behind it.
    pub(super) fn hangs(&mut self, question: &Question, now: Timestamp) {
        let registry = resolver::registry_host(&question.image).to_owned();
        let pause = Pause::of(HUNG_FOR, now);
        self.hung.insert((question.node.clone(), registry), pause);
    }

    pub(super) fn fail(&mut self, question: &Question, why: String, now: Timestamp) {
        self.has_failed(question, Proof::Failed { why }, now);
    }

    /// The API server refused a probe of this name.
    pub(super) fn refuse(&mut self, question: &Question, message: &str, now: Timestamp) {
        // Its name says nothing to people, and each node has another one.
        let probe = format!("pods \"{}\" is forbidden: ", probe::name(question));
        let why = message.replace(&probe, "");
        self.has_failed(question, Proof::Refused { why }, now);
    }

    fn has_failed(&mut self, question: &Question, failure: Proof, now: Timestamp) {
        let Some(track) = self.questions.get_mut(question) else {
            return;
        };
        track.pause = Some(Pause::after(track.failures, now));
        track.failures = track.failures.saturating_add(1);
        let is_news = track.failed.as_ref() != Some(&failure);
        let why = failure.why_not();
        track.failed = Some(failure);
        self.learn(question, why.map_or(Ok(()), Err), is_news);
    }

    /// Only where somebody wants it: others may have sent what is seen.
    fn learn(&mut self, question: &Question, result: Result<(), String>, is_news: bool) {
        let track = self.questions.get(question);
        if track.is_some_and(|it| it.is_wanted() || it.is_stocked()) {
            self.learnt.push(Learnt {
                question: question.clone(),
                result,
                is_news,
            });
        }
    }
}
