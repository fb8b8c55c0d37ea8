//! What an answer changes: what is remembered, what is awaited, and when to look again.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::abortable;
use jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use super::records::Written;
use super::{Controller, Item};
use crate::apply::{Existing, Outcome, Probed};
use crate::events::Notice;
use crate::journal;
use crate::names;
use crate::plan::{self, Answer, Step};
use crate::proof;
use crate::seen::{Key, Service, Shown};
use crate::watch;
use crate::wire::{self, Wire};
use crate::workspace::Reason;

/// What has come to its end beside the loop.
pub(super) enum Done {
    /// With what the Workspace showed when the step was planned.
    Step(Key, Shown, Step, Outcome),
    Service(Arc<str>, Outcome),
    Probe(proof::Step, Probed),
    /// With what there is to tell once it is written.
    Record(Item, Vec<Notice>, Written),
}

/// When a create ran into an object that went away at once, or a Service was refused.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const SERVICE_AGAIN: Duration = Duration::from_secs(300);

impl Controller {
    pub(super) fn conclude(&mut self, done: Done, took: Duration) {
        match done {
            Done::Step(key, shown, step, outcome) => {
                let item = Item::Workspace(key.clone());
                self.metrics.applied(&step, &outcome, took);
                if let Some(seen) = self.index.seen(&key) {
                    journal::applied(&seen, shown, &step, &outcome);
                }
                self.tell_of(&key, shown, &step, &outcome);
                self.note(&key, &item, &step, outcome);
                self.queue.done(&item);
            }
            Done::Service(namespace, outcome) => {
                let item = Item::Service(Arc::clone(&namespace));
                self.metrics.answered("create_service", took);
                self.note_service(&namespace, &item, outcome);
                self.queue.done(&item);
            }
            Done::Probe(step, probed) => self.note_probe(&step, probed, took),
            Done::Record(item, notices, written) => {
                self.note_record(&item, notices, written, took);
            }
        }
    }

    /// What is remembered of a step, and when to look again.
    fn note(&mut self, key: &Key, item: &Item, step: &Step, outcome: Outcome) {
        let now = Instant::now();
        if let Some(answer) = outcome.remembered() {
            self.remember(key, step, answer);
        }
        match outcome {
            Outcome::Written(awaited) => {
                self.queue.succeeded(item);
                self.window.succeeded();
                self.follow_rollout(key, step, now);
                self.index.expect(key, awaited, now);
                if let Step::CreateClaim { .. } | Step::PatchClaim { .. } = step {
                    // The Pod is still to come.
                    self.queue.add_as_taken(item.clone());
                } else {
                    self.queue.add(item.clone());
                }
            }
            Outcome::Accepted => self.queue.add_urgent(item.clone()),
            // What is remembered of other refusals paces them.
            Outcome::Refused(_) if matches!(step, Step::PatchStatus { .. }) => {
                self.queue.retry(item, None, now);
            }
            Outcome::NoEffect | Outcome::Refused(_) => self.queue.add(item.clone()),
            Outcome::NamespaceTerminating => {}
            Outcome::Exists(existing) => self.ran_into(key, item, existing),
            // The watches bring what is; should they have brought it already, look again soon.
            Outcome::Stale => {
                self.queue.retry(item, None, now);
            }
            Outcome::Failed { error, retry_after } => {
                let pause = self.retry(item, retry_after, now);
                warn!(workspace = %key, retry_in = ?pause, "{error}");
            }
        }
    }

    /// From the creation or healing of a Pod until its Workspace is told Ready.
    fn follow_rollout(&mut self, key: &Key, step: &Step, now: Instant) {
        match step {
            Step::CreatePod { .. } | Step::SetImage { .. } | Step::MovePod { .. } => {
                self.index.begin_rollout(key, now);
            }
            Step::DeletePod { .. } => self.index.stops(key),
            Step::PatchStatus { status, .. } if status.state == Some(Reason::Ready) => {
                if let Some(begun) = self.index.end_rollout(key) {
                    self.metrics.became_ready(now.duration_since(begun));
                }
            }
            _ => {}
        }
    }

    /// After a request of which nothing is known. Returns the pause.
    pub(super) fn retry(&mut self, item: &Item, asked: Option<Duration>, now: Instant) -> Duration {
        if asked.is_some() {
            self.window.refused();
        }
        self.queue.retry(item, asked, now)
    }

    fn remember(&mut self, key: &Key, step: &Step, answer: Answer) {
        if let Some(memory) = self.index.memory(key) {
            plan::remember(memory, step, answer, Timestamp::now());
        }
    }

    fn note_service(&mut self, namespace: &Arc<str>, item: &Item, outcome: Outcome) {
        let now = Instant::now();
        let service = match outcome {
            Outcome::Accepted => Service::Ours,
            Outcome::Refused(message) => {
                warn!(%namespace, "no Service {}, so no addresses: {message}", names::SERVICE);
                self.queue.wake(item.clone(), Some(now + SERVICE_AGAIN));
                Service::Refused
            }
            Outcome::NamespaceTerminating => {
                self.index.namespace_terminates(namespace);
                return;
            }
            // It exists: the watch is about to show whose it is.
            Outcome::Stale => {
                self.queue.wake(item.clone(), Some(now + LOOK_AGAIN));
                return;
            }
            Outcome::Failed { error, retry_after } => {
                let pause = self.retry(item, retry_after, now);
                warn!(%namespace, retry_in = ?pause, "{error}");
                return;
            }
            Outcome::Written(_) | Outcome::NoEffect | Outcome::Exists(_) => return,
        };
        let keys = self.index.set_service(namespace, service);
        self.service_came(keys);
    }

    /// A create ran into an object of the same name.
    fn ran_into(&mut self, key: &Key, item: &Item, existing: Existing) {
        let now = Instant::now();
        match existing {
            Existing::NoMore => self.queue.wake(item.clone(), Some(now + LOOK_AGAIN)),
            Existing::Watched(awaited) => {
                self.index.expect(key, awaited, now);
                self.queue.add(item.clone());
            }
            Existing::Pod(pod) => {
                let name = key.name.to_string();
                self.await_otherwise::<wire::Pod>(key, name, &pod.version.uid);
                self.index.set_unwatched_pod(key, Some(pod));
                self.queue.add(item.clone());
            }
            Existing::Claim(claim) => {
                let name = names::claim(&key.name);
                self.await_otherwise::<wire::Claim>(key, name, &claim.version.uid);
                self.index.set_unwatched_claim(key, Some(claim));
                self.queue.add(item.clone());
            }
        }
    }

    /// Waits beside the loop until an object that the watches do not show is another or gone.
    fn await_otherwise<K>(&mut self, key: &Key, name: String, uid: &str)
    where
        K: Wire + Resource<Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &key.namespace);
        let (key, uid) = (key.clone(), uid.to_owned());
        let (wait, handle) = abortable(async move {
            watch::until_otherwise(api, &name, &uid).await;
        });
        // One wait for each Workspace: a later one is for the object of now.
        if let Some(earlier) = self.waits.insert(key.clone(), handle) {
            earlier.abort();
        }
        self.awaited
            .push(wait.map(|ended| ended.ok().map(|()| key)).boxed());
    }
}
