//! Which registries answer, as they were asked from here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::pause::Pause;

/// What a registry showed when it was asked whether it is there at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answers, whatever it answers.
    Answers,
    /// It cannot be asked from here, for its name has no address here. Nodes may know another way.
    NotFromHere,
    /// It does not answer; what it does, to be read after its name.
    Silent(String),
}

/// For so long an answer says that a registry does not hang.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

/// Whether a node may be sent to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// The registry is to be asked first.
    Ask,
    /// It is being asked, or must not be asked yet.
    Shut,
}

#[derive(Debug, Default)]
struct Known {
    /// When it last answered.
    answered: Option<Timestamp>,
    is_asked: bool,
    /// What it does in place of an answer.
    silent: Option<String>,
    attempts: u32,
    pause: Option<Pause>,
}

/// All registries that were asked.
#[derive(Debug, Default)]
pub(super) struct Registries(BTreeMap<String, Known>);

impl Registries {
    pub(super) fn gate(&self, registry: &str, now: Timestamp) -> Gate {
        let Some(known) = self.0.get(registry) else {
            return Gate::Ask;
        };
        // An answer from the future was noted by a clock that was set back since.
        let fresh = |at: &Timestamp| *at <= now && now.duration_since(*at) < FRESH;
        if known.is_asked || known.pause.is_some_and(|it| it.holds(now)) {
            Gate::Shut
        } else if known.silent.is_none() && known.answered.as_ref().is_some_and(fresh) {
            Gate::Open
        } else {
            Gate::Ask
        }
    }

    pub(super) fn asks(&mut self, registry: &str) {
        self.0.entry(registry.to_owned()).or_default().is_asked = true;
    }

    /// How many are being asked.
    pub(super) fn asked(&self) -> usize {
        self.0.values().filter(|it| it.is_asked).count()
    }

    pub(super) fn answered(&mut self, registry: &str, sign: Sign, now: Timestamp) {
        let known = self.0.entry(registry.to_owned()).or_default();
        known.is_asked = false;
        match sign {
            Sign::Answers | Sign::NotFromHere => {
                *known = Known {
                    answered: Some(now),
                    ..Known::default()
                };
            }
            Sign::Silent(words) => {
                known.silent = Some(words);
                known.pause = Some(Pause::after(known.attempts, now));
                known.attempts = known.attempts.saturating_add(1);
            }
        }
    }

    /// What a registry does in place of an answer.
    pub(super) fn silent(&self, registry: &str) -> Option<&str> {
        self.0.get(registry)?.silent.as_deref()
    }

    /// When a silent one may be asked again.
    pub(super) fn pause(&self, registry: &str) -> Option<Pause> {
        self.0.get(registry)?.pause
    }

    /// Those that are silent are asked again at once. What they did stays known until they answer.
    pub(super) fn retry_now(&mut self) {
        for known in self.0.values_mut() {
            (known.attempts, known.pause) = (0, None);
        }
    }

    /// Forgets those that nobody needs.
    pub(super) fn retain(&mut self, is_needed: impl Fn(&str) -> bool) {
        self.0
            .retain(|registry, known| known.is_asked || is_needed(registry));
    }
}
