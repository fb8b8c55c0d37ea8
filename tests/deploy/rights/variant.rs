//! Operators that differ in their rights, and what each finds in its namespaces.

use serde_json::{Value, json};

use crate::bed::{SYSTEM, folder};
use crate::objects::{Objects, kustomize, yaml};

/// An operator of one namespace, with the shipped rights or one verb less.
pub struct Variant {
    /// The namespace of its Workspaces; that of its settings ends in `-system`.
    pub namespace: String,
    /// As in `pods patch`; of the one that has all, nothing.
    pub without: Option<String>,
    objects: Objects,
}

impl Variant {
    pub fn system(&self) -> String {
        format!("{}-system", self.namespace)
    }

    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:workspace-operator", self.system())
    }

    /// Where its first Workspace is in the API.
    pub fn alice(&self) -> String {
        let namespace = &self.namespace;
        format!("/apis/molecule.ai/v1alpha1/namespaces/{namespace}/workspaces/alice")
    }

    /// Where a ConfigMap of its operator's is.
    pub fn map(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.system())
    }

    /// Where its Lease is.
    pub fn lease(&self) -> String {
        let system = self.system();
        format!("/apis/coordination.k8s.io/v1/namespaces/{system}/leases/workspace-operator")
    }

    /// The verb that it lacks, as the audit log tells of it.
    pub fn refusal(&self) -> Option<String> {
        let words: Vec<_> = self.without.as_ref()?.split(' ').collect();
        Some(format!("{} {}", words[0], words[words.len() - 1]))
    }

    /// The registry of this variant that answers 401, and the one that works.
    pub fn prefix(&self, name: &str) -> String {
        format!("{name}.{}.example.com/a", self.namespace)
    }
}

/// What belongs to a namespace in the shipped overlay, but the Pods: they are played by processes.
fn shipped() -> Objects {
    let mut objects = kustomize(&folder("overlays/namespaced"));
    let ours = |id: &String| id.contains(" agents/") || id.contains(" molecule-system/");
    objects.retain(|id, _| ours(id) && !id.starts_with("Deployment "));
    objects
}

/// Every rule of every Role with every verb, as in `pods patch`, and where it is.
fn verbs(objects: &Objects) -> Vec<(String, String, usize, usize)> {
    let mut verbs = Vec::new();
    for (id, role) in objects.iter().filter(|(id, _)| id.starts_with("Role ")) {
        for (rule, it) in role["rules"].as_array().into_iter().flatten().enumerate() {
            let text = |value: &Value| value[0].as_str().unwrap_or_default().to_owned();
            let what = [text(&it["resources"]), text(&it["resourceNames"])].join(" ");
            for (at, verb) in it["verbs"].as_array().into_iter().flatten().enumerate() {
                let name = format!("{} {}", what.trim(), verb.as_str().expect("a verb"));
                verbs.push((name, id.clone(), rule, at));
            }
        }
    }
    verbs
}

/// The variant with all rights, and one for each verb without it.
pub fn variants() -> Vec<Variant> {
    let shipped = shipped();
    let mut variants = vec![Variant {
        namespace: "rights".into(),
        without: None,
        objects: shipped.clone(),
    }];
    for (number, (name, id, rule, at)) in verbs(&shipped).into_iter().enumerate() {
        let mut objects = shipped.clone();
        let role = objects.get_mut(&id).expect("the Role");
        let rules = role["rules"].as_array_mut().expect("rules");
        let verbs = rules[rule]["verbs"].as_array_mut().expect("verbs");
        verbs.remove(at);
        // A rule without a verb is refused.
        if verbs.is_empty() {
            rules.remove(rule);
        }
        variants.push(Variant {
            namespace: format!("without-{number}"),
            without: Some(name),
            objects,
        });
    }
    variants
}

/// What a namespace has before its operator starts: a Pod and a claim that are someone else's, and
/// three Workspaces.
pub fn world(variant: &Variant) -> String {
    let namespace = &variant.namespace;
    let own = yaml(variant.objects.values())
        .replace(SYSTEM, &variant.system())
        .replace(r#""agents""#, &format!(r#""{namespace}""#));
    let down = variant.prefix("down");
    let system = variant.system();
    let others = [
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "blocked"},
            "spec": {"containers": [{"name": "a", "image": "a.example.com/a"}]}}),
        json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": "workspace-claimed"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        workspace("alice", &json!({"storage": {"size": "1Gi"}})),
        workspace("blocked", &json!({})),
        workspace("claimed", &json!({"storage": {"size": "1Gi"}})),
    ];
    let others = others.map(|mut object| {
        object["metadata"]["namespace"] = json!(namespace);
        object.to_string()
    });
    let settings = json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "workspace-settings", "namespace": system},
        "data": {"MOLECULE_IMAGE_REGISTRY": down}});
    [own, settings.to_string()]
        .into_iter()
        .chain(others)
        .collect::<Vec<_>>()
        .join("\n---\n")
}

/// Both namespaces of a variant.
pub fn namespaces(variant: &Variant) -> String {
    yaml(
        &[&variant.namespace, &variant.system()].map(
            |name| json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
        ),
    )
}

fn workspace(name: &str, spec: &Value) -> Value {
    json!({"kind": "Workspace", "apiVersion": "molecule.ai/v1alpha1",
        "metadata": {"name": name}, "spec": spec})
}
