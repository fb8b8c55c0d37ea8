//! One step becomes one request. Nothing here knows why a step is taken.
//!
//! What is asked ([`Request`]) and what a reply means ([`Outcome`]) are values; pure.

mod answer;
mod probes;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::answer::pause;
use crate::fleet::Changes;
use crate::index::Kind;
use crate::names;
use crate::plan::Step;
use crate::pod;
use crate::seen::Key;
use crate::wire::{self, Wire};

pub use self::answer::{Existing, Outcome, Reply};
pub use self::probes::{Probed, apply_probe};
pub use self::request::{Call, Request};

/// No request may take longer: what hangs is planned anew.
const DEADLINE: Duration = Duration::from_secs(15);

/// Applies a step.
pub async fn apply(client: &Client, key: &Key, step: &Step) -> Outcome {
    let Request { kind, name, call } = Request::of(key, step);
    let namespace = &key.namespace;
    let sent = match kind {
        Kind::Workspace => send::<wire::Workspace, Written>(client, namespace, &name, call).await,
        Kind::Pod => send::<wire::Pod, _>(client, namespace, &name, call).await,
        Kind::Claim => send::<wire::Claim, _>(client, namespace, &name, call).await,
    };
    let reply = sent.map_or_else(Reply::from, |it| Reply::Done(it.metadata.resource_version));
    if let Some(outcome) = Outcome::of(step, reply) {
        return outcome;
    }
    let existing = if kind == Kind::Claim {
        let found = look::<wire::Claim>(client, namespace, &name).await;
        found.map(|it| Existing::of(it, kind, Existing::Claim))
    } else {
        let found = look::<wire::Pod>(client, namespace, &name).await;
        found.map(|it| Existing::of(it, kind, Existing::Pod))
    };
    existing.map_or_else(|error| Outcome::without(error.into()), Outcome::Exists)
}

/// Creates the Service of a namespace.
pub async fn create_service(client: &Client, namespace: &str) -> Outcome {
    let service = pod::service();
    let created = create::<_, Written>(client, namespace, &service).await;
    let reply = created.map_or_else(Reply::from, |it| Reply::Done(it.metadata.resource_version));
    Outcome::without(reply)
}

/// The record of the settings in force was not written.
#[derive(Debug)]
pub struct Unrecorded {
    /// Why, and what to do, in one sentence.
    pub error: String,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
}

/// Writes the record of the settings in force, under this field manager. Returns its data as they
/// are now, and their place in the watch.
///
/// # Errors
/// When the API server does not take it, or does not answer.
pub async fn write_fleet(
    client: &Client,
    namespace: &str,
    name: &str,
    changes: Changes,
    exists: bool,
    manager: &str,
) -> Result<(BTreeMap<String, String>, u64), Unrecorded> {
    let fleets = Api::<wire::ConfigMap>::namespaced(client.clone(), namespace);
    let written = if exists {
        let patch = Patch::Merge(json!({"data": changes}));
        within(fleets.patch(name, &written_by(manager), &patch)).await
    } else {
        let data = changes
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        let fleet = core::ConfigMap {
            metadata: kube::core::ObjectMeta {
                name: Some(name.into()),
                namespace: Some(namespace.into()),
                ..kube::core::ObjectMeta::default()
            },
            data: Some(data),
            ..core::ConfigMap::default()
        };
        create(client, namespace, &fleet).await
    };
    let written: Result<wire::ConfigMap, Error> = written;
    let data = |fleet: wire::ConfigMap| {
        let place = fleet.progress();
        (fleet.seen(), place)
    };
    written.map(data).map_err(|error| {
        let (why, retry_after) = match &error {
            Error::Api(status) => (
                format!("{} ({})", status.message, status.code),
                pause(status),
            ),
            error => (error.to_string(), None),
        };
        let to_do = match &error {
            Error::Api(status) if !exists || status.code == 404 => {
                "create it as it was installed, empty"
            }
            Error::Api(status) if status.is_forbidden() => "let the operator patch it",
            Error::Api(status) if status.is_invalid() => {
                "if it is immutable or too large, delete it and create it again, empty"
            }
            _ => "it is tried again",
        };
        let error = format!("the ConfigMap {namespace}/{name} cannot be written: {why}; {to_do}");
        Unrecorded { error, retry_after }
    })
}

fn written_by(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.into()),
        ..PatchParams::default()
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(result) => result,
        Err(elapsed) => Err(Error::Service(elapsed.into())),
    }
}

/// Of the answer to a write, all that is looked at: the watches bring the object itself.
#[derive(Deserialize)]
struct Written {
    metadata: WrittenAs,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenAs {
    /// Nothing that was only tried has one, nor what is gone at once.
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    uid: String,
}

/// Sends the request about an object of this name, and reads the answer as another type: what is read
/// is a small part of it.
async fn send<K, R>(client: &Client, namespace: &str, name: &str, call: Call) -> Result<R, Error>
where
    K: Resource<DynamicType = ()>,
    R: DeserializeOwned,
{
    let request = kube::core::Request::new(K::url_path(&(), Some(namespace)));
    let request = match call {
        Call::Create { body, dry_run } => {
            let params = PostParams {
                dry_run,
                field_manager: Some(names::MANAGER.into()),
            };
            request.create(&params, body)
        }
        Call::Patch { part, patch } => {
            let params = written_by(names::MANAGER);
            match part {
                Some(part) => request.patch_subresource(part, name, &params, &patch),
                None => request.patch(name, &params, &patch),
            }
        }
        Call::Delete { preconditions } => {
            let params = DeleteParams {
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            request.delete(name, &params)
        }
    };
    within(client.request(request.map_err(Error::BuildRequest)?)).await
}

async fn create<K, R>(client: &Client, namespace: &str, object: &K) -> Result<R, Error>
where
    K: Resource<DynamicType = ()> + Serialize,
    R: DeserializeOwned,
{
    let call = Call::Create {
        body: serde_json::to_vec(object).map_err(Error::SerdeError)?,
        dry_run: false,
    };
    send::<K, R>(client, namespace, "", call).await
}

/// Looks at what a create ran into.
async fn look<K>(client: &Client, namespace: &str, name: &str) -> Result<Option<K>, Error>
where
    K: Wire + Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    within(api.get_opt(name)).await
}
