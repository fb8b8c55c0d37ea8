//! The requests of the operator, counted in the audit log: the same on every machine.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{Events, Mark, Process};

use workspace_operator::names;

use crate::Plan;
use crate::bare::{self, Work};
use crate::bed::{Bed, NAMESPACES, OPERATOR, PATIENCE, SYSTEM, stop};
use crate::bodies::{DOWN, UP};
use crate::eye::Sight;
use crate::machine;
use crate::report::Report;
use crate::rest::STARTED;
use crate::wire;

const LEASES: &str = "leases";
const ELSEWHERE: &str = "elsewhere.example.com/agents";
/// How long it must have been silent before the requests are counted.
const SETTLED: Duration = Duration::from_secs(3);

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    eprintln!("counts: {count} Workspaces, audited");
    let bed = Bed::make(true).await?;
    bed.workspaces(count).await?;

    let operator = started(plan, report, &bed).await?;
    let mark = bed.cluster.audit().mark()?;
    bed.edit(ELSEWHERE).await?;
    bed.in_force(ELSEWHERE).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(&bed, mark)?;
    report.exactly(
        "an edit while all run: writes to the record",
        writes.fleet,
        1,
    );
    report.exactly("… and any other write", writes.all - writes.fleet, 0);

    stop(operator).await?;
    let operator = restarted(plan, report, &bed).await?;
    let operator = idle(plan, report, &bed, operator).await?;
    healed(plan, report, &bed).await?;
    stop(operator).await
}

async fn started(plan: &Plan, report: &mut Report, bed: &Bed) -> Result<Process> {
    let count = plan.count();
    let mark = bed.cluster.audit().mark()?;
    let operator = bed.operator(plan)?;
    let ready = |sight: &Sight| sight.all_in("Ready", count);
    bed.eye.until("all Ready", PATIENCE, ready).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, mark)?;
    report.exactly("created to Ready: Pods created", writes.pods_created, count);
    report.exactly("… statuses written", writes.statuses, count);
    report.exactly(
        "… Services created, one a namespace",
        writes.services,
        NAMESPACES.len(),
    );
    report.exactly("… writes to the record of the settings", writes.fleet, 1);
    report.note("… overviews of all", writes.overviews.to_string());
    report.exactly("… Events", writes.events, 0);
    report.exactly("… any other write", writes.others(), 0);
    report.exactly(
        "… requests that are no write, list or watch",
        writes.reads,
        0,
    );
    Ok(operator)
}

async fn restarted(plan: &Plan, report: &mut Report, bed: &Bed) -> Result<Process> {
    let mark = bed.cluster.audit().mark()?;
    let operator = bed.operator(plan)?;
    operator.wait_for_line(STARTED, PATIENCE).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, mark)?;
    let all = writes.all + writes.overviews + writes.events;
    report.exactly("a restart while all run: writes", all, 0);
    report.exactly(
        "… requests that are no write, list or watch",
        writes.reads,
        0,
    );
    Ok(operator)
}

/// Watches are in the log once they end, so the operator is started anew for what follows.
async fn idle(plan: &Plan, report: &mut Report, bed: &Bed, operator: Process) -> Result<Process> {
    let mark = bed.cluster.audit().mark()?;
    let before = machine::cpu_of(operator.id())?;
    let begin = k8s_time();
    tokio::time::sleep(plan.idle()).await;
    let spent = machine::cpu_of(operator.id())? - before;
    let end = k8s_time();
    stop(operator).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let during = requests(bed, mark)?.filter(|it| {
        let at = it.timestamp.as_millisecond();
        begin <= at && at <= end
    });
    let renewals = during.iter().filter(|it| it.verb == "watch").count();
    let seconds = plan.idle().as_secs();
    let what = format!("idle for {seconds} s, all running: requests but watches, and the Lease's");
    report.exactly(&what, during.len() - renewals, 0);
    report.note("… watches renewed", renewals.to_string());
    if !plan.quick {
        let share = spent.as_secs_f64() / plan.idle().as_secs_f64() * 100.0;
        report.at_most("… CPU", share, 0.1, "% of a core");
        let bare = renewing(plan, bed).await?;
        let what = "… CPU of a bare client that only renews a Lease as often";
        report.note(what, format!("{bare:.2} % of a core"));
    }
    let operator = bed.operator(plan)?;
    operator.wait_for_line(STARTED, PATIENCE).await?;
    Ok(operator)
}

/// The CPU of a client that does no more than renew the Lease, in per cent of a core.
async fn renewing(plan: &Plan, bed: &Bed) -> Result<f64> {
    let mut bare = bed.bare(Work::Renew, plan).await?;
    bare.go().await?;
    let spent = bare.end().await?;
    Ok(spent.as_secs_f64() / bare::RENEWING.as_secs_f64() * 100.0)
}

async fn healed(plan: &Plan, report: &mut Report, bed: &Bed) -> Result<()> {
    let count = plan.count();
    let down = format!("{DOWN}/agents");
    bed.edit(&down).await?;
    bed.in_force(&down).await?;
    for namespace in NAMESPACES {
        let request = http::Request::delete(wire::pods_in(namespace)).body(Vec::new())?;
        bed.client.request_text(request).await?;
    }
    all_stuck(bed, count, &down).await?;

    let mark = bed.cluster.audit().mark()?;
    bed.edit(UP).await?;
    let ready = |sight: &Sight| sight.all_in("Ready", count);
    bed.eye.until("all healed", PATIENCE, ready).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, mark)?;
    report.exactly(
        "an edit while all are stuck: Pods patched",
        writes.pods_patched,
        count,
    );
    report.exactly("… statuses written", writes.statuses, count);
    report.exactly("… writes to the record of the settings", writes.fleet, 1);
    report.note("… overviews of all", writes.overviews.to_string());
    report.note("… Events", writes.events.to_string());
    let rest = writes.others() + writes.pods_created + writes.services - writes.pods_patched;
    report.exactly("… any other write", rest, 0);
    report.exactly(
        "… requests that are no write, list or watch",
        writes.reads,
        0,
    );
    Ok(())
}

/// Waits until each Pod waits for its image in vain, its Workspace says so, and no write follows.
pub async fn all_stuck(bed: &Bed, count: usize, registry: &str) -> Result<()> {
    let stuck = |sight: &Sight| {
        let pods = sight.pods.len() >= count && sight.pods.values().all(|it| it.looked_at);
        sight.all_told(registry).filter(|_| pods)?;
        sight.all_in("ImagePullFailed", count)
    };
    bed.eye.until("all stuck", PATIENCE, stuck).await?;
    tokio::time::sleep(SETTLED).await;
    let late = bed.eye.sight().all_in("ImagePullFailed", count);
    ensure!(late.is_some(), "a stuck Workspace changed its state");
    Ok(())
}

fn k8s_time() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX))
}

/// All but those about the Lease.
fn requests(bed: &Bed, mark: Mark) -> Result<Events> {
    let events = bed.cluster.audit().events_since(mark)?;
    let ours = events.by_service_account(SYSTEM, OPERATOR);
    Ok(ours.filter(|it| it.resource != LEASES))
}

/// The operator's requests, by kind.
pub struct Writes {
    /// Without the overviews and the Events.
    all: usize,
    /// At most one a second, while something changes.
    pub overviews: usize,
    pub events: usize,
    pub pods_created: usize,
    pub pods_patched: usize,
    pub pods_deleted: usize,
    pub statuses: usize,
    services: usize,
    pub fleet: usize,
    /// Neither writes nor lists nor watches.
    reads: usize,
}

impl Writes {
    pub fn since(bed: &Bed, mark: Mark) -> Result<Self> {
        let requests = requests(bed, mark)?;
        let count = |verb: &str, resource: &str, subresource: &str| {
            let is = |it: &&cluster::Event| {
                (&*it.verb, &*it.resource, &*it.subresource) == (verb, resource, subresource)
                    && it.succeeded()
            };
            requests.iter().filter(is).count()
        };
        let is_overview = |it: &&cluster::Event| it.is_by(names::STATUS_MANAGER);
        let overviews = requests.iter().filter(is_overview).count();
        let is_event = |it: &&cluster::Event| it.is_write() && it.resource == "events";
        let events = requests.iter().filter(is_event).count();
        let is_read =
            |it: &&cluster::Event| !it.is_write() && !["list", "watch"].contains(&&*it.verb);
        Ok(Self {
            all: requests.iter().filter(|it| it.is_write()).count() - overviews - events,
            overviews,
            events,
            pods_created: count("create", "pods", ""),
            pods_patched: count("patch", "pods", ""),
            pods_deleted: count("delete", "pods", ""),
            statuses: count("patch", "workspaces", "status"),
            services: count("create", "services", ""),
            fleet: count("patch", "configmaps", "") - overviews,
            reads: requests.iter().filter(is_read).count(),
        })
    }

    /// What is none of those that create, tell, serve and record; refused ones are among it.
    pub fn others(&self) -> usize {
        self.all - self.pods_created - self.statuses - self.services - self.fleet
    }
}
