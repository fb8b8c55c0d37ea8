//! Rendered objects, each by its kind, namespace and name.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::bed::run;

/// Rendered objects.
pub type Objects = BTreeMap<String, Value>;

/// The objects of a YAML text; no two may be the same one.
pub fn objects(yaml: &str) -> Objects {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("it is YAML");
    let mut objects = Objects::new();
    for object in all.into_iter().filter(|it| !it.is_null()) {
        let id = id(&object);
        assert!(
            objects.insert(id.clone(), object).is_none(),
            "{id} is there twice"
        );
    }
    objects
}

/// As in `Role molecule-system/workspace-operator`.
fn id(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let kind = text("/kind").expect("a kind");
    let name = text("/metadata/name").expect("a name");
    let namespace = text("/metadata/namespace").map_or(String::new(), |it| format!("{it}/"));
    format!("{kind} {namespace}{name}")
}

/// What `kubectl kustomize` makes of a folder.
pub fn kustomize(folder: &str) -> Objects {
    objects(&kustomized(folder))
}

/// The same, as text.
pub fn kustomized(folder: &str) -> String {
    let kubectl = cluster::ensure().expect("the programs are there").kubectl;
    run(Command::new(kubectl).args(["kustomize", folder]))
}

/// The objects as one text that kubectl applies.
pub fn yaml<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    let documents = objects.into_iter().map(Value::to_string);
    documents.collect::<Vec<_>>().join("\n---\n")
}
