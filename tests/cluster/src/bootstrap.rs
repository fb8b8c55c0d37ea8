//! From an API server that answers to a cluster that takes Pods.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::wait::Condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::json;

/// Far more than a start takes, on a machine that is busy with several.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until the answer is yes. `alive` is an error when asking has become useless.
pub(crate) async fn until<F>(
    what: &str,
    mut alive: impl FnMut() -> Result<()>,
    mut question: impl FnMut() -> F,
) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = question().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        alive()?;
        if Instant::now() > deadline {
            match answer {
                Err(error) => return Err(error.context(format!("{what} did not come up"))),
                Ok(_) => bail!("{what} did not come up in {PATIENCE:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Whether the API server takes requests.
pub(crate) async fn is_serving(client: &Client) -> Result<bool> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    Ok(client.request_text(request).await? == "ok")
}

/// Creates the definitions in a YAML text.
pub(crate) async fn create_crds(client: &Client, yaml: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in serde_saphyr::from_multiple(yaml).context("reading a CustomResourceDefinition")? {
        api.create(&PostParams::default(), &crd)
            .await
            .context("creating a definition")?;
    }
    Ok(())
}

/// Whether the API server knows all that it was told.
pub(crate) async fn are_crds_served(client: &Client) -> Result<bool> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    Ok(api
        .list(&ListParams::default())
        .await?
        .into_iter()
        .all(|crd| is_crd_established().matches_object(Some(&crd))))
}

/// `standard`, which is the default and binds when a Pod comes, and `immediate`.
pub(crate) async fn create_storage_classes(client: &Client) -> Result<()> {
    for (name, mode, default) in [
        ("standard", "WaitForFirstConsumer", "true"),
        ("immediate", "Immediate", "false"),
    ] {
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": default},
            },
            "provisioner": "kwok.x-k8s.io/volume",
            "reclaimPolicy": "Delete",
            "volumeBindingMode": mode,
            "allowVolumeExpansion": true,
        }))?;
        Api::all(client.clone())
            .create(&PostParams::default(), &class)
            .await?;
    }
    Ok(())
}

/// Keeps kwok from deleting a Pod that nobody asked to go.
///
/// A kubelet deletes by UID, kwok by name, and twice when a Pod that goes away changes once more:
/// the second delete would meet the successor.
pub(crate) async fn guard_successors(client: &Client) -> Result<()> {
    const NAME: &str = "kwok-deletes-what-is-terminating";
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"],
                "resources": ["pods"],
            }]},
            "matchConditions": [{
                "name": "by-kwok", "expression": "request.userInfo.username == 'kwok'",
            }],
            "validations": [{
                "expression": "has(oldObject.metadata.deletionTimestamp)",
                "message": "this is another Pod than the one that was deleted",
            }],
        },
    }))?;
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }))?;
    let params = PostParams::default();
    Api::all(client.clone()).create(&params, &policy).await?;
    Api::all(client.clone()).create(&params, &binding).await?;
    Ok(())
}

/// Whether a Pod would be taken, scheduled and run.
pub(crate) async fn is_ready_for_pods(client: &Client) -> Result<bool> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    if accounts.get_opt("default").await?.is_none() {
        return Ok(false);
    }
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(nodes.into_iter().all(|node| {
        let tainted = node
            .spec
            .and_then(|spec| spec.taints)
            .is_some_and(|all| !all.is_empty());
        let conditions = node
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        !tainted
            && conditions
                .iter()
                .any(|is| is.type_ == "Ready" && is.status == "True")
    }))
}
