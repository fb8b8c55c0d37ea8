//! Edits of a stored Workspace: the rules that compare with what is stored, and what must stay
//! possible beside them.

use serde_json::{Value, json};

use crate::rules::digest;

/// An edit; `says` is empty where it must be accepted.
pub struct Edit {
    pub at: &'static str,
    pub says: &'static str,
    pub from: Value,
    pub to: Value,
}

fn refused(at: &'static str, says: &'static str, from: Value, to: Value) -> Edit {
    Edit { at, says, from, to }
}

fn accepted(from: Value, to: Value) -> Edit {
    refused("", "", from, to)
}

fn storage(storage: Value) -> Value {
    json!({ "storage": storage })
}

fn sized(size: Value) -> Value {
    storage(json!({ "size": size }))
}

fn of_class(class: &str) -> Value {
    storage(json!({"size": "1Gi", "storageClassName": class}))
}

fn with_modes(modes: &[&str]) -> Value {
    storage(json!({"size": "1Gi", "accessModes": modes}))
}

/// Every edit.
pub fn edits() -> Vec<Edit> {
    let plain = || sized(json!("1Gi"));
    let id = "id cannot be set, changed or removed";
    let removed = "storage cannot be removed";
    let shrunk = "size can grow but not shrink";
    let class = "storageClassName cannot be set, changed or removed";
    let modes = "accessModes cannot change";
    let at_modes = "spec.storage.accessModes";
    vec![
        refused("spec", id, json!({"id": "a"}), json!({"id": "b"})),
        refused("spec", id, json!({"id": "a"}), json!({})),
        refused("spec", id, json!({}), json!({"id": "a"})),
        accepted(json!({"id": "a"}), json!({"id": "a", "suspend": true})),
        accepted(
            json!({"runtime": "hermes", "tag": "a"}),
            json!({"runtime": "codex", "digest": digest()}),
        ),
        refused("spec", removed, plain(), json!({})),
        accepted(json!({}), plain()),
        refused("spec.storage.size", shrunk, plain(), sized(json!("1023Mi"))),
        accepted(plain(), sized(json!("1024Mi"))),
        accepted(plain(), sized(json!(1073741825))),
        refused("spec.storage", class, of_class("a"), of_class("b")),
        refused("spec.storage", class, of_class("a"), plain()),
        refused("spec.storage", class, plain(), of_class("a")),
        refused(at_modes, modes, with_modes(&["ReadWriteMany"]), plain()),
        refused(at_modes, modes, plain(), with_modes(&["ReadWriteMany"])),
        // The default is stored, so writing it out later changes nothing.
        accepted(plain(), with_modes(&["ReadWriteOnce"])),
        accepted(
            plain(),
            storage(json!({"size": "1Gi", "whenDeleted": "Delete"})),
        ),
    ]
}
