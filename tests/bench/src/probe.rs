//! One new Workspace while many others start or heal: it must not wait behind them.
//!
//! At the same moments a bare client POSTs a Pod of its own. Like is judged beside like: both from
//! the sending of the client's POST until the same watch shows the Pod. And what the operator adds,
//! from the answer to the Workspace's POST until that watch shows the Pod, is judged beside what a
//! bare POST takes until its answer; there the way through the watch counts against the operator.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use serde::Serialize;
use serde_json::Value;

use crate::Plan;
use crate::bed::{Bed, PATIENCE, PROBES, stop};
use crate::bodies::{self, PodTemplate, UP};
use crate::eye::{Eye, Sight};
use crate::heal::stuck;
use crate::machine::Share;
use crate::report::Report;
use crate::samples::Samples;
use crate::wire;

/// Between one new Workspace and the next. They must not be the load themselves: at 20 a second, as
/// many new ones as others would come in a start of 10,000, and slow it down without end.
const WHILE_STARTING: Duration = Duration::from_millis(500);
/// A heal is over in seconds.
const WHILE_HEALING: Duration = Duration::from_millis(100);
/// As many times the bare client's time: a Workspace takes two POSTs, one after the other.
const AT_MOST: f64 = 2.0;
const ENOUGH: usize = 100;
const RUNS_AT_MOST: usize = 5;

/// Milliseconds until the Pod was seen.
#[derive(Default, Serialize)]
struct Waits {
    /// From the answer to the Workspace's POST.
    ours: Samples,
    /// From the moment at which the Workspace's POST was sent.
    ours_from_sent: Samples,
    /// From the moment at which the Pod's POST was sent.
    bare: Samples,
    /// From there to its answer.
    bare_answer: Samples,
    /// What others had of the machine in each run.
    others: Vec<Share>,
}

pub async fn starting(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let mut waits = Waits::default();
    for _ in 0..RUNS_AT_MOST {
        if waits.ours.len() >= ENOUGH {
            break;
        }
        eprintln!("probe: one new Workspace while {count} start");
        let bed = Bed::make(false).await?;
        bed.workspaces(count).await?;
        let others = plan.quiet().await?;
        let operator = bed.operator(plan)?;
        let first = |sight: &Sight| sight.all_created(1);
        bed.eye.until("a first Pod", PATIENCE, first).await?;
        probe(&bed, count, WHILE_STARTING, &mut waits).await?;
        waits.others.push(others.so_far()?);
        stop(operator).await?;
    }
    tell(
        report,
        &format!("one new Workspace while {count} start"),
        &waits,
    );
    report.keep("probe while starting", &waits)
}

pub async fn healing(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = plan.count();
    let mut waits = Waits::default();
    for _ in 0..RUNS_AT_MOST {
        if waits.ours.len() >= ENOUGH {
            break;
        }
        eprintln!("probe: one new Workspace while {count} heal");
        let (bed, operator) = stuck(plan).await?;
        let others = plan.quiet().await?;
        bed.edit(UP).await?;
        probe(&bed, count, WHILE_HEALING, &mut waits).await?;
        waits.others.push(others.so_far()?);
        stop(operator).await?;
    }
    tell(
        report,
        &format!("one new Workspace while {count} heal"),
        &waits,
    );
    report.keep("probe while healing", &waits)
}

fn tell(report: &mut Report, what: &str, waits: &Waits) {
    report.p99_beside(
        &format!(
            "{what}: p99 from sending its POST until a watch shows its Pod, beside a bare Pod's, \
             from sending its POST until the watch shows it"
        ),
        &waits.ours_from_sent,
        &waits.bare,
        AT_MOST,
    );
    report.p99_beside(
        "… p99 from the answer to its POST until the watch shows its Pod, beside a bare Pod's, \
         from sending its POST until its answer",
        &waits.ours,
        &waits.bare_answer,
        AT_MOST,
    );
    report.others(&waits.others);
}

struct Sent {
    name: String,
    at: Instant,
    answered: Instant,
}

/// Until all others are Ready.
async fn probe(bed: &Bed, count: usize, pause: Duration, waits: &mut Waits) -> Result<()> {
    let mut pod: Value = serde_json::from_str(&PodTemplate::new(UP)?.fill(PROBES, "", ""))?;
    if let Some(meta) = pod["metadata"].as_object_mut() {
        // Its Workspace does not exist, so the garbage collector would take it away.
        meta.remove("ownerReferences");
    }
    let bare = cluster::client_for(&bed.kubeconfig).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut workspaces, mut pods) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut tick = tokio::time::interval(pause);
    let mut number = 0;
    let others = |sight: &Sight| {
        let is_other = |it: &(&String, &crate::eye::Workspace)| !it.0.starts_with(PROBES);
        let ready = |it: &(&String, &crate::eye::Workspace)| it.1.state == "Ready";
        sight
            .workspaces
            .iter()
            .filter(is_other)
            .filter(ready)
            .count()
    };
    loop {
        tokio::select! {
            Some(sent) = workspaces.next() => ours.push(sent?),
            Some(sent) = pods.next() => theirs.push(sent?),
            _ = tick.tick() => {
                if others(&bed.eye.sight()) == count {
                    break;
                }
                number += 1;
                let name = format!("new-{number:04}");
                let body = bodies::workspace(&name);
                workspaces.push(send(bed.client.clone(), wire::workspaces_in(PROBES), name, body));
                let name = format!("bare-{number:04}");
                pod["metadata"]["name"] = name.as_str().into();
                pod["spec"]["hostname"] = name.as_str().into();
                pods.push(send(bare.clone(), wire::pods_in(PROBES), name, pod.to_string()));
            }
        }
    }
    while let Some(sent) = workspaces.next().await {
        ours.push(sent?);
    }
    while let Some(sent) = pods.next().await {
        theirs.push(sent?);
    }
    for sent in ours {
        let seen = created(&bed.eye, &sent.name).await?;
        waits
            .ours
            .add_ms(seen.saturating_duration_since(sent.answered));
        waits.ours_from_sent.add_ms(seen - sent.at);
    }
    for sent in theirs {
        let seen = created(&bed.eye, &sent.name).await?;
        waits.bare.add_ms(seen - sent.at);
        waits.bare_answer.add_ms(sent.answered - sent.at);
    }
    Ok(())
}

async fn send(client: Client, uri: String, name: String, body: String) -> Result<Sent> {
    let at = Instant::now();
    wire::post(&client, &uri, body).await?;
    Ok(Sent {
        name,
        at,
        answered: Instant::now(),
    })
}

async fn created(eye: &Eye, name: &str) -> Result<Instant> {
    let key = format!("{PROBES}/{name}");
    let seen = |sight: &Sight| sight.pods.get(&key).map(|it| it.created);
    eye.until(&key, PATIENCE, seen).await
}
