//! Asks a node whether it can pull an image: by a Pod that pulls it, and can do nothing else.
//!
//! A registry that accepts a connection and never answers blocks every pull of a node, so this is
//! only for a registry that was seen to answer.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{self, Condition, await_condition};
use kube::{Api, Client, Error, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::credentials::Source;
use crate::names;
use crate::proof::{self, NAME};
use crate::requests::DEADLINE;
use crate::wire;
use crate::workspace::WorkspaceSpec;

pub use crate::proof::Answer;

/// The command line that started a probe.
const LABEL_RUN: &str = "molecule.ai/probe";
/// So many nodes are asked at once.
const AT_ONCE: usize = 2;

/// Starts probes, and takes them away.
pub struct Prober {
    client: Client,
    /// What tells the probes of this command line from those of others.
    run: String,
    /// How long a node may pull.
    patience: Duration,
    /// Where probes were started.
    namespaces: Mutex<BTreeSet<String>>,
    /// Nodes pull one image after the other, and Workspaces want to pull as well.
    turns: Semaphore,
}

impl Prober {
    /// A prober whose nodes may pull for so long.
    #[must_use]
    pub fn new(client: &Client, patience: Duration) -> Self {
        let run = format!(
            "{:x}-{:x}",
            std::process::id(),
            jiff::Timestamp::now().as_millisecond()
        );
        Self {
            client: client.clone(),
            run,
            patience,
            namespaces: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Lets a node that a Workspace could be on pull an image with the Workspace's credentials.
    pub async fn ask(&self, image: &str, source: &Source, spec: &WorkspaceSpec) -> Answer {
        let _turn = self.turns.acquire().await;
        self.namespaces().insert(source.namespace.clone());
        let pods = Api::<Pod>::namespaced(self.client.clone(), &source.namespace);
        let pod = pod(image, source, spec, &self.run, self.patience);
        let created = timeout(DEADLINE, start(&pods, &pod)).await;
        let name = match created {
            Ok(Ok(pod)) => pod.name_any(),
            Ok(Err(Error::Api(status))) => {
                return Answer::Open(format!("no probe can be started: {}", status.message));
            }
            _ => return Answer::Open("no probe can be started".to_owned()),
        };
        let watched = Api::<wire::Pod>::namespaced(self.client.clone(), &source.namespace);
        let seen = await_condition(watched, &name, Told);
        let answer = match timeout(self.patience, seen).await {
            Ok(Ok(Some(pod))) => pod.answer().unwrap_or_else(|| open(None)),
            Ok(Ok(None)) => Answer::Open("the probe was deleted by somebody".to_owned()),
            Ok(Err(error)) => Answer::Open(unwatched(error)),
            Err(_) => open(look(&pods, &name).await.as_ref()),
        };
        // What is left over is swept in the end.
        let params = DeleteParams::default().grace_period(0);
        let _ = timeout(DEADLINE, pods.delete(&name, &params)).await;
        answer
    }

    /// Takes away what is left of this command line's probes.
    ///
    /// # Errors
    /// Some are still there.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        let ours = ListParams::default().labels(&format!("{LABEL_RUN}={}", self.run));
        let params = DeleteParams::default().grace_period(0);
        let namespaces = self.namespaces().clone();
        for namespace in namespaces {
            let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
            let left = || {
                let name = format!("{}={NAME}", names::LABEL_NAME);
                format!("Pods with the label {name} may be left in {namespace}")
            };
            let found = timeout(DEADLINE, pods.list(&ours)).await;
            for pod in found.with_context(left)?.with_context(left)? {
                match timeout(DEADLINE, pods.delete(&pod.name_any(), &params)).await {
                    Ok(Err(Error::Api(status))) if status.is_not_found() => {}
                    deleted => drop(deleted.with_context(left)?.with_context(left)?),
                }
            }
        }
        Ok(())
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start(pods: &Api<Pod>, pod: &Pod) -> kube::Result<Pod> {
    let params = PostParams::default();
    let created = pods.create(&params, pod).await;
    if let Err(Error::Api(status)) = &created
        && let Some(other) = proof::without_user(pod, &status.message)
    {
        return pods.create(&params, &other).await;
    }
    created
}

async fn look(pods: &Api<Pod>, name: &str) -> Option<Pod> {
    timeout(DEADLINE, pods.get(name)).await.ok()?.ok()
}

/// Why a probe is not heard of, without what the library makes of it.
fn unwatched(error: wait::Error) -> String {
    let error = anyhow::Error::new(error);
    let of_server = error.chain().find_map(|it| match it.downcast_ref() {
        Some(Error::Api(status)) => Some(status.message.clone()),
        _ => None,
    });
    match of_server {
        Some(message) => format!("the probe cannot be watched: {message}"),
        None => "the probe cannot be watched: the API server does not answer".to_owned(),
    }
}

struct Told;

impl Condition<wire::Pod> for Told {
    fn matches_object(&self, pod: Option<&wire::Pod>) -> bool {
        pod.is_none_or(|pod| pod.answer().is_some())
    }
}

/// Why there is no answer.
fn open(pod: Option<&Pod>) -> Answer {
    let status = pod.and_then(|it| it.status.as_ref());
    let mut conditions = status.iter().flat_map(|it| &it.conditions).flatten();
    let waits = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False");
    Answer::Open(match waits {
        Some(waits) => {
            let message = waits.message.as_deref().unwrap_or_default();
            format!("no node takes a probe: {message}")
        }
        None => "a node has begun to pull it and tells neither success nor failure".to_owned(),
    })
}

fn pod(image: &str, source: &Source, spec: &WorkspaceSpec, run: &str, patience: Duration) -> Pod {
    let labels = [
        (names::LABEL_NAME, NAME),
        (names::LABEL_MANAGED_BY, "kubectl-workspace"),
        (LABEL_RUN, run),
    ];
    let account = Some(&*source.service_account);
    // Whoever started it may not be there any more.
    let patience = patience.saturating_add(Duration::from_secs(30));
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{NAME}-")),
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            affinity: spec.affinity.clone(),
            node_selector: Some(spec.node_selector.clone()),
            runtime_class_name: spec.runtime_class_name.clone(),
            tolerations: Some(spec.tolerations.clone()),
            // What the node has already says nothing of the registry.
            ..proof::pull(image, "Always", &source.secrets, account, patience)
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;

    use super::*;

    #[test]
    fn why_a_probe_cannot_be_watched_is_told_as_the_api_server_says_it() {
        let forbidden = "pods \"workspace-probe-x\" is forbidden";
        let status = kube::core::Status::failure(forbidden, "Forbidden").with_code(403);
        let of = |error| unwatched(wait::Error::ProbeFailed(error));
        let told = of(watcher::Error::InitialListFailed(Error::Api(
            status.boxed(),
        )));
        assert_eq!(told, format!("the probe cannot be watched: {forbidden}"));
        let told = of(watcher::Error::NoResourceVersion);
        assert!(told.ends_with("the API server does not answer"), "{told}");
    }
}
