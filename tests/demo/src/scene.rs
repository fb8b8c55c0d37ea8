//! What the API server stores at one moment, as far as the story is about it.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::Client;
use serde_json::Value;

use crate::fleet;

/// Every Workspace and Pod of the story, and the record of the settings in force.
#[derive(Debug)]
pub struct Scene {
    workspaces: BTreeMap<String, Value>,
    pods: BTreeMap<String, Value>,
    record: Value,
}

/// Which Pod, and which version of it: both the same later means that nothing touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    uid: String,
    resource_version: String,
}

impl Version {
    /// Whether it is another Pod.
    pub fn differs_in_uid(&self, other: &Self) -> bool {
        self.uid != other.uid
    }
}

impl Scene {
    /// Looks at everything once.
    pub async fn look(client: &Client) -> Result<Self> {
        let workspaces = "/apis/molecule.ai/v1alpha1/namespaces/default/workspaces";
        let pods = "/api/v1/namespaces/default/pods";
        let record = "/api/v1/namespaces/molecule-system/configmaps/workspace-fleet";
        Ok(Self {
            workspaces: by_name(get(client, workspaces).await?),
            pods: by_name(get(client, pods).await?),
            record: get(client, record).await?,
        })
    }

    /// The word that the Workspace's status column shows.
    pub fn state(&self, name: &str) -> &str {
        text(self.workspace(name), "/status/state")
    }

    /// Whether the Workspace is Ready in its current generation, with a Pod that is Ready on the
    /// image that this registry prefix gives it.
    pub fn runs(&self, name: &str, prefix: &str) -> bool {
        let workspace = self.workspace(name);
        let image = fleet::image(prefix, name);
        let observed = workspace.pointer("/status/observedGeneration");
        self.state(name) == "Ready"
            && observed == workspace.pointer("/metadata/generation")
            && text(workspace, "/status/image") == image
            && self.image(name) == image
            && condition(self.pod(name), "Ready")["status"] == "True"
    }

    /// What the Workspace's Ready condition says.
    pub fn message(&self, name: &str) -> &str {
        text(condition(self.workspace(name), "Ready"), "/message")
    }

    pub fn has_pod(&self, name: &str) -> bool {
        self.pods.contains_key(name)
    }

    /// The image of our container, empty where there is no Pod.
    pub fn image(&self, name: &str) -> &str {
        let containers = self.pod(name).pointer("/spec/containers");
        let mut containers = containers.and_then(Value::as_array).into_iter().flatten();
        let ours = containers.find(|it| it["name"] == "agent");
        ours.map_or("", |it| text(it, "/image"))
    }

    /// The UID of the Pod, empty where there is none.
    pub fn uid(&self, name: &str) -> &str {
        text(self.pod(name), "/metadata/uid")
    }

    /// The Pods of these Workspaces, each in its version.
    pub fn versions(
        &self,
        names: impl IntoIterator<Item = &'static str>,
    ) -> BTreeMap<&'static str, Version> {
        let version = |name| Version {
            uid: self.uid(name).to_owned(),
            resource_version: text(self.pod(name), "/metadata/resourceVersion").to_owned(),
        };
        names.into_iter().map(|it| (it, version(it))).collect()
    }

    /// A key of the ConfigMap `workspace-fleet`, empty where it is absent.
    pub fn record(&self, key: &str) -> &str {
        self.record["data"][key].as_str().unwrap_or_default()
    }

    fn workspace(&self, name: &str) -> &Value {
        self.workspaces.get(name).unwrap_or(&Value::Null)
    }

    fn pod(&self, name: &str) -> &Value {
        self.pods.get(name).unwrap_or(&Value::Null)
    }
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    let request = http::Request::get(path).body(Vec::new())?;
    Ok(client.request(request).await?)
}

fn by_name(list: Value) -> BTreeMap<String, Value> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let named = |item: Value| (text(&item, "/metadata/name").to_owned(), item);
    items.into_iter().map(named).collect()
}

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let found = conditions.find(|it| it["type"] == type_);
    found.unwrap_or(&Value::Null)
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    let value = object.pointer(path).and_then(Value::as_str);
    value.unwrap_or_default()
}
