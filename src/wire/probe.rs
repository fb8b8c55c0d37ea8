//! The probes among the Pods, and what their nodes say.

use jiff::Timestamp;

use super::{ContainerStatus, Pod, label, version};
use crate::proof::{
    Answer, CONTAINER, MANAGER_LABELS, NAME, Probe, State, Told, credentials, judge,
};
use crate::seen::Question;

impl Pod {
    /// Whether it is a probe of the operator's: anybody may copy its labels, so its name counts too.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        let has = |(name, value): (&str, &str)| label(&self.metadata, name) == Some(value);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let named = name
            .strip_prefix(NAME)
            .is_some_and(|it| it.starts_with('-'));
        named && MANAGER_LABELS.into_iter().all(has)
    }

    /// What its node has said so far of the image that a probe is to pull.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let probe = self.probed();
        judge(&Told {
            image_id: probe.map_or("", |it| &it.image_id),
            state: probe.map_or(State::Unknown, ContainerStatus::as_told),
            reason: self.status.reason.as_deref().unwrap_or_default(),
            message: self.status.message.as_deref().unwrap_or_default(),
            is_dead: self.status.phase.as_deref() == Some("Failed"),
            is_deleted: self.metadata.deletion_timestamp.is_some(),
        })
    }

    /// What is seen of a probe.
    #[must_use]
    pub fn probe(self) -> Probe {
        // Nothing but its deletion changes a probe: what a node said before somebody changed it says
        // nothing of what it asks now.
        let is_altered = self.metadata.deletion_timestamp.is_none()
            && self.metadata.generation.is_some_and(|it| it > 1);
        let answer = if is_altered {
            Some(Answer::Open("the probe was changed by somebody".to_owned()))
        } else {
            self.answer()
        };
        let pulled = self.probed().and_then(ContainerStatus::since);
        let containers = self.spec.containers.into_iter();
        let mut containers = containers.filter(|it| it.name == CONTAINER);
        let secrets = self.spec.image_pull_secrets.into_iter();
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let created = self.metadata.creation_timestamp.as_ref();
        Probe {
            version: version(&self.metadata),
            created: created.map_or(Timestamp::UNIX_EPOCH, |it| it.0),
            is_deleted: self.metadata.deletion_timestamp.is_some(),
            question: Question {
                node: self.spec.node_name.unwrap_or_default(),
                image: containers
                    .next()
                    .and_then(|it| it.image)
                    .unwrap_or_default(),
                credentials: credentials(namespace, secrets.map(|it| it.name).collect()),
            },
            service_account: self.spec.service_account_name,
            answer,
            pulled,
        }
    }

    fn probed(&self) -> Option<&ContainerStatus> {
        let mut statuses = self.status.container_statuses.iter();
        statuses.find(|it| it.name == CONTAINER)
    }
}

impl ContainerStatus {
    fn as_told(&self) -> State<'_> {
        if let Some(waiting) = &self.state.waiting {
            let (reason, message) = (&waiting.reason, &waiting.message);
            State::Waiting { reason, message }
        } else if let Some(ended) = &self.state.terminated {
            let reason = &ended.reason;
            State::Ended { reason }
        } else if self.state.running.is_some() {
            State::Running
        } else {
            State::Unknown
        }
    }

    /// When it began to run, or ended.
    fn since(&self) -> Option<Timestamp> {
        if let Some(ended) = &self.state.terminated {
            return ended.finished_at.as_ref().map(|it| it.0);
        }
        let running = self.state.running.as_ref()?;
        running.get("startedAt")?.as_str()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::seen::Credentials;

    fn pod(mut pod: Value) -> Pod {
        if pod["metadata"].is_null() {
            pod["metadata"] = json!({});
        }
        serde_json::from_value(pod).expect("a Pod")
    }

    fn answer(told: Value) -> Option<Answer> {
        pod(told).answer()
    }

    fn of(container: Value) -> Option<Answer> {
        let mut status = json!({
            "name": "probe", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        });
        for (key, value) in container.as_object().expect("an object") {
            status[key] = value.clone();
        }
        answer(json!({"status": {"containerStatuses": [status]}}))
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
        for (reason, message) in [
            ("RunContainerError", "no such file or directory"),
            (
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
            ),
        ] {
            assert_eq!(of(waiting(reason, message)), Some(Answer::Pulled(None)));
        }
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
            answer(pod)
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
            json!({"status": {"phase": "Failed", "reason": "OutOfcpu"}}),
            json!({"metadata": deleted, "status": status("", unknown)}),
        ] {
            let told = answer(pod.clone());
            assert!(is_open(told), "{pod}");
        }
    }

    #[test]
    fn until_then_there_is_no_answer() {
        assert_eq!(of(waiting("ContainerCreating", "")), None);
        assert_eq!(of(json!({})), None);
        assert_eq!(answer(json!({})), None);
    }

    #[test]
    fn what_a_probe_asks_is_read_from_what_its_node_was_told() {
        let labels = json!({
            "app.kubernetes.io/name": "workspace-probe",
            "app.kubernetes.io/managed-by": "workspace-operator",
        });
        let status = json!({"containerStatuses": [{
            "name": "probe", "imageID": "x@sha256:0", "state": {"terminated": {
                "reason": "StartError", "finishedAt": "2026-01-01T00:01:00Z",
            }},
        }]});
        let it = pod(json!({
            "metadata": {
                "name": "workspace-probe-x", "namespace": "team", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels,
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "beside", "image": "y"}, {"name": "probe", "image": "x:v1"}],
                "imagePullSecrets": [{"name": "b"}, {"name": "a"}],
            },
            "status": status,
        }));
        assert!(it.is_probe());
        let probe = it.probe();
        let names = vec!["a".into(), "b".into()];
        let namespace = "team".into();
        let expected = Question {
            node: "node-1".into(),
            image: "x:v1".into(),
            credentials: Credentials::Secrets { namespace, names },
        };
        assert_eq!(probe.question, expected);
        let pulled = "2026-01-01T00:01:00Z".parse().expect("a time");
        assert_eq!(probe.pulled, Some(pulled));
        assert_eq!(probe.answer, Some(Answer::Pulled(Some("sha256:0".into()))));
        let of_somebody = json!({"metadata": {"name": "workspace-probe-x", "labels": {
            "app.kubernetes.io/name": "workspace-probe",
            "app.kubernetes.io/managed-by": "kubectl-workspace",
        }}});
        assert!(!pod(of_somebody).is_probe());
        let altered = pod(json!({
            "metadata": {"name": "workspace-probe-x", "generation": 2},
            "status": {"containerStatuses": [{"name": "probe", "imageID": "x@sha256:0"}]},
        }));
        let told = altered.probe().answer;
        assert!(
            matches!(&told, Some(Answer::Open(why)) if why.contains("changed")),
            "{told:?}"
        );
        let copied = json!({"metadata": {"name": "workspace-probes", "labels": {
            "app.kubernetes.io/name": "workspace-probe",
            "app.kubernetes.io/managed-by": "workspace-operator",
        }}});
        assert!(!pod(copied).is_probe());
    }
}
