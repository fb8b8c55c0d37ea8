//! One step becomes one request. Nothing here knows why a step is taken.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{NamespaceResourceScope, Request, Status};
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fleet::Changes;
use crate::index::{Awaited, Kind};
use crate::names;
use crate::plan::Step;
use crate::pod;
use crate::seen::{Claim, Key, Pod, Version};
use crate::volume::Change;
use crate::wire::{self, Wire, progress};
use crate::workspace::{AGENT, WorkspaceStatus};

/// No request may take longer: what hangs is planned anew.
const DEADLINE: Duration = Duration::from_secs(15);

/// What became of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It was written; the watches will show it.
    Written(Awaited),
    /// It was taken, and what is stored is as it was.
    NoEffect,
    /// The API server would take the object.
    Accepted,
    /// What it was planned from is no more; the watches will show what is.
    Stale,
    /// An object of that name exists already.
    Exists(Existing),
    /// The API server refused it, in these words.
    Refused(String),
    /// The namespace is going away, or gone.
    NamespaceTerminating,
    /// Nothing is known of what became of it.
    Failed {
        /// Why, in one sentence.
        error: String,
        /// The pause that the server asked for.
        retry_after: Option<Duration>,
    },
}

/// What a create ran into.
#[derive(Debug)]
pub enum Existing {
    /// It has gone away meanwhile.
    NoMore,
    /// The watches will show it.
    Watched(Awaited),
    /// A Pod that the watches do not show, for it has no label of ours.
    Pod(Box<Pod>),
    /// A claim that the watches do not show.
    Claim(Box<Claim>),
}

/// Applies a step.
pub async fn apply(client: &Client, key: &Key, step: &Step) -> Outcome {
    match step {
        Step::CreatePod { pod, .. } => create_pod(client, key, pod).await,
        Step::TryPod { pod, .. } => try_pod(client, key, pod).await,
        Step::SetImage {
            version, ask, at, ..
        } => {
            let patch = json!({
                "metadata": {
                    "uid": &version.uid,
                    "resourceVersion": &version.resource_version,
                    "annotations": {
                        names::TOLD_IMAGE: ask.image,
                        names::TOLD_HEALED: at.to_string(),
                    },
                },
                "spec": {"containers": [{"name": AGENT, "image": ask.image}]},
            });
            let patch = Patch::Strategic(patch);
            let patched = send_patch::<wire::Pod>(client, key, &key.name, None, &patch).await;
            changed(patched, version, Kind::Pod)
        }
        Step::DeletePod { version, .. } => delete_pod(client, key, version).await,
        Step::CreateClaim { claim, .. } => create_claim(client, key, claim).await,
        Step::PatchClaim {
            version, change, ..
        } => {
            let patch = Patch::Merge(claim_patch(version, change));
            let name = names::claim(&key.name);
            let patched = send_patch::<wire::Claim>(client, key, &name, None, &patch).await;
            changed(patched, version, Kind::Claim)
        }
        Step::PatchStatus { version, status } => {
            let patch = Patch::Merge(status_patch(version, status));
            let (name, part) = (&key.name, Some("status"));
            let patched = send_patch::<wire::Workspace>(client, key, name, part, &patch).await;
            changed(patched, version, Kind::Workspace)
        }
    }
}

/// Creates the Service of a namespace.
pub async fn create_service(client: &Client, namespace: &str) -> Outcome {
    let service = pod::service();
    match create::<_, Written>(client, namespace, &service, false).await {
        Ok(_) => Outcome::Accepted,
        Err(error) => failure(error),
    }
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
        create(client, namespace, &fleet, false).await
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

/// The pause that the server asks for.
fn pause(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
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
    /// Nothing that was only tried has one.
    #[serde(default)]
    resource_version: String,
}

/// Patches an object of this name, or a part of it.
async fn send_patch<K: Resource<DynamicType = ()>>(
    client: &Client,
    key: &Key,
    name: &str,
    part: Option<&str>,
    patch: &Patch<Value>,
) -> Result<Written, Error> {
    let request = Request::new(K::url_path(&(), Some(&key.namespace)));
    let params = written_by(names::MANAGER);
    let request = match part {
        Some(part) => request.patch_subresource(part, name, &params, patch),
        None => request.patch(name, &params, patch),
    };
    within(client.request(request.map_err(Error::BuildRequest)?)).await
}

/// Sends one type and reads the answer as another: what is read is a small part of it.
async fn create<K, R>(
    client: &Client,
    namespace: &str,
    object: &K,
    dry_run: bool,
) -> Result<R, Error>
where
    K: Resource<DynamicType = ()> + Serialize,
    R: DeserializeOwned,
{
    let body = serde_json::to_vec(object).map_err(Error::SerdeError)?;
    let params = PostParams {
        dry_run,
        field_manager: Some(names::MANAGER.into()),
    };
    let request = Request::new(K::url_path(&(), Some(namespace)))
        .create(&params, body)
        .map_err(Error::BuildRequest)?;
    within(client.request(request)).await
}

async fn create_pod(client: &Client, key: &Key, pod: &core::Pod) -> Outcome {
    let created = create::<_, Written>(client, &key.namespace, pod, false).await;
    match created {
        Err(Error::Api(status)) if status.is_already_exists() => {
            let found = existing::<wire::Pod>(client, key, &key.name, Kind::Pod);
            found.await.map_or_else(failure, |(found, seen)| {
                Outcome::Exists(seen.map_or(found, |pod| Existing::Pod(Box::new(pod))))
            })
        }
        Err(error) => not_created(error),
        created => outcome(created, Kind::Pod),
    }
}

async fn create_claim(client: &Client, key: &Key, claim: &core::PersistentVolumeClaim) -> Outcome {
    let created = create::<_, Written>(client, &key.namespace, claim, false).await;
    match created {
        Err(Error::Api(status)) if status.is_already_exists() => {
            let name = names::claim(&key.name);
            let found = existing::<wire::Claim>(client, key, &name, Kind::Claim);
            found.await.map_or_else(failure, |(found, seen)| {
                Outcome::Exists(seen.map_or(found, |claim| Existing::Claim(Box::new(claim))))
            })
        }
        Err(error) => not_created(error),
        created => outcome(created, Kind::Claim),
    }
}

/// What is created rests on nothing that the watches could show anew: who answers that it is
/// missing, or in conflict, refuses it.
fn not_created(error: Error) -> Outcome {
    let Error::Api(status) = &error else {
        return failure(error);
    };
    match refusal(status) {
        // A quota was counted anew at the same moment: that passes.
        Outcome::Stale if status.is_conflict() => failed(status),
        Outcome::Stale => Outcome::Refused(status.message.clone()),
        outcome => outcome,
    }
}

/// Looks at what a create ran into; the object itself only where the watches do not show it.
async fn existing<K>(
    client: &Client,
    key: &Key,
    name: &str,
    kind: Kind,
) -> Result<(Existing, Option<K::Seen>), Error>
where
    K: Wire + Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), &key.namespace);
    let Some(found) = within(api.get_opt(name)).await? else {
        return Ok((Existing::NoMore, None));
    };
    let place = found.progress();
    let seen = (!found.is_watched()).then(|| found.seen());
    Ok((Existing::Watched(Awaited::Place(kind, place)), seen))
}

async fn try_pod(client: &Client, key: &Key, pod: &core::Pod) -> Outcome {
    match create::<_, Written>(client, &key.namespace, pod, true).await {
        Ok(_) => Outcome::Accepted,
        // A webhook with side effects cannot be asked beforehand: then there is nothing to know.
        Err(Error::Api(status)) if status.message.contains("does not support dry run") => {
            Outcome::Accepted
        }
        Err(error) => not_created(error),
    }
}

async fn delete_pod(client: &Client, key: &Key, version: &Version) -> Outcome {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(version.uid.clone()),
            resource_version: Some(version.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    let pods = Api::<wire::Pod>::namespaced(client.clone(), &key.namespace);
    match within(pods.delete(&key.name, &params)).await {
        Ok(_) => Outcome::Written(Awaited::PodGoing(version.uid.clone())),
        Err(error) => failure(error),
    }
}

fn claim_patch(version: &Version, change: &Change) -> Value {
    let mut metadata = json!({"uid": version.uid, "resourceVersion": version.resource_version});
    if let Some(owners) = &change.owners {
        metadata["ownerReferences"] = json!(owners);
    }
    let mut patch = json!({"metadata": metadata});
    if let Some(size) = &change.size {
        patch["spec"] = json!({"resources": {"requests": {"storage": size}}});
    }
    patch
}

/// In a merge patch what is absent stays, so each field that has no value is set to null.
fn status_patch(version: &Version, status: &WorkspaceStatus) -> Value {
    let mut fields = json!({"image": null, "digest": null, "pod": null, "address": null});
    if let (Value::Object(fields), Ok(Value::Object(told))) =
        (&mut fields, serde_json::to_value(status))
    {
        fields.extend(told);
    }
    json!({
        "metadata": {"resourceVersion": version.resource_version},
        "status": fields,
    })
}

/// Of a patch: one that changes nothing is answered with the version that it named.
fn changed(written: Result<Written, Error>, version: &Version, kind: Kind) -> Outcome {
    match written {
        Ok(written) if written.metadata.resource_version == version.resource_version => {
            Outcome::NoEffect
        }
        written => outcome(written, kind),
    }
}

fn outcome(written: Result<Written, Error>, kind: Kind) -> Outcome {
    match written {
        Ok(written) => {
            let place = progress(&written.metadata.resource_version);
            Outcome::Written(Awaited::Place(kind, place))
        }
        Err(error) => failure(error),
    }
}

fn failure(error: Error) -> Outcome {
    match error {
        Error::Api(status) => refusal(&status),
        error => Outcome::Failed {
            error: error.to_string(),
            retry_after: None,
        },
    }
}

fn refusal(status: &Status) -> Outcome {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let terminating = causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating");
    let namespace_gone = status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces");
    match status.code {
        _ if terminating || namespace_gone => Outcome::NamespaceTerminating,
        404 | 409 => Outcome::Stale,
        // 500 is how a webhook that cannot be called shows: someone has to know of it.
        400 | 403 | 405 | 413 | 422 | 500 => Outcome::Refused(status.message.clone()),
        _ => failed(status),
    }
}

fn failed(status: &Status) -> Outcome {
    Outcome::Failed {
        error: format!("{} ({})", status.message, status.code),
        retry_after: pause(status),
    }
}
