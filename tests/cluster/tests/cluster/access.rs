//! Who may do what, and what the audit log tells of it.

use crate::bench::{Bench, ready};
use anyhow::{Context, Result, ensure};
use cluster::client_for;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

#[tokio::test]
async fn a_service_account_has_its_rights_and_its_name_in_the_log() -> Result<()> {
    let bench = Bench::new("access").await?;
    let kubectl = bench.cluster.kubectl();
    kubectl.must(&["-n", "access", "create", "serviceaccount", "operator"])?;
    let kubeconfig = bench
        .cluster
        .service_account_kubeconfig("access", "operator")
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(client_for(&kubeconfig).await?, "access");
    ensure!(maps.list(&ListParams::default()).await.is_err());

    let mark = bench.cluster.audit().mark()?;
    kubectl.apply(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: access}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: operator, namespace: access}]
",
    )?;
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"b": "c"}}))?;
    while maps.create(&PostParams::default(), &map).await.is_err() {}

    let audit = bench.cluster.audit();
    let writes = audit
        .events_since(mark)?
        .by_service_account("access", "operator")
        .writes();
    let write = writes.last().context("the write is in the log")?;
    ensure!(write.verb == "create" && write.resource == "configmaps" && write.name == "a");
    ensure!(write.namespace == "access" && write.code == 201 && !write.dry_run);
    ensure!(
        write
            .request_object
            .as_ref()
            .is_some_and(|map| map["data"]["b"] == "c")
    );
    Ok(())
}

#[tokio::test]
async fn a_generated_name_and_a_dry_run_are_told() -> Result<()> {
    let bench = Bench::new("generated").await?;
    bench
        .create("first", "docker.io/library/good:1", "")
        .await?;
    bench.until("first", 5, ready).await?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": "made-"},
        "spec": {"containers": [{"name": "main", "image": "docker.io/library/good:1"}]},
    }))?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    bench.pods.create(&params, &pod).await?;
    let made = bench.pods.create(&PostParams::default(), &pod).await?;

    let of_pods = bench
        .cluster
        .audit()
        .events()?
        .in_namespace("generated")
        .of("pods");
    let creates = of_pods.filter(|event| event.verb == "create" && event.subresource.is_empty());
    let made = creates.clone().named(&made.name_any());
    ensure!(made.len() == 1 && !made[0].dry_run, "{made:?}");
    let dry = creates.filter(|event| event.dry_run);
    ensure!(dry.len() == 1);
    Ok(())
}
