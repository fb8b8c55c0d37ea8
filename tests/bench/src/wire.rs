//! Requests as bytes, and just the fields of the answers that are looked at.

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use kube::core::WatchEvent;
use serde::Deserialize;

/// Every Pod that a Workspace could own.
pub const PODS: &str = "/api/v1/pods?labelSelector=app.kubernetes.io%2Fname%3Dworkspace";
/// Every Workspace.
pub const WORKSPACES: &str = "/apis/molecule.ai/v1alpha1/workspaces?";
/// The operator's Lease.
pub const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/molecule-system/leases/workspace-operator";

/// A Pod or a Workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    pub metadata: Meta,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Spec {
    containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub state: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl Object {
    /// `namespace/name`
    pub fn key(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// The image that the Pod is to run.
    pub fn image(&self) -> &str {
        self.spec.containers.first().map_or("", |it| &it.image)
    }

    /// Whether the Pod's node spoke of the image that the Pod is to run now.
    pub fn is_looked_at(&self) -> bool {
        let told = self.status.container_statuses.first();
        told.is_some_and(|told| told.image == self.image())
    }

    pub fn is_ready(&self) -> bool {
        let ready = |it: &Condition| it.type_ == "Ready" && it.status == "True";
        self.is_looked_at() && self.status.conditions.iter().any(ready)
    }
}

/// All objects there are now, then every change. The server ends a watch that it finds too slow,
/// as happens on a busy machine; it is then resumed where it ended.
pub struct Watch {
    client: Client,
    list: &'static str,
    seen: String,
    events: Option<BoxStream<'static, kube::Result<WatchEvent<Object>>>>,
}

impl Watch {
    pub fn of(client: &Client, list: &'static str) -> Self {
        Self {
            client: client.clone(),
            list,
            seen: "0".into(),
            events: None,
        }
    }

    /// The next event. Nothing is lost when this is dropped before it is done.
    pub async fn next(&mut self) -> Result<WatchEvent<Object>> {
        loop {
            let Some(events) = &mut self.events else {
                // Without a bound of its own the server ends a watch after half an hour.
                let uri = format!(
                    "{}&watch=true&timeoutSeconds=36000&resourceVersion={}",
                    self.list, self.seen
                );
                let request = Request::get(uri).body(Vec::new())?;
                let events = self.client.request_events::<Object>(request).await?;
                self.events = Some(Box::pin(events));
                continue;
            };
            let Some(event) = events.next().await else {
                self.events = None;
                continue;
            };
            let event = event.with_context(|| format!("the watch of {}", self.list))?;
            if let WatchEvent::Added(object)
            | WatchEvent::Modified(object)
            | WatchEvent::Deleted(object) = &event
            {
                object.metadata.resource_version.clone_into(&mut self.seen);
            }
            return Ok(event);
        }
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

pub async fn list(client: &Client, list: &str) -> Result<Vec<Object>> {
    let request = Request::get(list).body(Vec::new())?;
    let text = client.request_text(request).await?;
    Ok(serde_json::from_str::<List>(&text)?.items)
}

pub async fn post(client: &Client, uri: &str, body: String) -> Result<()> {
    send(client, Request::post(uri), "application/json", body).await
}

pub async fn merge_patch(client: &Client, uri: &str, body: String) -> Result<()> {
    let kind = "application/merge-patch+json";
    send(client, Request::patch(uri), kind, body).await
}

pub async fn strategic_patch(client: &Client, uri: &str, body: String) -> Result<()> {
    let kind = "application/strategic-merge-patch+json";
    send(client, Request::patch(uri), kind, body).await
}

async fn send(
    client: &Client,
    request: http::request::Builder,
    kind: &str,
    body: String,
) -> Result<()> {
    let request = request.header(CONTENT_TYPE, kind).body(body.into_bytes())?;
    let uri = request.uri().to_string();
    client.request_text(request).await.context(uri)?;
    Ok(())
}

pub fn pods_in(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

pub fn workspaces_in(namespace: &str) -> String {
    format!("/apis/molecule.ai/v1alpha1/namespaces/{namespace}/workspaces")
}
