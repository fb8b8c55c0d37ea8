//! Asks a node whether it can pull an image: by a Pod that pulls it, and can do nothing else.
//!
//! A registry that accepts a connection and never answers blocks every pull of a node, so this is
//! only for a registry that was seen to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerState, LocalObjectReference, Pod, PodSecurityContext,
    PodSpec, ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::{self, Condition, await_condition};
use kube::{Api, Client, Error, ResourceExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::credentials::Source;
use crate::names;
use crate::pull;
use crate::requests::DEADLINE;
use crate::workspace::WorkspaceSpec;

/// `app.kubernetes.io/name` of a probe. No Workspace's, so that nobody takes one for an agent.
const NAME: &str = "workspace-probe";
/// The command line that started a probe.
const LABEL_RUN: &str = "molecule.ai/probe";
/// The only container that a probe begins with: others may be put beside it.
const CONTAINER: &str = "probe";
/// What is not there, whatever the image.
const NO_PROGRAM: &str = "/this-probe-only-pulls";
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

/// What a node says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has pulled it; the digest that it tells.
    Pulled(Option<String>),
    /// It could not, for this cause, to be read after the registry's name.
    Failed(pull::Cause),
    /// It cannot be told, for this reason.
    Open(String),
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
        let created = timeout(DEADLINE, pods.create(&PostParams::default(), &pod)).await;
        let name = match created {
            Ok(Ok(pod)) => pod.name_any(),
            Ok(Err(Error::Api(status))) => {
                return Answer::Open(format!("no probe can be started: {}", status.message));
            }
            _ => return Answer::Open("no probe can be started".to_owned()),
        };
        let seen = await_condition(pods.clone(), &name, Told);
        let answer = match timeout(self.patience, seen).await {
            Ok(Ok(Some(pod))) => answer(&pod).unwrap_or_else(|| open(Some(&pod))),
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

impl Condition<Pod> for Told {
    fn matches_object(&self, pod: Option<&Pod>) -> bool {
        pod.is_none_or(|pod| answer(pod).is_some())
    }
}

/// What a node has said so far.
fn answer(pod: &Pod) -> Option<Answer> {
    let mut statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    let container = statuses.find(|it| it.name == CONTAINER);
    if let Some(container) = container
        && !container.image_id.is_empty()
    {
        let digest = container.image_id.rsplit('@').next().unwrap_or_default();
        let digest = digest.starts_with("sha256:").then(|| digest.to_owned());
        return Some(Answer::Pulled(digest));
    }
    if let Some(why) = taken_away(pod) {
        return Some(Answer::Open(why));
    }
    match container?.state.as_ref()? {
        ContainerState {
            waiting: Some(waiting),
            ..
        } => {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or_default();
            // Between two attempts no cause is named.
            let cause = pull::cause(reason, message);
            if pull::is_failure(reason) {
                return cause.map(Answer::Failed);
            }
            // The image is there, and the program is not.
            let is_there = ["CreateContainerError", "RunContainerError"].contains(&reason);
            is_there.then_some(Answer::Pulled(None))
        }
        ContainerState {
            terminated: Some(terminated),
            ..
        } => Some(ended(terminated.reason.as_deref().unwrap_or_default())),
        ContainerState { running, .. } => running.is_some().then_some(Answer::Pulled(None)),
    }
}

/// Why a node does not go on with a probe, if it does not.
fn taken_away(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref();
    let reason = status.and_then(|it| it.reason.as_deref());
    match reason {
        Some("Evicted") => Some("its node evicted the probe".to_owned()),
        Some("DeadlineExceeded") => Some("the probe had no time left".to_owned()),
        _ if pod.metadata.deletion_timestamp.is_some() => {
            Some("the probe was deleted by somebody".to_owned())
        }
        _ => None,
    }
}

/// What an end says: only what has started, or was about to, has its image. Of a container that has
/// never been there a node tells an end as well.
fn ended(reason: &str) -> Answer {
    match reason {
        "StartError" | "ContainerCannotRun" | "Error" | "Completed" => Answer::Pulled(None),
        _ => Answer::Open("the probe ended before its node told what it has pulled".to_owned()),
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
    let secrets = source.secrets.iter();
    let secrets = secrets.map(|name| LocalObjectReference { name: name.clone() });
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{NAME}-")),
            labels: Some(labels.map(|(key, value)| (key.into(), value.into())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            // Whoever started it may not be there any more.
            active_deadline_seconds: Some(seconds.saturating_add(30)),
            affinity: spec.affinity.clone(),
            automount_service_account_token: Some(false),
            containers: vec![container(image)],
            enable_service_links: Some(false),
            image_pull_secrets: Some(secrets.collect()),
            node_selector: Some(spec.node_selector.clone()),
            restart_policy: Some("Never".into()),
            runtime_class_name: spec.runtime_class_name.clone(),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            service_account_name: Some(source.service_account.clone()),
            termination_grace_period_seconds: Some(0),
            tolerations: Some(spec.tolerations.clone()),
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn container(image: &str) -> Container {
    let little = [("cpu", "10m"), ("memory", "16Mi")];
    let little = little.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    let little: BTreeMap<_, _> = little.into();
    Container {
        name: CONTAINER.into(),
        image: Some(image.into()),
        // What the node has already says nothing of the registry.
        image_pull_policy: Some("Always".into()),
        command: Some(vec![NO_PROGRAM.into()]),
        resources: Some(ResourceRequirements {
            requests: Some(little.clone()),
            limits: Some(little),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".into()]),
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;
    use serde_json::{Value, json};

    use super::*;

    fn of(container: Value) -> Option<Answer> {
        let mut status = json!({
            "name": "probe", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        });
        for (key, value) in container.as_object().expect("an object") {
            status[key] = value.clone();
        }
        let pod = json!({"status": {"containerStatuses": [status]}});
        answer(&serde_json::from_value(pod).expect("a Pod"))
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"state": {"waiting": {"reason": reason, "message": message}}})
    }

    #[test]
    fn a_node_has_it_when_it_names_it_or_gets_as_far_as_the_program() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let named =
            json!({"imageID": format!("r.example.com/x@{digest}"), "state": {"waiting": {}}});
        assert_eq!(of(named), Some(Answer::Pulled(Some(digest))));
        let error = waiting("RunContainerError", "no such file or directory");
        assert_eq!(of(error), Some(Answer::Pulled(None)));
        let ended = json!({"state": {"terminated": {"exitCode": 128, "reason": "StartError"}}});
        assert_eq!(of(ended), Some(Answer::Pulled(None)));
    }

    #[test]
    fn a_failure_is_told_once_it_has_a_cause() {
        let failed = waiting("ErrImagePull", "unexpected status: 401 Unauthorized");
        let Some(Answer::Failed(cause)) = of(failed) else {
            panic!("no failure")
        };
        assert_eq!(cause.words, "answered 401 Unauthorized");
        assert_eq!(
            of(waiting("ImagePullBackOff", "Back-off pulling image")),
            None
        );
    }

    #[test]
    fn a_container_that_was_put_beside_it_says_nothing() {
        let beside = |state: Value, probe: Value| {
            let pod = json!({"status": {"containerStatuses": [
                {"name": "istio-proxy", "image": "x", "imageID": "r.example.com/istio",
                 "ready": true, "restartCount": 0, "state": state},
                {"name": "probe", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                 "state": probe},
            ]}});
            answer(&serde_json::from_value(pod).expect("a Pod"))
        };
        let running = || json!({"running": {}});
        let creating = waiting("ContainerCreating", "")["state"].clone();
        assert_eq!(beside(running(), creating.clone()), None);
        let failed = waiting("ErrImagePull", "unexpected status: 401 Unauthorized");
        assert_eq!(beside(failed["state"].clone(), creating), None);
        let failed = beside(running(), failed["state"].clone());
        assert!(matches!(failed, Some(Answer::Failed(_))), "{failed:?}");
    }

    #[test]
    fn what_ended_before_it_began_says_nothing_of_the_image() {
        let is_open = |it: Option<Answer>| matches!(it, Some(Answer::Open(_)));
        let ended = |reason: &str| {
            of(json!({"state": {"terminated": {"exitCode": 137, "reason": reason}}}))
        };
        assert!(is_open(ended("ContainerStatusUnknown")));
        assert!(is_open(ended("")));
        for reason in ["StartError", "ContainerCannotRun", "Error", "Completed"] {
            assert_eq!(ended(reason), Some(Answer::Pulled(None)), "{reason}");
        }
        let status = |reason: &str, state: Value| {
            json!({"phase": "Failed", "reason": reason, "containerStatuses": [
                {"name": "probe", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                 "state": state},
            ]})
        };
        let unknown = json!({"terminated": {"exitCode": 137, "reason": "Error"}});
        let deleted = json!({"deletionTimestamp": "2026-11-27T21:00:00Z"});
        for pod in [
            json!({"status": status("Evicted", unknown.clone())}),
            json!({"status": status("DeadlineExceeded", unknown.clone())}),
            json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
            json!({"metadata": deleted, "status": status("", unknown)}),
        ] {
            let told = answer(&serde_json::from_value(pod.clone()).expect("a Pod"));
            assert!(is_open(told), "{pod}");
        }
    }

    #[test]
    fn until_then_there_is_no_answer() {
        assert_eq!(of(waiting("ContainerCreating", "")), None);
        assert_eq!(of(json!({})), None);
        assert_eq!(answer(&Pod::default()), None);
    }

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
