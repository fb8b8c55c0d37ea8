//! All questions, with those who want them answered, and all probes: what is known, and what to do
//! next.

mod steps;
mod stock;
mod watched;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

use super::Want;
use super::held::Held;
use super::pause::Pause;
use super::registries::Registries;
use crate::resolver;
use crate::seen::{Key, Known, Proof, Question, Version};

pub use self::stock::Stock;

const GONE: &str = "the probe was deleted by somebody";
const OTHER_SECRETS: &str = "a probe is given pull secrets that the Pod does not have, as its \
     ServiceAccount has some now; restart the Workspace, and its new Pod has them too";

/// What to do next: each is one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask a registry whether it answers.
    Ask {
        /// The registry.
        registry: String,
        /// An image there.
        image: String,
    },
    /// Send a probe to a node.
    Create {
        /// What it is to answer.
        question: Question,
        /// The probe.
        pod: Box<core::Pod>,
    },
    /// Take a probe away.
    Delete {
        /// Where it is.
        key: Key,
        /// The probe.
        version: Version,
    },
}

/// What became of a probe's creation or deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was done, to the object of this UID.
    Done(String),
    /// The API server refused, in these words.
    Refused(String),
    /// It was planned from what is no more, or nothing is known of it.
    Open,
}

/// What a probe of this process brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The question.
    pub question: Question,
    /// Why its node cannot pull the image, if it cannot.
    pub result: Result<(), String>,
    /// Whether it is other than the last time.
    pub is_news: bool,
}

/// What is known of one question.
#[derive(Debug, Default)]
struct Track {
    /// Those who wait for it, each with its ServiceAccount.
    wanted_by: BTreeMap<Key, Option<String>>,
    /// Those who may want it later.
    stocked_for: BTreeMap<Key, Option<String>>,
    probes: BTreeSet<Key>,
    /// A probe is being created, or yet to be seen.
    creating: Option<Pause>,
    /// How it failed when it was last tried.
    failed: Option<Proof>,
    failures: u32,
    pause: Option<Pause>,
    /// Its node had the image not long ago, and needs no registry for it.
    had: Option<Pause>,
    /// How many probes were sent.
    sent: u32,
    /// What those who want it know.
    told: Proof,
}

impl Track {
    fn is_paused(&self, now: Timestamp) -> bool {
        self.pause.is_some_and(|it| it.holds(now))
    }

    fn is_had(&self, now: Timestamp) -> bool {
        self.had.is_some_and(|it| it.holds(now))
    }

    fn is_wanted(&self) -> bool {
        !self.wanted_by.is_empty()
    }

    fn is_stocked(&self) -> bool {
        !self.stocked_for.is_empty()
    }

    /// Whether a probe is wanted, and none is there or on its way.
    fn waits(&self) -> bool {
        let is_asked = self.is_wanted() || self.is_stocked();
        is_asked && self.probes.is_empty() && self.creating.is_none()
    }
}

/// All that is known of proofs.
#[derive(Debug, Default)]
pub struct Proofs {
    wants: HashMap<Key, Want>,
    stock: HashMap<Key, Want>,
    /// The nodes that are short of disk, and get nothing in stock for now.
    full: BTreeMap<String, Pause>,
    /// The nodes that a registry left without an answer: they are not sent there for now.
    hung: BTreeMap<(String, String), Pause>,
    questions: BTreeMap<Question, Track>,
    probes: BTreeMap<Key, Held>,
    /// The probes by what their live spec asks, which they answer as well, whatever they were sent for.
    live: HashMap<Question, BTreeSet<Key>>,
    /// What the probes that this process created are to answer, by their UID: admission may have
    /// changed what they ask.
    ours: HashMap<String, Question>,
    registries: Registries,
    /// While a list comes, what it has brought.
    listed: Option<BTreeSet<Key>>,
    learnt: Vec<Learnt>,
}

impl Proofs {
    /// What is known of what a Workspace wants proved.
    #[must_use]
    pub fn known(&self, key: &Key, now: Timestamp) -> Option<Known> {
        let question = &self.wants.get(key)?.question;
        Some(Known {
            question: question.clone(),
            proof: self.proof(question, now),
        })
    }

    /// What is known of a question.
    #[must_use]
    pub fn proof(&self, question: &Question, now: Timestamp) -> Proof {
        if self.is_proved(question, now) {
            return Proof::Proved;
        }
        let Some(track) = self.questions.get(question) else {
            return Proof::Unknown;
        };
        let registry = resolver::registry_host(&question.image);
        let silent = self.registries.silent(registry);
        let silent = silent.filter(|_| !track.is_had(now));
        let silent = silent.map(|it| Proof::Failed {
            why: format!("{registry} {it}, asked by the operator"),
        });
        let hung = self.hung(question).filter(|it| it.holds(now));
        let hung = hung.map(|_| Proof::Failed {
            why: format!("{registry} gives its node no answer"),
        });
        match track.failed.clone().or(silent).or(hung) {
            Some(failed) => failed,
            None if track.creating.is_some() || !track.probes.is_empty() => Proof::UnderWay,
            None => Proof::Unknown,
        }
    }

    fn is_proved(&self, question: &Question, now: Timestamp) -> bool {
        let sent = self.questions.get(question).map(|it| &it.probes);
        let keys = sent.into_iter().chain(self.live.get(question)).flatten();
        let mut probes = keys.filter_map(|key| self.probes.get(key));
        probes.any(|it| it.proves(now))
    }

    /// Until when its node is not sent to its registry.
    fn hung(&self, question: &Question) -> Option<Pause> {
        if self.hung.is_empty() {
            return None;
        }
        let registry = resolver::registry_host(&question.image);
        let pair = (question.node.clone(), registry.to_owned());
        self.hung.get(&pair).copied()
    }

    /// A Workspace wants this proved from now on. Returns whether anything has changed, and whether
    /// the Workspace may go by what is known already.
    pub fn want(&mut self, key: &Key, want: Option<Want>, now: Timestamp) -> (bool, bool) {
        if self.wants.get(key) == want.as_ref() {
            return (false, false);
        }
        if let Some(earlier) = self.wants.remove(key)
            && let Some(track) = self.questions.get_mut(&earlier.question)
        {
            track.wanted_by.remove(key);
        }
        let Some(want) = want else {
            return (true, false);
        };
        let proof = decisive(self.proof(&want.question, now));
        let track = self.questions.entry(want.question.clone()).or_default();
        track
            .wanted_by
            .insert(key.clone(), want.service_account.clone());
        // Whoever wanted it before is told when it changes, and whoever comes now looks once more.
        let is_known = proof != Proof::Unknown;
        if track.wanted_by.len() == 1 {
            track.told = proof;
        }
        self.wants.insert(key.clone(), want);
        (true, is_known)
    }

    /// The Workspaces for which something has changed since they were told.
    pub fn news(&mut self, now: Timestamp) -> Vec<Key> {
        let changed = self.questions.iter().filter_map(|(question, track)| {
            let proof = decisive(self.proof(question, now));
            (track.told != proof).then(|| (question.clone(), proof))
        });
        let changed: Vec<_> = changed.collect();
        let mut woken = Vec::new();
        for (question, proof) in changed {
            if let Some(track) = self.questions.get_mut(&question) {
                track.told = proof;
                woken.extend(track.wanted_by.keys().cloned());
            }
        }
        woken
    }

    /// Those who want something proved, in order.
    #[must_use]
    pub fn wanting(&self) -> Vec<Key> {
        let mut keys: Vec<_> = self.wants.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// What the probes of this process have brought since this was last asked.
    pub fn learnt(&mut self) -> Vec<Learnt> {
        std::mem::take(&mut self.learnt)
    }

    /// What failed is tried again at once: the settings were edited, by somebody who may have mended
    /// it.
    pub fn retry_now(&mut self) {
        for track in self.questions.values_mut() {
            (track.failures, track.pause) = (0, None);
        }
        self.registries.retry_now();
        self.hung.clear();
    }

    /// Forgets all but what the watch shows, and what it is about to show.
    pub fn forget(&mut self) {
        let probes = std::mem::take(&mut self.probes);
        let listed = self.listed.take();
        let questions = std::mem::take(&mut self.questions).into_iter();
        let created = questions.filter_map(|(question, track)| {
            let creating = Some(track.creating?);
            let track = Track {
                creating,
                ..Track::default()
            };
            Some((question, track))
        });
        *self = Self {
            listed,
            questions: created.collect(),
            ..Self::default()
        };
        for (key, held) in probes {
            self.hold(key.clone(), held.probe);
            // Nothing is known to be sent by this process any more.
            let _ = self.link(&key);
        }
    }

    /// Whether there is anything to look at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.questions.is_empty() && self.probes.is_empty()
    }
}

/// Whether nothing depends on it.
fn is_useless(track: &Track) -> bool {
    let is_asked = track.is_wanted() || track.is_stocked();
    !is_asked && track.probes.is_empty() && track.creating.is_none()
}

/// What a decision can rest on: whether something is tried already is none of it.
fn decisive(proof: Proof) -> Proof {
    match proof {
        Proof::UnderWay => Proof::Unknown,
        proof => proof,
    }
}
