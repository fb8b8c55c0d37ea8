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
use crate::settings::Settings;
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
    /// What has to be proved before this Pod of a Workspace is stopped for this image; nothing where
    /// it has no node.
    ///
    /// What the next Pod names is what it uses. Where it names no pull secrets, those of the
    /// ServiceAccount are used, which admission has copied into the live spec of a Pod that named
    /// none either.
    #[must_use]
    pub fn of(
        key: &Key,
        spec: &WorkspaceSpec,
        settings: &Settings,
        pod: &Pod,
        image: &str,
    ) -> Option<Self> {
        let asked = pod::pull_secrets(spec, settings);
        let mut names: Vec<_> = asked.into_iter().map(|it| it.name).collect();
        if names.is_empty() {
            names.clone_from(&pod.pull_secrets);
        }
        Some(Self {
            question: Question {
                node: pod.node.clone()?,
                image: image.to_owned(),
                credentials: credentials(&key.namespace, names),
            },
            service_account: spec.service_account_name.clone(),
        })
    }
}

/// What a Workspace will need on its node under these settings, which are still to come.
#[must_use]
pub fn to_stock(seen: &Seen<'_>, next: &Settings) -> Option<Want> {
    let workspace = seen.workspace.filter(|it| !it.deleting)?;
    let pod = seen.pod.filter(|it| it.is_of(workspace) && it.stays())?;
    let spec = workspace.spec.as_ref().ok()?.unpack();
    let image = resolver::image(next, &spec.runtime, pod::version(&spec)).ok()?;
    Want::of(seen.key, &spec, next, pod, &image)
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
