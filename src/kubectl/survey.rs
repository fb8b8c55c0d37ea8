//! What there is to say of the fleet, by the rules of the operator; pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::look::View;
use crate::fleet::{self, FLEET_ERROR, FLEET_SINCE, InForce, Source};
use crate::overview::{FLEET_STATUS, Overview, overview};
use crate::pod;
use crate::resolver::registry_host;
use crate::seen::{AgentState, Pod, Seen, Workspace};
use crate::settings::{Environment, REGISTRY_KEY, Settings};
use crate::workspace::{READY, RECONCILING, Reason, STALLED, SUSPENDED};

/// The fleet at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Survey {
    /// The settings, as far as they are about the registry.
    pub(super) settings: Registered,
    /// All Workspaces together, as in the record.
    #[serde(flatten)]
    pub(super) overview: Overview,
    /// How many Workspaces cannot go on by themselves, or not without another image.
    pub(super) stuck: usize,
    /// Which, by name.
    pub(super) stuck_workspaces: Vec<Stuck>,
    /// Each registry of which something runs or fails.
    pub(super) registries: Vec<Registry>,
    /// How many run another image than the settings would give now; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outdated: Option<usize>,
    /// Which, by name.
    #[serde(skip)]
    pub(super) outdated_workspaces: Option<Vec<Outdated>>,
}

/// Nobody has said what is in force.
const NO_RECORD: &str = "there is no record of an operator; where its settings are elsewhere, say \
                         --settings-namespace";

/// The settings, as far as they are about the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered {
    /// The prefix in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) registry: Option<String>,
    /// Since when the settings are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// The prefix that was in force before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous_registry: Option<String>,
    /// The prefix that the ConfigMap names, and the operator has not taken yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) awaited_registry: Option<String>,
    /// How what the ConfigMap holds is to what is in force.
    pub(super) standing: Standing,
    /// Why the ConfigMap is not what is in force, or why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Whether an operator has recorded anything.
    #[serde(skip)]
    pub(super) recorded: bool,
}

/// How the settings, as they stand in the ConfigMap, are to what is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Standing {
    /// They are in force.
    InForce,
    /// No operator has taken them yet.
    Awaited,
    /// No operator takes them before somebody mends them.
    Rejected,
    /// That cannot be told, and waiting does not help.
    #[default]
    Unknown,
}

/// A registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registry {
    pub(super) registry: String,
    /// How many agents run that were told to pull from it.
    pub(super) running: usize,
    /// How many Workspaces cannot pull from it.
    pub(super) stuck: usize,
    /// How many of those that run would not survive the loss of their Pod.
    pub(super) at_risk: usize,
}

/// A Workspace that is stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stuck {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) message: String,
}

/// A Workspace that runs another image than the settings would give now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outdated {
    pub(super) namespace: String,
    pub(super) name: String,
    /// What its Pod was told to run.
    pub(super) image: String,
    /// What its next Pod would be told to run.
    pub(super) next: String,
}

/// Looks at all Workspaces.
pub(super) fn survey(view: &View, now: Timestamp) -> Survey {
    let in_force = view.in_force();
    let settings = in_force.settings.as_ref();
    let earlier = earlier(view);
    let mut overview = overview(view.index.all(), settings, &earlier, now);
    // Only the operator asks registries all the time, and moves what runs.
    overview.outdated_images = earlier.outdated_images;
    overview.unwatched_images = earlier.unwatched_images;
    overview.rollout = earlier.rollout;
    overview.prepull = earlier.prepull;
    let mut seen: Vec<_> = view.index.all().collect();
    seen.sort_by(|a, b| a.key.cmp(b.key));
    let stuck_workspaces: Vec<_> = seen.iter().filter_map(stuck).collect();
    let registered = registered(view, &in_force);
    let recorded = settings.filter(|_| registered.recorded);
    let outdated = recorded.map(|it| outdated(&seen, it));
    Survey {
        settings: registered,
        registries: registries(&seen, settings, &overview, now),
        stuck: stuck_workspaces.len(),
        stuck_workspaces,
        outdated: outdated.as_ref().map(Vec::len),
        outdated_workspaces: outdated,
        overview,
    }
}

/// What the operator has recorded of all, or the one of this namespace.
fn earlier(view: &View) -> Overview {
    let own = view
        .namespace
        .as_ref()
        .map(|it| format!("{FLEET_STATUS}.{it}"));
    let own = own.and_then(|it| stored(&view.fleet, &it));
    let text = own.or_else(|| stored(&view.fleet, FLEET_STATUS));
    text.and_then(Overview::from_text).unwrap_or_default()
}

fn registered(view: &View, in_force: &InForce) -> Registered {
    let standing = match view.hides_some() {
        true => Standing::Unknown,
        false => standing(&view.settings, &view.fleet),
    };
    let own = in_force.error.clone();
    let unread = match &view.fleet {
        Source::Absent => Some(NO_RECORD.to_owned()),
        Source::Unreadable(why) => Some(
            own.clone()
                .unwrap_or_else(|| format!("what is in force cannot be told: {why}")),
        ),
        _ => None,
    };
    if unread.is_some() {
        return Registered {
            error: unread,
            standing,
            ..Registered::default()
        };
    }
    let registry = in_force
        .settings
        .as_ref()
        .map(|it| it.registry().to_string());
    let asked = match &view.settings {
        Source::Present(data) => data.get(REGISTRY_KEY).filter(|it| !it.is_empty()).cloned(),
        _ => None,
    };
    let told = stored(&view.fleet, FLEET_ERROR);
    let awaited = own.is_none() && asked.is_some() && asked != registry;
    Registered {
        since: stored(&view.fleet, FLEET_SINCE).map(str::to_owned),
        previous_registry: fleet::previous_registry(&view.fleet).map(str::to_owned),
        awaited_registry: asked.filter(|_| awaited),
        standing,
        error: own.or_else(|| told.map(str::to_owned)),
        registry,
        recorded: true,
    }
}

/// How the settings, as they stand, are to what is on record as in force. Where they name no registry,
/// the one of the operator's own environment counts, which is not seen from outside: the one in force
/// is taken for it.
fn standing(settings: &Source, fleet: &Source) -> Standing {
    let nothing = BTreeMap::new();
    let data = match settings {
        Source::Present(data) => data,
        Source::Absent => &nothing,
        Source::Unread | Source::Unreadable(_) => return Standing::Awaited,
    };
    let in_force = fleet::last_good(fleet).ok().flatten();
    let registry = in_force.as_ref().map(|it| it.registry().to_string());
    match Settings::parse(data, &Environment { registry }) {
        _ if matches!(fleet, Source::Absent) => Standing::Unknown,
        Err(_) => Standing::Rejected,
        // What the operator says of them counts too: it may be of another version.
        Ok(parsed) if Some(&parsed.settings) == in_force.as_ref() => {
            match stored(fleet, FLEET_ERROR) {
                None => Standing::InForce,
                Some(_) => Standing::Awaited,
            }
        }
        Ok(_) => Standing::Awaited,
    }
}

/// What the record says under a key, if anything.
pub(super) fn stored<'a>(fleet: &'a Source, key: &str) -> Option<&'a str> {
    match fleet {
        Source::Present(data) => data
            .get(key)
            .map(String::as_str)
            .filter(|it| !it.is_empty()),
        _ => None,
    }
}

/// Where it waits for somebody to act, or for its image.
pub(super) fn is_stuck(workspace: &Workspace) -> bool {
    let status = &workspace.status;
    status.is_true(STALLED) || status.state == Some(Reason::ImagePullFailed)
}

fn stuck(seen: &Seen<'_>) -> Option<Stuck> {
    let workspace = seen.workspace.filter(|it| is_stuck(it))?;
    let state = workspace.status.state;
    Some(Stuck {
        namespace: seen.key.namespace.to_string(),
        name: seen.key.name.to_string(),
        state: state.map_or_else(|| "Stalled".to_owned(), |it| it.to_string()),
        message: message(workspace),
    })
}

/// What its status says about where it stands.
pub(super) fn message(workspace: &Workspace) -> String {
    let conditions = &workspace.status.conditions;
    let of = |type_: &str| conditions.iter().find(|it| it.type_ == type_);
    let found = [STALLED, READY, RECONCILING, SUSPENDED]
        .into_iter()
        .find_map(of);
    found.map_or_else(String::new, |it| it.message.clone())
}

fn registries(
    seen: &[Seen<'_>],
    settings: Option<&Settings>,
    all: &Overview,
    now: Timestamp,
) -> Vec<Registry> {
    let mut found: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (registry, running) in &all.running {
        found.entry(registry).or_default().0 += running;
    }
    for failure in &all.pull_failures {
        found.entry(&failure.registry).or_default().1 += failure.workspaces;
    }
    let running: usize = all.running.values().sum();
    let at_risk = all.at_risk.as_ref().map_or(0, |it| it.workspaces);
    let found = found.into_iter().map(|(registry, (runs, stuck))| Registry {
        registry: registry.to_owned(),
        running: runs,
        stuck,
        at_risk: match at_risk {
            0 => 0,
            all if all == running => runs,
            // Each by itself, and no registry's fault.
            _ => {
                let here = seen.iter().filter(|it| runs_from(it) == Some(registry));
                let here = overview(here.cloned(), settings, &Overview::default(), now);
                here.at_risk.map_or(0, |it| it.workspaces)
            }
        },
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|it| std::cmp::Reverse(it.running + it.stuck));
    found
}

/// The registry of what an agent that runs was told to run.
fn runs_from<'a>(seen: &Seen<'a>) -> Option<&'a str> {
    running(seen)?.told.image.as_deref().map(registry_host)
}

/// The Pod of an agent that runs.
pub(super) fn running<'a>(seen: &Seen<'a>) -> Option<&'a Pod> {
    seen.pod.filter(|it| it.agent.state == AgentState::Running)
}

/// The Pod, if it is this Workspace's own.
pub(super) fn own_pod<'a>(seen: &Seen<'a>) -> Option<&'a Pod> {
    let workspace = seen.workspace?;
    seen.pod.filter(|it| it.is_of(workspace))
}

/// The image that the next Pod of a Workspace would be told to run, if there is one.
pub(super) fn next_image(seen: &Seen<'_>, settings: &Settings) -> Option<String> {
    let workspace = seen.workspace?;
    let spec = workspace.spec.as_ref().ok()?.unpack();
    let ask = pod::ask(workspace, &spec, settings).ok()?;
    Some(ask.image)
}

fn outdated(seen: &[Seen<'_>], settings: &Settings) -> Vec<Outdated> {
    let outdated = |seen: &Seen<'_>| {
        own_pod(seen)?;
        let image = running(seen)?.told.image.clone()?;
        let next = next_image(seen, settings)?;
        (image != next).then(|| Outdated {
            namespace: seen.key.namespace.to_string(),
            name: seen.key.name.to_string(),
            image,
            next,
        })
    };
    seen.iter().filter_map(outdated).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "a.example.com/agents";

    fn present(data: &[(&str, &str)]) -> Source {
        let owned = |it: &(&str, &str)| (it.0.to_owned(), it.1.to_owned());
        Source::Present(data.iter().map(owned).collect())
    }

    #[test]
    fn settings_are_in_force_only_as_they_stand() {
        let last_good =
            json!({REGISTRY_KEY: A, "PLATFORM_URL": "http://p.example.com"}).to_string();
        let taken = present(&[("lastGood", &last_good)]);
        let complaining = present(&[("lastGood", &last_good), (FLEET_ERROR, "no")]);
        let url = ("PLATFORM_URL", "http://p.example.com");
        let same = present(&[(REGISTRY_KEY, A), url]);
        let wrong = present(&[(REGISTRY_KEY, "https://a.example.com/agents"), url]);
        for (settings, fleet, expected) in [
            (&same, &taken, Standing::InForce),
            (&present(&[url]), &taken, Standing::InForce),
            (
                &present(&[(REGISTRY_KEY, "b.example.com/agents"), url]),
                &taken,
                Standing::Awaited,
            ),
            (&present(&[(REGISTRY_KEY, A)]), &taken, Standing::Awaited),
            (&Source::Absent, &taken, Standing::Awaited),
            (&same, &complaining, Standing::Awaited),
            (&same, &present(&[]), Standing::Awaited),
            (&same, &Source::Unreadable("slow".into()), Standing::Awaited),
            (
                &Source::Unreadable("slow".into()),
                &taken,
                Standing::Awaited,
            ),
            (&wrong, &taken, Standing::Rejected),
            (&wrong, &present(&[]), Standing::Rejected),
            (&same, &Source::Absent, Standing::Unknown),
        ] {
            assert_eq!(
                standing(settings, fleet),
                expected,
                "{settings:?} {fleet:?}"
            );
        }
    }
}
