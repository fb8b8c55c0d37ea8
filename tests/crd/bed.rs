//! One control plane for all tests of this binary, with the CRD applied as a person would.

use std::time::Duration;

use cluster::{Cluster, Kubectl, Options};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the tests keep their objects.
pub const NAMESPACE: &str = "default";
/// The file under test.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/workspace.yaml");

/// A client of this test's own runtime, and kubectl, for the shared control plane.
pub async fn bed() -> (Client, Kubectl) {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = CLUSTER
        .get_or_init(async || {
            let cluster = Cluster::start(Options {
                nodes: 0,
                ..Options::default()
            })
            .await
            .expect("the control plane starts");
            let kubectl = cluster.kubectl();
            kubectl
                .must(&["apply", "-f", FILE])
                .expect("the server accepts the CRD");
            // `kubectl wait` ends with an error while the conditions are null, as they first are.
            let client = cluster.client().await.expect("a client");
            let established = await_condition(
                Api::<CustomResourceDefinition>::all(client),
                "workspaces.molecule.ai",
                is_crd_established(),
            );
            tokio::time::timeout(Duration::from_secs(60), established)
                .await
                .expect("the CRD is served within a minute")
                .expect("a watch of the CRD");
            cluster
        })
        .await;
    let client = cluster
        .client()
        .await
        .expect("a client of the control plane");
    (client, cluster.kubectl())
}

/// Workspaces as plain JSON: what a user writes, whether or not our types know it.
pub fn untyped(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("molecule.ai", "v1alpha1", "Workspace");
    Api::namespaced_with(
        client.clone(),
        NAMESPACE,
        &ApiResource::from_gvk_with_plural(&kind, "workspaces"),
    )
}

/// A Workspace of this name and spec.
pub fn workspace(name: &str, spec: Value) -> DynamicObject {
    let object = json!({
        "apiVersion": "molecule.ai/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "spec": spec,
    });
    serde_json::from_value(object).expect("an object with a name")
}
