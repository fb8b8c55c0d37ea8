//! A registry that fails, as it is told of: by the Workspaces that it stops, by the record and by the
//! metrics.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster::Output;
use jiff::Timestamp;

use super::list::Row;
use super::{MIRROR, PRIMARY, TOLD_WITHIN, ensure_within, image, key};
use crate::eye::{Kind, Life};
use crate::world::{Lives, OVERVIEW_ON_RECORD, PATIENCE, SYSTEM, World, lines_with, seconds};

/// A registry that fails, and whom it stops.
pub struct Failing {
    /// Its prefix.
    pub from: &'static str,
    /// That of the one that is switched to.
    pub to: &'static str,
    /// As it is told.
    pub cause: &'static str,
    /// The one whose Pod is lost and the one that comes meanwhile, each with its runtime.
    pub stops: [(&'static str, &'static str); 2],
    /// What somebody puts on the Pods that run, once the settings name another image for them.
    pub label: (&'static str, &'static str),
}

/// In steps 4 and 5.
pub const PRIMARY_FAILS: Failing = Failing {
    from: PRIMARY,
    to: MIRROR,
    cause: "answered 401 Unauthorized",
    stops: [("hermes", "hermes"), ("newcomer", "claude-code")],
    label: ("team", "agents"),
};
/// In step 7.
pub const MIRROR_FAILS: Failing = Failing {
    from: MIRROR,
    to: PRIMARY,
    cause: "answered 503 Service Unavailable",
    stops: [("gemini-cli", "gemini-cli"), ("latecomer", "openclaw")],
    label: ("shift", "night"),
};

/// What the alert WorkspaceRegistryFailing looks at.
const METRIC: &str = "workspace_operator_registry_outage";

impl Failing {
    /// What each of the two says.
    fn words(&self, runtime: &str) -> String {
        format!(
            "{} cannot be pulled: {} {}",
            image(self.from, runtime, "latest"),
            host(self.from),
            self.cause
        )
    }

    /// Whoever has a Pod now, but for the two.
    pub fn rest(&self, world: &World) -> Lives {
        let mut lives = world.eye.now(|seen| {
            let pods = seen.pods("default").map(|(name, _)| key(name));
            pods.map(|it| (it.clone(), seen.life(&it)))
                .collect::<Lives>()
        });
        for (name, _) in self.stops {
            lives.remove(&key(name));
        }
        lives
    }

    /// The two in the list, stopped.
    pub fn stopped(&self) -> [Row<'static>; 2] {
        let row = |(name, runtime)| (name, runtime, "ImagePullFailed", self.from);
        self.stops.map(row)
    }

    /// The two in the list, healed.
    pub fn healed(&self) -> [Row<'static>; 2] {
        self.stops
            .map(|(name, runtime)| (name, runtime, "Ready", self.to))
    }

    /// Both say in time what is wrong.
    pub async fn is_told(&self, world: &mut World) -> Result<()> {
        let mut all = Vec::new();
        for (name, runtime) in self.stops {
            all.push((name, stuck(world, name, &self.words(runtime)).await?));
        }
        for (name, told) in all {
            let what = format!("from the node's word until {name} said so");
            ensure_within(&what, told.since_node, TOLD_WITHIN)?;
            // The node's own asking and being refused comes to that.
            let what = format!("from its new Pod until {name} said so");
            ensure_within(&what, told.since_pod, 2.0 * TOLD_WITHIN)?;
            world.holds(&format!(
                "{name} says which registry refused with which code, {:.1} s after its node knew \
                 and {:.1} s after its Pod came.",
                told.since_node, told.since_pod
            ));
        }
        Ok(())
    }

    /// The record and the metric of the alert call it an outage.
    pub async fn is_recorded(&self, world: &mut World) -> Result<()> {
        let (host, cause) = (host(self.from), self.cause);
        let failure =
            format!("pullFailures:\n- registry: {host}\n  cause: {cause}\n  outage: true\n");
        let is = |record: &str| {
            record.contains(&failure)
                && record.contains("\n  workspaces: 2\n")
                && record.matches("- registry: ").count() == 1
        };
        record_says(world, &format!("two at {host}, which {cause}"), is).await?;
        let line = format!("{METRIC}{{registry=\"{host}\"}} 2");
        metric_says(world, |lines| lines == line).await?;
        world.holds("The record calls it an outage, and the metric of the alert WorkspaceRegistryFailing is at 2.");
        Ok(())
    }

    /// Neither does any longer.
    pub async fn is_over(&self, world: &mut World) -> Result<()> {
        record_says(world, "no failure", |it| !it.contains("pullFailures")).await?;
        let line = format!("{METRIC}{{registry=\"{}\"}} 0", host(self.to));
        let is = |lines: &str| {
            lines.lines().all(|it| it.ends_with(" 0")) && lines.lines().any(|it| it == line)
        };
        metric_says(world, is).await?;
        world.holds("The record tells of no failure any more, and the metric is at 0.");
        Ok(())
    }
}

/// How soon a Workspace said what is wrong, in seconds.
pub struct Told {
    /// After its node was first seen to say it.
    pub since_node: f64,
    /// After its Pod was first seen.
    pub since_pod: f64,
}

/// Waits until the Workspace says this.
pub async fn stuck(world: &World, name: &str, words: &str) -> Result<Told> {
    let key = key(name);
    let told = world
        .until(&format!("{name}, which says {words:?}"), |seen| {
            seen.state(&key) == "ImagePullFailed" && seen.message(&key) == words
        })
        .await?;
    let uid = world.eye.now(|seen| seen.life(&key).uid);
    let sights = world.eye.since(0);
    let first = |is: &dyn Fn(&Life) -> bool| {
        let mut pods = sights.iter().filter(|it| it.kind == Kind::Pod);
        let found = pods.find(|it| it.life.uid == uid && is(&it.life));
        found.context("a Pod that was never stuck").map(|it| it.at)
    };
    Ok(Told {
        since_node: seconds(first(&|it| it.waits == "ErrImagePull")?, told),
        since_pod: seconds(first(&|_| true)?, told),
    })
}

/// Waits until the record is so, and shows it.
async fn record_says(world: &World, what: &str, is: impl Fn(&str) -> bool) -> Result<()> {
    let start = Timestamp::now();
    loop {
        let found = world.quietly(&OVERVIEW_ON_RECORD).await?;
        if is(&found) {
            return world.kubectl(&OVERVIEW_ON_RECORD).await.map(drop);
        }
        ensure!(
            seconds(start, Timestamp::now()) < TOLD_WITHIN,
            "after {TOLD_WITHIN} s the record does not tell of {what}, but: {found}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the metric is so, as the one that leads gives it, and shows it.
async fn metric_says(world: &World, is: impl Fn(&str) -> bool) -> Result<()> {
    let start = Timestamp::now();
    let leader = await_leader(world).await?;
    let (get, own) = (
        ["get", "--raw", &metrics_of(&leader)],
        format!("{METRIC}{{"),
    );
    loop {
        let found = lines_with(&world.quietly(&get).await?, &own);
        if is(&found) {
            return world.kubectl_grep(&get, &own).await.map(drop);
        }
        ensure!(
            seconds(start, Timestamp::now()) < TOLD_WITHIN,
            "after {TOLD_WITHIN} s the alert WorkspaceRegistryFailing would look at {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn metrics_of(pod: &str) -> String {
    format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics")
}

/// The Pod of the operator that leads.
async fn leading(world: &World) -> Result<Option<String>> {
    let pods = ["get", "pods", "-n", SYSTEM, "-o", "name"];
    for pod in world.quietly(&pods).await?.lines() {
        let pod = pod.trim_start_matches("pod/");
        let get = ["get", "--raw", &metrics_of(pod)];
        let metrics: Result<Output> = world.bed.cluster.kubectl().run(&get);
        if metrics?.stdout.contains("\nworkspace_operator_leader 1") {
            return Ok(Some(pod.to_owned()));
        }
    }
    Ok(None)
}

/// Waits until one leads.
pub async fn await_leader(world: &World) -> Result<String> {
    let start = Timestamp::now();
    loop {
        if let Some(leader) = leading(world).await? {
            return Ok(leader);
        }
        let took = seconds(start, Timestamp::now());
        ensure!(took < PATIENCE.as_secs_f64(), "none of the operators leads");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The host of a prefix.
pub fn host(prefix: &str) -> &str {
    prefix.split('/').next().unwrap_or(prefix)
}
