//! What the roles for people allow, tried by people who have them.

use std::path::PathBuf;

use cluster::{Cluster, Kubectl};

use crate::bed::{folder, installed, must, until};
use crate::objects::{kustomize, yaml};

const WORKSPACE: &str = "apiVersion: molecule.ai/v1alpha1\n\
                         kind: Workspace\n\
                         metadata: {name: alice, annotations: {note: a}}\n\
                         spec: {runtime: codex}\n";

/// kubectl of someone who has one role in one namespace.
async fn person(cluster: &Cluster, namespace: &str, name: &str, role: &str) -> Kubectl {
    let admin = cluster.kubectl();
    must(&admin, &["create", "serviceaccount", name, "-n", namespace]);
    let (role, subject) = (
        format!("--clusterrole={role}"),
        format!("--serviceaccount={namespace}:{name}"),
    );
    must(
        &admin,
        &[
            "create",
            "rolebinding",
            name,
            "-n",
            namespace,
            &role,
            &subject,
        ],
    );
    let kubeconfig: PathBuf = cluster
        .service_account_kubeconfig(namespace, name)
        .await
        .expect("the ServiceAccount has a token");
    admin.with_kubeconfig(&kubeconfig)
}

fn can(kubectl: &Kubectl, args: &[&str], namespace: &str) -> bool {
    let args = [args, &["-n", namespace]].concat();
    kubectl
        .run_with_input(&args, WORKSPACE)
        .expect("kubectl runs")
        .ok()
}

/// The controller that adds up the roles takes a moment.
async fn aggregated(cluster: &Cluster) {
    let admin = cluster.kubectl();
    for role in ["view", "edit", "admin"] {
        until("the aggregation", || {
            must(&admin, &["get", "clusterrole", role, "-o", "json"]).contains("molecule.ai")
        })
        .await;
    }
}

#[tokio::test]
async fn a_viewer_reads_and_an_editor_and_an_admin_write() {
    let cluster = installed().await;
    let namespace = "people";
    must(&cluster.kubectl(), &["create", "namespace", namespace]);
    aggregated(&cluster).await;
    for (role, writes) in [
        ("view", false),
        ("workspace-view", false),
        ("edit", true),
        ("admin", true),
        ("workspace-edit", true),
    ] {
        let person = person(&cluster, namespace, &format!("{role}er"), role).await;
        let can = |args: &[&str]| can(&person, args, namespace);
        until("the role", || can(&["get", "workspaces"])).await;
        assert_eq!(can(&["create", "-f", "-"]), writes, "{role}");
        if !writes {
            must(
                &cluster.kubectl(),
                &["create", "-n", namespace, "-f", &file()],
            );
        }
        assert!(can(&["get", "workspace", "alice", "-o", "yaml"]), "{role}");
        assert_eq!(
            can(&["label", "workspace", "alice", "team=a"]),
            writes,
            "{role}"
        );
        assert_eq!(can(&["delete", "workspace", "alice"]), writes, "{role}");
        // The status is the operator's.
        let status = [
            "patch",
            "workspace",
            "alice",
            "--subresource=status",
            "--type=merge",
            "-p",
            "{}",
        ];
        assert!(!can(&status), "{role}");
        must(
            &cluster.kubectl(),
            &["delete", "workspaces", "--all", "-n", namespace],
        );
    }
}

/// The same object, for a kubectl without an input.
fn file() -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("alice.yaml");
    std::fs::write(&path, WORKSPACE).expect("it is written");
    path.display().to_string()
}

#[tokio::test]
async fn with_the_component_only_who_may_create_pods_may_write_workspaces() {
    let cluster = installed().await;
    let (namespace, admin) = ("pod-rights", cluster.kubectl());
    must(&admin, &["create", "namespace", namespace]);
    let half = person(&cluster, namespace, "half", "workspace-edit").await;
    let whole = person(&cluster, namespace, "whole", "edit").await;
    aggregated(&cluster).await;
    until("the role", || {
        can(&half, &["create", "--dry-run=server", "-f", "-"], namespace)
    })
    .await;
    until("the role", || {
        can(
            &whole,
            &["create", "--dry-run=server", "-f", "-"],
            namespace,
        )
    })
    .await;

    // For this namespace alone, as tests share the cluster.
    let policy = kustomize(&folder("chart/files/pod-rights"));
    let selector = format!(
        r#""matchResources":{{"namespaceSelector":{{"matchLabels":{{"kubernetes.io/metadata.name":"{namespace}"}}}}}},"policyName""#
    );
    let policy = yaml(policy.values()).replace(r#""policyName""#, &selector);
    admin.apply(&policy).expect("the policy is applied");
    until("the policy", || {
        !can(&half, &["create", "--dry-run=server", "-f", "-"], namespace)
    })
    .await;
    let create = ["create", "-n", namespace, "-f", "-"];
    let said = half
        .run_with_input(&create, WORKSPACE)
        .expect("kubectl runs")
        .stderr;
    assert!(
        said.contains("may not create Pods in the namespace pod-rights"),
        "{said}"
    );
    assert!(
        said.contains("system:serviceaccount:pod-rights:half"),
        "{said}"
    );

    assert!(can(&whole, &["create", "-f", "-"], namespace));
    let asks_for_more = ["patch", "workspace", "alice", "--type=merge", "-p"];
    for patch in [
        r#"{"spec":{"runtime":"hermes"}}"#,
        r#"{"metadata":{"annotations":{"molecule.ai/restartedAt":"now"}}}"#,
    ] {
        assert!(
            !can(&half, &[&asks_for_more[..], &[patch]].concat(), namespace),
            "{patch}"
        );
        assert!(
            can(&whole, &[&asks_for_more[..], &[patch]].concat(), namespace),
            "{patch}"
        );
    }
    assert!(can(
        &half,
        &["label", "workspace", "alice", "team=a"],
        namespace
    ));
    assert!(can(&half, &["delete", "workspace", "alice"], namespace));
}
