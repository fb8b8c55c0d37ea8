//! The requests of the operator, counted in the audit log: the same on every machine, but for those
//! that tell of all at once, which have a ceiling.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Events, Mark, Process};

use workspace_operator::names;

use crate::Plan;
use crate::bare;
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
/// Besides one a second: the first may come at once, and the last second is not full.
const OVERVIEWS_MORE: usize = 2;
/// There are three: of the edit, of the registry that fails no more and of all that are healed; or
/// of the edit, of a move and of its end. Where all is slow, a heal or an outage may end and begin
/// again; what counts is that none comes for each Workspace.
const EVENTS_AT_MOST: usize = 6;

pub async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    eprintln!("counts: {count} Workspaces, audited");
    let bed = Bed::make(true).await?;
    bed.workspaces(count).await?;

    let operator = started(plan, report, &bed).await?;
    let since = Since::now(&bed)?;
    bed.edit(ELSEWHERE).await?;
    bed.in_force(ELSEWHERE).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(&bed, &since)?;
    report.exactly(
        "an edit while all run: writes to the record",
        writes.fleet,
        1,
    );
    writes.told(report);
    report.exactly("… and any other write", writes.all - writes.fleet, 0);

    stop(operator).await?;
    let operator = restarted(plan, report, &bed).await?;
    let operator = idle(plan, report, &bed, operator).await?;
    healed(plan, report, &bed).await?;
    stop(operator).await
}

async fn started(plan: &Plan, report: &mut Report, bed: &Bed) -> Result<Process> {
    let count = plan.count();
    let since = Since::now(bed)?;
    let operator = bed.operator(plan)?;
    let ready = |sight: &Sight| sight.all_in("Ready", count);
    bed.eye.until("all Ready", PATIENCE, ready).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, &since)?;
    report.exactly("created to Ready: Pods created", writes.pods_created, count);
    report.exactly("… statuses written", writes.statuses, count);
    report.exactly(
        "… Services created, one a namespace",
        writes.services,
        NAMESPACES.len(),
    );
    report.exactly("… writes to the record of the settings", writes.fleet, 1);
    writes.overviews_told(report);
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
    let since = Since::now(bed)?;
    let operator = bed.operator(plan)?;
    operator.wait_for_line(STARTED, PATIENCE).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, &since)?;
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
    let others = plan.quiet().await?;
    let mark = bed.cluster.audit().mark()?;
    let before = machine::cpu_of(operator.id())?;
    let begin = k8s_time();
    tokio::time::sleep(plan.idle()).await;
    let spent = machine::cpu_of(operator.id())? - before;
    let end = k8s_time();
    let others = [others.so_far()?];
    stop(operator).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let during = requests(bed, mark)?.filter(|it| {
        let at = it.timestamp.as_millisecond();
        begin <= at && at <= end
    });
    let is_renewal = |it: &&cluster::Event| it.resource == LEASES && it.is_write();
    let renewals = during.iter().filter(is_renewal).count();
    let during = during.filter(|it| it.resource != LEASES);
    let watches = during.iter().filter(|it| it.verb == "watch").count();
    let seconds = plan.idle().as_secs();
    let what = format!("idle for {seconds} s, all running: requests but watches, and the Lease's");
    report.exactly(&what, during.len() - watches, 0);
    report.note("… watches renewed", watches.to_string());
    report.note("… renewals of the Lease", renewals.to_string());
    if !plan.quick {
        let share = spent.as_secs_f64() / plan.idle().as_secs_f64() * 100.0;
        report.at_most("… CPU", share, 0.1, "% of a core");
        renewing(plan, report, bed, renewals).await?;
        report.others(&others);
        report.keep("others while idle", &others)?;
    }
    let operator = bed.operator(plan)?;
    operator.wait_for_line(STARTED, PATIENCE).await?;
    Ok(operator)
}

/// The CPU of a client that does no more than renew the Lease, as often as the operator was seen to
/// do it.
async fn renewing(plan: &Plan, report: &mut Report, bed: &Bed, renewals: usize) -> Result<()> {
    ensure!(renewals > 0, "the Lease was not renewed");
    let every = plan.idle() / u32::try_from(renewals)?;
    let mut bare = bed.renewing(plan, every).await?;
    bare.go().await?;
    let spent = bare.end().await?;
    let share = spent.as_secs_f64() / (every * bare::RENEWALS).as_secs_f64() * 100.0;
    let what = format!(
        "… CPU of a bare client that only renews a Lease as often, every {:.2} s",
        every.as_secs_f64()
    );
    report.note(&what, format!("{share:.2} % of a core"));
    Ok(())
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

    let since = Since::now(bed)?;
    bed.edit(UP).await?;
    let ready = |sight: &Sight| sight.all_in("Ready", count);
    bed.eye.until("all healed", PATIENCE, ready).await?;
    tokio::time::sleep(SETTLED).await;
    let writes = Writes::since(bed, &since)?;
    report.exactly(
        "an edit while all are stuck: Pods patched",
        writes.pods_patched,
        count,
    );
    report.exactly("… statuses written", writes.statuses, count);
    report.exactly("… writes to the record of the settings", writes.fleet, 1);
    writes.told(report);
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

/// The operator's requests.
fn requests(bed: &Bed, mark: Mark) -> Result<Events> {
    let events = bed.cluster.audit().events_since(mark)?;
    Ok(events.by_service_account(SYSTEM, OPERATOR))
}

/// From when on requests are counted.
pub struct Since {
    mark: Mark,
    at: Instant,
}

impl Since {
    pub fn now(bed: &Bed) -> Result<Self> {
        Ok(Self {
            mark: bed.cluster.audit().mark()?,
            at: Instant::now(),
        })
    }
}

/// The operator's requests, by kind, but those about the Lease.
pub struct Writes {
    /// How many seconds passed meanwhile.
    seconds: usize,
    /// Without the overviews and the Events.
    all: usize,
    /// At most one a second, while something changes.
    overviews: usize,
    events: usize,
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
    pub fn since(bed: &Bed, since: &Since) -> Result<Self> {
        let seconds = usize::try_from(since.at.elapsed().as_secs())?;
        let requests = requests(bed, since.mark)?.filter(|it| it.resource != LEASES);
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
            seconds,
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

    /// What tells of all Workspaces at once must not grow with their number.
    pub fn told(&self, report: &mut Report) {
        self.overviews_told(report);
        report.no_more("… Events", self.events, EVENTS_AT_MOST);
    }

    fn overviews_told(&self, report: &mut Report) {
        let what = format!("… overviews of all, in {} s", self.seconds);
        let most = self.seconds + OVERVIEWS_MORE;
        report.no_more(&what, self.overviews, most);
    }

    /// What is none of those that create, tell, serve and record; refused ones are among it.
    pub fn others(&self) -> usize {
        self.all - self.pods_created - self.statuses - self.services - self.fleet
    }
}
