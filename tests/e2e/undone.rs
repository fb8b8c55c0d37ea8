//! Writes that the API server takes and that change nothing: they must not be repeated for ever.

use std::time::Duration;

use cluster::mutating_admission;

use crate::fixture::{World, condition, image, text};

/// A policy that keeps every claim of this namespace at 1Gi.
fn keeps_claims_small(namespace: &str) -> String {
    let api_version = mutating_admission().expect("a version is pinned");
    format!(
        "apiVersion: {api_version}\n\
         kind: MutatingAdmissionPolicy\n\
         metadata: {{name: small-{namespace}}}\n\
         spec:\n\
         \x20 reinvocationPolicy: Never\n\
         \x20 failurePolicy: Fail\n\
         \x20 matchConstraints:\n\
         \x20   resourceRules:\n\
         \x20   - {{apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], \
         resources: [persistentvolumeclaims]}}\n\
         \x20 mutations:\n\
         \x20 - patchType: ApplyConfiguration\n\
         \x20   applyConfiguration:\n\
         \x20     expression: >-\n\
         \x20       Object{{spec: Object.spec{{resources: \
         Object.spec.resources{{requests: {{'storage': '1Gi'}}}}}}}}\n\
         ---\n\
         apiVersion: {api_version}\n\
         kind: MutatingAdmissionPolicyBinding\n\
         metadata: {{name: small-{namespace}}}\n\
         spec:\n\
         \x20 policyName: small-{namespace}\n\
         \x20 matchResources: {{namespaceSelector: {{matchLabels: \
         {{kubernetes.io/metadata.name: {namespace}}}}}}}\n"
    )
}

#[tokio::test]
async fn a_growth_that_a_policy_undoes_is_told_and_does_not_keep_the_pod_waiting() {
    let mut world = World::new().await;
    let policy = keeps_claims_small(&world.namespace);
    world.apply(&policy);
    // The policy takes effect within moments, not at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.workspace("alice", "{storage: {size: 20Gi}}");
    let told = world.state("alice", "VolumeRejected").await;
    assert!(text(condition(&told, "Stalled"), "/message").contains("undid it"));
    world
        .until("workspace", "alice", |it| {
            condition(it, "Ready")["status"] == "True"
        })
        .await;
    world.forget();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.writes().len() <= 2, "{:#?}", world.writes());
    world.kubectl(&[
        "delete",
        "mutatingadmissionpolicybinding,mutatingadmissionpolicy",
        &format!("small-{}", world.namespace),
    ]);
}

#[tokio::test]
async fn a_size_that_the_api_server_caps_is_asked_for_once() {
    let mut world = World::new().await;
    world.workspace(
        "alice",
        "{storage: {size: 9999999999999Ei, storageClassName: none}}",
    );
    world.state("alice", "VolumePending").await;
    world.silence(3).await;
}

#[tokio::test]
async fn a_setting_that_is_no_text_is_not_an_absent_one() {
    let world = World::new().await;
    let good = world.prefix("good");
    world.registry(&good);
    let in_force = |registry: &str| {
        let registry = registry.to_owned();
        move |it: &serde_json::Value| it["data"]["registry"] == registry.as_str()
    };
    world
        .until("configmap", "workspace-fleet", in_force(&good))
        .await;
    // "ghcr.io/x" as UTF-16, as some shells write it.
    let binary = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "workspace-settings", "namespace": world.namespace},
        "binaryData": {"MOLECULE_IMAGE_REGISTRY": "//5nAGgAYwByAC4AaQBvAC8AeAA="},
    });
    let args = ["-n", &world.namespace, "replace", "-f", "-"];
    let output = world
        .cluster
        .kubectl()
        .run_with_input(&args, &binary.to_string());
    assert!(output.expect("kubectl runs").ok());
    let told = world
        .until("configmap", "workspace-fleet", |it| {
            it["data"]["error"].is_string()
        })
        .await;
    assert_eq!(told["data"]["registry"], good.as_str());
    assert!(text(&told, "/data/error").contains("MOLECULE_IMAGE_REGISTRY"));
    world.workspace("alice", "{}");
    let pod = world.ready("alice").await;
    assert!(image(&pod).starts_with(&good));
}
