//! Rendered objects, each by its kind, namespace and name.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bed::{DEPLOY, run};

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

/// The same of a kustomization of one's own, whose text has the path of `deploy` in it.
pub fn own(name: &str, text: impl Fn(&str) -> String) -> Objects {
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&own).expect("a folder");
    // kustomize takes no absolute paths.
    let up = "../".repeat(own.components().count() - 1);
    let there = format!("{up}{}", DEPLOY.trim_start_matches('/'));
    std::fs::write(own.join("kustomization.yaml"), text(&there)).expect("it is written");
    kustomize(&own.display().to_string())
}

/// What `kubectl kustomize` makes of a folder, as text.
pub fn kustomized(folder: &str) -> String {
    let kubectl = cluster::ensure().expect("the programs are there").kubectl;
    run(Command::new(kubectl).args(["kustomize", folder]))
}

/// The objects as one text that kubectl applies.
pub fn yaml<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    let documents = objects.into_iter().map(Value::to_string);
    documents.collect::<Vec<_>>().join("\n---\n")
}

/// The args of a container, all of them and as they are but for the port: any that is free, for many
/// run on one machine here.
pub fn args(container: &Value) -> Vec<String> {
    let args = container["args"].as_array().expect("the args");
    let args = args.iter().map(|it| it.as_str().expect("a text"));
    let port = &container["ports"][0]["containerPort"];
    let (port, mut replaced) = (format!(":{port}"), 0);
    let args = args.map(|it| match it.strip_suffix(&port) {
        Some(rest) => {
            replaced += 1;
            format!("{rest}:0")
        }
        None => it.to_owned(),
    });
    let args = args.collect();
    assert_eq!(replaced, 1, "it listens where its probes ask");
    args
}

/// What a container finds in its environment, in this namespace.
pub fn environment(container: &Value, namespace: &str) -> Vec<(String, String)> {
    let all = container["env"].as_array().expect("the environment");
    let variable = |it: &Value| {
        let name = it["name"].as_str().expect("a name").to_owned();
        let value = match it["value"].as_str() {
            Some(value) => value,
            None if it["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace" => namespace,
            None => panic!("{it}"),
        };
        (name, value.to_owned())
    };
    all.iter().map(variable).collect()
}
