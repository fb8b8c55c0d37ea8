//! Who keeps an object in a repository, and would undo what is edited here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Who keeps an object in a repository, and by what that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keeper {
    /// As in "Flux".
    pub(super) tool: &'static str,
    /// As in "the label x=y".
    pub(super) sign: String,
}

impl Keeper {
    /// How it is told to leave this ConfigMap alone.
    pub(super) fn pause(&self, namespace: &str, name: &str) -> String {
        match self.tool {
            FLUX if !self.sign.contains("helm") => format!(
                "kubectl annotate configmap {name} -n {namespace} \
                 kustomize.toolkit.fluxcd.io/reconcile=disabled"
            ),
            FLUX => "flux suspend helmrelease".to_owned(),
            _ => "turn the Application's automatic sync off".to_owned(),
        }
    }
}

const FLUX: &str = "Flux";
const ARGO: &str = "Argo CD";

const LABELS: [(&str, &str); 3] = [
    ("kustomize.toolkit.fluxcd.io/name", FLUX),
    ("helm.toolkit.fluxcd.io/name", FLUX),
    ("argocd.argoproj.io/instance", ARGO),
];
const ANNOTATIONS: [(&str, &str); 2] = [
    ("argocd.argoproj.io/tracking-id", ARGO),
    ("argocd.argoproj.io/installation-id", ARGO),
];
/// What their field managers begin with.
const MANAGERS: [(&str, &str); 3] = [
    ("kustomize-controller", FLUX),
    ("helm-controller", FLUX),
    ("argocd", ARGO),
];
/// By these Flux is told to leave an object alone.
const LEFT_ALONE: [(&str, &str); 3] = [
    ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
    ("kustomize.toolkit.fluxcd.io/ssa", "Ignore"),
    ("kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"),
];

/// Who keeps this object in a repository, if anyone is seen to.
pub(super) fn keeper(object: &ObjectMeta) -> Option<Keeper> {
    let labels = object.labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key, format!("the label {key}={value}")));
    let by_label = first(labels, &LABELS, |key, known| key == known);
    let annotations = object.annotations.iter().flatten();
    let annotations =
        annotations.map(|(key, value)| (key, format!("the annotation {key}={value}")));
    let by_annotation = first(annotations, &ANNOTATIONS, |key, known| key == known);
    let managers = object.managed_fields.iter().flatten();
    let managers = managers.filter_map(|it| it.manager.as_ref());
    let managers = managers.map(|it| (it, format!("the field manager {it}")));
    let by_manager = first(managers, &MANAGERS, |name, known| name.starts_with(known));
    let found = by_label.or(by_annotation).or(by_manager)?;
    (found.tool != FLUX || !is_left_alone(object)).then_some(found)
}

fn first<'a>(
    marks: impl Iterator<Item = (&'a String, String)>,
    known: &[(&str, &'static str)],
    is: impl Fn(&str, &str) -> bool,
) -> Option<Keeper> {
    marks.into_iter().find_map(|(name, sign)| {
        let (_, tool) = known.iter().find(|(it, _)| is(name, it))?;
        Some(Keeper { tool, sign })
    })
}

fn is_left_alone(object: &ObjectMeta) -> bool {
    let annotations = object.annotations.iter().flatten();
    annotations.into_iter().any(|(key, value)| {
        let told = (key.as_str(), value.as_str());
        LEFT_ALONE.contains(&told)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tool(metadata: Value) -> Option<&'static str> {
        let metadata = serde_json::from_value(metadata).expect("it is metadata");
        keeper(&metadata).map(|it| it.tool)
    }

    #[test]
    fn flux_and_argo_are_known_by_what_they_leave_on_an_object() {
        let label = |key: &str| json!({"labels": {"app": "x", key: "apps"}});
        let annotation = |key: &str| json!({"annotations": {"note": "x", key: "apps"}});
        let manager =
            |name: &str| json!({"managedFields": [{"manager": "kubectl-edit"}, {"manager": name}]});
        for (metadata, expected) in [
            (json!({}), None),
            (label("app.kubernetes.io/instance"), None),
            (manager("kubectl-create"), None),
            (manager("helm"), None),
            (label("kustomize.toolkit.fluxcd.io/name"), Some(FLUX)),
            (label("helm.toolkit.fluxcd.io/name"), Some(FLUX)),
            (manager("kustomize-controller"), Some(FLUX)),
            (label("argocd.argoproj.io/instance"), Some(ARGO)),
            (annotation("argocd.argoproj.io/tracking-id"), Some(ARGO)),
            (manager("argocd-controller"), Some(ARGO)),
            (manager("argocd-application-controller"), Some(ARGO)),
        ] {
            assert_eq!(tool(metadata.clone()), expected, "{metadata}");
        }
    }

    #[test]
    fn what_flux_is_told_to_leave_alone_may_be_edited() {
        for (key, value, kept) in [
            ("reconcile", "disabled", false),
            ("reconcile", "enabled", true),
            ("ssa", "Ignore", false),
            ("ssa", "IfNotPresent", false),
            ("ssa", "Merge", true),
        ] {
            let metadata = json!({
                "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"},
                "annotations": {format!("kustomize.toolkit.fluxcd.io/{key}"): value},
            });
            assert_eq!(tool(metadata).is_some(), kept, "{key}={value}");
        }
    }
}
