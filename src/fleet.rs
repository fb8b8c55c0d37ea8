//! Which settings are in force, and the record of it in the ConfigMap `workspace-fleet`.
//!
//! Settings that are invalid or cannot be read change nothing: what is in force stays, in this
//! process by what it holds, and in the next one by what is recorded here.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::settings::{Environment, REGISTRY_KEY, Settings};

/// The registry prefix in force, for people.
pub const FLEET_REGISTRY: &str = "registry";
/// The registry prefix that was in force before that one; absent where there was no other.
pub const FLEET_PREVIOUS_REGISTRY: &str = "previousRegistry";
/// Since when the registry prefix in force is in force (RFC 3339, UTC).
pub const FLEET_SINCE: &str = "since";
/// The settings in force, as a JSON object of their flat keys.
pub const FLEET_LAST_GOOD: &str = "lastGood";
/// Why the settings ConfigMap is not what is in force; absent where it is.
pub const FLEET_ERROR: &str = "error";

/// What is known of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It has not been looked at yet.
    Unread,
    /// It was looked at in vain, with the reason. The reason is recorded and must therefore be
    /// stable text: no times, ids or ports.
    Unreadable(String),
    /// There is none.
    Absent,
    /// Its data.
    Present(BTreeMap<String, String>),
}

/// Where the settings in force come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The settings ConfigMap.
    ConfigMap,
    /// There is no settings ConfigMap: the defaults.
    Defaults,
    /// What was in force before, in this process or by the record of an earlier one: the ConfigMap
    /// is invalid or unreadable.
    LastGood,
    /// The ConfigMap is invalid or unreadable, and there is nothing to go back to.
    Nothing,
    /// The ConfigMap has not been read yet: what was in force, if anything was.
    Unread,
}

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// `None`: new rollouts wait.
    pub settings: Option<Settings>,
    /// Why the settings ConfigMap is not what is in force. The same text for the same cause, in
    /// this process and the next, whatever is in force instead.
    pub error: Option<String>,
    /// What is odd about the settings ConfigMap when it is in force, one sentence each.
    pub warnings: Vec<String>,
    /// Where the settings come from.
    pub origin: Origin,
}

/// What to change in the data of `workspace-fleet`: keys to set, and with `None` keys to remove, as
/// in a merge patch. Other keys are not ours.
pub type Changes = BTreeMap<String, Option<String>>;

/// Says which settings are in force, from both ConfigMaps as they were last seen and `current`, what
/// this process has in force now.
pub fn in_force(
    settings: &Source,
    fleet: &Source,
    current: Option<&Settings>,
    environment: &Environment,
) -> InForce {
    let (data, origin) = match settings {
        Source::Unread => {
            return InForce {
                settings: current.cloned(),
                error: None,
                warnings: Vec::new(),
                origin: Origin::Unread,
            };
        }
        Source::Unreadable(why) => {
            return stay(
                format!("The settings cannot be read: {why}."),
                fleet,
                current,
            );
        }
        Source::Absent => (&BTreeMap::new(), Origin::Defaults),
        Source::Present(data) => (data, Origin::ConfigMap),
    };
    match Settings::parse(data, environment) {
        Ok(parsed) => InForce {
            settings: Some(parsed.settings),
            error: None,
            warnings: parsed.warnings,
            origin,
        },
        Err(invalid) => stay(invalid.to_string(), fleet, current),
    }
}

/// The same for one who looks from outside: what is on record counts first, for the operator's own
/// environment is not seen there.
#[must_use]
pub fn seen_from_outside(settings: &Source, fleet: &Source) -> InForce {
    let asked = in_force(settings, fleet, None, &Environment::default());
    match last_good(fleet) {
        Ok(Some(settings)) => InForce {
            settings: Some(settings),
            ..asked
        },
        _ => asked,
    }
}

/// What is in force stays in force.
fn stay(error: String, fleet: &Source, current: Option<&Settings>) -> InForce {
    let (settings, origin, error) = match (current, last_good(fleet)) {
        (Some(current), _) => (Some(current.clone()), Origin::LastGood, error),
        (None, Ok(Some(last_good))) => (Some(last_good), Origin::LastGood, error),
        (None, Ok(None)) => (None, Origin::Nothing, error),
        (None, Err(why)) => (None, Origin::Nothing, format!("{error} {why}")),
    };
    InForce {
        settings,
        error: Some(error),
        warnings: Vec::new(),
        origin,
    }
}

/// What to write to `workspace-fleet`, given what is stored there; `None` when it says all already,
/// or when it is not known what it says. `now` counts only where the registry in force changed.
pub fn record(in_force: &InForce, fleet: &Source, now: Timestamp) -> Option<Changes> {
    let empty = BTreeMap::new();
    let stored = match fleet {
        Source::Unread | Source::Unreadable(_) => return None,
        Source::Absent => &empty,
        Source::Present(stored) => stored,
    };
    // Before the first look at the settings there is nothing to tell, nor to take back.
    if in_force.origin == Origin::Unread {
        return None;
    }
    let mut changes = Changes::new();
    if let Some(settings) = &in_force.settings {
        changes = settings_changes(settings, stored, now);
    }
    let error = in_force.error.as_deref().unwrap_or_default();
    if get(stored, FLEET_ERROR) != error {
        let error = (!error.is_empty()).then(|| error.to_owned());
        changes.insert(FLEET_ERROR.to_owned(), error);
    }
    (!changes.is_empty()).then_some(changes)
}

/// Compares values, not text: what another version wrote in its own way is not written again.
fn settings_changes(
    settings: &Settings,
    stored: &BTreeMap<String, String>,
    now: Timestamp,
) -> Changes {
    let mut changes = Changes::new();
    let mut set = |key: &str, value: String| changes.insert(key.to_owned(), Some(value));
    let before = decode(stored).ok().flatten();
    if before.as_ref() != Some(settings) {
        set(FLEET_LAST_GOOD, encode(settings));
    }
    // What a hand wrote under `registry` was never in force.
    let before = before.map(|it| it.registry().to_string());
    let same_registry = before.as_deref() == Some(settings.registry().as_str());
    if let Some(before) = before.filter(|_| !same_registry) {
        set(FLEET_PREVIOUS_REGISTRY, before);
    }
    if !same_registry || get(stored, FLEET_SINCE).parse::<Timestamp>().is_err() {
        set(FLEET_SINCE, stamp(now));
    }
    if get(stored, FLEET_REGISTRY) != settings.registry().as_str() {
        set(FLEET_REGISTRY, settings.registry().to_string());
    }
    changes
}

/// The last good settings on record, or one sentence that says why there are none to be had.
///
/// # Errors
/// They cannot be read or are invalid.
pub fn last_good(fleet: &Source) -> Result<Option<Settings>, String> {
    match fleet {
        Source::Unread | Source::Absent => Ok(None),
        Source::Unreadable(why) => Err(format!("The last good settings cannot be read: {why}.")),
        Source::Present(stored) => decode(stored).map_err(|why| {
            format!("The last good settings are ignored, as they are invalid: {why}")
        }),
    }
}

/// A time as the record tells it.
#[must_use]
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn encode(settings: &Settings) -> String {
    serde_json::to_string(&settings.to_data()).expect("a map of strings is always JSON")
}

/// The registry prefix that was in force before the present one, if there was another.
#[must_use]
pub fn previous_registry(fleet: &Source) -> Option<&str> {
    let Source::Present(stored) = fleet else {
        return None;
    };
    Some(get(stored, FLEET_PREVIOUS_REGISTRY)).filter(|it| !it.is_empty())
}

/// The flat keys that were recorded as the last good settings, whether or not they still are
/// settings.
#[must_use]
pub fn on_record(stored: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    serde_json::from_str(get(stored, FLEET_LAST_GOOD)).ok()
}

fn decode(stored: &BTreeMap<String, String>) -> Result<Option<Settings>, String> {
    let text = get(stored, FLEET_LAST_GOOD);
    if text.is_empty() {
        return Ok(None);
    }
    let Some(data) = on_record(stored) else {
        return Err("not a JSON object of strings.".to_owned());
    };
    // Without it the default would pass for what was once in force.
    if get(&data, REGISTRY_KEY).is_empty() {
        return Err(format!("{REGISTRY_KEY} is missing."));
    }
    match Settings::parse(&data, &Environment::default()) {
        Ok(parsed) => Ok(Some(parsed.settings)),
        Err(invalid) => Err(invalid.to_string()),
    }
}

/// Absent and empty are the same.
fn get<'a>(data: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    data.get(key).map_or("", String::as_str)
}

#[cfg(test)]
mod tests;
