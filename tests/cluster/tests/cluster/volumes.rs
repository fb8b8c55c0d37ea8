//! Claims are bound, grow and go.

use std::time::{Duration, Instant};

use crate::bench::{Bench, ready};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

#[tokio::test]
async fn a_claim_is_bound_grows_and_goes() -> Result<()> {
    let bench = Bench::new("claims").await?;
    let client = bench.cluster.client().await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &bench.namespace);
    let size = |size: &str| json!({"resources": {"requests": {"storage": size}}});
    let mut spec = size("1Gi");
    spec["accessModes"] = json!(["ReadWriteOnce"]);
    let claim = serde_json::from_value(json!({"metadata": {"name": "data"}, "spec": spec}))?;
    claims.create(&PostParams::default(), &claim).await?;

    let spec = json!({
        "containers": [{
            "name": "main", "image": "docker.io/library/good:1",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    });
    bench.create_spec("pod", spec, "").await?;
    bench.until("pod", 8, ready).await?;
    ensure!(capacity(&claims).await? == "1Gi");

    let grown = json!({"spec": size("2Gi")});
    claims
        .patch("data", &PatchParams::default(), &Patch::Merge(grown))
        .await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while capacity(&claims).await? != "2Gi" {
        ensure!(Instant::now() < deadline, "the claim has not grown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    bench.pods.delete("pod", &DeleteParams::default()).await?;
    claims.delete("data", &DeleteParams::default()).await?;
    let volumes: Api<PersistentVolume> = Api::all(client);
    let deadline = Instant::now() + Duration::from_secs(8);
    while !volumes.list(&ListParams::default()).await?.items.is_empty() {
        ensure!(Instant::now() < deadline, "the volume is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn capacity(claims: &Api<PersistentVolumeClaim>) -> Result<String> {
    let status = claims.get("data").await?.status.unwrap_or_default();
    let capacity = status.capacity.unwrap_or_default();
    Ok(capacity
        .get("storage")
        .map(|size| size.0.clone())
        .unwrap_or_default())
}
