//! The API server refuses, and for good reasons.

use std::time::{Duration, Instant};

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use proxy::{Fate, Fault, Request};
use serde_json::{Value, json};
use workspace_operator::names;

use crate::bed::{Bed, names as agents};
use crate::fixture::{condition, text, uid};

/// The creates of Pods, each with its answer.
fn creates(bed: &Bed) -> Vec<(Request, u16)> {
    let is_create = |it: &Request| it.ask.method == Method::POST && it.ask.about("pods");
    let writes = bed.proxy.writes().into_iter().filter(is_create);
    let code = |it: &Request| match it.fate {
        Some(Fate::Passed(code)) => code,
        _ => 0,
    };
    writes.map(|it| (it.clone(), code(&it))).collect()
}

/// A Pod to ask the API server about.
pub fn probe() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "agent", "image": "probe.example.com/probe"}]},
    })
}

/// A refused Pod is tried again after 5, 10 and so on seconds, whatever happens meanwhile, and at
/// once when the user asks for another.
async fn is_refused_and_made_up_for(rule: &str, words: &str, lift: impl AsyncFn(&Bed)) {
    let mut bed = Bed::new().await.alone();
    bed.start().await;
    bed.world
        .apply(&rule.replace("$NAMESPACE", &bed.world.namespace));
    bed.world.until_refused(&probe()).await;
    let alice = ["alice".to_owned()];
    bed.create(&alice, json!({})).await;
    let start = Instant::now();
    let refused = bed.world.state("alice", "PodRejected").await;
    let stalled = condition(&refused, "Stalled");
    assert_eq!(stalled["status"], "True");
    assert!(text(stalled, "/message").contains(words), "{stalled}");
    let mut edit = 0;
    while start.elapsed() < Duration::from_secs(12) {
        edit += 1;
        let note = json!({"metadata": {"annotations": {"edit": edit.to_string()}}});
        bed.patch(&alice, note).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let tried = creates(&bed).len();
    assert!((2..=3).contains(&tried), "{tried} tries in 12 s");
    lift(&bed).await;
    assert_eq!(bed.settled(1).await.len(), 1);
}

#[tokio::test]
async fn a_policy_that_refuses_the_pod_is_told_and_asked_again_in_peace() {
    let policy = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-pods-$NAMESPACE}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  validations:
  - {expression: 'false', message: no Pods on a Sunday}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-pods-$NAMESPACE}
spec:
  policyName: no-pods-$NAMESPACE
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: $NAMESPACE}
";
    is_refused_and_made_up_for(policy, "no Pods on a Sunday", async |bed| {
        let name = format!("no-pods-{}", bed.world.namespace);
        for kind in [
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
        ] {
            bed.world.kubectl(&["delete", kind, &name]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_quota_that_refuses_the_pod_is_told_and_asked_again_in_peace() {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"pods": "0"}},
    });
    is_refused_and_made_up_for(&quota.to_string(), "exceeded quota: full", async |bed| {
        bed.world.kubectl(&["delete", "resourcequota", "full"]);
    })
    .await;
}

#[tokio::test]
async fn pod_security_that_refuses_the_pod_is_told_and_asked_again_in_peace() {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "$NAMESPACE",
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    });
    is_refused_and_made_up_for(&namespace.to_string(), "PodSecurity", async |bed| {
        let label = "pod-security.kubernetes.io/enforce-";
        bed.world
            .kubectl(&["label", "namespace", &bed.world.namespace, label]);
    })
    .await;
}

/// The Pod of a deleted Workspace, in the way of its successor, and out of sight.
#[tokio::test]
async fn a_create_that_runs_into_the_pod_of_a_predecessor_waits_for_its_end() {
    let mut bed = Bed::new().await.alone();
    bed.start().await;
    let alice = ["alice".to_owned()];
    bed.create(&alice, json!({"suspend": true})).await;
    let first = bed.world.state("alice", "Suspended").await;
    let hidden = bed.proxy.fault(Fault::Hold, |ask| {
        ask.is_watch() && ask.path.ends_with("/pods")
    });
    let old = bed
        .pod_api()
        .create(&PostParams::default(), &pod_of(&first))
        .await
        .expect("the old Pod is created");
    let workspaces = bed.workspaces();
    let deleted = workspaces.delete("alice", &DeleteParams::default()).await;
    deleted.expect("alice is deleted");
    bed.world.gone("workspace", "alice").await;
    bed.create(&alice, json!({})).await;
    bed.until("it did not run into the old Pod", |bed| {
        creates(bed).iter().any(|(_, code)| *code == 409)
    })
    .await;
    hidden.lift();
    bed.world
        .until("pod", "alice", |it| {
            it["metadata"]["deletionTimestamp"].is_string()
        })
        .await;
    let released = ["annotate", "pod", "alice", "kwok/behaviour-"];
    bed.world.kubectl(&released);
    let ever = bed.settled(1).await;
    assert_eq!(ever.len(), 2, "the old one and the new one");
    let codes: Vec<_> = creates(&bed).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, [409, 201]);
    assert!(
        !bed.pods
            .alive()
            .contains(&old.metadata.uid.unwrap_or_default())
    );
}

/// A Pod like the operator's, of this Workspace; it does not go when it is told to.
fn pod_of(workspace: &Value) -> Pod {
    let pod = json!({
        "metadata": {
            "name": "alice",
            "annotations": {"kwok/behaviour": "stuck-terminating"},
            "labels": {
                names::LABEL_NAME: names::NAME,
                names::LABEL_INSTANCE: "alice",
                names::LABEL_MANAGED_BY: names::MANAGER,
            },
            "ownerReferences": [{
                "apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "alice",
                "uid": uid(workspace), "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {"containers": [{"name": "agent", "image": "old.example.com/old"}]},
    });
    serde_json::from_value(pod).expect("a Pod")
}

#[tokio::test]
async fn a_claim_that_stays_pending_is_told_and_costs_no_second_pod() {
    let mut bed = Bed::started().await;
    let class = format!("later-{}", bed.world.namespace);
    let storage = json!({"size": "1Gi", "storageClassName": class});
    bed.create(&agents(3), json!({"storage": storage})).await;
    for name in agents(3) {
        let pending = bed.world.state(&name, "VolumePending").await;
        assert_eq!(
            condition(&pending, "Ready")["status"],
            "False",
            "{pending:#}"
        );
    }
    let later = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": class},
        "provisioner": "kwok.x-k8s.io/volume", "volumeBindingMode": "WaitForFirstConsumer",
    });
    bed.world.apply(&later.to_string());
    assert_eq!(bed.settled(3).await.len(), 3, "each Pod once");
    bed.world.kubectl(&["delete", "storageclass", &class]);
}

#[tokio::test]
async fn a_node_deleted_under_its_pods_costs_each_one_new_pod() {
    const COUNT: usize = 5;
    let mut bed = Bed::started().await;
    let node = format!("{}-node", bed.world.namespace);
    bed.world.own_node(&node).await;
    let spec = json!({
        "tolerations": [{"key": "only-for", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100, "preference": {"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
            ]},
        }]}},
    });
    bed.create(&agents(COUNT), spec).await;
    bed.all(COUNT, "Ready").await;
    let on = |bed: &Bed| {
        let pods = bed.world.list("pods");
        pods.iter()
            .filter(|it| it["spec"]["nodeName"] == node.as_str())
            .count()
    };
    let lost = on(&bed);
    assert!(lost > 0, "some are on {node}");
    bed.world.kubectl(&["delete", "node", &node]);
    let moved = |bed: &Bed| bed.pods.of_workspaces() == COUNT + lost;
    // The garbage collector of Pods on lost nodes looks every 40 s.
    bed.until("the Pods are not replaced", moved).await;
    assert_eq!(bed.settled(COUNT).await.len(), COUNT + lost);
    assert_eq!(on(&bed), 0);
}

/// API priority and fairness: the operator gets next to nothing of the API server.
#[tokio::test]
async fn an_operator_that_is_throttled_gives_way_and_gets_there() {
    const COUNT: usize = 60;
    let mut bed = Bed::new().await.alone();
    let namespace = bed.world.namespace.clone();
    bed.world.apply(&throttle(&namespace, 1));
    bed.run();
    bed.create(&agents(COUNT), json!({})).await;
    let throttled = |bed: &Bed| {
        let requests = bed.asked();
        let limited = |it: &&Request| it.fate == Some(Fate::Passed(429));
        requests.iter().filter(limited).count()
    };
    bed.until("it is not throttled", |bed| throttled(bed) > 0)
        .await;
    let ever = bed.settled(COUNT).await;
    assert_eq!(ever.len(), COUNT, "each Pod once");
    // How often the overview in the record is written depends on the time.
    let writes = bed.proxy.writes().into_iter();
    let writes = writes.filter(|it| !it.ask.path.contains("/configmaps"));
    let (throttled, writes) = (throttled(&bed), writes.count());
    println!(
        "{throttled} of {} requests answered by 429",
        bed.asked().len()
    );
    assert!(writes <= 2 * COUNT + 1 + throttled);
    // It gives way: most of what is refused is refused at once, in the beginning.
    assert!(throttled < 2 * COUNT, "{throttled} requests in vain");
    let name = format!("throttled-{namespace}");
    for kind in ["flowschema", "prioritylevelconfiguration"] {
        bed.world.kubectl(&["delete", kind, &name]);
    }
}

fn throttle(namespace: &str, shares: u32) -> String {
    let group = "flowcontrol.apiserver.k8s.io/v1";
    let name = format!("throttled-{namespace}");
    let level = json!({
        "apiVersion": group, "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    });
    let anything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
        "namespaces": ["*"], "clusterScope": true});
    let account = json!({"kind": "ServiceAccount",
        "serviceAccount": {"name": names::MANAGER, "namespace": namespace}});
    let schema = json!({
        "apiVersion": group, "kind": "FlowSchema", "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 2,
            "rules": [{"subjects": [account], "resourceRules": [anything]}],
        },
    });
    format!("{level}\n---\n{schema}")
}
