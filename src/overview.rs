//! What there is to say of all Workspaces together: the text `status` of the record
//! `workspace-fleet`, for people who ask whether they are safe.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fleet;
use crate::pull::{self, Cause};
use crate::resolver;
use crate::seen::{AgentState, Key, Seen, Workspace};
use crate::settings::Settings;
use crate::workspace::{READY, Reason, STALLED, SUSPENDED};

/// The key of its text in the record.
pub const FLEET_STATUS: &str = "status";

/// So many registries are named, those with the most Workspaces; annotations of Pods, which others
/// may write, say which they are.
const REGISTRIES: usize = 16;
/// All registries beyond them.
const OTHER: &str = "other";
/// So many Workspaces are named.
const NAMES: usize = 10;
/// The state of a Workspace that has no status yet.
const NEW: &str = "New";

/// All Workspaces together, as their status tells.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Overview {
    /// How many there are; each counts as one of the four that follow.
    pub workspaces: usize,
    /// How many are Ready, and nothing is wrong.
    pub ready: usize,
    /// How many have no Pod, as their users asked.
    pub suspended: usize,
    /// How many are on their way, by state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub progressing: BTreeMap<String, usize>,
    /// How many wait for somebody to act, by state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stalled: BTreeMap<String, usize>,
    /// How many agents run, by the registry of the image that their Pod was told to run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub running: BTreeMap<String, usize>,
    /// Which pulls fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_failures: Vec<PullFailure>,
    /// The agents that run, but whose next Pod could not start, for the registry of the settings
    /// in force fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<AtRisk>,
}

/// Pulls that fail for one reason.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PullFailure {
    /// The registry.
    pub registry: String,
    /// What it does, to be read after its name.
    pub cause: String,
    /// Whether it is about the registry or the access to it, and not about one image.
    pub outage: bool,
    /// Since when this has been seen without a break (RFC 3339, UTC).
    pub since: String,
    /// How many Workspaces are stuck on it.
    pub workspaces: usize,
}

/// Workspaces of which some are named.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct AtRisk {
    /// How many.
    pub workspaces: usize,
    /// The first of them in alphabetical order, as `namespace/name`.
    pub among_them: Vec<String>,
}

impl Overview {
    /// The registries that fail, whatever is asked of them.
    pub fn outages(&self) -> impl Iterator<Item = &PullFailure> {
        self.pull_failures.iter().filter(|it| it.outage)
    }

    /// As YAML.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_saphyr::to_string(self).expect("plain data is always YAML")
    }

    /// What a record says; nothing, if that is no overview.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_saphyr::from_str(text).ok()
    }
}

/// Looks at all Workspaces. What fails as it did in the `earlier` overview has failed since then.
#[must_use]
pub fn overview<'a>(
    all: impl Iterator<Item = Seen<'a>>,
    settings: Option<&Settings>,
    earlier: &Overview,
    now: Timestamp,
) -> Overview {
    let mut count = Count::default();
    for seen in all {
        count.add(&seen);
    }
    count.conclude(settings, earlier, now)
}

#[derive(Default)]
struct Count<'a> {
    overview: Overview,
    running: BTreeMap<&'a str, usize>,
    /// The first of those that run.
    first: BTreeSet<&'a Key>,
    failures: BTreeMap<(&'a str, &'static str), (Cause, usize)>,
}

impl<'a> Count<'a> {
    fn add(&mut self, seen: &Seen<'a>) {
        let Some(workspace) = seen.workspace else {
            return;
        };
        self.state(workspace);
        self.failure(workspace);
        let pod = seen.pod.filter(|it| it.agent.state == AgentState::Running);
        let Some(image) = pod.and_then(|it| it.told.image.as_deref()) else {
            return;
        };
        *self
            .running
            .entry(resolver::registry_host(image))
            .or_default() += 1;
        self.first.insert(seen.key);
        if self.first.len() > NAMES {
            self.first.pop_last();
        }
    }

    fn state(&mut self, workspace: &Workspace) {
        let (status, overview) = (&workspace.status, &mut self.overview);
        overview.workspaces += 1;
        let by_state = if status.is_true(STALLED) {
            &mut overview.stalled
        } else if status.is_true(SUSPENDED) {
            overview.suspended += 1;
            return;
        } else if status.is_true(READY) {
            overview.ready += 1;
            return;
        } else {
            &mut overview.progressing
        };
        let state = status
            .state
            .map_or_else(|| NEW.to_owned(), |it| it.to_string());
        *by_state.entry(state).or_default() += 1;
    }

    fn failure(&mut self, workspace: &'a Workspace) {
        let status = &workspace.status;
        if status.state != Some(Reason::ImagePullFailed) {
            return;
        }
        let Some(image) = status.image.as_deref() else {
            return;
        };
        let mut messages = status.conditions.iter().map(|it| &it.message);
        let cause = messages.find_map(|it| pull::cause_told(image, it));
        let cause = cause.unwrap_or(pull::UNNAMED);
        let what = (resolver::registry_host(image), cause.words);
        self.failures.entry(what).or_insert((cause, 0)).1 += 1;
    }

    fn conclude(self, settings: Option<&Settings>, earlier: &Overview, now: Timestamp) -> Overview {
        let mut overview = self.overview;
        overview.pull_failures = failures(&self.failures, earlier, now);
        let next = settings.map(|it| resolver::registry_host(it.registry().as_str()));
        let fails = overview.outages().any(|it| Some(&*it.registry) == next);
        let workspaces: usize = self.running.values().sum();
        overview.at_risk = (fails && workspaces > 0).then(|| AtRisk {
            workspaces,
            among_them: self.first.iter().map(ToString::to_string).collect(),
        });
        overview.running = most(self.running);
        overview
    }
}

fn failures(
    found: &BTreeMap<(&str, &'static str), (Cause, usize)>,
    earlier: &Overview,
    now: Timestamp,
) -> Vec<PullFailure> {
    let mut failures: Vec<_> = found
        .iter()
        .map(|((registry, words), (cause, workspaces))| {
            let same = |it: &&PullFailure| it.registry == *registry && it.cause == *words;
            let earlier = earlier.pull_failures.iter().find(same);
            PullFailure {
                registry: (*registry).to_owned(),
                cause: (*words).to_owned(),
                outage: cause.of_registry,
                since: earlier.map_or_else(|| fleet::stamp(now), |it| it.since.clone()),
                workspaces: *workspaces,
            }
        })
        .collect();
    failures.sort_by_key(|it| std::cmp::Reverse(it.workspaces));
    failures.truncate(REGISTRIES);
    failures
}

/// The registries with the most, and all others as one.
fn most(counts: BTreeMap<&str, usize>) -> BTreeMap<String, usize> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest = counts.split_off(counts.len().min(REGISTRIES));
    let rest: usize = rest.iter().map(|(_, count)| count).sum();
    let mut most: BTreeMap<_, _> = counts
        .into_iter()
        .map(|(registry, count)| (registry.to_owned(), count))
        .collect();
    if rest > 0 {
        *most.entry(OTHER.to_owned()).or_default() += rest;
    }
    most
}

#[cfg(test)]
mod tests;
