//! From the types to the CustomResourceDefinition: what the derives cannot say.
//!
//! The derives give the fields, their types and descriptions. This file prunes what is not in
//! the allow-list, says which lists and maps merge item by item, bounds what the rules walk, and
//! puts in the rules. Paths are those of [`super::rules::Rule::at`].

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde_json::json;

use super::rules::{Of, RULES, Rule};
use super::{Policy, Reason, WhenDeleted, Workspace};

/// Fields of core/v1 that mean nothing here: their counterpart in the Pod cannot be written.
const PRUNED: [(&str, &str); 2] = [
    // Names entries of the Pod's resourceClaims.
    ("spec.resources", "claims"),
    // Names a volume that an init container has written to.
    ("spec.env[].valueFrom", "fileKeyRef"),
];

/// Lists that merge item by item, with the keys that tell their items apart. Where core/v1 has
/// such a list this is its rule; every other list is atomic, there and here.
const KEYED_LISTS: [(&str, &[&str]); 4] = [
    ("spec.env", &["name"]),
    ("spec.imagePullSecrets", &["name"]),
    (
        "spec.topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("status.conditions", &["type"]),
];

/// Maps and objects that one writer owns as a whole, as in core/v1.
const ATOMIC_MAPS: [&str; 8] = [
    "spec.env[].valueFrom.configMapKeyRef",
    "spec.env[].valueFrom.fieldRef",
    "spec.env[].valueFrom.resourceFieldRef",
    "spec.env[].valueFrom.secretKeyRef",
    "spec.imagePullSecrets[]",
    "spec.nodeSelector",
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
    "spec.topologySpreadConstraints[].labelSelector",
];

/// The most that a list, a map or a string may hold: far above need, and low enough that the
/// server can tell beforehand what the rules cost. (The tight ones are the resources': servers
/// before Kubernetes 1.34 take a quantity for a string of any length, whatever bound it has.)
const BOUNDS: [(&str, i64); 31] = [
    ("spec.runtime", 253),
    ("spec.tag", 253),
    ("spec.digest", 253),
    ("spec.id", 512),
    ("spec.env", 256),
    ("spec.env[].name", 1024),
    ("spec.env[].valueFrom.configMapKeyRef.name", 512),
    ("spec.env[].valueFrom.configMapKeyRef.key", 512),
    ("spec.env[].valueFrom.secretKeyRef.name", 512),
    ("spec.env[].valueFrom.secretKeyRef.key", 512),
    ("spec.envFrom", 64),
    ("spec.envFrom[].configMapRef.name", 512),
    ("spec.envFrom[].secretRef.name", 512),
    ("spec.resources.limits", 12),
    ("spec.resources.requests", 12),
    ("spec.podLabels", 64),
    ("spec.podLabels{}", 253),
    ("spec.podAnnotations", 64),
    ("spec.imagePullSecrets", 32),
    ("spec.imagePullSecrets[].name", 512),
    ("spec.serviceAccountName", 512),
    ("spec.nodeSelector", 64),
    ("spec.nodeSelector{}", 253),
    ("spec.tolerations", 64),
    ("spec.topologySpreadConstraints", 32),
    ("spec.priorityClassName", 512),
    ("spec.runtimeClassName", 512),
    ("spec.config", 512),
    ("spec.storage.storageClassName", 512),
    ("spec.rollout.window.start", 64),
    ("spec.rollout.window.end", 64),
];

/// What `kubectl get` prints: name, type, path, description, and the priority, which is 1 for what
/// only `-o wide` shows.
const COLUMNS: [(&str, &str, &str, &str, i32); 6] = [
    (
        "Runtime",
        "string",
        ".spec.runtime",
        "The agent runtime.",
        0,
    ),
    (
        "Status",
        "string",
        ".status.state",
        "One word: Ready, or what it is busy with, or what is wrong.",
        0,
    ),
    (
        "Image",
        "string",
        ".status.image",
        "The reference that the Pod was told to run.",
        0,
    ),
    (
        "Age",
        "date",
        ".metadata.creationTimestamp",
        "How long ago the Workspace was created.",
        0,
    ),
    (
        "Address",
        "string",
        ".status.address",
        "The DNS name that stays the same across Pods.",
        1,
    ),
    (
        "Message",
        "string",
        // Where an agent serves on and what was asked for cannot be had, Ready does not say why.
        ".status.conditions[-1:].message",
        "The sentence behind the status.",
        1,
    ),
];

/// With the definition would go every Workspace: what GitOps tools no longer find in their repository
/// they would delete, but not this.
const KEPT: [(&str, &str); 2] = [
    (
        "argocd.argoproj.io/sync-options",
        "Prune=false,Delete=false",
    ),
    ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
];

/// What the YAML file begins with.
const HEADER: &str =
    "# Printed by `cargo run -- crd > crds/workspace.yaml`; a test fails when it differs.\n";

impl Workspace {
    /// The CustomResourceDefinition as it is installed. (It stands before the method of the same
    /// name that kube derives from the types alone.)
    pub fn crd() -> CustomResourceDefinition {
        let mut crd = <Self as CustomResourceExt>::crd();
        let kept = KEPT.map(|(key, value)| (key.to_owned(), value.to_owned()));
        crd.metadata.annotations = Some(kept.into());
        for version in &mut crd.spec.versions {
            version.additional_printer_columns = Some(COLUMNS.map(column).to_vec());
            if let Some(root) = version
                .schema
                .as_mut()
                .and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                finish(root);
            }
        }
        crd
    }
}

/// The CustomResourceDefinition as YAML, for `kubectl apply -f`.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!(
        "{HEADER}{}",
        serde_saphyr::to_string(&Workspace::crd())?
    ))
}

fn column(
    (name, type_, json_path, description, priority): (&str, &str, &str, &str, i32),
) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: json_path.to_owned(),
        description: Some(description.to_owned()),
        priority: (priority > 0).then_some(priority),
        format: None,
    }
}

fn finish(root: &mut JSONSchemaProps) {
    for (path, field) in PRUNED {
        let pruned = at(root, path)
            .properties
            .as_mut()
            .and_then(|fields| fields.remove(field));
        assert!(
            pruned.is_some(),
            "the schema has no {path}.{field} to prune"
        );
    }
    for (path, keys) in KEYED_LISTS {
        let list = at(root, path);
        list.x_kubernetes_list_type = Some("map".to_owned());
        list.x_kubernetes_list_map_keys = Some(keys.iter().map(|&key| key.to_owned()).collect());
    }
    for path in ATOMIC_MAPS {
        at(root, path).x_kubernetes_map_type = Some("atomic".to_owned());
    }
    for (path, most) in BOUNDS {
        bound(at(root, path), most);
    }
    access_modes(at(root, "spec.storage.accessModes"));
    // To kstatus this is "in progress": so is a Workspace that no one has looked at yet.
    at(root, "status").default = Some(JSON(json!({ "observedGeneration": -1 })));
    // The derive's uint32 is no format that the server knows.
    let seconds = at(root, "spec.provisionTimeoutSeconds");
    (seconds.format, seconds.minimum) = (Some("int32".to_owned()), None);

    each(root, &mut |schema| schema.nullable = None);
    describe(root);
    for rule in RULES {
        at(root, rule.at)
            .x_kubernetes_validations
            .get_or_insert_default()
            .push(validation(rule));
    }
}

/// The place in the schema that a path names.
fn at<'a>(root: &'a mut JSONSchemaProps, path: &str) -> &'a mut JSONSchemaProps {
    let steps = path.split('.').filter(|step| !step.is_empty());
    steps.fold(root, |schema, step| {
        let name = step.trim_end_matches(['[', ']', '{', '}']);
        let field = schema
            .properties
            .as_mut()
            .and_then(|fields| fields.get_mut(name));
        let inner = match &step[name.len()..] {
            "[]" => field.and_then(items),
            "{}" => field.and_then(values),
            _ => field,
        };
        inner
            .unwrap_or_else(|| panic!("the tables of the schema name {path}, which the types lack"))
    })
}

fn items(list: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    match list.items.as_mut()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn values(map: &mut JSONSchemaProps) -> Option<&mut JSONSchemaProps> {
    match map.additional_properties.as_mut()? {
        JSONSchemaPropsOrBool::Schema(values) => Some(values),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

/// Calls `change` with the schema and everything below it.
fn each(schema: &mut JSONSchemaProps, change: &mut dyn FnMut(&mut JSONSchemaProps)) {
    change(schema);
    below(schema, change);
}

/// Calls `change` with everything below the schema.
fn below(schema: &mut JSONSchemaProps, change: &mut dyn FnMut(&mut JSONSchemaProps)) {
    for field in schema
        .properties
        .iter_mut()
        .flat_map(|fields| fields.values_mut())
    {
        each(field, change);
    }
    if let Some(items) = items(schema) {
        each(items, change);
    }
    if let Some(values) = values(schema) {
        each(values, change);
    }
}

fn bound(schema: &mut JSONSchemaProps, most: i64) {
    let limit = match schema.type_.as_deref() {
        Some("array") => &mut schema.max_items,
        Some("object") => &mut schema.max_properties,
        _ => &mut schema.max_length,
    };
    *limit = Some(most);
}

/// A default that is stored makes "fixed once set" mean the same whether it was written or not.
fn access_modes(list: &mut JSONSchemaProps) {
    const MODES: [&str; 4] = [
        "ReadWriteOnce",
        "ReadWriteOncePod",
        "ReadWriteMany",
        "ReadOnlyMany",
    ];
    list.default = Some(JSON(json!([MODES[0]])));
    (list.min_items, list.max_items) = (Some(1), Some(4));
    if let Some(mode) = items(list) {
        mode.enum_ = Some(MODES.iter().map(|&mode| JSON(json!(mode))).collect());
    }
}

fn validation(rule: &Rule) -> ValidationRule {
    let (cel, says) = (rule.cel.to_owned(), rule.says.to_owned());
    match rule.of {
        Of::Value => ValidationRule {
            rule: cel,
            message: Some(says),
            ..ValidationRule::default()
        },
        Of::Keys => ValidationRule {
            rule: format!("self.all(key, {cel})"),
            message_expression: Some(format!(r#"self.filter(key, !({cel}))[0] + " {says}""#)),
            message: Some(format!("a key {says}")),
            ..ValidationRule::default()
        },
    }
}

/// Descriptions as `kubectl explain` shows them well: ours in full, one line a paragraph, and of
/// core/v1's own, which would be nine tenths of the file, the first sentence.
fn describe(root: &mut JSONSchemaProps) {
    each(root, &mut |schema| {
        if let Some(text) = &mut schema.description {
            *text = text
                .split("\n\n")
                .map(|lines| lines.replace('\n', " "))
                .collect::<Vec<_>>()
                .join("\n\n");
        }
    });
    for (name, field) in at(root, "spec").properties.iter_mut().flatten() {
        if !["storage", "rollout"].contains(&name.as_str()) {
            below(field, &mut shorten);
        }
    }
    below(at(root, "status.conditions"), &mut shorten);
    list_variants::<Reason>(at(root, "status.state"));
    list_variants::<WhenDeleted>(at(root, "spec.storage.whenDeleted"));
    list_variants::<Policy>(at(root, "spec.rollout.policy"));
}

fn shorten(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        text.truncate(first_sentence(text).len());
    }
}

fn first_sentence(text: &str) -> &str {
    let ends = text.match_indices(". ").map(|(dot, _)| &text[..=dot]);
    let sentence = ends
        .into_iter()
        .find(|start| !start.ends_with("e.g.") && !start.ends_with("i.e."));
    sentence.unwrap_or(text).lines().next().unwrap_or_default()
}

/// Appends what each value of an enum means.
fn list_variants<T: JsonSchema>(schema: &mut JSONSchemaProps) {
    let text = schema.description.get_or_insert_default();
    for (name, meaning) in variants::<T>() {
        text.push_str(&format!("\n- {name}: {meaning}"));
    }
}

/// Every reason and what it means, as the CRD and the README list them.
pub fn reasons() -> Vec<(String, String)> {
    variants::<Reason>()
}

/// The values of an enum with the doc comment of each.
fn variants<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = schemars::schema_for!(T);
    let values = schema.get("oneOf").and_then(|values| values.as_array());
    let text = |value: &serde_json::Value, key: &str| {
        value
            .get(key)
            .and_then(|text| text.as_str())
            .unwrap_or_default()
            .replace('\n', " ")
    };
    values
        .into_iter()
        .flatten()
        .map(|value| (text(value, "const"), text(value, "description")))
        .collect()
}
