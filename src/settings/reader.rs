//! Reads one setting after the other and gathers what is wrong or odd on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Invalid, SettingsError, quote};
use super::keys::{
    EXTRA_RUNTIMES_KEY, FIXED, IMAGE_PULL_SECRETS_KEY, NEXT_REGISTRY_KEY, PIN_KEY_PREFIX,
    PREPULL_KEY, REGISTRY_KEY, ROLLOUT_KEY, ROLLOUT_MAX_FAILED_KEY, ROLLOUT_MAX_UNAVAILABLE_KEY,
    ROLLOUT_MIN_READY_SECONDS_KEY, ROLLOUT_PAUSED_KEY, ROLLOUT_ROLL_BACK_KEY, closest,
};
use super::prefix::Prefix;
use super::values::{self, Digest};
use super::{Environment, ON_RESTART, PACED, Policy, RUNTIMES, Rollout, known};

/// Of a list in the settings: what needs more is a mistake, and would fill messages and objects.
const MOST_ITEMS: usize = 100;
/// What is told of what is odd: the rest is seen when these are mended.
const MOST_WARNINGS: usize = 10;

/// A method that finds an error notes it and answers as if the setting were unset;
/// [`Reader::finish`] sees to it that such an answer reaches nobody.
pub(super) struct Reader<'a> {
    data: &'a BTreeMap<String, String>,
    errors: Vec<SettingsError>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a BTreeMap<String, String>) -> Self {
        Reader {
            data,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The warnings, or the errors if there is one.
    pub(super) fn finish(self) -> Result<Vec<String>, Invalid> {
        match Invalid::new(self.errors) {
            Some(invalid) => Err(invalid),
            None => Ok(first(self.warnings)),
        }
    }

    /// What is written under a key; unset and empty are the same.
    fn get(&self, key: &str) -> Option<&'a str> {
        let value = self.data.get(key).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// One value.
    pub(super) fn scalar<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let place = format!("{key} is");
        parse(value)
            .map_err(|fault| self.error(key, &place, value, &fault))
            .ok()
    }

    /// Values with commas between them. Spaces around a comma do not matter, nor do commas with
    /// nothing between: neither can be taken for something else.
    fn list(&mut self, key: &str, parse: impl Fn(&str) -> Result<String, Fault>) -> Vec<String> {
        let place = format!("{key} lists");
        let value = self.get(key).unwrap_or_default();
        let items = value.split(',').map(|item| item.trim_matches(' '));
        let items: Vec<_> = items.filter(|item| !item.is_empty()).collect();
        if items.len() > MOST_ITEMS {
            let fault = Fault::new(
                format!("has {} items", items.len()),
                format!("write at most {MOST_ITEMS}"),
            );
            self.error(key, &format!("{key} is"), value, &fault);
            return Vec::new();
        }
        items
            .into_iter()
            .filter_map(|item| {
                parse(item)
                    .map_err(|fault| self.error(key, &place, item, &fault))
                    .ok()
            })
            .collect()
    }

    fn error(&mut self, key: &str, place: &str, value: &str, fault: &Fault) {
        self.errors
            .push(SettingsError::new(key, place, value, fault));
    }

    /// The prefix of the settings, else of the environment. `None` where neither names one.
    pub(super) fn registry(
        &mut self,
        environment: &Environment,
        extra: &BTreeSet<String>,
    ) -> Option<Prefix> {
        let own = environment
            .registry
            .as_deref()
            .filter(|own| !own.is_empty());
        let own = own.map(|own| {
            (
                format!("The flag --registry or the environment variable {REGISTRY_KEY} is"),
                own,
            )
        });
        let (place, value) = match self.get(REGISTRY_KEY) {
            Some(value) => {
                self.unused_environment(own);
                (format!("{REGISTRY_KEY} is"), value)
            }
            None => own?,
        };
        prefix(value, extra)
            .map_err(|fault| self.error(REGISTRY_KEY, &place, value, &fault))
            .ok()
    }

    /// Nothing depends on the variable now, but all would on the day the key is removed.
    fn unused_environment(&mut self, own: Option<(String, &str)>) {
        if let Some((place, value)) = own
            && let Err(fault) = value.parse::<Prefix>()
        {
            let error = SettingsError::new(REGISTRY_KEY, &place, value, &fault);
            self.warnings.push(format!(
                "Not in use, as the settings name a registry: {error}"
            ));
        }
    }

    pub(super) fn extra_runtimes(&mut self) -> BTreeSet<String> {
        let mut extra = BTreeSet::new();
        for runtime in self.list(EXTRA_RUNTIMES_KEY, values::runtime) {
            let why = if RUNTIMES.contains(&runtime.as_str()) {
                "is known anyway"
            } else if extra.contains(&runtime) {
                "is there already"
            } else {
                extra.insert(runtime);
                continue;
            };
            let runtime = quote(&runtime);
            self.warnings.push(format!(
                "{EXTRA_RUNTIMES_KEY} lists {runtime}, which {why}."
            ));
        }
        extra
    }

    pub(super) fn pins(&mut self, extra: &BTreeSet<String>) -> BTreeMap<String, Digest> {
        let known = known(extra);
        let mut pins = BTreeMap::new();
        for key in self.data.keys() {
            if let Some(runtime) = key.strip_prefix(PIN_KEY_PREFIX)
                && known.contains(runtime)
                && let Some(digest) = self.scalar(key, str::parse)
            {
                pins.insert(runtime.to_owned(), digest);
            }
        }
        pins
    }

    /// Names of Secrets, each once, in the order in which they were written.
    pub(super) fn image_pull_secrets(&mut self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut names = self.list(IMAGE_PULL_SECRETS_KEY, values::secret);
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// How a fleet moves. What belongs to a paced rollout is checked without one as well: it would
    /// be found wrong on the day that it is needed.
    pub(super) fn rollout(&mut self) -> Rollout {
        let policy = self.scalar(ROLLOUT_KEY, |value| match value {
            ON_RESTART => Ok(Policy::OnRestart),
            PACED => Ok(Policy::Paced),
            _ => Err(Fault::new(
                "is no way to roll out",
                format!(
                    "write {} or {}, or remove the key",
                    quote(ON_RESTART),
                    quote(PACED)
                ),
            )),
        });
        let most = self.scalar(ROLLOUT_MAX_UNAVAILABLE_KEY, values::max_unavailable);
        let failed = self.scalar(ROLLOUT_MAX_FAILED_KEY, values::max_failed);
        let min_ready = self.scalar(ROLLOUT_MIN_READY_SECONDS_KEY, values::min_ready);
        let paused = self.scalar(ROLLOUT_PAUSED_KEY, values::boolean);
        let roll_back = self.scalar(ROLLOUT_ROLL_BACK_KEY, values::boolean);
        let default = Rollout::default();
        Rollout {
            policy: policy.unwrap_or(default.policy),
            max_unavailable: most.unwrap_or(default.max_unavailable),
            max_failed: failed.unwrap_or(default.max_failed),
            min_ready_seconds: min_ready.unwrap_or(default.min_ready_seconds),
            paused: paused.unwrap_or(default.paused),
            roll_back: roll_back.unwrap_or(default.roll_back),
        }
    }

    /// The registry of a switch that is prepared. Nothing that is in force depends on it, so one that
    /// cannot be right is only warned of.
    pub(super) fn next_registry(&mut self, extra: &BTreeSet<String>) -> Option<Prefix> {
        let value = self.get(NEXT_REGISTRY_KEY)?;
        let place = format!("{NEXT_REGISTRY_KEY} is");
        let next = prefix(value, extra);
        let next = next.map_err(|it| SettingsError::new(NEXT_REGISTRY_KEY, &place, value, &it));
        next.map_err(|it| self.warnings.push(format!("No effect: {it}")))
            .ok()
    }

    /// Whether its images are pulled before.
    pub(super) fn prepull(&mut self) -> bool {
        let value = self.get(PREPULL_KEY).unwrap_or("false");
        match values::boolean(value) {
            Ok(is) => {
                if is && self.get(NEXT_REGISTRY_KEY).is_none() {
                    self.warnings.push(format!(
                        "{PREPULL_KEY} has no effect without {NEXT_REGISTRY_KEY}."
                    ));
                }
                is
            }
            Err(fault) => {
                let place = format!("{PREPULL_KEY} is");
                let error = SettingsError::new(PREPULL_KEY, &place, value, &fault);
                self.warnings.push(format!("No effect: {error}"));
                false
            }
        }
    }

    /// An unknown key is never an error: a downgrade must not invalidate the settings.
    pub(super) fn unknown_keys(&mut self, extra: &BTreeSet<String>) {
        let known = known(extra);
        for key in self.data.keys() {
            let pinned = key.strip_prefix(PIN_KEY_PREFIX);
            if FIXED.contains(&key.as_str()) || pinned.is_some_and(|r| known.contains(r)) {
                continue;
            }
            // What is not told need not be worked out, and there may be thousands.
            let told = self.warnings.len() < MOST_WARNINGS;
            let hint = told.then(|| closest(key, known.iter().copied())).flatten();
            let hint = hint.map(|right| format!(": did you mean {right}?"));
            let key = quote(key);
            let what = match pinned {
                Some(_) => format!("pins no known runtime (see {EXTRA_RUNTIMES_KEY})"),
                None => "is no setting".to_owned(),
            };
            let end = hint.as_deref().unwrap_or(".");
            self.warnings
                .push(format!("{key} {what} and has no effect{end}"));
        }
    }
}

/// The first warnings, and how many more there are.
fn first(mut warnings: Vec<String>) -> Vec<String> {
    let more = warnings.len().saturating_sub(MOST_WARNINGS);
    warnings.truncate(MOST_WARNINGS);
    if more > 0 {
        warnings.push(format!("There are {more} more warnings."));
    }
    warnings
}

/// A prefix under which every known runtime has a valid image.
fn prefix(value: &str, extra: &BTreeSet<String>) -> Result<Prefix, Fault> {
    let prefix: Prefix = value.parse()?;
    if let Some(longest) = extra.iter().max_by_key(|runtime| runtime.len()) {
        prefix.fits(longest)?;
    }
    Ok(prefix)
}
