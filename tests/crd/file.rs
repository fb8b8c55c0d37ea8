//! The file alone: no control plane is needed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Value, json};
use workspace_operator::workspace::{Reason, Workspace, crd_yaml, reasons};

use crate::bed::FILE;
use crate::edits::edits;
use crate::rules::rows;

/// The root of the schema.
pub fn schema() -> JSONSchemaProps {
    let version = Workspace::crd().spec.versions.remove(0);
    version
        .schema
        .and_then(|schema| schema.open_api_v3_schema)
        .expect("the CRD has a schema")
}

/// Every place in the schema, in the notation of the rules: `spec.env[].name`.
pub fn places(path: &str, schema: &JSONSchemaProps) -> Vec<(String, JSONSchemaProps)> {
    let mut all = vec![(path.to_owned(), schema.clone())];
    for (name, field) in schema.properties.iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        all.extend(places(&path, field));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        all.extend(places(&format!("{path}[]"), items));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        all.extend(places(&format!("{path}{{}}"), values));
    }
    all
}

#[test]
fn the_file_is_what_the_code_prints() {
    let file = std::fs::read_to_string(FILE).expect("crds/workspace.yaml");
    let same = file == crd_yaml().expect("the CRD prints");
    assert!(
        same,
        "crds/workspace.yaml is out of date: run `cargo run -- crd > crds/workspace.yaml`"
    );
}

#[test]
fn the_crd_stays_small_enough_for_a_client_side_apply() {
    // Measured: 55 kB as JSON. `kubectl apply` repeats it in an annotation, and all annotations
    // of an object together may have 256 KiB.
    let size = serde_json::to_string(&Workspace::crd())
        .expect("JSON")
        .len();
    assert!(size < 64_000, "the CRD has grown to {size} bytes");
}

#[test]
fn every_field_says_what_it_is() {
    let silent: Vec<_> = places("", &schema())
        .into_iter()
        .filter(|(path, schema)| {
            // The fields of an object; what a list or a map holds is told where it is.
            path.rsplit('.')
                .next()
                .is_some_and(|name| !name.ends_with([']', '}']))
                && schema.description.as_deref().unwrap_or_default().is_empty()
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_reason_is_told_where_the_state_is_explained() {
    let schema = schema();
    let (_, state) = places("", &schema)
        .into_iter()
        .find(|(path, _)| path == "status.state")
        .expect("status.state");
    let text = state.description.expect("a description");
    let allowed = state.enum_.expect("an enum");
    assert_eq!(allowed.len(), reasons().len());
    for (reason, meaning) in reasons() {
        assert!(meaning.ends_with('.'), "{reason}: {meaning}");
        assert!(
            text.contains(&format!("- {reason}: {meaning}")),
            "{reason} in {text}"
        );
    }
}

#[test]
fn every_rule_has_a_case_on_the_real_server() {
    let cases: Vec<_> = (rows().into_iter().map(|row| (row.at, row.says)))
        .chain(edits().into_iter().map(|edit| (edit.at, edit.says)))
        .chain([("", "metadata.name becomes the Pod's host name")])
        .filter(|(_, says)| !says.is_empty())
        .collect();
    for (path, schema) in places("", &schema()) {
        for rule in schema.x_kubernetes_validations.unwrap_or_default() {
            let message = rule.message.expect("every rule has a message");
            let tested = cases
                .iter()
                .any(|(at, says)| *at == path && message.contains(says));
            assert!(
                tested,
                "no case in rules.rs or edits.rs for {path}: {message}"
            );
        }
    }
}

#[test]
fn a_state_of_a_newer_operator_does_not_make_a_workspace_undecodable() {
    let with = |state: Value| {
        let object = json!({
            "apiVersion": "molecule.ai/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": "a"},
            "spec": {},
            "status": {"observedGeneration": 3, "state": state},
        });
        let decoded: Workspace = serde_json::from_value(object).expect("it decodes");
        decoded.status.expect("a status").state
    };
    assert_eq!(with(json!("Ready")), Some(Reason::Ready));
    assert_eq!(with(json!("Levitating")), None);
    assert_eq!(with(json!(null)), None);
}
