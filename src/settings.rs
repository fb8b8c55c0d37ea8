//! The settings: one ConfigMap of flat keys, parsed into a value or into a list of errors.
//!
//! [`Settings::parse`] is the only way in, so whoever holds a [`Settings`] holds settings that
//! resolve: there is nothing left to check and nothing left to fail. What is wrong with a value is
//! said in one sentence with the key, the value and what to write instead.

mod fault;
mod keys;
mod prefix;
mod reader;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use fault::{Fault, Invalid, SettingsError};
pub use keys::{
    DOCUMENTED, Documented, EXTRA_RUNTIMES_KEY, IMAGE_PULL_SECRETS_KEY, NEXT_REGISTRY_KEY,
    PIN_KEY_PREFIX, PLATFORM_URL_KEY, PREPULL_KEY, PROVISION_TIMEOUT_SECONDS_KEY, REGISTRY_KEY,
    ROLLOUT_KEY, ROLLOUT_MAX_FAILED_KEY, ROLLOUT_MAX_UNAVAILABLE_KEY,
    ROLLOUT_MIN_READY_SECONDS_KEY, ROLLOUT_PAUSED_KEY, ROLLOUT_ROLL_BACK_KEY,
    WATCH_DIGESTS_SECONDS_KEY,
};
pub use prefix::Prefix;
use reader::Reader;
pub use values::{Digest, IntOrPercent};

/// The registry prefix where neither the settings nor the operator's environment name one.
pub const DEFAULT_REGISTRY: &str = "ghcr.io/molecule-ai";

/// Seconds until a Pod that is not Ready makes its Workspace Stalled, where nobody says otherwise.
pub const DEFAULT_PROVISION_TIMEOUT_SECONDS: u32 = 600;

/// The runtimes that every installation knows, in alphabetical order.
pub const RUNTIMES: [&str; 9] = [
    "autogen",
    "claude-code",
    "codex",
    "crewai",
    "deepagents",
    "gemini-cli",
    "hermes",
    "langgraph",
    "openclaw",
];

/// Settings that are whole and valid. They never change: an edit makes new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    registry: Prefix,
    /// Without the nine of [`RUNTIMES`].
    extra_runtimes: BTreeSet<String>,
    /// Only of known runtimes.
    pins: BTreeMap<String, Digest>,
    image_pull_secrets: Vec<String>,
    platform_url: Option<String>,
    provision_timeout_seconds: u32,
    watch_digests_seconds: Option<u32>,
    rollout: Rollout,
    next_registry: Option<Prefix>,
    prepull: bool,
}

/// How a fleet moves to other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Whether those that run are moved.
    pub policy: Policy,
    /// How many Workspaces may be down at once meanwhile; one at least, or nothing would ever move.
    pub max_unavailable: IntOrPercent,
    /// How many that were moved may not be Ready again in their time without a halt of the others.
    pub max_failed: IntOrPercent,
    /// For how many seconds one that was moved is Ready before its place goes to the next.
    pub min_ready_seconds: u32,
    /// Whether none is moved for now.
    pub paused: bool,
    /// Whether one that is not Ready again in its time is put back on the image that it ran.
    pub roll_back: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            max_unavailable: IntOrPercent::Int(1),
            max_failed: IntOrPercent::Int(0),
            min_ready_seconds: 10,
            paused: false,
            roll_back: false,
        }
    }
}

/// Whether what runs is moved to other settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Only what starts anew takes them.
    #[default]
    OnRestart,
    /// What runs is moved too, a few at a time.
    Paced,
}

const ON_RESTART: &str = "OnRestart";
const PACED: &str = "Paced";

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnRestart => ON_RESTART,
            Self::Paced => PACED,
        })
    }
}

/// What the operator's own environment says about settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The variable `MOLECULE_IMAGE_REGISTRY`, as it stands; empty is unset. It counts where the
    /// settings name no registry.
    pub registry: Option<String>,
}

/// Settings, and what is odd about them without making them invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The settings.
    pub settings: Settings,
    /// One sentence each, in a stable order.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Parses the data of a settings ConfigMap. An absent key and an empty value are the default.
    ///
    /// # Errors
    /// Every value that is wrong, not only the first.
    pub fn parse(
        data: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Result<Parsed, Invalid> {
        let mut reader = Reader::new(data);
        let extra_runtimes = reader.extra_runtimes();
        let registry = reader.registry(environment, &extra_runtimes);
        let pins = reader.pins(&extra_runtimes);
        let image_pull_secrets = reader.image_pull_secrets();
        let platform_url = reader.scalar(PLATFORM_URL_KEY, values::url);
        let timeout = reader.scalar(PROVISION_TIMEOUT_SECONDS_KEY, values::timeout);
        let rollout = reader.rollout();
        let next_registry = reader.next_registry(&extra_runtimes);
        let prepull = reader.prepull();
        let watch_digests_seconds = reader.scalar(WATCH_DIGESTS_SECONDS_KEY, values::pause);
        reader.unknown_keys(&extra_runtimes);

        let warnings = reader.finish()?;
        let settings = Settings {
            // No registry and no error means that nobody named one.
            registry: registry.unwrap_or_default(),
            extra_runtimes,
            pins,
            image_pull_secrets,
            platform_url,
            provision_timeout_seconds: timeout.unwrap_or(DEFAULT_PROVISION_TIMEOUT_SECONDS),
            watch_digests_seconds,
            rollout,
            next_registry,
            prepull,
        };
        Ok(Parsed { settings, warnings })
    }

    /// These settings as flat keys: parsed again, in whatever environment, they give the same
    /// settings. What has a default that could change with a version is written out.
    pub fn to_data(&self) -> BTreeMap<String, String> {
        let mut data = BTreeMap::from([
            (REGISTRY_KEY.to_owned(), self.registry.to_string()),
            (
                PROVISION_TIMEOUT_SECONDS_KEY.to_owned(),
                self.provision_timeout_seconds.to_string(),
            ),
        ]);
        if !self.extra_runtimes.is_empty() {
            let names: Vec<&str> = self.extra_runtimes.iter().map(String::as_str).collect();
            data.insert(EXTRA_RUNTIMES_KEY.to_owned(), names.join(","));
        }
        if !self.image_pull_secrets.is_empty() {
            let names = self.image_pull_secrets.join(",");
            data.insert(IMAGE_PULL_SECRETS_KEY.to_owned(), names);
        }
        if let Some(url) = &self.platform_url {
            data.insert(PLATFORM_URL_KEY.to_owned(), url.clone());
        }
        if let Some(seconds) = self.watch_digests_seconds {
            data.insert(WATCH_DIGESTS_SECONDS_KEY.to_owned(), seconds.to_string());
        }
        self.add_rollout(&mut data);
        if let Some(next) = &self.next_registry {
            data.insert(NEXT_REGISTRY_KEY.to_owned(), next.to_string());
        }
        if self.prepull {
            data.insert(PREPULL_KEY.to_owned(), true.to_string());
        }
        for (runtime, digest) in &self.pins {
            data.insert(keys::pin_key(runtime), digest.to_string());
        }
        data
    }

    fn add_rollout(&self, data: &mut BTreeMap<String, String>) {
        let Rollout {
            policy,
            max_unavailable,
            max_failed,
            min_ready_seconds,
            paused,
            roll_back,
        } = self.rollout;
        let default = Rollout::default();
        let mut add = |key: &str, value: String| data.insert(key.to_owned(), value);
        if policy != default.policy {
            add(ROLLOUT_KEY, policy.to_string());
        }
        if policy == Policy::Paced || max_unavailable != default.max_unavailable {
            add(ROLLOUT_MAX_UNAVAILABLE_KEY, max_unavailable.to_string());
        }
        if policy == Policy::Paced || max_failed != default.max_failed {
            add(ROLLOUT_MAX_FAILED_KEY, max_failed.to_string());
        }
        if policy == Policy::Paced || min_ready_seconds != default.min_ready_seconds {
            add(ROLLOUT_MIN_READY_SECONDS_KEY, min_ready_seconds.to_string());
        }
        if paused {
            add(ROLLOUT_PAUSED_KEY, paused.to_string());
        }
        if roll_back {
            add(ROLLOUT_ROLL_BACK_KEY, roll_back.to_string());
        }
    }

    /// Where every image comes from.
    pub fn registry(&self) -> &Prefix {
        &self.registry
    }

    /// The digest that stands for the default tag of a runtime, if one is pinned.
    pub fn pin(&self, runtime: &str) -> Option<&Digest> {
        self.pins.get(runtime)
    }

    /// Names of Secrets in each Workspace's own namespace, to append to the Workspace's; each once.
    pub fn image_pull_secrets(&self) -> &[String] {
        &self.image_pull_secrets
    }

    /// What agents are told to call home to, as it was written.
    pub fn platform_url(&self) -> Option<&str> {
        self.platform_url.as_deref()
    }

    /// Seconds until a Pod that is not Ready makes its Workspace Stalled.
    pub fn provision_timeout_seconds(&self) -> u32 {
        self.provision_timeout_seconds
    }

    /// Every how many seconds registries are asked whether tags have moved; `None` = never.
    pub fn watch_digests_seconds(&self) -> Option<u32> {
        self.watch_digests_seconds
    }

    /// How a fleet moves.
    pub fn rollout(&self) -> Rollout {
        self.rollout
    }

    /// These settings as they will be after the switch that is being prepared, if the images of it
    /// are to be pulled before; after the switch, these settings, for what does not run its image yet
    /// will need it still.
    pub fn to_prepare(&self) -> Option<Settings> {
        let next = self.next_registry.as_ref().filter(|_| self.prepull)?;
        Some(Settings {
            registry: next.clone(),
            ..self.clone()
        })
    }

    /// Every runtime that has an image: the nine and the extra ones, in alphabetical order.
    pub fn known_runtimes(&self) -> impl Iterator<Item = &str> {
        known(&self.extra_runtimes).into_iter()
    }

    /// Whether a runtime has an image.
    pub fn knows(&self, runtime: &str) -> bool {
        RUNTIMES.contains(&runtime) || self.extra_runtimes.contains(runtime)
    }
}

impl Default for Settings {
    /// What an empty ConfigMap gives in an empty environment.
    fn default() -> Self {
        Settings {
            registry: Prefix::default(),
            extra_runtimes: BTreeSet::new(),
            pins: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
            platform_url: None,
            provision_timeout_seconds: DEFAULT_PROVISION_TIMEOUT_SECONDS,
            watch_digests_seconds: None,
            rollout: Rollout::default(),
            next_registry: None,
            prepull: false,
        }
    }
}

/// The nine and the extra runtimes, each once, in alphabetical order.
fn known(extra: &BTreeSet<String>) -> BTreeSet<&str> {
    RUNTIMES
        .into_iter()
        .chain(extra.iter().map(String::as_str))
        .collect()
}
