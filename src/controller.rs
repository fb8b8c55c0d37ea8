//! The loop: what the watches tell goes into the index, what it could matter to into the queue,
//! and for each item of the queue one pass plans at most one step and applies it.
//!
//! One task owns all state, so there are no locks; only the requests run beside it.

mod answers;
mod moves;
mod notices;
mod proofs;
mod questions;
mod records;
mod rest;
mod tags;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortHandle, BoxFuture, pending};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use self::answers::Done;
use self::moves::Fleet;
use self::notices::Heal;
use self::proofs::Asked;
use self::records::Records;
use self::rest::Rest;
use self::tags::Tags;
use crate::apply;
use crate::events::Events;
use crate::governor::Governor;
use crate::index::{Change, Index, Woken};
use crate::journal;
use crate::leader::{Leader, Turn};
use crate::metrics::Metrics;
use crate::plan::{self, Step};
use crate::proof::{Proofs, to_stock};
use crate::queue::Queue;
use crate::registry;
use crate::seen::{Key, Seen, Service, Shown};
use crate::server::Question;
use crate::settings::{Environment, Settings};
use crate::traffic::Traffic;
use crate::watch::{self, Event, Scope};
use crate::window::Window;

/// What the loop is connected to.
pub struct Outside {
    /// The API server.
    pub client: Client,
    /// The requests to it, as they are counted.
    pub traffic: Traffic,
    /// What is asked about the loop itself, if that is served.
    pub questions: Option<Receiver<Question>>,
    /// What to do when there has been nothing to do for a while: to give memory back, say.
    pub at_rest: fn(),
}

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it looks.
    pub scope: Scope,
    /// How many requests may be under way at once.
    pub concurrency: usize,
    /// What of the operator's own environment counts.
    pub environment: Environment,
    /// The name of the Lease by which operators agree which of them writes, in the namespace of
    /// the settings; `None` = there is no other.
    pub lease: Option<String>,
}

/// What there is to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Item {
    Workspace(Key),
    /// The Service of a namespace.
    Service(Arc<str>),
    /// The record of the settings in force.
    Fleet,
    /// Whose turn it is to be moved.
    Moves,
    /// What there is to say of all Workspaces together.
    Overview,
    /// What is to be proved, and the probes.
    Proofs,
}

/// A look costs nothing, and a clock that is set meanwhile must not make a wait much longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// After a signal, what is under way gets this long to end.
const LAST_REQUESTS: Duration = Duration::from_millis(700);

/// Runs until `stop` resolves.
pub async fn run(outside: Outside, options: Options, stop: impl Future<Output = ()>) {
    let Outside {
        client,
        traffic,
        questions,
        at_rest,
    } = outside;
    let (sender, events) = mpsc::channel(1024);
    watch::start(&client, &options.scope, &sender);
    let namespace = &options.scope.settings_namespace;
    let elected = |lease: &String| Leader::elected(client.clone(), namespace, lease);
    let leader = options.lease.as_ref().map_or_else(Leader::alone, elected);
    let mut controller = Controller {
        leader,
        events: Events::new(client.clone()),
        client,
        index: Index::default(),
        queue: Queue::default(),
        governor: Governor::new(options.environment.clone()),
        under_way: FuturesUnordered::new(),
        awaited: FuturesUnordered::new(),
        waits: HashMap::new(),
        waits_for: vec!["workspaces", "pods", "claims", "services"],
        window: Window::new(options.concurrency),
        metrics: Metrics::new(&traffic),
        traffic,
        rest: Rest::new(at_rest),
        heal: Heal::default(),
        fleet: Fleet::default(),
        telling: FuturesUnordered::new(),
        records: Records::default(),
        tags: Tags::default(),
        proofs: Proofs::default(),
        prepared: None,
        registries: None,
        asking: FuturesUnordered::new(),
        options,
    };
    // Where nothing is served, nobody asks.
    let questions = questions.unwrap_or_else(|| mpsc::channel(1).1);
    controller.work(events, questions, stop).await;
    controller.leader.release().await;
}

struct Controller {
    client: Client,
    options: Options,
    leader: Leader,
    index: Index,
    queue: Queue<Item>,
    governor: Governor,
    window: Window,
    metrics: Metrics,
    traffic: Traffic,
    rest: Rest,
    records: Records,
    tags: Tags,
    events: Events,
    heal: Heal,
    fleet: Fleet,
    proofs: Proofs,
    /// The settings of the switch that is prepared.
    prepared: Option<Settings>,
    /// The client of registries, once one was asked; `None` in it = there can be none.
    registries: Option<Option<Arc<registry::Client>>>,
    /// The registries that are being asked.
    asking: FuturesUnordered<BoxFuture<'static, Asked>>,
    /// The Events that are being published.
    telling: FuturesUnordered<BoxFuture<'static, ()>>,
    /// The requests of steps, with how long they took.
    under_way: FuturesUnordered<BoxFuture<'static, (Done, Duration)>>,
    /// The waits for objects that the watches do not show.
    awaited: FuturesUnordered<BoxFuture<'static, Option<Key>>>,
    /// How to give up each of these waits.
    waits: HashMap<Key, AbortHandle>,
    /// The lists that have not come yet: before, nothing is decided.
    waits_for: Vec<&'static str>,
}

/// How long to sleep until then, at most.
fn pause(now: Timestamp, then: Timestamp) -> Duration {
    let pause = Duration::try_from(then.duration_since(now));
    pause.unwrap_or_default().min(LONGEST_SLEEP)
}

/// Until a moment, or for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// One namespace after the other: its EndpointSlices change with each Pod.
fn in_order<'a>(keys: impl Iterator<Item = &'a Key>) -> Woken {
    let mut keys: Vec<_> = keys.cloned().collect();
    keys.sort_unstable();
    keys.into()
}

impl Controller {
    async fn work(
        &mut self,
        mut events: Receiver<Event>,
        mut questions: Receiver<Question>,
        stop: impl Future<Output = ()>,
    ) {
        tokio::pin!(stop);
        loop {
            self.start_passes();
            let due = self.queue.next_due();
            let asks = self.tags.due().map(Instant::from_std);
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.leader.changed() => {}
                Some(question) = questions.recv() => self.answer(question),
                Some(event) = events.recv() => self.take_in(event),
                Some((done, took)) = self.under_way.next() => self.conclude(done, took),
                Some(ended) = self.awaited.next() => self.forget_unwatched(ended),
                Some(()) = self.telling.next() => {}
                told = self.tags.lookout.next() => self.heard(told),
                Some(asked) = self.asking.next() => self.registry_told(asked),
                () = until(due) => {}
                () = until(asks) => {}
                () = until(self.rest.due()) => self.rest.begin(),
            }
        }
        let rest = async { while self.under_way.next().await.is_some() {} };
        if timeout(LAST_REQUESTS, rest).await.is_err() {
            warn!("stopping before the last requests were answered; the next start looks again");
        }
    }

    fn take_in(&mut self, event: Event) {
        self.rest.put_off();
        let woken = match event {
            Event::Workspace(change) => {
                self.listed("workspaces", &change);
                self.overview_may_change();
                self.turns_may_change();
                self.index.take_in(change)
            }
            Event::Pod(change) => {
                self.listed("pods", &change);
                self.overview_may_change();
                self.turns_may_change();
                self.index.take_in(change)
            }
            Event::Claim(change) => {
                self.listed("claims", &change);
                self.turns_may_change();
                self.index.take_in(change)
            }
            Event::Service(change) => {
                self.listed("services", &change);
                let keys = self.index.take_in_service(change);
                self.service_came(keys);
                return;
            }
            Event::Probe(change) => {
                self.probe_told(change);
                return;
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

    /// What waited for a Service goes on as urgently as it came to wait.
    fn service_came(&mut self, keys: Vec<Key>) {
        for woken in self.index.by_hurry(keys) {
            self.wake(woken);
        }
    }

    /// Who leads looks at what changed; who begins to lead, at everything.
    fn wake(&mut self, woken: Woken) {
        if !self.leader.leads() {
            return;
        }
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
            // Nobody goes on by a turn that was worked out before the edit.
            let turns = std::mem::take(&mut self.fleet).moves.turns;
            self.wake(turns.into_keys().collect::<Vec<_>>().into());
            self.turns_change();
            let awaits = |key: &&Key| {
                let seen = self.index.seen(key);
                seen.is_some_and(|it| plan::awaits_settings(&it))
            };
            let woken = in_order(self.index.keys().filter(awaits));
            self.wake(woken);
            self.retry_proofs();
            self.prepare();
        }
        self.record_may_change();
        self.overview_may_change();
    }

    fn start_passes(&mut self) {
        if !self.waits_for.is_empty() || !self.governor.is_ready() {
            return;
        }
        self.leader.enter();
        self.follow_leader();
        self.look_out();
        while self.under_way.len() < self.window.size() && self.leader.may_write(Instant::now()) {
            let Some(item) = self.queue.take(Instant::now()) else {
                return;
            };
            match &item {
                Item::Workspace(key) => self.pass(key, &item),
                Item::Service(namespace) => self.service_pass(namespace, &item),
                Item::Fleet => self.fleet_pass(),
                Item::Moves => self.moves_pass(),
                Item::Overview => self.overview_pass(),
                Item::Proofs => self.proofs_pass(),
            }
        }
    }

    fn follow_leader(&mut self) {
        while let Some(turn) = self.leader.turn(Instant::now()) {
            match turn {
                Turn::Begins => self.look_at_everything(),
                Turn::Ends => self.let_go(),
            }
        }
    }

    fn look_at_everything(&mut self) {
        if self.governor.first_look() {
            journal::started(&self.options.scope, self.governor.in_force());
        }
        let woken = in_order(self.index.keys());
        self.wake(woken);
        self.proofs_may_change();
        self.record_may_change();
        self.turns_change();
        self.overview_may_change();
    }

    /// Another one may write from now on. Of all that is known only what the watches show stays
    /// true, so this process becomes as one that has just been started.
    fn let_go(&mut self) {
        self.under_way.clear();
        self.telling.clear();
        self.asking.clear();
        self.proofs.forget();
        self.waits.drain().for_each(|(_, wait)| wait.abort());
        self.queue = Queue::default();
        self.records = Records::default();
        self.tags = Tags::default();
        self.heal = Heal::default();
        self.fleet = Fleet::default();
        self.window = Window::new(self.options.concurrency);
        self.index.forget();
        self.metrics.recorded(true);
    }

    /// One pass over one Workspace: plan, then apply one step.
    fn pass(&mut self, key: &Key, item: &Item) {
        let now = Instant::now();
        if let Some(until) = self.index.behind_until(key, now) {
            self.queue.put_off(item.clone(), until);
            self.queue.done(item);
            return;
        }
        let seen = self.index.seen(key);
        let Some(seen) = seen.filter(|it| it.workspace.is_some()) else {
            self.give_up(key, item);
            return;
        };
        let ends = seen.memory.namespace_terminating;
        let waits_for_service = seen.service == Service::Missing && !ends;
        if waits_for_service {
            let service = Item::Service(Arc::clone(&key.namespace));
            self.queue.add_urgent(service);
        }
        let shown = seen.workspace.map(|it| Shown::from(&it.status));
        let mut shown = shown.unwrap_or_default();
        shown.has_pod &= !self.index.is_stopped(key);
        let clock = Timestamp::now();
        let known = self.proofs.known(key, clock);
        let seen = Seen {
            proof: known.as_ref(),
            turn: self.fleet.turn(key),
            ..seen
        };
        let stock = self.prepared.as_ref().map(|next| to_stock(&seen, next));
        let plan = plan::plan(&seen, self.governor.in_force(), clock);
        self.metrics.planned(&seen, &plan, now.elapsed());
        let step = plan.step.inspect(|step| journal::planned(&seen, step));
        let tells = matches!(step, Some(Step::PatchStatus { .. }));
        let mut told = false;
        if let Some(memory) = self.index.memory(key) {
            memory.showing = plan.showing;
            told = std::mem::replace(&mut memory.telling, tells) && !tells;
        }
        if told {
            self.turns_may_change();
        }
        if waits_for_service && self.queue.is_urgent(item) {
            self.index.hurry(key);
        }
        self.wants(key, plan.wants, stock.flatten());
        let wake = plan.wake.map(|at| now + pause(clock, at));
        self.queue.wake(item.clone(), wake);
        match step {
            Some(step) => {
                if let (Some(pod), Some(memory)) = (step.stops(), self.index.memory(key)) {
                    memory.tell_to_go(pod, clock);
                }
                let (client, key) = (self.client.clone(), key.clone());
                let request = async move {
                    let outcome = apply::apply(&client, &key, &step).await;
                    Done::Step(key, shown, step, outcome)
                };
                self.begin(request);
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
        self.begin(request);
    }

    fn begin(&mut self, request: impl Future<Output = Done> + Send + 'static) {
        let timed = async {
            let begun = Instant::now();
            (request.await, begun.elapsed())
        };
        self.under_way.push(timed.boxed());
    }

    /// There is no such Workspace any more.
    fn give_up(&mut self, key: &Key, item: &Item) {
        if let Some(wait) = self.waits.remove(key) {
            wait.abort();
        }
        self.index.set_unwatched_pod(key, None);
        self.index.set_unwatched_claim(key, None);
        self.wants(key, None, None);
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
