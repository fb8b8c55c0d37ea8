//! The fields passed to the Pod against core/v1, as the API server itself describes it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bed::bed;
use crate::file::schema;

/// Our field, and the type and field of core/v1 that it is typed as.
const PASSED: [(&str, &str, &str); 14] = [
    ("env", "Container", "env"),
    ("envFrom", "Container", "envFrom"),
    ("resources", "Container", "resources"),
    ("securityContext", "Container", "securityContext"),
    ("podSecurityContext", "PodSpec", "securityContext"),
    ("imagePullSecrets", "PodSpec", "imagePullSecrets"),
    ("serviceAccountName", "PodSpec", "serviceAccountName"),
    ("nodeSelector", "PodSpec", "nodeSelector"),
    ("tolerations", "PodSpec", "tolerations"),
    ("affinity", "PodSpec", "affinity"),
    (
        "topologySpreadConstraints",
        "PodSpec",
        "topologySpreadConstraints",
    ),
    ("priorityClassName", "PodSpec", "priorityClassName"),
    ("runtimeClassName", "PodSpec", "runtimeClassName"),
    (
        "terminationGracePeriodSeconds",
        "PodSpec",
        "terminationGracePeriodSeconds",
    ),
];

/// What is not carried over on purpose.
const LEFT_OUT: [&str; 2] = ["resources.claims", "env[].valueFrom.fileKeyRef"];

/// The types of an OpenAPI document, and what is known of each place below a field.
struct Facts<'a> {
    types: &'a Value,
    found: BTreeMap<String, String>,
}

impl Facts<'_> {
    fn of(types: &Value, path: &str, place: &Value) -> BTreeMap<String, String> {
        let mut facts = Facts {
            types,
            found: BTreeMap::new(),
        };
        facts.collect(path, place, false);
        facts.found
    }

    /// How a list or a map merges is said where it is named or where its type is. Inside a list
    /// that one manager owns as a `whole` nothing merges, whatever is said there.
    fn collect(&mut self, path: &str, place: &Value, whole: bool) {
        if LEFT_OUT.contains(&path) {
            return;
        }
        let inner = place["allOf"].get(0).unwrap_or(place);
        let name = inner["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next());
        let node = name.map_or(inner, |name| &self.types[name]).clone();
        let said = |key: &str| place.get(key).or_else(|| node.get(key));
        let (keys, map) = (
            said("x-kubernetes-list-map-keys").filter(|_| !whole),
            said("x-kubernetes-map-type").filter(|_| !whole),
        );
        let fact = format!("{:?}, list by {keys:?}, map {map:?}", node.get("type"));
        self.found.insert(path.to_owned(), fact);
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            self.collect(&format!("{path}.{name}"), field, whole);
        }
        if let Some(items) = node.get("items") {
            self.collect(&format!("{path}[]"), items, whole || keys.is_none());
        }
        if let Some(values) = node.get("additionalProperties") {
            self.collect(&format!("{path}{{}}"), values, whole);
        }
    }
}

#[tokio::test]
async fn what_is_passed_to_the_pod_is_typed_and_merges_as_in_core_v1() {
    let (_, kubectl) = bed().await;
    let document = kubectl
        .must(&["get", "--raw", "/openapi/v3/api/v1"])
        .expect("the description of core/v1");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let types = &document["components"]["schemas"];
    let ours = serde_json::to_value(schema()).expect("JSON");
    for (field, kind, theirs) in PASSED {
        let upstream = &types[format!("io.k8s.api.core.v1.{kind}")]["properties"][theirs];
        let ours = &ours["properties"]["spec"]["properties"][field];
        let (ours, upstream) = (
            Facts::of(types, field, ours),
            Facts::of(types, field, upstream),
        );
        let differ: Vec<_> = ours
            .keys()
            .chain(upstream.keys())
            .filter(|path| ours.get(*path) != upstream.get(*path))
            .map(|path| {
                format!(
                    "{path}: {:?}, in core/v1 {:?}",
                    ours.get(path),
                    upstream.get(path)
                )
            })
            .collect();
        assert!(differ.is_empty(), "{}", differ.join("\n"));
    }
}
