//! The revision: a hash of what the *user* asked for. A new one is a new rollout.
//!
//! Nothing of the settings enters it: were the image in it, one edit of the settings would
//! restart every Workspace. It is taken over the user's own JSON, by a list of fields that is
//! written out here, and never over a serialised library type: an upgrade of the operator or of
//! a library rolls no one.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::workspace::DEFAULT_RUNTIME;

/// Changes only when the meaning of the hash does, for then every Workspace is rolled once.
const VERSION: &str = "v1";

/// The fields of the spec that need a new Pod. A field added later goes to the end, and enters
/// the hash only where it is set.
const FIELDS: [&str; 20] = [
    "runtime",
    "tag",
    "digest",
    "env",
    "envFrom",
    "resources",
    "securityContext",
    "podSecurityContext",
    "podLabels",
    "podAnnotations",
    "imagePullSecrets",
    "serviceAccountName",
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "runtimeClassName",
    "terminationGracePeriodSeconds",
    "config",
];

/// Selectors in which an empty object means "everything" and an absent one "nothing".
const EMPTY_IS_MEANT: [&str; 2] = ["labelSelector", "namespaceSelector"];

/// The revision of a spec, as 16 hexadecimal digits.
///
/// Absent, `[]`, `{}` and `null` are equal. `restarted_at` is the value of the restart
/// annotation.
#[must_use]
pub fn revision(spec: &Value, restarted_at: Option<&str>) -> String {
    let mut text = String::from(VERSION);
    for field in FIELDS {
        match (field, spec.get(field).filter(|value| !is_empty(value))) {
            ("runtime", None) => add(&mut text, field, &Value::from(DEFAULT_RUNTIME)),
            (_, Some(value)) => add(&mut text, field, value),
            (_, None) => {}
        }
    }
    // Of the storage only its presence: a larger size or another `whenDeleted` needs no new Pod.
    if spec
        .get("storage")
        .is_some_and(|storage| !storage.is_null())
    {
        add(&mut text, "storage", &Value::Bool(true));
    }
    if let Some(at) = restarted_at {
        add(&mut text, "restartedAt", &Value::from(at));
    }
    short_hash(&text)
}

/// The first 16 hexadecimal digits of a SHA-256.
#[must_use]
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn add(text: &mut String, field: &str, value: &Value) {
    text.push('\n');
    text.push_str(field);
    text.push('=');
    canonical(text, value);
}

/// JSON with sorted keys and without what is empty. Not left to serde_json, whose maps keep or
/// sort their keys by a feature that any crate in the tree may switch on.
fn canonical(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map
                .iter()
                .filter(|(key, value)| EMPTY_IS_MEANT.contains(&key.as_str()) || !is_empty(value))
                .collect();
            fields.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (key, value) in fields {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(text, value);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(text, item);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: Value) -> String {
        revision(&spec, None)
    }

    #[test]
    fn absent_null_and_empty_are_equal() {
        let plain = of(json!({"runtime": "codex"}));
        for same in [
            json!({"runtime": "codex", "env": [], "nodeSelector": {}, "affinity": null}),
            json!({"runtime": "codex", "resources": {}, "tolerations": []}),
        ] {
            assert_eq!(of(same), plain);
        }
        assert_eq!(of(json!({})), of(json!({"runtime": "langgraph"})));
    }

    #[test]
    fn every_field_that_needs_a_new_pod_counts() {
        let plain = of(json!({}));
        for field in FIELDS {
            let value = if field == "runtime" {
                json!("codex")
            } else {
                json!({"a": 1})
            };
            assert_ne!(of(json!({field: value})), plain, "{field}");
        }
        assert_ne!(of(json!({"storage": {"size": "1Gi"}})), plain);
        assert_ne!(revision(&json!({}), Some("now")), plain);
    }

    #[test]
    fn fields_that_need_no_new_pod_do_not_count() {
        let plain = of(json!({"storage": {"size": "1Gi"}}));
        let later = json!({
            "storage": {"size": "2Gi", "whenDeleted": "Delete"},
            "suspend": true,
            "provisionTimeoutSeconds": 5,
            "expiresAt": "2026-01-01T00:00:00Z",
            "rollout": {"policy": "OnRestart"},
        });
        assert_eq!(of(later), plain);
    }

    #[test]
    fn the_order_of_keys_does_not_count_and_that_of_items_does() {
        let one = of(json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}));
        let keys = of(json!({"env": [{"value": "1", "name": "A"}, {"name": "B", "value": "2"}]}));
        let items = of(json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}));
        assert_eq!(one, keys);
        assert_ne!(one, items);
    }

    #[test]
    fn an_empty_selector_is_not_an_absent_one() {
        let spread = |selector: Value| json!({"topologySpreadConstraints": [selector]});
        assert_ne!(
            of(spread(json!({"labelSelector": {}}))),
            of(spread(json!({})))
        );
    }

    /// Were one of these to change, an upgrade of the operator would restart every Workspace.
    #[test]
    fn known_revisions_stay_as_they_are() {
        assert_eq!(of(json!({})), "1ec01344083d9f86");
        let rich = json!({
            "runtime": "claude-code",
            "tag": "v1",
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"cpu": "1"}},
            "storage": {"size": "1Gi"},
        });
        assert_eq!(
            revision(&rich, Some("2026-01-01T00:00:00Z")),
            "4a64a6deec840498"
        );
    }
}
