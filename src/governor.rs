//! Keeps what is known of the two ConfigMaps, and with it which settings are in force.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::fleet::{self, Changes, InForce, Origin, Source};
use crate::journal;
use crate::settings::Environment;
use crate::watch::One;

/// The settings in force, and what they follow from.
#[derive(Debug)]
pub struct Governor {
    environment: Environment,
    settings: Source,
    fleet: Source,
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
            fleet: Source::Unread,
            in_force,
            looked: false,
        }
    }

    /// Takes in what the watch of the settings told.
    pub fn settings(&mut self, told: One) {
        take_in(&mut self.settings, told);
    }

    /// Takes in what the watch of the record told.
    pub fn fleet(&mut self, told: One) {
        take_in(&mut self.fleet, told);
    }

    /// The record was written, and is now this.
    pub fn recorded(&mut self, data: BTreeMap<String, String>) {
        self.fleet = Source::Present(data);
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

fn take_in(source: &mut Source, told: One) {
    match told {
        One::Is(data) => *source = Source::Present(data),
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
