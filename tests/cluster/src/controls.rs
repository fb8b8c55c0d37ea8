//! What a test can do to a running cluster.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::stages::{self, State};

/// What a container's start that was decided under the old state takes at most.
const STARTS_UNDER_WAY: Duration = Duration::from_millis(400);

impl Cluster {
    /// Makes every registry whose images begin with the prefix and a `/` answer so; where the prefix ends
    /// in a colon, this one image of it.
    ///
    /// What runs is not touched. A Pod that waits for such an image finds out at its
    /// next look, which is at most 3 seconds away, as does one whose image changes at once. Once this returns, no Pod starts on
    /// what the registry answered before.
    ///
    /// # Errors
    /// When the API server refuses the Stages.
    pub async fn registry(&self, prefix: &str, state: State) -> Result<()> {
        let mut outages = self.outages.lock().await;
        let mut next = outages.clone();
        match state {
            State::Up => next.remove(prefix),
            _ => next.insert(prefix.to_owned(), state),
        };
        if next != *outages {
            stages::update(&self.client().await?, &next, self.quick_pods).await?;
            *outages = next;
        }
        drop(outages);
        tokio::time::sleep(STARTS_UNDER_WAY).await;
        Ok(())
    }

    /// A kubeconfig file with a token of a ServiceAccount that exists, and its rights only.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": 86400}}))?;
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("asking for a token of {namespace}/{name}"))?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .context("an answer without a token")?;
        self.pki
            .token_kubeconfig(&format!("{namespace}:{name}"), &token)
    }

    /// Kills the first container of a running Pod. It comes back at once, as one with its
    /// image on the node does: another containerID, one restart more.
    ///
    /// # Errors
    /// When there is no such Pod, or it does not run.
    pub async fn crash_container(&self, namespace: &str, pod: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client().await?, namespace);
        let seen = pods.get(pod).await?;
        let now = Timestamp::now();
        let status = seen.status.unwrap_or_default();
        let mut containers = status.container_statuses.unwrap_or_default();
        let first = containers
            .first_mut()
            .context("the Pod has no container yet")?;
        let state = first.state.take().unwrap_or_default();
        let running = state.running.context("the container does not run")?;
        let id = first.container_id.take().unwrap_or_default();
        first.restart_count += 1;
        let nanoseconds = now.as_nanosecond();
        let (kept, _) = id.split_at(id.len().saturating_sub(32));
        first.container_id = Some(format!("{kept}{nanoseconds:032x}"));
        let mut first = serde_json::to_value(first)?;
        first["state"] = json!({"running": {"startedAt": now}});
        first["lastState"] = json!({"terminated": {
            "exitCode": 137, "reason": "Error", "containerID": id,
            "startedAt": running.started_at, "finishedAt": now,
        }});
        let mut containers = serde_json::to_value(containers)?;
        containers[0] = first;
        let patch = json!({
            "metadata": {"resourceVersion": seen.metadata.resource_version},
            "status": {"containerStatuses": containers},
        });
        pods.patch_status(pod, &PatchParams::default(), &Patch::Strategic(patch))
            .await?;
        Ok(())
    }
}
