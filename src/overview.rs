//! What there is to say of all Workspaces together: the text `status` of the record
//! `workspace-fleet`, for people who ask whether they are safe.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fleet;
use crate::moves::Tally;
use crate::pull::{self, About, Cause};
use crate::resolver;
use crate::seen::{AgentState, Key, Packed, Seen, Workspace};
use crate::settings::Settings;
use crate::workspace::{READY, Reason, STALLED, SUSPENDED};

/// The key of its text in the record.
pub const FLEET_STATUS: &str = "status";

/// The key of the overview of one namespace, or of all.
#[must_use]
pub fn key(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{FLEET_STATUS}.{namespace}"),
        None => FLEET_STATUS.to_owned(),
    }
}

/// Whether a key of the record has an overview that an operator left which looked after this
/// namespace as well: beside it that one would be right never again. Operators for other namespaces
/// may share the record.
#[must_use]
pub fn is_left_over(key: &str, namespace: Option<&str>) -> bool {
    match namespace {
        Some(_) => key == FLEET_STATUS,
        None => {
            let rest = key.strip_prefix(FLEET_STATUS);
            rest.is_some_and(|it| it.starts_with('.'))
        }
    }
}

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
    /// The agents that run, but whose next Pod could not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<AtRisk>,
    /// The images whose tags stand for another build now than what runs, where that is watched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outdated_images: Vec<OutdatedImage>,
    /// The images of which it is not known whether their tags have moved, though it is asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwatched_images: Vec<UnwatchedImages>,
    /// How far the move of those that run has come, where the settings move them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Tally>,
    /// How far the switch is prepared, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepull: Option<Prepull>,
}

/// What is pulled before a switch.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Prepull {
    /// The registry prefix that is to come into force next.
    pub registry: String,
    /// How many images are to be pulled from there, counted on each node.
    pub images: usize,
    /// How many of them are on their nodes, and kept there.
    pub pulled: usize,
    /// How many failed when they were last tried, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, usize>,
}

/// Pulls that fail for one reason.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PullFailure {
    /// The registry.
    pub registry: String,
    /// What it does, to be read after its name.
    pub cause: String,
    /// Whether it is the registry that fails, or the access to it, and not one image or one
    /// Workspace. What could be either is an outage once it befalls two.
    pub outage: bool,
    /// Since when this has been seen without a break (RFC 3339, UTC).
    pub since: String,
    /// How many Workspaces are stuck on it.
    pub workspaces: usize,
}

/// An image whose tag has moved.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct OutdatedImage {
    /// Its reference.
    pub image: String,
    /// The digest that its tag stood for.
    pub was: String,
    /// The digest that its tag stands for now.
    pub is: String,
    /// Since when that has been seen (RFC 3339, UTC).
    pub since: String,
    /// How many Workspaces run what it was.
    pub workspaces: usize,
}

/// Images that a registry does not tell about, for one reason.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct UnwatchedImages {
    /// The registry.
    pub registry: String,
    /// What it does, to be read after its name.
    pub because: String,
    /// How many images.
    pub images: usize,
    /// The first of them in alphabetical order.
    pub among_them: Vec<String>,
}

/// Workspaces that would not survive the loss of their Pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct AtRisk {
    /// How many.
    pub workspaces: usize,
    /// Why.
    pub because: String,
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
        count.add(&seen, settings);
    }
    count.conclude(settings, earlier, now)
}

/// Some Workspaces, of which the first in alphabetical order are named.
#[derive(Default)]
struct Several<'a> {
    workspaces: usize,
    first: BTreeSet<&'a Key>,
}

impl<'a> Several<'a> {
    fn add(&mut self, key: &'a Key) {
        self.workspaces += 1;
        self.first.insert(key);
        if self.first.len() > NAMES {
            self.first.pop_last();
        }
    }

    fn at_risk(&self, because: String) -> Option<AtRisk> {
        (self.workspaces > 0).then(|| AtRisk {
            workspaces: self.workspaces,
            because,
            among_them: self.first.iter().map(ToString::to_string).collect(),
        })
    }
}

#[derive(Default)]
struct Count<'a> {
    overview: Overview,
    by_registry: BTreeMap<&'a str, usize>,
    running: Several<'a>,
    /// Those that run a runtime which the settings do not know any more.
    unknown: Several<'a>,
    failures: BTreeMap<(&'a str, &'static str), (Cause, usize)>,
}

impl<'a> Count<'a> {
    fn add(&mut self, seen: &Seen<'a>, settings: Option<&Settings>) {
        let Some(workspace) = seen.workspace else {
            return;
        };
        self.state(workspace);
        self.failure(workspace);
        let pod = seen.pod.filter(|it| it.agent.state == AgentState::Running);
        let Some(image) = pod.and_then(|it| it.told.image.as_deref()) else {
            return;
        };
        let registry = resolver::registry_host(image);
        *self.by_registry.entry(registry).or_default() += 1;
        self.running.add(seen.key);
        let runtime = workspace.spec.as_ref().map(Packed::runtime);
        let known = |it: &Settings| runtime.as_ref().is_ok_and(|runtime| it.knows(runtime));
        if !settings.is_some_and(known) {
            self.unknown.add(seen.key);
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
        if let Some((registry, cause)) = pull_failure(workspace) {
            let what = (registry, cause.words);
            self.failures.entry(what).or_insert((cause, 0)).1 += 1;
        }
    }

    fn conclude(self, settings: Option<&Settings>, earlier: &Overview, now: Timestamp) -> Overview {
        let mut overview = self.overview;
        overview.pull_failures = failures(&self.failures, earlier, now);
        let next = settings.map(|it| resolver::registry_host(it.registry().as_str()));
        let failure = overview.outages().find(|it| Some(&*it.registry) == next);
        overview.at_risk = match (settings, failure) {
            (None, _) => self.running.at_risk("no settings are in force".into()),
            (_, Some(it)) => {
                let because = format!("{} {}", it.registry, it.cause);
                self.running.at_risk(because)
            }
            _ => {
                let because = "the settings in force do not know their runtime";
                self.unknown.at_risk(because.into())
            }
        };
        overview.running = most(self.by_registry);
        overview
    }
}

/// On which registry a Workspace is stuck, and what that does, as its status tells.
#[must_use]
pub fn pull_failure(workspace: &Workspace) -> Option<(&str, Cause)> {
    let status = &workspace.status;
    let image = status.image.as_deref()?;
    let cause = match status.state {
        Some(Reason::ImagePullFailed) => {
            let mut messages = status.conditions.iter().map(|it| &it.message);
            let told = messages.find_map(|it| pull::cause_told(image, it));
            told.unwrap_or(pull::UNNAMED)
        }
        // A registry that hangs is one of which the node has nothing to tell.
        Some(Reason::Pulling) if status.is_true(STALLED) => pull::SILENT,
        _ => return None,
    };
    Some((resolver::registry_host(image), cause))
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
                outage: match cause.about {
                    About::Image => false,
                    About::Unclear => *workspaces > 1,
                    About::Registry => true,
                },
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
