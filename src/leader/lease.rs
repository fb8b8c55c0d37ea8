//! The Lease as the API server has it: watched, read and written.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Error, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::candidate::{Claim, LEASE, RENEWAL, Record, TERM};
use crate::names;
use crate::wire::progress;

/// A renewal that is not answered by then comes too late for the term in any case.
const DEADLINE: Duration = TERM.checked_sub(RENEWAL).expect("a term has renewals");

/// What is stored. Its times are text: the API server takes some that are later than any that is
/// known here, and nobody could lead for as long as such a Lease does not decode.
#[derive(Resource, Serialize, Deserialize, Clone, Debug)]
#[resource(inherit = coordination::Lease)]
struct Stored {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i32>,
    lease_transitions: Option<i32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
}

/// One Lease, and who would like to hold it.
pub(super) struct Lease {
    api: Api<Stored>,
    namespace: String,
    name: String,
    identity: String,
}

/// Why a request about the Lease came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing was heard of it: it may have been done.
    Unheard,
    /// It is no longer as it was seen.
    Outdated,
    /// There is none.
    Missing,
    /// The API server does not know who asks.
    Unauthorized,
    /// The API server forbids it.
    Forbidden,
    /// Anything else, in a few words.
    Other(String),
}

impl Lease {
    pub(super) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
        }
    }

    /// Every change of it, and `None` when it goes.
    pub(super) fn watch(&self) -> BoxStream<'static, Option<Record>> {
        watcher::watch_object(self.api.clone(), &self.name)
            .default_backoff()
            // Whatever is wrong with the watch, the next claim finds and tells.
            .filter_map(async |seen| seen.ok())
            .map(|lease| lease.map(record))
            .boxed()
    }

    pub(super) async fn read(&self) -> Result<Option<Record>, Fault> {
        // The right to list is needed for the watch, and one to get for nothing else.
        let this = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let found = within(self.api.list(&this)).await?;
        Ok(found.items.into_iter().next().map(record))
    }

    /// Takes or renews it, at this time for those who look.
    pub(super) async fn claim(&self, claim: &Claim, now: &str) -> Result<Record, Fault> {
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE.as_secs(),
            "renewTime": now,
        });
        if let Some(transitions) = claim.transitions {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = json!(transitions);
        }
        self.write(&claim.version, spec).await
    }

    /// Lets it go, so that nobody has to wait until it runs out.
    pub(super) async fn release(&self, version: &str) -> Result<Record, Fault> {
        let now = now();
        let spec = json!({
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": now,
            "renewTime": now,
        });
        self.write(version, spec).await
    }

    async fn write(&self, version: &str, spec: Value) -> Result<Record, Fault> {
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": version},
            "spec": spec,
        }));
        let params = PatchParams {
            field_manager: Some(names::MANAGER.into()),
            ..PatchParams::default()
        };
        let written = within(self.api.patch(&self.name, &params, &patch)).await;
        written.map(record)
    }

    /// What is wrong, in one sentence for people.
    pub(super) fn sentence(&self, fault: &Fault) -> String {
        match fault {
            Fault::Missing => {
                format!("there is no {self}, and without it nobody leads: create it empty")
            }
            Fault::Unauthorized => format!(
                "the {self} cannot be renewed: the API server does not accept the operator's \
                 credentials, whose token has expired or whose ServiceAccount was made anew; \
                 restart its Pod"
            ),
            Fault::Forbidden => format!(
                "the operator may not use the {self}: grant its ServiceAccount list, watch and \
                 patch"
            ),
            Fault::Outdated => format!("the {self} was written by another"),
            Fault::Unheard => {
                format!("the {self} cannot be renewed: the API server does not answer")
            }
            Fault::Other(why) => format!("the {self} cannot be renewed: {why}"),
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease {}/{}", self.namespace, self.name)
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
    match timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| fault(&error)),
        Err(_) => Err(Fault::Unheard),
    }
}

/// The time, as the API server stores it in a Lease.
pub(super) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::Api(status) => match status.code {
            404 => Fault::Missing,
            409 => Fault::Outdated,
            401 => Fault::Unauthorized,
            403 => Fault::Forbidden,
            code => Fault::Other(format!("{} ({code})", status.message)),
        },
        Error::SerdeError(why) => Fault::Other(format!("what is stored does not decode ({why})")),
        // Its words differ from one attempt to the next.
        _ => Fault::Unheard,
    }
}

fn record(lease: Stored) -> Record {
    let version = lease.metadata.resource_version.unwrap_or_default();
    let spec = lease.spec;
    let seconds = |it: i32| Duration::from_secs(it.try_into().unwrap_or(0));
    Record {
        place: progress(&version),
        version,
        holder: spec.holder_identity.unwrap_or_default(),
        lasts: spec.lease_duration_seconds.map(seconds),
        transitions: spec.lease_transitions.unwrap_or_default(),
        times: [spec.acquire_time, spec.renew_time],
    }
}
