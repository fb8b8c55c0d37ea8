//! What is counted, and how it is told.
//!
//! Counters are kept as things happen. What has a value at each moment, such as the number of
//! Workspaces in each state, is only worked out when somebody asks: that is seldom, and keeping such
//! numbers right at every change would cost more.

mod documented;
mod format;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use self::documented as list;
pub use self::documented::{DOCUMENTED, Documented, Kind};
pub use self::format::Format;
use crate::apply::Outcome;
use crate::fleet::{InForce, Origin};
use crate::index::{Total, Totals};
use crate::moves::Tally;
use crate::overview::Overview;
use crate::plan::{Plan, Rollout, Step};
use crate::proof::Learnt;
use crate::resolver;
use crate::revision::short_hash;
use crate::seen::Seen;
use crate::settings::Settings;
use crate::traffic::{Labels, Traffic};
use crate::workspace::Reason;

/// So many registries have time series of their own. What names them are annotations of Pods,
/// which others may write.
const REGISTRIES: usize = 16;
/// All registries beyond them.
const OTHER: &str = "other";
/// What has no Pod has no registry.
const NONE: &str = "none";

const READY_BUCKETS: [f64; 11] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];
const PLAN_BUCKETS: [f64; 7] = [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.001, 0.01, 0.1];
const APPLY_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// What has a value at this moment.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// The Workspaces, if this is the operator that answers for them.
    pub workspaces: Option<Totals>,
    /// What there is to say of them together, likewise.
    pub overview: Option<Overview>,
    /// How many items wait.
    pub queued: usize,
    /// For how long the oldest of them has.
    pub oldest: Duration,
    /// What is in force.
    pub in_force: &'a InForce,
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    workspaces: Family<Labels, Gauge>,
    outage: Family<Labels, Gauge>,
    at_risk: Gauge,
    outdated: Family<Labels, Gauge>,
    unwatched: Family<Labels, Gauge>,
    rollout: Family<Labels, Gauge>,
    halted: Gauge,
    prepull: Family<Labels, Gauge>,
    rollouts: Family<Labels, Counter>,
    pull_failures: Family<Labels, Counter>,
    probes: Family<Labels, Counter>,
    ready: Histogram,
    plans: Histogram,
    applies: Family<Labels, Histogram, fn() -> Histogram>,
    queue_items: Gauge,
    queue_oldest: Gauge<f64, AtomicU64>,
    settings: Family<Labels, Gauge>,
    last_good: Gauge,
    unrecorded: Gauge,
    leader: Gauge,
    /// Those that have time series of their own.
    registries: Vec<String>,
}

impl Metrics {
    /// All at zero, and the requests as they are counted elsewhere.
    #[must_use]
    pub fn new(traffic: &Traffic) -> Self {
        let build = Family::<Labels, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        build.get_or_create(&vec![("version", version)]).set(1);
        let mut metrics = Self {
            registry: Registry::default(),
            workspaces: Family::default(),
            outage: Family::default(),
            at_risk: Gauge::default(),
            outdated: Family::default(),
            unwatched: Family::default(),
            rollout: Family::default(),
            halted: Gauge::default(),
            prepull: Family::default(),
            rollouts: Family::default(),
            pull_failures: Family::default(),
            probes: Family::default(),
            ready: Histogram::new(READY_BUCKETS),
            plans: Histogram::new(PLAN_BUCKETS),
            applies: Family::new_with_constructor(|| Histogram::new(APPLY_BUCKETS)),
            queue_items: Gauge::default(),
            queue_oldest: Gauge::default(),
            settings: Family::default(),
            last_good: Gauge::default(),
            unrecorded: Gauge::default(),
            leader: Gauge::default(),
            registries: Vec::new(),
        };
        let all = &mut metrics.registry;
        register(all, &list::WORKSPACES, &metrics.workspaces);
        register(all, &list::OUTAGE, &metrics.outage);
        register(all, &list::AT_RISK, &metrics.at_risk);
        register(all, &list::OUTDATED, &metrics.outdated);
        register(all, &list::UNWATCHED, &metrics.unwatched);
        register(all, &list::ROLLOUT, &metrics.rollout);
        register(all, &list::HALTED, &metrics.halted);
        register(all, &list::PREPULL, &metrics.prepull);
        register(all, &list::ROLLOUTS, &metrics.rollouts);
        register(all, &list::PULL_FAILURES, &metrics.pull_failures);
        register(all, &list::PROBES, &metrics.probes);
        register(all, &list::READY, &metrics.ready);
        register(all, &list::PLANS, &metrics.plans);
        register(all, &list::APPLIES, &metrics.applies);
        register(all, &list::QUEUE_ITEMS, &metrics.queue_items);
        register(all, &list::QUEUE_OLDEST, &metrics.queue_oldest);
        register(all, &list::REQUESTS, &traffic.requests());
        register(all, &list::SETTINGS, &metrics.settings);
        register(all, &list::LAST_GOOD, &metrics.last_good);
        register(all, &list::UNRECORDED, &metrics.unrecorded);
        register(all, &list::LEADER, &metrics.leader);
        register(all, &list::BUILD, &build);
        metrics
    }

    /// It was decided about one Workspace.
    pub fn planned(&mut self, seen: &Seen<'_>, plan: &Plan, took: Duration) {
        self.plans.observe(took.as_secs_f64());
        let fails = |reason: Reason| reason == Reason::ImagePullFailed;
        let showed = seen.memory.showing.is_some_and(|it| fails(it.0));
        // One that has just begun to lead finds what the one before it has told.
        let told = seen.workspace.and_then(|it| it.status.state);
        let begins =
            plan.showing.is_some_and(|it| fails(it.0)) && !showed && !told.is_some_and(fails);
        if begins && let Some(image) = seen.pod.and_then(|it| it.told.image.as_deref()) {
            let registry = self.known(resolver::registry_host(image));
            let labels = vec![("registry", registry)];
            self.pull_failures.get_or_create(&labels).inc();
        }
    }

    /// A step was answered.
    pub fn applied(&self, step: &Step, outcome: &Outcome, took: Duration) {
        self.answered(name(step), took);
        let rollout = match step {
            Step::CreatePod { rollout, .. } => Some(("create", rollout.to_string())),
            Step::DeletePod { why, .. } => Some(("delete", why.to_string())),
            Step::SetImage { why, .. } => Some(("heal", why.to_string())),
            Step::MovePod { moved, .. } if moved.back.is_some() => {
                Some(("move", Rollout::PutBack.to_string()))
            }
            Step::MovePod { .. } => Some(("move", Rollout::Moved.to_string())),
            _ => None,
        };
        if let Some((step, reason)) = rollout {
            let labels = vec![
                ("step", step.to_owned()),
                ("reason", reason),
                ("result", result(outcome).to_owned()),
            ];
            self.rollouts.get_or_create(&labels).inc();
        }
    }

    /// A request was answered that is about no Workspace.
    pub fn answered(&self, step: &str, took: Duration) {
        let labels = vec![("step", step.to_owned())];
        self.applies
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A probe brought this.
    pub fn probed(&mut self, learnt: &Learnt) {
        let registry = self.known(resolver::registry_host(&learnt.question.image));
        let result = if learnt.result.is_ok() {
            "pulled"
        } else {
            "failed"
        };
        let labels = vec![("registry", registry), ("result", result.to_owned())];
        self.probes.get_or_create(&labels).inc();
    }

    /// Whether the record of the settings says what it should.
    pub fn recorded(&self, is: bool) {
        self.unrecorded.set((!is).into());
    }

    /// A Workspace was told Ready this long after its Pod was created or healed.
    pub fn became_ready(&self, after: Duration) {
        self.ready.observe(after.as_secs_f64());
    }

    /// Writes them all.
    #[must_use]
    pub fn expose(&mut self, moment: &Moment<'_>, format: Format) -> String {
        self.set(moment);
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        match format {
            Format::OpenMetrics => text,
            Format::Text => format::text(&text),
        }
    }

    fn set(&mut self, moment: &Moment<'_>) {
        self.queue_items.set(whole(moment.queued));
        self.queue_oldest.set(moment.oldest.as_secs_f64());
        self.leader.set(moment.workspaces.is_some().into());
        self.set_settings(moment.in_force);
        self.set_overview(moment);
        self.workspaces.clear();
        for (total, count) in moment.workspaces.iter().flatten() {
            let Total {
                state,
                stalled,
                registry,
            } = total;
            let state = state.map_or_else(|| "New".to_owned(), |it| it.to_string());
            let registry = match registry {
                Some(registry) => self.known(registry),
                None => NONE.to_owned(),
            };
            let labels = vec![
                ("state", state),
                ("stalled", stalled.to_string()),
                ("registry", registry),
            ];
            self.workspaces.get_or_create(&labels).inc_by(whole(*count));
        }
    }

    fn set_overview(&mut self, moment: &Moment<'_>) {
        self.outage.clear();
        self.at_risk.set(0);
        self.outdated.clear();
        self.unwatched.clear();
        self.set_rollout(moment.overview.as_ref().and_then(|it| it.rollout.as_ref()));
        self.prepull.clear();
        let Some(overview) = &moment.overview else {
            return;
        };
        if let Some(settings) = &moment.in_force.settings {
            let host = resolver::registry_host(settings.registry().as_str());
            let labels = vec![("registry", host.to_owned())];
            for metric in [&self.outage, &self.outdated, &self.unwatched] {
                drop(metric.get_or_create(&labels));
            }
        }
        for failure in overview.outages() {
            let labels = vec![("registry", self.known(&failure.registry))];
            self.outage
                .get_or_create(&labels)
                .inc_by(whole(failure.workspaces));
        }
        if let Some(at_risk) = &overview.at_risk {
            self.at_risk.set(whole(at_risk.workspaces));
        }
        for image in &overview.outdated_images {
            let registry = self.known(resolver::registry_host(&image.image));
            self.outdated
                .get_or_create(&vec![("registry", registry)])
                .inc_by(whole(image.workspaces));
        }
        for images in &overview.unwatched_images {
            let registry = self.known(&images.registry);
            self.unwatched
                .get_or_create(&vec![("registry", registry)])
                .inc_by(whole(images.images));
        }
        if let Some(prepull) = &overview.prepull {
            let failed: usize = prepull.failed.values().sum();
            let waiting = prepull.images.saturating_sub(prepull.pulled + failed);
            for (state, count) in [
                ("pulled", prepull.pulled),
                ("failed", failed),
                ("waiting", waiting),
            ] {
                let labels = vec![("state", state.to_owned())];
                self.prepull.get_or_create(&labels).set(whole(count));
            }
        }
    }

    fn set_rollout(&self, rollout: Option<&Tally>) {
        self.rollout.clear();
        let halted = rollout.is_some_and(|it| it.halted.is_some());
        self.halted.set(halted.into());
        let Some(rollout) = rollout else {
            return;
        };
        let blocked = rollout.blocked.values().sum();
        let free = rollout.to_move.saturating_sub(blocked + rollout.deferred);
        let waiting = rollout.waits.as_ref().map_or(0, |_| free);
        for (state, count) in [
            ("moved", rollout.moved),
            ("moving", rollout.moving),
            ("to_move", rollout.to_move),
            ("blocked", blocked),
            ("deferred", rollout.deferred),
            ("waiting", waiting),
            ("opted_out", rollout.opted_out),
            ("failed", rollout.failed),
            ("put_back", rollout.put_back),
        ] {
            let labels = vec![("state", state.to_owned())];
            self.rollout.get_or_create(&labels).set(whole(count));
        }
    }

    fn set_settings(&mut self, in_force: &InForce) {
        let settings = in_force.settings.as_ref();
        let prefix = settings.map_or_else(String::new, |it| it.registry().to_string());
        if settings.is_some() {
            let host = resolver::registry_host(&prefix).to_owned();
            // Whatever others wrote on Pods, the one that everything depends on has its own name.
            if !self.registries.contains(&host) {
                self.registries.push(host.clone());
            }
            // The increase of what begins to exist with its first failure would not be seen.
            drop(self.pull_failures.get_or_create(&vec![("registry", host)]));
        }
        let labels = vec![
            ("registry", prefix),
            ("hash", settings.map_or_else(String::new, hash)),
            ("valid", in_force.error.is_none().to_string()),
        ];
        self.settings.clear();
        self.settings.get_or_create(&labels).set(1);
        self.last_good
            .set((in_force.origin == Origin::LastGood).into());
    }

    /// The name under which a registry is counted.
    fn known(&mut self, registry: &str) -> String {
        if self.registries.iter().any(|it| it == registry) {
            return registry.to_owned();
        }
        if self.registries.len() < REGISTRIES {
            self.registries.push(registry.to_owned());
            return registry.to_owned();
        }
        OTHER.to_owned()
    }
}

fn whole(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn register(all: &mut Registry, what: &Documented, metric: &(impl Metric + Clone)) {
    // The format adds the suffix of a counter itself.
    let name = what.name.trim_end_matches("_total");
    all.register(name, what.meaning, metric.clone());
}

/// Equal settings have an equal hash, in every process. It is short, as it is a label.
fn hash(settings: &Settings) -> String {
    let lines = settings.to_data().into_iter();
    let text: String = lines
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    let mut hash = short_hash(&text);
    hash.truncate(12);
    hash
}

fn name(step: &Step) -> &'static str {
    match step {
        Step::CreatePod { .. } => "create_pod",
        Step::TryPod { .. } => "try_pod",
        Step::SetImage { .. } => "set_image",
        Step::MovePod { .. } => "move_pod",
        Step::DeletePod { .. } => "delete_pod",
        Step::CreateClaim { .. } => "create_claim",
        Step::PatchClaim { .. } => "patch_claim",
        Step::PatchStatus { .. } => "patch_status",
    }
}

fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Written(_) | Outcome::Accepted => "done",
        Outcome::NoEffect => "undone",
        Outcome::Refused(_) | Outcome::NamespaceTerminating => "refused",
        Outcome::Stale | Outcome::Exists(_) => "stale",
        Outcome::Failed { .. } => "failed",
    }
}
