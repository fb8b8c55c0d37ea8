//! What is proved before anything is stopped: the probes, and the registries that are asked before.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::answers::Done;
use super::{Controller, Item, pause};
use crate::apply::{self, Probed};
use crate::index::{Change, Woken};
use crate::journal;
use crate::overview::Prepull;
use crate::proof::{Probe, Sign, Step, Stock, Want, to_stock};
use crate::registry::{self, Reference};
use crate::seen::{self, Key};
use crate::settings::Settings;

/// How long a registry may take for its answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// A registry, and what it showed.
pub(super) type Asked = (String, Sign);

impl Controller {
    pub(super) fn probe_told(&mut self, change: Change<Probe>) {
        let now = Timestamp::now();
        match change {
            Change::Listing => self.proofs.list_begins(),
            Change::Listed(key, probe, _) => self.proofs.see(key, *probe, now),
            Change::Complete => self.proofs.list_ends(now),
            Change::Applied(key, probe, place) => {
                self.no_workspaces(&key, place);
                self.proofs.see(key, *probe, now);
            }
            Change::Gone(key, _) => self.proofs.gone(&key, now),
        }
        self.proofs_may_change();
    }

    /// What was the Pod of a Workspace until somebody called it a probe is that no more.
    fn no_workspaces(&mut self, key: &Key, place: u64) {
        let is_known = |it: seen::Seen<'_>| it.pod.is_some();
        if self.index.seen(key).is_some_and(is_known) {
            let gone = Change::<seen::Pod>::Gone(key.clone(), place);
            let woken = self.index.take_in(gone);
            self.wake(woken);
        }
    }

    /// What a Workspace waits for, as its pass has found, and what it will need after the switch that
    /// is prepared.
    pub(super) fn wants(&mut self, key: &Key, want: Option<Want>, stock: Option<Want>) {
        let (mut changed, is_known) = self.proofs.want(key, want, Timestamp::now());
        changed |= self.proofs.stock(key, stock);
        if is_known {
            self.queue.add_urgent(Item::Workspace(key.clone()));
        }
        if changed {
            self.proofs_may_change();
        }
    }

    /// Where nothing is to be proved and there is no probe, nothing is looked at.
    pub(super) fn proofs_may_change(&mut self) {
        if self.leader.leads() && !self.proofs.is_idle() {
            self.queue.add_urgent(Item::Proofs);
        }
    }

    /// Who edits the settings may have mended what failed.
    pub(super) fn retry_proofs(&mut self) {
        self.proofs.retry_now();
        self.proofs_may_change();
        let keys = self.proofs.wanting();
        let urgent = false;
        self.wake(Woken { keys, urgent });
    }

    /// The settings may say that a switch is to be prepared.
    pub(super) fn prepare(&mut self) {
        let settings = self.governor.in_force().settings.as_ref();
        let prepared = settings.and_then(Settings::to_prepare);
        if prepared == self.prepared {
            return;
        }
        self.proofs.clear_stock();
        if let Some(next) = &prepared {
            for seen in self.index.all() {
                self.proofs.stock(seen.key, to_stock(&seen, next));
            }
        }
        self.prepared = prepared;
        self.proofs_may_change();
        self.overview_may_change();
    }

    /// How far the switch is prepared, if one is.
    pub(super) fn prepull(&self) -> Option<Prepull> {
        let next = self.prepared.as_ref()?;
        let Stock {
            wanted,
            pulled,
            failed,
        } = self.proofs.stocked(Timestamp::now());
        let settings = self.governor.in_force().settings.as_ref();
        // After the switch, once all run what was pulled for it, there is nothing to say.
        if wanted == 0 && settings.is_some_and(|it| it.registry() == next.registry()) {
            return None;
        }
        Some(Prepull {
            registry: next.registry().to_string(),
            images: wanted,
            pulled,
            failed,
        })
    }

    /// One pass over all that is to be proved.
    pub(super) fn proofs_pass(&mut self) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let (steps, wake) = self.proofs.plan(clock);
        for step in steps {
            match step {
                Step::Ask { registry, image } => self.ask_registry(registry, image),
                step => self.send_probe(step),
            }
        }
        for learnt in self.proofs.learnt() {
            journal::probed(&learnt);
            self.metrics.probed(&learnt);
        }
        if self.prepared.is_some() {
            self.overview_may_change();
        }
        let keys = self.proofs.news(clock);
        if !keys.is_empty() {
            self.turns_may_change();
        }
        let urgent = true;
        self.wake(Woken { keys, urgent });
        let wake = wake.map(|at| now + pause(clock, at));
        self.queue.wake(Item::Proofs, wake);
        self.queue.done(&Item::Proofs);
    }

    fn send_probe(&mut self, step: Step) {
        let client = self.client.clone();
        let request = async move {
            let probed = apply::apply_probe(&client, &step).await;
            Done::Probe(step, probed)
        };
        self.begin(request);
    }

    pub(super) fn note_probe(&mut self, step: &Step, probed: Probed, took: Duration) {
        let name = match step {
            Step::Delete { .. } => "delete_probe",
            _ => "create_probe",
        };
        self.metrics.answered(name, took);
        if probed.retry_after.is_some() {
            self.window.refused();
        }
        if let Some(error) = probed.error {
            warn!("{name}: {error}");
        }
        self.proofs.done(step, probed.done, Timestamp::now());
        self.proofs_may_change();
    }

    /// Beside the loop: a registry may take its time, and the API server waits for none.
    fn ask_registry(&mut self, registry: String, image: String) {
        let client = self.registries.get_or_insert_with(|| {
            let options = registry::Options {
                deadline: ANSWERS_WITHIN,
                ..registry::Options::default()
            };
            let client = registry::Client::new(&options).map(Arc::new);
            client
                .inspect_err(|error| warn!("no registry can be asked from here: {error:#}"))
                .ok()
        });
        let client = client.clone();
        let asked = async move {
            let reference = image.parse::<Reference>().ok();
            let sign = match (client, reference) {
                (Some(client), Some(reference)) => sign(client.knock(&reference).await),
                _ => Sign::NotFromHere,
            };
            (registry, sign)
        };
        self.asking.push(asked.boxed());
    }

    pub(super) fn registry_told(&mut self, (registry, sign): Asked) {
        self.proofs.answered(&registry, sign, Timestamp::now());
        self.proofs_may_change();
    }
}

fn sign(answer: Result<(), registry::Refusal>) -> Sign {
    match answer {
        Ok(()) => Sign::Answers,
        Err(refusal) if refusal.is_of_name() => Sign::NotFromHere,
        Err(refusal) => Sign::Silent(refusal.words),
    }
}
