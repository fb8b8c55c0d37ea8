//! `kubectl apply -k`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::bed::{
    DEPLOY, SYSTEM, create_settings, empty, folder, get, guarded, installed, must, until,
};
use crate::objects::{kustomize, kustomized, yaml};

/// kwok plays the nodes: that the Pods run says that they are admitted by the `restricted` standard
/// and get a node each.
#[tokio::test]
async fn on_an_empty_cluster_two_replicas_run_on_two_nodes() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    must(
        &kubectl,
        &[
            "rollout",
            "status",
            "deployment/workspace-operator",
            "-n",
            SYSTEM,
        ],
    );
    let pods = get(&kubectl, &["pods", "-n", SYSTEM]);
    let nodes: BTreeSet<_> = (pods["items"].as_array().into_iter().flatten())
        .map(|pod| pod["spec"]["nodeName"].to_string())
        .collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    let enforced = get(&kubectl, &["namespace", SYSTEM]);
    let label = "pod-security.kubernetes.io/enforce";
    assert_eq!(enforced["metadata"]["labels"][label], "restricted");
}

#[tokio::test]
async fn a_switch_survives_that_everything_is_applied_again() {
    let cluster = empty().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["apply", "-k", DEPLOY]);
    // What the operator writes.
    let record = json!({"data": {"registry": "old.example.com/a"}}).to_string();
    let patch = [
        "patch",
        "configmap",
        "workspace-fleet",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&record]].concat());
    let lease = json!({"spec": {"holderIdentity": "a", "leaseTransitions": 3}}).to_string();
    let patch = [
        "patch",
        "lease",
        "workspace-operator",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&lease]].concat());
    // What people write.
    let entry = "MOLECULE_IMAGE_REGISTRY=old.example.com/a";
    assert!(create_settings(&kubectl, SYSTEM, &[entry], false).ok());
    let edit = json!({"data": {"MOLECULE_IMAGE_REGISTRY": "mirror.example.com/a"}}).to_string();
    let patch = [
        "patch",
        "configmap",
        "workspace-settings",
        "-n",
        SYSTEM,
        "--type=merge",
        "-p",
    ];
    must(&kubectl, &[&patch[..], &[&edit]].concat());

    must(&kubectl, &["apply", "-k", DEPLOY]);
    // It fails where there is a difference.
    must(&kubectl, &["diff", "-k", DEPLOY]);
    let forced = ["apply", "--server-side", "--force-conflicts", "-k", DEPLOY];
    must(&kubectl, &forced);
    let of = |kind: &str, name: &str| get(&kubectl, &[kind, name, "-n", SYSTEM]);
    let settings = of("configmap", "workspace-settings");
    assert_eq!(
        settings["data"]["MOLECULE_IMAGE_REGISTRY"],
        "mirror.example.com/a"
    );
    assert_eq!(
        of("configmap", "workspace-fleet")["data"]["registry"],
        "old.example.com/a"
    );
    assert_eq!(
        of("lease", "workspace-operator")["spec"]["holderIdentity"],
        "a"
    );

    // The namespace takes all with it: the guard of the settings does not stop that.
    guarded(&kubectl, SYSTEM).await;
    must(&kubectl, &["delete", "namespace", SYSTEM, "--wait=false"]);
    let gone = || {
        !kubectl
            .run(&["get", "namespace", SYSTEM])
            .expect("kubectl runs")
            .ok()
    };
    until("the end of the namespace", gone).await;
}

/// Server-side: against what the server knows of each kind, its policies included.
#[tokio::test]
async fn every_overlay_is_accepted_by_the_api_server() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    kubectl
        .run(&["create", "namespace", "agents"])
        .expect("kubectl runs");
    for name in ["", "overlays/single", "overlays/namespaced"] {
        let folder = folder(name);
        must(&kubectl, &["apply", "--dry-run=server", "-k", &folder]);
    }
}

/// The components are for a kustomization of one's own.
#[tokio::test]
async fn the_components_go_with_the_base() {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("with-components");
    std::fs::create_dir_all(&own).expect("a folder");
    // kustomize takes no absolute paths.
    let up = "../".repeat(own.components().count() - 1);
    let there = format!("{up}{}", DEPLOY.trim_start_matches('/'));
    let text = format!(
        "resources: [{there}/base]\n\
         components: [{there}/components/servicemonitor, {there}/components/alerts, \
         {there}/components/pod-rights]\n"
    );
    std::fs::write(own.join("kustomization.yaml"), text).expect("it is written");
    let (with, without) = (kustomize(&own.display().to_string()), kustomize(DEPLOY));
    let added: Vec<_> = with
        .keys()
        .filter(|id| !without.contains_key(*id))
        .collect();
    assert_eq!(
        added,
        [
            "PrometheusRule molecule-system/workspace-operator",
            "ServiceMonitor molecule-system/workspace-operator",
            "ValidatingAdmissionPolicy workspace-pod-rights",
            "ValidatingAdmissionPolicyBinding workspace-pod-rights",
        ]
    );
    assert_eq!(with.len(), without.len() + added.len());
    assert!(yaml(with.values()).contains(r#""port":"http-metrics""#));
}

#[test]
fn the_settings_are_in_no_manifest() {
    for name in ["", "overlays/single", "overlays/namespaced"] {
        let ids = kustomize(&folder(name));
        assert!(ids.contains_key("ConfigMap molecule-system/workspace-fleet"));
        assert!(!ids.contains_key("ConfigMap molecule-system/workspace-settings"));
    }
    assert!(kustomized(DEPLOY).contains("imagePullPolicy: IfNotPresent"));
}
