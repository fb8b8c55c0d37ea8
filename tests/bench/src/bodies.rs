//! What is written: the same Pods and Services as the operator's, for its own code makes them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use workspace_operator::seen::Key;
use workspace_operator::settings::{Environment, Settings};
use workspace_operator::wire::{self, Wire};
use workspace_operator::{pod, workspace};

/// A registry that serves.
pub const UP: &str = "up.example.com/agents";
/// One whose every prefix is refused from the moment it is turned off.
pub const DOWN: &str = "down.example.com";

const NAMESPACE: &str = "NAMESPACE-HERE";
const NAME: &str = "NAME-HERE";
const UID: &str = "UID-HERE";

/// A Workspace as people write them.
pub fn workspace(name: &str) -> String {
    object(name).to_string()
}

fn object(name: &str) -> Value {
    json!({
        "apiVersion": "molecule.ai/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "labels": {"team": "bench"}},
        "spec": {
            "runtime": "claude-code",
            "env": [
                {"name": "LOG_LEVEL", "value": "info"},
                {"name": "MODEL_TOKEN", "valueFrom": {"secretKeyRef": {
                    "name": "model", "key": "token",
                }}},
            ],
            "resources": {
                "requests": {"cpu": "100m", "memory": "256Mi"},
                "limits": {"memory": "1Gi"},
            },
        },
    })
}

/// The Pod that the operator makes of such a Workspace, to be filled in by text alone: the bare
/// client is not to pay for building it.
pub struct PodTemplate(String);

impl PodTemplate {
    pub fn new(registry: &str) -> Result<Self> {
        let mut object = object(NAME);
        object["metadata"]["namespace"] = NAMESPACE.into();
        object["metadata"]["uid"] = UID.into();
        let spec: workspace::WorkspaceSpec = serde_json::from_value(object["spec"].clone())?;
        let seen = serde_json::from_value::<wire::Workspace>(object)?.seen();
        let data = BTreeMap::from([("MOLECULE_IMAGE_REGISTRY".to_owned(), registry.to_owned())]);
        let parsed = Settings::parse(&data, &Environment { registry: None });
        let settings = parsed.context("the registry's prefix")?.settings;
        let ask = pod::ask(&seen, &spec, &settings).context("the runtime is known")?;
        let key = Key::new(NAMESPACE, NAME);
        let pod = pod::pod(&key, &seen, &spec, &ask, &settings, 0);
        Ok(Self(serde_json::to_string(&pod)?))
    }

    pub fn fill(&self, namespace: &str, name: &str, uid: &str) -> String {
        let text = self.0.replace(NAMESPACE, namespace).replace(UID, uid);
        text.replace(NAME, name)
    }
}

pub fn image(registry: &str) -> String {
    format!("{registry}/workspace-template-claude-code:latest")
}

pub fn service() -> Result<String> {
    Ok(serde_json::to_string(&pod::service())?)
}

/// The status of a Ready Workspace, as the operator writes it.
pub fn status(namespace: &str, name: &str, image: &str) -> String {
    json!({"status": {
        "observedGeneration": 1,
        "state": "Ready",
        "image": image,
        "digest": format!("sha256:{}", "0".repeat(64)),
        "pod": name,
        "address": format!("{name}.workspaces.{namespace}.svc"),
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "the agent answers on port 8000",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }})
    .to_string()
}

/// What heals a stuck Pod.
pub fn heal(uid: &str, image: &str) -> String {
    json!({
        "metadata": {
            "uid": uid,
            "annotations": {
                "molecule.ai/image": image,
                "molecule.ai/healedAt": "2026-01-01T00:00:00Z",
            },
        },
        "spec": {"containers": [{"name": "agent", "image": image}]},
    })
    .to_string()
}

/// A renewal of the Lease, which no other one equals.
pub fn renewal(number: u64) -> String {
    json!({"spec": {"renewTime": format!("2026-01-01T00:00:00.{number:06}Z")}}).to_string()
}

/// Settings that move what runs, so many at once.
pub fn paced(registry: &str, most: &str) -> String {
    let data = json!({
        "MOLECULE_IMAGE_REGISTRY": registry,
        "ROLLOUT": "Paced",
        "ROLLOUT_MAX_UNAVAILABLE": most,
        "ROLLOUT_MIN_READY_SECONDS": "0",
    });
    json!({"data": data}).to_string()
}

pub fn settings(registry: &str) -> String {
    json!({"data": {"MOLECULE_IMAGE_REGISTRY": registry}}).to_string()
}
