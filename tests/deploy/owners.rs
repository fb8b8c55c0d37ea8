//! Where the API server does not ask of who sets an owner whether they may delete what is owned, as
//! in most clusters. Every other test has one that asks.

use std::process::Command;

use cluster::{Cluster, Options, Process};
use serde_json::{Value, json};

use crate::bed::{DEPLOY, SYSTEM, get, must, until};

const CLAIM: [&str; 2] = ["persistentvolumeclaim", "workspace-alice"];

fn workspace(when_deleted: &str) -> String {
    json!({
        "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "alice", "namespace": "default"},
        "spec": {"storage": {"size": "1Gi", "whenDeleted": when_deleted}},
    })
    .to_string()
}

/// The shipped manifests, and an operator with their rights.
async fn installed() -> (Cluster, Process) {
    let options = Options {
        asks_owners: false,
        ..Options::default()
    };
    let cluster = Cluster::start(options).await.expect("the cluster starts");
    must(&cluster.kubectl(), &["apply", "-k", DEPLOY]);
    let kubeconfig = cluster.service_account_kubeconfig(SYSTEM, "workspace-operator");
    let mut command = Command::new(env!("CARGO_BIN_EXE_workspace-operator"));
    command
        .args(["run", "--leader-elect", "--settings-namespace", SYSTEM])
        .env("KUBECONFIG", kubeconfig.await.expect("a token"))
        .env_remove("MOLECULE_IMAGE_REGISTRY");
    let operator = Process::spawn(&mut command).expect("the operator starts");
    (cluster, operator)
}

#[tokio::test]
async fn where_owners_are_not_asked_the_shipped_rights_change_what_a_claim_goes_with() {
    let (cluster, operator) = installed().await;
    let kubectl = cluster.kubectl();
    let state = || get(&kubectl, &["workspace", "alice"])["status"].take();
    kubectl.apply(&workspace("Retain")).expect("it is applied");
    until("Ready", || state()["state"] == "Ready").await;
    let pod = get(&kubectl, &["pod", "alice"])["metadata"]["uid"].take();

    kubectl.apply(&workspace("Delete")).expect("it is applied");
    until("the owner", || {
        let owner = &get(&kubectl, &CLAIM)["metadata"]["ownerReferences"][0];
        owner["name"] == "alice" && owner["blockOwnerDeletion"] == Value::Null
    })
    .await;
    until("Ready", || state()["state"] == "Ready").await;
    assert_eq!(get(&kubectl, &["pod", "alice"])["metadata"]["uid"], pod);
    drop(operator);
}
