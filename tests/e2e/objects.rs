//! What there is to say of an object, as kubectl prints it.

use anyhow::Context;
use serde_json::Value;

/// A Workspace with this spec, written as YAML flow.
pub fn workspace(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: molecule.ai/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

/// The UID of an object.
pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().expect("it exists")
}

/// The image of our container in a Pod.
pub fn image(pod: &Value) -> &str {
    let containers = pod["spec"]["containers"].as_array().expect("it is a Pod");
    let agent = containers
        .iter()
        .find(|it| it["name"] == "agent")
        .expect("it is ours");
    agent["image"].as_str().unwrap_or_default()
}

/// One condition of a Workspace, null when it has none of that type.
pub fn condition<'a>(workspace: &'a Value, type_: &str) -> &'a Value {
    let conditions = workspace["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|it| it["type"] == type_));
    found.unwrap_or(&Value::Null)
}

/// What holds of a Workspace's status at every moment, after kstatus.
pub fn assert_sound(workspace: &Value) {
    let is_true = |type_: &str| condition(workspace, type_)["status"] == "True";
    let has = |type_: &str| !condition(workspace, type_).is_null();
    for (one, other) in [("Reconciling", "Stalled"), ("Suspended", "Ready")] {
        assert!(!(has(one) && has(other)), "{workspace:#}");
    }
    assert!(!(is_true("Ready") && has("Reconciling")), "{workspace:#}");
    let status = &workspace["status"];
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let observed = &condition["observedGeneration"];
        assert_eq!(observed, &status["observedGeneration"], "{workspace:#}");
    }
    let ready = condition(workspace, "Ready");
    if is_true("Ready") && !has("Stalled") {
        assert_eq!(status["state"], "Ready", "{ready}");
    }
}

/// A value that must be there.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .with_context(|| format!("{path} in {object:#}"))
        .expect("it is there")
}
