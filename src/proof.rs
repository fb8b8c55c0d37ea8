//! What is proved before a Ready Workspace is stopped for another image: that its node has the image,
//! or can pull it.
//!
//! A proof is a Pod on that node, a *probe*, that pulls the image and can do nothing else. Once it has
//! pulled, it is the proof for as long as it is there, and no longer than some minutes; meanwhile it
//! keeps its node from taking the image away. So all that is known of proofs is in the cluster: after
//! a crash, or with another leader, the probes are simply seen again.
//!
//! A registry that accepts a connection and never answers blocks every pull of a node. So before a
//! node is sent there, the registry is asked from here whether it answers at all.

mod held;
mod judge;
mod pause;
mod probe;
mod registries;
mod table;
#[cfg(test)]
mod tests;

use crate::pod;
use crate::resolver;
use crate::seen::{Credentials, Key, Pod, Question, Seen};
use crate::settings::{Policy, Settings};
use crate::workspace::WorkspaceSpec;

pub use judge::{Answer, State, Told, judge};
pub use probe::{CONTAINER, MANAGER_LABELS, NAME, Probe, pull, without_user};
pub use registries::Sign;
pub use table::{Done, Learnt, Proofs, Step, Stock};

/// A question, and in whose name it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Want {
    /// The question.
    pub question: Question,
    /// The ServiceAccount of the Pod that is to be, whose pull secrets it uses where it names none;
    /// absent = the namespace's default.
    pub service_account: Option<String>,
}

impl Want {
    /// What has to be proved before the container of this Pod is stopped for this image; nothing where
    /// it has no node. Its pull secrets stay those of its live spec, where admission has put those of
    /// the ServiceAccount if it named none itself.
    #[must_use]
    pub fn in_place(key: &Key, spec: &WorkspaceSpec, pod: &Pod, image: &str) -> Option<Self> {
        let secrets = credentials(&key.namespace, pod.pull_secrets.clone());
        Self::of(spec, pod, image, secrets)
    }

    /// What has to be proved before another Pod with this image takes the place of this one; nothing
    /// where it has no node.
    #[must_use]
    pub fn anew(
        key: &Key,
        spec: &WorkspaceSpec,
        settings: &Settings,
        pod: &Pod,
        image: &str,
    ) -> Option<Self> {
        let names = pod::pull_secrets(spec, settings).into_iter();
        let secrets = match credentials(&key.namespace, names.map(|it| it.name).collect()) {
            Credentials::None => Credentials::OfServiceAccount {
                namespace: key.namespace.to_string(),
                name: account(spec.service_account_name.as_deref()).to_owned(),
            },
            secrets => secrets,
        };
        Self::of(spec, pod, image, secrets)
    }

    fn of(spec: &WorkspaceSpec, pod: &Pod, image: &str, credentials: Credentials) -> Option<Self> {
        Some(Self {
            question: Question {
                node: pod.node.clone()?,
                image: image.to_owned(),
                credentials,
            },
            service_account: spec.service_account_name.clone(),
        })
    }

    /// Whether other pull secrets than those of this Pod are to be shown, or may be: what its node has
    /// for this Pod, it may not have for the next one then.
    #[must_use]
    pub fn has_other_secrets(&self, pod: &Pod) -> bool {
        match &self.question.credentials {
            Credentials::Secrets { namespace, .. } => {
                let live = credentials(namespace, pod.pull_secrets.clone());
                live != self.question.credentials
            }
            Credentials::None | Credentials::OfServiceAccount { .. } => {
                !pod.pull_secrets.is_empty()
            }
        }
    }
}

/// The ServiceAccount of a Pod that names this one, or none.
fn account(name: Option<&str>) -> &str {
    name.filter(|it| !it.is_empty()).unwrap_or("default")
}

/// What a Workspace will need on its node under these settings, which are still to come: as it would
/// be moved, or else be started anew. What its Pod was told already, its node keeps for that.
#[must_use]
pub fn to_stock(seen: &Seen<'_>, next: &Settings) -> Option<Want> {
    let workspace = seen.workspace.filter(|it| !it.deleting)?;
    let pod = seen.pod.filter(|it| it.is_of(workspace) && it.stays())?;
    let spec = workspace.spec.as_ref().ok()?.unpack();
    let image = resolver::image(next, &spec.runtime, pod::version(&spec)).ok()?;
    if pod.told.image.as_ref() == Some(&image) {
        return None;
    }
    let is_moved = next.rollout().policy == Policy::Paced;
    if is_moved && pod.told.settings.as_deref() == Some(&*pod::settings_hash(next)) {
        Want::in_place(seen.key, &spec, pod, &image)
    } else {
        Want::anew(seen.key, &spec, next, pod, &image)
    }
}

/// The pull secrets of these names in a namespace.
#[must_use]
pub fn credentials(namespace: &str, mut names: Vec<String>) -> Credentials {
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Credentials::None;
    }
    let namespace = namespace.to_owned();
    Credentials::Secrets { namespace, names }
}
