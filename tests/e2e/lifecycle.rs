//! The end of a Workspace, of its name's earlier bearer, and of its namespace.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use workspace_operator::workspace::{Workspace, WorkspaceSpec};

use crate::fixture::{World, text, uid, workspace};

/// The Workspace that a Pod belongs to.
fn owner(pod: &Value) -> &str {
    text(pod, "/metadata/ownerReferences/0/uid")
}

/// How often the operator asked for so.
fn count(world: &World, line: &str) -> usize {
    world.writes().iter().filter(|it| *it == line).count()
}

#[tokio::test]
async fn the_pod_of_a_deleted_workspace_goes_by_its_owner() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    world.ready("alice").await;
    world.forget();
    world.kubectl(&["delete", "workspace", "alice"]);
    world.gone("pod", "alice").await;
    assert_eq!(world.writes(), Vec::<String>::new());
    world.silence(2).await;
}

#[tokio::test]
async fn a_workspace_that_is_deleted_in_the_foreground_gets_no_new_pod() {
    let mut world = World::new().await;
    let hold = "apiVersion: molecule.ai/v1alpha1\nkind: Workspace\n\
                metadata: {name: alice, finalizers: [example.com/hold]}\nspec: {}\n";
    world.apply(hold);
    world.ready("alice").await;
    world.forget();
    let foreground = [
        "delete",
        "workspace",
        "alice",
        "--cascade=foreground",
        "--wait=false",
    ];
    world.kubectl(&foreground);
    world.gone("pod", "alice").await;
    let alice = world.get("workspace", "alice");
    assert!(alice["metadata"]["deletionTimestamp"].is_string());
    // Its status is of no use to anyone any more.
    assert_eq!(world.writes(), Vec::<String>::new());
    world.silence(2).await;
    let free = r#"{"metadata": {"finalizers": null}}"#;
    world.kubectl(&["patch", "workspace", "alice", "--type=merge", "-p", free]);
    world.gone("workspace", "alice").await;
}

#[tokio::test]
async fn a_recreated_workspace_waits_for_the_pod_of_its_predecessor() {
    let mut world = World::new().await;
    world.workspace(
        "alice",
        "{terminationGracePeriodSeconds: 1, podAnnotations: {kwok/behaviour: stuck-terminating}}",
    );
    let old = world.ready("alice").await;
    world.forget();
    world.kubectl(&["delete", "workspace", "alice"]);
    world.workspace("alice", "{}");
    let going = |it: &Value| it["metadata"]["deletionTimestamp"].is_string();
    world.until("pod", "alice", going).await;
    world.silence(3).await;
    world.kubectl(&["annotate", "pod", "alice", "kwok/behaviour-"]);
    let pod = world.ready("alice").await;
    assert_ne!(uid(&pod), uid(&old));
    assert_eq!(owner(&pod), uid(&world.get("workspace", "alice")));
    assert_eq!(
        world.writes(),
        ["create pods alice 201", "patch workspaces/status alice 200"]
    );
}

#[tokio::test]
async fn quick_deletions_and_creations_converge_to_one_pod_of_the_last() {
    let world = World::new().await;
    let client = world.cluster.client().await.expect("a client");
    let api = Api::<Workspace>::namespaced(client, &world.namespace);
    let mut last = String::new();
    for round in 0..25_u64 {
        let alice = Workspace::new("alice", WorkspaceSpec::default());
        let created = api.create(&PostParams::default(), &alice).await;
        last = created.expect("created").metadata.uid.unwrap_or_default();
        // From before the create of the Pod to well after its start.
        tokio::time::sleep(Duration::from_millis(round * 7 % 130)).await;
        if round < 24 {
            let deleted = api.delete("alice", &DeleteParams::default()).await;
            deleted.expect("deleted");
        }
    }
    let pod = world.ready("alice").await;
    assert_eq!(owner(&pod), last);
    assert_eq!(uid(&world.get("workspace", "alice")), last);
    let creates = world.requests().of("pods").writes().succeeded();
    let mut pods_of = BTreeMap::<String, usize>::new();
    for create in creates.iter().filter(|it| it.verb == "create") {
        let pod = create.request_object.as_ref().expect("a create has a body");
        *pods_of.entry(owner(pod).to_owned()).or_default() += 1;
    }
    assert!(
        pods_of.values().all(|it| *it == 1),
        "one for each: {pods_of:?}"
    );
    assert_eq!(count(&world, "delete pods alice 200"), 0);
}

/// A namespace that ends while its Workspaces cannot be deleted yet, and the operator elsewhere,
/// with the cluster role that it has in an installation.
async fn ending() -> (World, World) {
    let mut home = World::without_operator().await;
    let doomed = World::without_operator().await;
    let namespace = &doomed.namespace;
    home.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
         metadata: {{name: {home}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, \
         name: workspace-operator}}\n\
         subjects: [{{kind: ServiceAccount, name: workspace-operator, namespace: {home}}}]\n\
         ---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n\
         metadata: {{name: {namespace}}}\n\
         spec:\n  matchConstraints:\n    resourceRules:\n    \
         - {{apiGroups: [molecule.ai], apiVersions: ['*'], operations: [DELETE], \
         resources: [workspaces]}}\n  \
         validations: [{{expression: 'false'}}]\n\
         ---\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\n\
         metadata: {{name: {namespace}}}\n\
         spec:\n  policyName: {namespace}\n  validationActions: [Deny]\n  matchResources:\n    \
         namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}\n",
        home = home.namespace,
    ));
    doomed.workspace("probe", "{}");
    let refuses = |it: &World| {
        let delete = ["delete", "workspace", "probe", "--dry-run=server"];
        it.try_kubectl(&delete).is_err()
    };
    doomed.holds("the policy", refuses).await;
    home.start_for(namespace);
    (home, doomed)
}

/// Lets the Workspaces of the namespace go.
fn end_policy(home: &World, doomed: &World) {
    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        home.kubectl(&["delete", kind, &doomed.namespace]);
    }
}

#[tokio::test]
async fn a_terminating_namespace_is_asked_for_a_pod_once() {
    let (mut home, doomed) = ending().await;
    doomed.ready("probe").await;
    let hold = |finalizers: &str| {
        let patch = format!(r#"{{"metadata": {{"finalizers": {finalizers}}}}}"#);
        doomed.kubectl(&["patch", "service", "workspaces", "-p", &patch]);
    };
    // With the Service still there, nothing but the answer tells that the namespace ends.
    hold(r#"["example.com/hold"]"#);
    home.forget();
    let delete = ["delete", "namespace", &doomed.namespace, "--wait=false"];
    home.cluster.kubectl().must(&delete).expect("it is deleted");
    let refused = |home: &World| count(home, "create pods probe 403") == 1;
    home.holds("the refusal", refused).await;
    home.forget();
    let restart = "molecule.ai/restartedAt=now";
    doomed.kubectl(&["annotate", "workspace", "probe", restart]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(home.writes(), Vec::<String>::new());
    hold("null");
    end_policy(&home, &doomed);
}

#[tokio::test]
async fn a_terminating_namespace_is_left_to_its_end_and_its_successor_is_served() {
    let (mut home, doomed) = ending().await;
    let names: Vec<_> = (0..5).map(|it| format!("agent-{it}")).collect();
    let all: Vec<_> = names.iter().map(|it| workspace(it, "{}")).collect();
    doomed.apply(&all.join("---\n"));
    doomed.all_ready(6).await;
    home.forget();
    let admin = home.cluster.kubectl();
    let namespace = doomed.namespace.clone();
    let delete = ["delete", "namespace", &namespace, "--wait=false"];
    admin.must(&delete).expect("it is deleted");
    for name in &names {
        doomed.gone("pod", name).await;
    }
    doomed.gone("service", "workspaces").await;
    // A change that would bring a Pod anywhere else.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in &names {
        let annotate = ["annotate", "workspace", name, "molecule.ai/restartedAt=now"];
        doomed.kubectl(&annotate);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for name in &names {
        assert!(count(&home, &format!("create pods {name} 403")) <= 1);
        // That it is no more Ready, when its Pod was seen going.
        assert!(count(&home, &format!("patch workspaces/status {name} 200")) <= 1);
    }
    assert!(count(&home, "create services workspaces 403") <= 1);
    assert!(home.writes().len() <= 13, "{:#?}", home.writes());
    home.silence(2).await;

    end_policy(&home, &doomed);
    let gone = |it: &World| it.get("namespace", &namespace).is_null();
    home.holds("the end of the namespace", gone).await;
    let again = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    admin.apply(&again.to_string()).expect("it is created");
    doomed.workspace("agent-0", "{}");
    doomed.ready("agent-0").await;
    let address = format!("agent-0.workspaces.{namespace}.svc");
    doomed
        .until("workspace", "agent-0", |it| {
            it["status"]["address"] == *address
        })
        .await;
}
