//! The probes: sent, and taken away.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::{Client, Error};

use super::answer::not_created;
use super::{Call, Outcome, Written, create, send};
use crate::proof::{Done, Step, without_user};
use crate::wire;

/// What became of a probe's creation or deletion.
#[derive(Debug)]
pub struct Probed {
    /// What is known of it.
    pub done: Done,
    /// What went wrong, where nothing is known.
    pub error: Option<String>,
    /// The pause that the server asked for.
    pub retry_after: Option<Duration>,
}

impl From<Done> for Probed {
    fn from(done: Done) -> Self {
        Self {
            done,
            error: None,
            retry_after: None,
        }
    }
}

impl From<Outcome> for Probed {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Written(_) => Done::Done(String::new()).into(),
            Outcome::Refused(message) => Done::Refused(message).into(),
            Outcome::NamespaceTerminating => {
                Done::Refused("its namespace is going away".into()).into()
            }
            Outcome::Failed { error, retry_after } => Self {
                done: Done::Open,
                error: Some(error),
                retry_after,
            },
            Outcome::NoEffect | Outcome::Accepted | Outcome::Stale | Outcome::Exists(_) => {
                Done::Open.into()
            }
        }
    }
}

/// Sends a probe, or takes one away.
pub async fn apply_probe(client: &Client, step: &Step) -> Probed {
    match step {
        Step::Ask { .. } => Done::Open.into(),
        Step::Create { pod, .. } => start(client, pod).await,
        Step::Delete { key, version } => {
            let call = Call::delete(version);
            match send::<wire::Pod, Written>(client, &key.namespace, &key.name, call).await {
                Ok(_) => Done::Done(String::new()).into(),
                Err(error) => Outcome::without(error.into()).into(),
            }
        }
    }
}

async fn start(client: &Client, pod: &core::Pod) -> Probed {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut created = create::<_, Written>(client, namespace, pod).await;
    if let Err(Error::Api(status)) = &created
        && let Some(other) = without_user(pod, &status.message)
    {
        created = create(client, namespace, &other).await;
    }
    match created {
        Ok(written) => Done::Done(written.metadata.uid).into(),
        // It is refused as well where its name is taken: by one that the watch is about to show, or by
        // somebody's Pod.
        Err(Error::Api(status)) => not_created(&status).into(),
        Err(error) => Outcome::without(error.into()).into(),
    }
}
