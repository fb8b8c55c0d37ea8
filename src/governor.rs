//! Keeps what is known of the two ConfigMaps, and with it which settings are in force.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::fleet::{self, Changes, InForce, Origin, Source};
use crate::journal;
use crate::settings::{Environment, Settings};
use crate::watch::One;

/// The settings in force, and what they follow from.
#[derive(Debug)]
pub struct Governor {
    environment: Environment,
    settings: Source,
    /// The UID of their ConfigMap, where there is one.
    settings_uid: Option<String>,
    fleet: Source,
    /// The UID of the record, where there is one.
    fleet_uid: Option<String>,
    /// What this process last knew to be recorded as in force.
    recorded: Option<Settings>,
    /// The place in its watch of the record as it is known. The answer to a write may come before
    /// the watch shows it, and what the watch shows until then is older; or after the watch has
    /// shown what others made of it since.
    fleet_place: u64,
    in_force: InForce,
    looked: bool,
}

impl Governor {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        let in_force = InForce {
            settings: None,
            error: None,
            warnings: Vec::new(),
            origin: Origin::Unread,
        };
        Self {
            environment,
            settings: Source::Unread,
            settings_uid: None,
            fleet: Source::Unread,
            fleet_uid: None,
            recorded: None,
            fleet_place: 0,
            in_force,
            looked: false,
        }
    }

    /// Takes in what the watch of the settings told.
    pub fn settings(&mut self, told: One) {
        take_in_uid(&mut self.settings_uid, &told);
        take_in(&mut self.settings, told);
    }

    /// Takes in what the watch of the record told.
    pub fn fleet(&mut self, told: One) {
        match told {
            One::Is { place, .. } if place < self.fleet_place => {}
            told => {
                if let One::Is { place, .. } = &told {
                    self.fleet_place = *place;
                }
                take_in_uid(&mut self.fleet_uid, &told);
                take_in(&mut self.fleet, told);
            }
        }
    }

    /// The record was written, and is now this, at this place of its watch.
    pub fn recorded(&mut self, data: BTreeMap<String, String>, place: u64) {
        // Of two answers the later one may come first.
        if place >= self.fleet_place {
            self.fleet = Source::Present(data);
            self.fleet_place = place;
        }
    }

    /// The settings in force were written to the record, which is now this. What others make of it
    /// may have been seen before this answer came, and what they wrote is in later answers too:
    /// neither means that the settings were not recorded.
    pub fn settings_recorded(&mut self, data: &BTreeMap<String, String>) {
        self.recorded = fleet::last_good(&Source::Present(data.clone()))
            .ok()
            .flatten();
    }

    /// There is nothing to write to the record: where it says all, it holds what is in force.
    pub fn settings_are_on_record(&mut self) {
        if let Source::Present(_) = self.fleet {
            self.recorded.clone_from(&self.in_force.settings);
        }
    }

    /// The record as it is known, if there is one.
    #[must_use]
    pub fn stored(&self) -> Option<&BTreeMap<String, String>> {
        match &self.fleet {
            Source::Present(data) => Some(data),
            _ => None,
        }
    }

    /// The UID of the settings' ConfigMap, if there is one.
    #[must_use]
    pub fn settings_uid(&self) -> Option<&str> {
        self.settings_uid.as_deref()
    }

    /// The UID of the record, if there is one.
    #[must_use]
    pub fn fleet_uid(&self) -> Option<&str> {
        self.fleet_uid.as_deref()
    }

    /// Whether the record has held the settings in force already: one that says otherwise was
    /// changed by others, and not because of an edit of the settings.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some() && self.recorded == self.in_force.settings
    }

    /// Whether both were looked at: before, nothing is decided.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.settings != Source::Unread && self.fleet != Source::Unread
    }

    /// Whether nothing was decided before this call.
    pub fn first_look(&mut self) -> bool {
        !std::mem::replace(&mut self.looked, true)
    }

    /// Decides anew what is in force. Returns whether that changed.
    pub fn decide(&mut self) -> bool {
        // Before both were looked at, what would be told may be wrong a moment later.
        if !self.is_ready() {
            return false;
        }
        let current = self.in_force.settings.as_ref();
        let next = fleet::in_force(&self.settings, &self.fleet, current, &self.environment);
        if next == self.in_force {
            return false;
        }
        journal::in_force(&self.in_force, &next);
        self.in_force = next;
        true
    }

    /// What is in force.
    #[must_use]
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// What to write to the record, and whether there is one already.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> Option<(Changes, bool)> {
        let changes = fleet::record(&self.in_force, &self.fleet, now)?;
        Some((changes, matches!(self.fleet, Source::Present(_))))
    }
}

fn take_in_uid(known: &mut Option<String>, told: &One) {
    match told {
        One::Is { uid, .. } => *known = Some(uid.clone()),
        One::Absent => *known = None,
        One::Unreadable { .. } => {}
    }
}

fn take_in(source: &mut Source, told: One) {
    match told {
        One::Is { data, .. } => *source = Source::Present(data),
        One::Absent => *source = Source::Absent,
        One::Unreadable {
            why,
            forbidden: true,
        } => *source = Source::Unreadable(why),
        // The API server is away or slow: what was read last still holds.
        One::Unreadable {
            forbidden: false, ..
        } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::REGISTRY_KEY;

    fn record(data: &[(&str, &str)], place: u64) -> One {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        One::Is {
            data: data.collect(),
            place,
            uid: "uid".into(),
        }
    }

    fn is(registry: &str, place: u64) -> One {
        record(&[(REGISTRY_KEY, registry)], place)
    }

    /// A change of the record as it is written to the API server.
    fn write(governor: &mut Governor, stored: &mut BTreeMap<String, String>, place: u64) {
        let (changes, _) = governor
            .record(Timestamp::UNIX_EPOCH)
            .expect("something to write");
        for (key, value) in changes {
            match value {
                Some(value) => stored.insert(key, value),
                None => stored.remove(&key),
            };
        }
        governor.settings_recorded(stored);
        governor.recorded(stored.clone(), place);
    }

    #[test]
    fn what_the_watch_shows_late_of_the_record_is_not_written_again() {
        let mut governor = Governor::new(Environment::default());
        governor.fleet(record(&[], 1));
        let mut stored = BTreeMap::new();
        governor.settings(is("a.example.com/x", 2));
        assert!(governor.decide());
        write(&mut governor, &mut stored, 3);
        let first = stored.clone();
        governor.settings(is("b.example.com/x", 4));
        assert!(governor.decide());
        write(&mut governor, &mut stored, 5);
        let first: Vec<_> = first
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        governor.fleet(record(&first, 3));
        assert_eq!(governor.record(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn what_others_make_of_the_record_is_no_edit_of_the_settings_whenever_it_is_seen() {
        let governor = || {
            let mut governor = Governor::new(Environment::default());
            governor.fleet(record(&[], 1));
            governor.settings(is("a.example.com/x", 2));
            governor.decide();
            governor
        };
        let meddled = [("lastGood", "{}")];

        let (mut early, mut stored) = (governor(), BTreeMap::new());
        assert!(!early.is_recorded(), "the edit is still to be told");
        early.fleet(record(&meddled, 4));
        write(&mut early, &mut stored, 3);
        assert!(early.is_recorded(), "seen before the answer to the write");
        assert!(early.record(Timestamp::UNIX_EPOCH).is_some());

        let (mut late, mut stored) = (governor(), BTreeMap::new());
        write(&mut late, &mut stored, 3);
        let meddled = meddled.map(|(key, value)| (key.to_owned(), value.to_owned()));
        late.recorded(meddled.into(), 5);
        assert!(late.is_recorded(), "seen in the answer to an overview");
        assert!(late.record(Timestamp::UNIX_EPOCH).is_some());

        let (mut next, mut stored) = (governor(), BTreeMap::new());
        write(&mut next, &mut stored, 3);
        next.settings(is("b.example.com/x", 6));
        next.decide();
        assert!(!next.is_recorded(), "another edit");

        let mut restarted = governor();
        restarted.fleet(One::Is {
            data: stored,
            place: 4,
            uid: "uid".into(),
        });
        assert_eq!(restarted.record(Timestamp::UNIX_EPOCH), None);
        restarted.settings_are_on_record();
        assert!(restarted.is_recorded(), "an earlier process wrote it");
    }

    #[test]
    fn unreadable_settings_change_nothing_and_a_slow_api_server_is_no_answer() {
        let mut governor = Governor::new(Environment::default());
        governor.fleet(One::Absent);
        governor.settings(is("a.example.com/x", 1));
        governor.decide();
        let unreadable = |forbidden| One::Unreadable {
            why: "why".into(),
            forbidden,
        };
        governor.settings(unreadable(false));
        assert!(!governor.decide(), "what was read last still holds");
        governor.settings(unreadable(true));
        assert!(governor.decide(), "it is told");
        let in_force = governor.in_force();
        assert!(in_force.error.is_some());
        let registry = in_force.settings.as_ref().map(|it| it.registry().as_str());
        assert_eq!(registry, Some("a.example.com/x"));
    }
}
