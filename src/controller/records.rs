//! The ConfigMap `workspace-fleet`: which settings are in force, written at once, for the next
//! operator goes by it; and an overview of all Workspaces, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::answers::Done;
use super::{Controller, Item};
use crate::apply::{self, Unrecorded};
use crate::events::{self, Notice};
use crate::fleet::{Changes, FLEET_REGISTRY};
use crate::names;
use crate::overview::{FLEET_STATUS, Overview, overview};

/// The overview is looked at, and written, no more often.
const OVERVIEW_EVERY: Duration = Duration::from_secs(1);

/// The data of the record after a write, and their place in the watch.
pub(super) type Written = Result<(BTreeMap<String, String>, u64), Unrecorded>;

impl Controller {
    pub(super) fn fleet_pass(&mut self) {
        let Some((changes, exists)) = self.governor.record(Timestamp::now()) else {
            self.queue.done(&Item::Fleet);
            return;
        };
        let stored = self.governor.stored();
        let registry = stored
            .and_then(|it| it.get(FLEET_REGISTRY))
            .map(String::as_str);
        let notices = events::of_settings(&changes, registry.unwrap_or_default());
        self.write(Item::Fleet, changes, exists, notices);
    }

    /// Something changed that the overview may tell of.
    pub(super) fn overview_may_change(&mut self) {
        if self.leader.leads() && !self.overview_is_due {
            self.overview_is_due = true;
            let due = Instant::now() + OVERVIEW_EVERY;
            self.queue.wake(Item::Overview, Some(due));
        }
    }

    pub(super) fn overview_pass(&mut self) {
        self.overview_is_due = false;
        self.tell_of_heal();
        match self.overview_changes() {
            Some((changes, notices)) => self.write(Item::Overview, changes, true, notices),
            None => self.queue.done(&Item::Overview),
        }
    }

    /// Compares values, not text: what another version wrote in its own way is not written again.
    fn overview_changes(&self) -> Option<(Changes, Vec<Notice>)> {
        let stored = self.governor.stored()?.get(FLEET_STATUS);
        let earlier = stored.and_then(|it| Overview::from_text(it));
        let settings = self.governor.in_force().settings.as_ref();
        let basis = earlier.clone().unwrap_or_default();
        let next = overview(self.index.all(), settings, &basis, Timestamp::now());
        if earlier.as_ref() == Some(&next) {
            return None;
        }
        let changes = Changes::from([(FLEET_STATUS.to_owned(), Some(next.to_text()))]);
        Some((changes, events::of_outages(&basis, &next)))
    }

    fn write(&mut self, item: Item, changes: Changes, exists: bool, notices: Vec<Notice>) {
        let (client, scope) = (self.client.clone(), self.options.scope.clone());
        let manager = match item {
            Item::Overview => names::STATUS_MANAGER,
            _ => names::MANAGER,
        };
        let request = async move {
            let (namespace, name) = (&scope.settings_namespace, &scope.fleet_name);
            let written = apply::write_fleet(&client, namespace, name, changes, exists, manager);
            Done::Record(item, notices, written.await)
        };
        self.begin(request);
    }

    pub(super) fn note_record(
        &mut self,
        item: &Item,
        notices: Vec<Notice>,
        written: Written,
        took: Duration,
    ) {
        self.metrics.answered("patch_fleet", took);
        match written {
            Ok((data, place)) => {
                self.governor.recorded(data, place);
                self.queue.succeeded(item);
                self.overview_may_change();
                self.tell_of_settings(notices);
            }
            Err(Unrecorded { error, retry_after }) => {
                let pause = self.retry(item, retry_after, Instant::now());
                warn!(retry_in = ?pause, "{error}");
                // What changes meanwhile is no reason to try again sooner.
                self.overview_is_due |= *item == Item::Overview;
            }
        }
        self.queue.done(item);
    }
}
