//! Which pull credentials a kubelet would use for an image: pure, and by Kubernetes' own rule.
//!
//! The entries of all pull secrets are put together and tried from the most specific to the least;
//! one that matches is tried even if another has matched before, and only where none matches is the
//! registry asked as anybody.

mod pattern;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use crate::pod;
use crate::settings::Settings;
use crate::workspace::WorkspaceSpec;

pub use pattern::{Pattern, gives_nodes_credentials};
pub use secret::{SecretKind, Unreadable, entries};

/// The ServiceAccount of a Pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// What is shown to a registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Login {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for one of the registry's.
    Identity(String),
}

/// Never what is secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { username, .. } => write!(f, "Password({username:?})"),
            Login::Identity(_) => f.write_str("Identity"),
        }
    }
}

/// Where a Pod takes its pull credentials from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Its namespace.
    pub namespace: String,
    /// The pull secrets that it names.
    pub secrets: Vec<String>,
    /// The ServiceAccount whose pull secrets are used where it names none.
    pub service_account: String,
}

impl Source {
    /// Where the Pod of a Workspace in this namespace does.
    #[must_use]
    pub fn of(namespace: &str, spec: &WorkspaceSpec, settings: &Settings) -> Self {
        let secrets = pod::pull_secrets(spec, settings).into_iter();
        let account = spec.service_account_name.as_deref();
        Self {
            namespace: namespace.to_owned(),
            secrets: secrets
                .map(|it| it.name)
                .filter(|it| !it.is_empty())
                .collect(),
            service_account: account
                .filter(|it| !it.is_empty())
                .unwrap_or(DEFAULT_ACCOUNT)
                .to_owned(),
        }
    }
}

/// One entry of a pull secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which images it is for.
    pub pattern: Pattern,
    /// What it shows.
    pub login: Login,
}

/// The pull credentials of a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    entries: Vec<Entry>,
}

impl Keyring {
    /// The entries of its pull secrets, in their order.
    #[must_use]
    pub fn new(mut entries: Vec<Entry>) -> Self {
        // A stable sort: of equal patterns, the entry of the first secret is tried first.
        entries.sort_by(|one, other| other.pattern.cmp(&one.pattern));
        Self { entries }
    }

    /// What is shown for an image, in the order in which it is tried; nothing = as anybody. The
    /// image's name is without tag and digest.
    #[must_use]
    pub fn logins(&self, name: &str) -> Vec<Login> {
        let mut seen = BTreeSet::new();
        let matching = self.entries.iter().filter(|it| it.pattern.matches(name));
        let mut logins: Vec<_> = matching.map(|it| it.login.clone()).collect();
        if logins.is_empty() && pattern::is_docker_hub(name) {
            let of_hub = self.entries.iter().filter(|it| it.pattern.is_docker_hub());
            logins = of_hub.map(|it| it.login.clone()).collect();
        }
        logins.retain(|login| seen.insert(login.clone()));
        logins
    }
}
