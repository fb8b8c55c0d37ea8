//! The loop: what the watches tell goes into the index, what it could matter to into the queue,
//! and for each item of the queue one pass plans at most one step and applies it.
//!
//! One task owns all state, so there are no locks; only the requests run beside it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortHandle, BoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use crate::apply::{self, Existing, Outcome, Unrecorded};
use crate::governor::Governor;
use crate::index::{Change, Index, Woken};
use crate::journal;
use crate::names;
use crate::plan::{self, Answer, Step};
use crate::queue::Queue;
use crate::seen::{Key, Service};
use crate::settings::Environment;
use crate::watch::{self, Event, Scope};
use crate::window::Window;
use crate::wire::{self, Wire};
use crate::workspace::Reason;

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it looks.
    pub scope: Scope,
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// What of the operator's own environment counts.
    pub environment: Environment,
}

/// What there is to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Item {
    Workspace(Key),
    /// The Service of a namespace.
    Service(Arc<str>),
    /// The record of the settings in force.
    Fleet,
}

/// What has come to its end beside the loop.
enum Done {
    /// With the state that the Workspace showed when the step was planned.
    Step(Key, Option<Reason>, Step, Outcome),
    Service(Arc<str>, Outcome),
    Fleet(Result<(BTreeMap<String, String>, u64), Unrecorded>),
}

/// When a create ran into an object that went away at once, or a Service was refused.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many Workspaces a namespace has that somebody has just begun to use.
const FEW: usize = 10;
const SERVICE_AGAIN: Duration = Duration::from_secs(300);
/// A look costs nothing, and a clock that is set meanwhile must not make a wait much longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// After a signal, what is under way gets this long to end.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

/// Runs until `stop` resolves.
pub async fn run(client: Client, options: Options, stop: impl Future<Output = ()>) {
    let (sender, events) = mpsc::channel(1024);
    watch::start(&client, &options.scope, &sender);
    let mut controller = Controller {
        client,
        index: Index::default(),
        queue: Queue::default(),
        governor: Governor::new(options.environment.clone()),
        under_way: FuturesUnordered::new(),
        awaited: FuturesUnordered::new(),
        waits: HashMap::new(),
        waits_for: vec!["workspaces", "pods", "claims", "services"],
        window: Window::new(options.concurrency),
        options,
    };
    controller.work(events, stop).await;
}

struct Controller {
    client: Client,
    options: Options,
    index: Index,
    queue: Queue<Item>,
    governor: Governor,
    window: Window,
    /// The requests of steps.
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The waits for objects that the watches do not show.
    awaited: FuturesUnordered<BoxFuture<'static, Option<Key>>>,
    /// How to give up each of these waits.
    waits: HashMap<Key, AbortHandle>,
    /// The lists that have not come yet: before, nothing is decided.
    waits_for: Vec<&'static str>,
}

impl Controller {
    async fn work(&mut self, mut events: Receiver<Event>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            self.start_passes();
            let due = self.queue.next_due();
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(event) = events.recv() => self.take_in(event),
                Some(done) = self.under_way.next() => self.conclude(done),
                Some(ended) = self.awaited.next() => self.forget_unwatched(ended),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
        let rest = async { while self.under_way.next().await.is_some() {} };
        if timeout(LAST_REQUESTS, rest).await.is_err() {
            warn!("stopping before the last requests were answered; the next start looks again");
        }
    }

    fn take_in(&mut self, event: Event) {
        let woken = match event {
            Event::Workspace(change) => {
                self.listed("workspaces", &change);
                self.index.take_in(change)
            }
            Event::Pod(change) => {
                self.listed("pods", &change);
                self.index.take_in(change)
            }
            Event::Claim(change) => {
                self.listed("claims", &change);
                self.index.take_in(change)
            }
            Event::Service(change) => {
                self.listed("services", &change);
                self.index.take_in_service(change).into()
            }
            Event::Settings(told) => {
                self.governor.settings(told);
                self.settings_changed();
                return;
            }
            Event::Fleet(told) => {
                self.governor.fleet(told);
                self.settings_changed();
                return;
            }
        };
        self.wake(woken);
    }

    fn wake(&mut self, woken: Woken) {
        for key in woken.keys {
            let item = Item::Workspace(key);
            if woken.urgent {
                self.queue.add_urgent(item);
            } else {
                self.queue.add(item);
            }
        }
    }

    fn listed<T>(&mut self, what: &str, change: &Change<T>) {
        if matches!(change, Change::Complete) {
            self.waits_for.retain(|it| *it != what);
        }
    }

    /// New settings wake those that they could matter to, and write nothing to the others.
    fn settings_changed(&mut self) {
        if self.governor.decide() {
            let awaits = |key: &&Key| {
                let seen = self.index.seen(key);
                seen.is_some_and(|it| plan::awaits_settings(&it))
            };
            let mut keys: Vec<_> = self.index.keys().filter(awaits).cloned().collect();
            // One namespace after the other: its EndpointSlices change with each Pod.
            keys.sort_unstable();
            self.wake(keys.into());
        }
        self.queue.add_urgent(Item::Fleet);
    }

    fn start_passes(&mut self) {
        if !self.waits_for.is_empty() || !self.governor.is_ready() {
            return;
        }
        if self.governor.first_look() {
            journal::started(&self.options.scope, self.governor.in_force());
        }
        while self.under_way.len() < self.window.size() {
            let Some(item) = self.queue.take(Instant::now()) else {
                return;
            };
            match &item {
                Item::Workspace(key) => self.pass(key, &item),
                Item::Service(namespace) => self.service_pass(namespace, &item),
                Item::Fleet => self.fleet_pass(&item),
            }
        }
    }

    /// One pass over one Workspace: plan, then apply one step.
    fn pass(&mut self, key: &Key, item: &Item) {
        let now = Instant::now();
        if let Some(until) = self.index.behind_until(key, now) {
            self.queue.wake(item.clone(), Some(until));
            self.queue.done(item);
            return;
        }
        let seen = self.index.seen(key);
        let Some(seen) = seen.filter(|it| it.workspace.is_some()) else {
            self.give_up(key, item);
            return;
        };
        let ends = seen.memory.namespace_terminating;
        if seen.service == Service::Missing && !ends {
            let service = Item::Service(Arc::clone(&key.namespace));
            self.queue.add_urgent(service);
        }
        let told = seen.workspace.and_then(|it| it.status.state);
        let clock = Timestamp::now();
        let plan = plan::plan(&seen, self.governor.in_force(), clock);
        let step = plan.step.inspect(|step| journal::planned(&seen, step));
        if let Some(memory) = self.index.memory(key) {
            memory.showing = plan.showing;
        }
        let wake = plan.wake.map(|at| {
            let pause = Duration::try_from(at.duration_since(clock)).unwrap_or_default();
            now + pause.min(LONGEST_SLEEP)
        });
        self.queue.wake(item.clone(), wake);
        match step {
            Some(step) => {
                let (client, key) = (self.client.clone(), key.clone());
                let request = async move {
                    let outcome = apply::apply(&client, &key, step.clone()).await;
                    Done::Step(key, told, step, outcome)
                };
                self.under_way.push(request.boxed());
            }
            None => self.queue.done(item),
        }
    }

    fn service_pass(&mut self, namespace: &Arc<str>, item: &Item) {
        if !matches!(
            self.index.service(namespace),
            Service::Missing | Service::Refused
        ) {
            self.queue.done(item);
            return;
        }
        let (client, namespace) = (self.client.clone(), Arc::clone(namespace));
        let request = async move {
            let outcome = apply::create_service(&client, &namespace).await;
            Done::Service(namespace, outcome)
        };
        self.under_way.push(request.boxed());
    }

    fn fleet_pass(&mut self, item: &Item) {
        let Some((changes, exists)) = self.governor.record(Timestamp::now()) else {
            self.queue.done(item);
            return;
        };
        let (client, scope) = (self.client.clone(), self.options.scope.clone());
        let request = async move {
            let (namespace, name) = (&scope.settings_namespace, &scope.fleet_name);
            let written = apply::write_fleet(&client, namespace, name, changes, exists).await;
            Done::Fleet(written)
        };
        self.under_way.push(request.boxed());
    }

    fn conclude(&mut self, done: Done) {
        match done {
            Done::Step(key, told, step, outcome) => {
                let item = Item::Workspace(key.clone());
                if let Some(seen) = self.index.seen(&key) {
                    journal::applied(&seen, told, &step, &outcome);
                }
                self.note(&key, &item, &step, outcome);
                self.queue.done(&item);
            }
            Done::Service(namespace, outcome) => {
                let item = Item::Service(Arc::clone(&namespace));
                self.note_service(&namespace, &item, outcome);
                self.queue.done(&item);
            }
            Done::Fleet(Ok((data, place))) => {
                self.governor.recorded(data, place);
                self.queue.succeeded(&Item::Fleet);
                self.queue.done(&Item::Fleet);
            }
            Done::Fleet(Err(Unrecorded { error, retry_after })) => {
                let pause = self.retry(&Item::Fleet, retry_after, Instant::now());
                warn!(retry_in = ?pause, "{error}");
                self.queue.done(&Item::Fleet);
            }
        }
    }

    /// What is remembered of a step, and when to look again.
    fn note(&mut self, key: &Key, item: &Item, step: &Step, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::Written(awaited) => {
                self.queue.succeeded(item);
                self.window.succeeded();
                self.remember(key, step, Answer::Done);
                self.index.expect(key, awaited, now);
                self.queue.add(item.clone());
            }
            Outcome::Accepted => {
                self.remember(key, step, Answer::Done);
                self.queue.add_urgent(item.clone());
            }
            Outcome::NoEffect => {
                self.remember(key, step, Answer::NoEffect);
                self.queue.add(item.clone());
            }
            Outcome::Refused(message) => {
                self.remember(key, step, Answer::Refused(message));
                // What is remembered of other refusals paces them.
                if matches!(step, Step::PatchStatus { .. }) {
                    self.queue.retry(item, None, now);
                } else {
                    self.queue.add(item.clone());
                }
            }
            Outcome::NamespaceTerminating => {
                self.remember(key, step, Answer::NamespaceTerminating);
            }
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

    /// After a request of which nothing is known. Returns the pause.
    fn retry(&mut self, item: &Item, asked: Option<Duration>, now: Instant) -> Duration {
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
        // All of a namespace are no news, one or two are.
        let urgent = keys.len() <= FEW;
        self.wake(Woken { keys, urgent });
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

    /// There is no such Workspace any more.
    fn give_up(&mut self, key: &Key, item: &Item) {
        if let Some(wait) = self.waits.remove(key) {
            wait.abort();
        }
        self.index.set_unwatched_pod(key, None);
        self.index.set_unwatched_claim(key, None);
        self.queue.wake(item.clone(), None);
        self.queue.succeeded(item);
        self.queue.done(item);
    }

    /// A wait ended; without a key it was given up.
    fn forget_unwatched(&mut self, ended: Option<Key>) {
        let Some(key) = ended else { return };
        self.waits.remove(&key);
        self.index.set_unwatched_pod(&key, None);
        self.index.set_unwatched_claim(&key, None);
        self.queue.add(Item::Workspace(key));
    }
}
