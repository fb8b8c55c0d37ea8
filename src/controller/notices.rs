//! When Events are published, and about which object.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

use super::Controller;
use crate::apply::Outcome;
use crate::events::{self, Notice};
use crate::plan::Step;
use crate::seen::{Key, Shown};

/// A heal is over when no Pod was healed for so long.
const PAUSE: Duration = Duration::from_millis(900);

/// The stuck Pods that got another image, until there is an Event about all of them.
#[derive(Debug, Default)]
pub(super) struct Heal {
    pods: usize,
    last: Option<Instant>,
}

impl Heal {
    fn add(&mut self, now: Instant) {
        self.pods += 1;
        self.last = Some(now);
    }

    /// How many they were, once it is over.
    fn over(&mut self, now: Instant) -> Option<usize> {
        if now.duration_since(self.last?) < PAUSE {
            return None;
        }
        self.last = None;
        Some(std::mem::take(&mut self.pods))
    }
}

impl Controller {
    pub(super) fn tell_of(&mut self, key: &Key, shown: Shown, step: &Step, outcome: &Outcome) {
        if let (Step::SetImage { .. }, Outcome::Written(_)) = (step, outcome) {
            self.heal.add(Instant::now());
            self.overview_may_change();
        }
        let Some(seen) = self.index.seen(key) else {
            return;
        };
        let Some(workspace) = seen.workspace else {
            return;
        };
        if let Some(notice) = events::of_step(&seen, shown, step, outcome) {
            let regarding = events::workspace(key, &workspace.version.uid);
            self.tell(regarding, notice);
        }
    }

    /// The pass over the overview comes once a second while something changes.
    pub(super) fn tell_of_heal(&mut self) {
        match self.heal.over(Instant::now()) {
            Some(pods) => self.tell_of_settings(vec![events::of_heal(pods)]),
            None if self.heal.last.is_some() => self.overview_may_change(),
            None => {}
        }
    }

    /// What concerns all Workspaces is told of the settings, or where there are none of the record.
    pub(super) fn tell_of_settings(&mut self, notices: Vec<Notice>) {
        let scope = &self.options.scope;
        let settings = self
            .governor
            .settings_uid()
            .map(|it| (&scope.settings_name, it));
        let record = self.governor.fleet_uid().map(|it| (&scope.fleet_name, it));
        let Some((name, uid)) = settings.or(record) else {
            return;
        };
        let regarding = events::config_map(&scope.settings_namespace, name, uid);
        for notice in notices {
            self.tell(regarding.clone(), notice);
        }
    }

    fn tell(&mut self, regarding: ObjectReference, notice: Notice) {
        // As with every write: none is begun by one that may have been replaced.
        if !self.leader.may_write(Instant::now()) {
            return;
        }
        if let Some(publish) = self.events.publish(regarding, notice) {
            self.telling.push(publish);
        }
    }
}
