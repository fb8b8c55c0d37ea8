//! What the operator asks of the Lease is not queued with all else that it asks.

use std::time::Duration;

use http::{HeaderMap, Request};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::bed::{DEPLOY, PATIENCE, SYSTEM, get, installed};
use crate::objects::kustomize;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/molecule-system/leases";
const ONE: &str = "fieldSelector=metadata.name%3Dworkspace-operator";

/// How the API server classified a request: by which FlowSchema, and to which priority.
#[derive(Debug, PartialEq, Eq)]
struct Class {
    schema: String,
    level: String,
}

impl Class {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|it| it.to_str().ok());
            value.unwrap_or_else(|| panic!("{name}")).to_owned()
        };
        Self {
            schema: text("x-kubernetes-pf-flowschema-uid"),
            level: text("x-kubernetes-pf-prioritylevel-uid"),
        }
    }
}

async fn classified(client: &Client, verb: &str, path: &str) -> Class {
    let (method, query, body) = match verb {
        "watch" => ("GET", "watch=true&timeoutSeconds=1", ""),
        "patch" => ("PATCH", "dryRun=All", "{}"),
        _ => ("GET", "limit=1", ""),
    };
    let with = if path.contains('?') { '&' } else { '?' };
    let request = Request::builder()
        .method(method)
        .uri(format!("{path}{with}{query}"))
        .header("content-type", "application/merge-patch+json")
        .body(Body::from(body.as_bytes().to_vec()));
    let answer = client.send(request.expect("a request")).await;
    let answer = answer.expect("the API server answers");
    assert!(answer.status().is_success(), "{verb} {path}: {answer:?}");
    Class::of(answer.headers())
}

fn verbs(rule: &Value) -> Vec<&str> {
    let verbs = rule["verbs"].as_array().expect("verbs");
    verbs.iter().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn what_is_asked_of_the_lease_has_the_priority_of_elections_and_all_else_has_not() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    let uid = |kind: &str, name: &str| {
        let uid = &get(&kubectl, &[kind, name])["metadata"]["uid"];
        uid.as_str().expect("a uid").to_owned()
    };
    let of_elections = Class {
        schema: uid("flowschema", "workspace-operator.molecule-system"),
        level: uid("prioritylevelconfiguration", "leader-election"),
    };
    let file = cluster.service_account_kubeconfig(SYSTEM, "workspace-operator");
    let file = file.await.expect("the ServiceAccount has a token");
    let client = cluster::client_for(&file).await.expect("a client");
    // The API server learns of a FlowSchema a little after it was stored.
    let learnt = async {
        while classified(&client, "list", &format!("{LEASES}?{ONE}")).await != of_elections {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let learnt = timeout(PATIENCE, learnt).await;
    learnt.expect("the FlowSchema is in use");

    let objects = kustomize(DEPLOY);
    let schema = &objects["FlowSchema workspace-operator.molecule-system"]["spec"]["rules"][0];
    let role = &objects["Role molecule-system/workspace-operator"]["rules"];
    let rules = role.as_array().expect("rules").iter();
    let rule = rules.into_iter().find(|it| it["resources"][0] == "leases");
    let verbs = verbs(rule.expect("the right"));
    assert_eq!(verbs, self::verbs(&schema["resourceRules"][0]));
    for verb in verbs {
        let path = match verb {
            "patch" => format!("{LEASES}/workspace-operator"),
            _ => format!("{LEASES}?{ONE}"),
        };
        let class = classified(&client, verb, &path).await;
        assert_eq!(class, of_elections, "{verb}");
    }
    for (verb, path) in [
        ("list", "/api/v1/pods"),
        ("watch", "/apis/molecule.ai/v1alpha1/workspaces"),
        (
            "patch",
            "/api/v1/namespaces/molecule-system/configmaps/workspace-fleet",
        ),
    ] {
        let class = classified(&client, verb, path).await;
        assert_ne!(class.level, of_elections.level, "{verb} {path}");
    }
}
