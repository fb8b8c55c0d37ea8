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
use crate::fleet::{Changes, FLEET_ERROR};
use crate::names;
use crate::overview::{self, Overview, overview};

/// The overview is looked at, and written, no more often.
const OVERVIEW_EVERY: Duration = Duration::from_secs(1);

/// The data of the record after a write, and their place in the watch.
pub(super) type Written = Result<(BTreeMap<String, String>, u64), Unrecorded>;

/// What is known of the writes of the record.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Whether the moment at which the next overview is due is in the queue.
    overview_is_due: bool,
    is_under_way: bool,
    /// Whether what an operator of another scope left was removed. Once is enough, lest two of them
    /// do so for ever.
    is_tidy: bool,
    /// After a write that failed.
    wait_until: Option<Instant>,
}

impl Controller {
    pub(super) fn fleet_pass(&mut self) {
        if self.record_waits(&Item::Fleet) {
            return;
        }
        let Some((changes, exists)) = self.governor.record(Timestamp::now()) else {
            self.governor.settings_are_on_record();
            self.metrics.recorded(true);
            self.queue.done(&Item::Fleet);
            return;
        };
        let notices = match self.governor.stored() {
            Some(stored) if !self.governor.is_recorded() || changes.contains_key(FLEET_ERROR) => {
                events::of_settings(&changes, stored, self.governor.in_force())
            }
            _ => Vec::new(),
        };
        self.write(Item::Fleet, changes, exists, notices);
    }

    /// Something changed that the record may have to say. One that stands by takes nothing from its
    /// queue: what it put there would count as waiting for as long as it stands by.
    pub(super) fn record_may_change(&mut self) {
        if self.leader.leads() {
            self.queue.add_urgent(Item::Fleet);
        }
    }

    /// Something changed that the overview may tell of.
    pub(super) fn overview_may_change(&mut self) {
        if self.leader.leads() && !self.records.overview_is_due {
            self.records.overview_is_due = true;
            let due = Instant::now() + OVERVIEW_EVERY;
            self.queue.wake(Item::Overview, Some(due));
        }
    }

    pub(super) fn overview_pass(&mut self) {
        self.records.overview_is_due = false;
        if self.record_waits(&Item::Overview) {
            return;
        }
        self.tell_of_heal();
        match self.overview_changes() {
            Some((changes, notices)) => self.write(Item::Overview, changes, true, notices),
            None => {
                self.records.is_tidy = true;
                self.queue.done(&Item::Overview);
            }
        }
    }

    /// What there is to say of all of them now, after what was said earlier.
    pub(super) fn overview(&self, earlier: &Overview) -> Overview {
        let settings = self.governor.in_force().settings.as_ref();
        let mut overview = overview(self.index.all(), settings, earlier, Timestamp::now());
        overview.rollout = self.fleet.moves.tally.clone();
        overview.prepull = self.prepull();
        self.tell_of_tags(&mut overview);
        overview
    }

    /// Compares values, not text: what another version wrote in its own way is not written again.
    fn overview_changes(&self) -> Option<(Changes, Vec<Notice>)> {
        let namespace = self.options.scope.namespace.as_deref();
        let stored = self.governor.stored()?;
        let earlier = self.recorded_overview();
        let basis = earlier.clone().unwrap_or_default();
        let next = self.overview(&basis);
        let mut changes = Changes::new();
        if !self.records.is_tidy {
            let left = stored
                .keys()
                .filter(|it| overview::is_left_over(it, namespace));
            changes.extend(left.map(|it| (it.clone(), None)));
        }
        if earlier.as_ref() != Some(&next) {
            changes.insert(overview::key(namespace), Some(next.to_text()));
        }
        let mut notices = events::of_outages(&basis, &next);
        notices.extend(events::of_moves(&basis, &next));
        notices.extend(events::of_rollout(&basis, &next));
        (!changes.is_empty()).then_some((changes, notices))
    }

    /// The overview on record, if one that can be read is.
    pub(super) fn recorded_overview(&self) -> Option<Overview> {
        let name = overview::key(self.options.scope.namespace.as_deref());
        let text = self.governor.stored()?.get(&name)?;
        Overview::from_text(text)
    }

    /// Both write one object, so one goes after the other: a pause that the API server asks for holds
    /// for both, and what cannot be recorded at all is not tried a second time for the overview.
    fn record_waits(&mut self, item: &Item) -> bool {
        if self.records.is_under_way {
            // Its answer brings both back.
            self.queue.done(item);
            return true;
        }
        let until = self.records.wait_until;
        let waits = until.is_some_and(|until| Instant::now() < until);
        if waits {
            self.queue.wake(item.clone(), until);
            self.queue.done(item);
        }
        waits
    }

    fn write(&mut self, item: Item, changes: Changes, exists: bool, notices: Vec<Notice>) {
        let (client, scope) = (self.client.clone(), self.options.scope.clone());
        let manager = match item {
            Item::Overview => names::STATUS_MANAGER,
            _ => names::MANAGER,
        };
        self.records.is_under_way = true;
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
        self.records.is_under_way = false;
        self.metrics.answered("patch_fleet", took);
        match written {
            Ok((data, place)) => {
                if *item == Item::Fleet {
                    self.governor.settings_recorded(&data);
                }
                self.governor.recorded(data, place);
                self.metrics.recorded(true);
                self.records.is_tidy |= *item == Item::Overview;
                self.queue.succeeded(item);
                self.tell_of_settings(notices);
            }
            Err(Unrecorded { error, retry_after }) => {
                self.metrics.recorded(false);
                let now = Instant::now();
                let pause = self.retry(item, retry_after, now);
                if retry_after.is_some() || *item == Item::Fleet {
                    self.records.wait_until = Some(now + pause);
                }
                warn!(retry_in = ?pause, "{error}");
            }
        }
        self.queue.done(item);
        self.record_may_change();
        self.overview_may_change();
    }
}
