//! Who keeps an object in a repository, and would undo what is edited here.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What keeps objects in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// Flux, by a Kustomization.
    Kustomization,
    /// Flux, by a HelmRelease.
    HelmRelease,
    /// Argo CD, by an Application.
    Application,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Tool::Kustomization | Tool::HelmRelease => "Flux",
            Tool::Application => "Argo CD",
        })
    }
}

/// Who keeps an object in a repository, and by what that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keeper {
    pub(super) tool: Tool,
    /// As in "the label x=y".
    pub(super) sign: String,
}

impl Keeper {
    /// How it is told to leave this ConfigMap alone.
    pub(super) fn pause(&self, namespace: &str, name: &str) -> String {
        match self.tool {
            Tool::Kustomization => {
                format!("kubectl annotate configmap {name} -n {namespace} {RECONCILE}=disabled")
            }
            Tool::HelmRelease => "flux suspend helmrelease".to_owned(),
            Tool::Application => "turn the Application's automatic sync off".to_owned(),
        }
    }
}

const LABELS: [(&str, Tool); 5] = [
    ("kustomize.toolkit.fluxcd.io/name", Tool::Kustomization),
    ("kustomize.toolkit.fluxcd.io/namespace", Tool::Kustomization),
    ("helm.toolkit.fluxcd.io/name", Tool::HelmRelease),
    ("helm.toolkit.fluxcd.io/namespace", Tool::HelmRelease),
    ("argocd.argoproj.io/instance", Tool::Application),
];
const ANNOTATIONS: [(&str, Tool); 2] = [
    ("argocd.argoproj.io/tracking-id", Tool::Application),
    ("argocd.argoproj.io/installation-id", Tool::Application),
];
/// What their field managers begin with.
const MANAGERS: [(&str, Tool); 3] = [
    ("kustomize-controller", Tool::Kustomization),
    ("helm-controller", Tool::HelmRelease),
    ("argocd", Tool::Application),
];
const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// By these a Kustomization is told to leave an object alone; nobody else goes by them.
const LEFT_ALONE: [(&str, &str); 3] = [
    (RECONCILE, "disabled"),
    ("kustomize.toolkit.fluxcd.io/ssa", "Ignore"),
    ("kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"),
];

/// Whether a label or an annotation was put on an object in the cluster, by what keeps it or to pause
/// that, and is none of its repository's.
pub(super) fn is_mark(key: &str) -> bool {
    let is = |(mark, _): &(&str, Tool)| *mark == key;
    key == RECONCILE || LABELS.iter().any(is) || ANNOTATIONS.iter().any(is)
}

/// Who keeps this object in a repository, if anyone is seen to who does not leave it alone.
pub(super) fn keeper(object: &ObjectMeta) -> Option<Keeper> {
    let labels = object.labels.iter().flatten();
    let labels = labels.map(|(key, value)| (key, format!("the label {key}={value}")));
    let by_label = known(labels, &LABELS, |key, known| key == known);
    let annotations = object.annotations.iter().flatten();
    let annotations =
        annotations.map(|(key, value)| (key, format!("the annotation {key}={value}")));
    let by_annotation = known(annotations, &ANNOTATIONS, |key, known| key == known);
    let managers = object.managed_fields.iter().flatten();
    let managers = managers.filter_map(|it| it.manager.as_ref());
    let managers = managers.map(|it| (it, format!("the field manager {it}")));
    let by_manager = known(managers, &MANAGERS, |name, known| name.starts_with(known));
    let mut found = by_label.chain(by_annotation).chain(by_manager);
    let is_left_alone = is_left_alone(object);
    found.find(|it| it.tool != Tool::Kustomization || !is_left_alone)
}

fn known<'a>(
    marks: impl Iterator<Item = (&'a String, String)>,
    known: &[(&str, Tool)],
    is: impl Fn(&str, &str) -> bool,
) -> impl Iterator<Item = Keeper> {
    marks.filter_map(move |(name, sign)| {
        let (_, tool) = known.iter().find(|(it, _)| is(name, it))?;
        Some(Keeper { tool: *tool, sign })
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

    use super::Tool::{Application, HelmRelease, Kustomization};
    use super::*;

    fn tool(metadata: Value) -> Option<Tool> {
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
            (
                label("kustomize.toolkit.fluxcd.io/name"),
                Some(Kustomization),
            ),
            (
                label("kustomize.toolkit.fluxcd.io/namespace"),
                Some(Kustomization),
            ),
            (label("helm.toolkit.fluxcd.io/name"), Some(HelmRelease)),
            (label("helm.toolkit.fluxcd.io/namespace"), Some(HelmRelease)),
            (manager("kustomize-controller"), Some(Kustomization)),
            (manager("helm-controller"), Some(HelmRelease)),
            (label("argocd.argoproj.io/instance"), Some(Application)),
            (
                annotation("argocd.argoproj.io/tracking-id"),
                Some(Application),
            ),
            (manager("argocd-controller"), Some(Application)),
            (manager("argocd-application-controller"), Some(Application)),
        ] {
            assert_eq!(tool(metadata.clone()), expected, "{metadata}");
        }
        let told = [Kustomization, HelmRelease, Application].map(|it| it.to_string());
        assert_eq!(told, ["Flux", "Flux", "Argo CD"]);
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

    #[test]
    fn each_is_told_in_its_own_way_to_leave_an_object_alone() {
        for (tool, expected) in [
            (
                Kustomization,
                "kubectl annotate configmap settings -n ns \
                 kustomize.toolkit.fluxcd.io/reconcile=disabled",
            ),
            (HelmRelease, "flux suspend helmrelease"),
            (Application, "turn the Application's automatic sync off"),
        ] {
            let sign = String::new();
            assert_eq!(Keeper { tool, sign }.pause("ns", "settings"), expected);
        }
    }

    #[test]
    fn what_one_leaves_alone_another_may_keep() {
        let paused = |labels: Value, tracking: Value, manager: &str| {
            let mut annotations = json!({RECONCILE: "disabled"});
            if let (Value::Object(all), Value::Object(more)) = (&mut annotations, tracking) {
                all.extend(more);
            }
            tool(json!({
                "labels": labels, "annotations": annotations,
                "managedFields": [{"manager": "kustomize-controller"}, {"manager": manager}],
            }))
        };
        let flux = || json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
        let none = || json!({});
        assert_eq!(paused(flux(), none(), "kubectl-edit"), None);
        let argo = json!({"argocd.argoproj.io/tracking-id": "apps:/ConfigMap:x/y"});
        assert_eq!(paused(flux(), argo, "kubectl-edit"), Some(Application));
        assert_eq!(
            paused(flux(), none(), "argocd-controller"),
            Some(Application)
        );
        let both = json!({
            "argocd.argoproj.io/instance": "apps", "kustomize.toolkit.fluxcd.io/name": "apps",
        });
        assert_eq!(paused(both, none(), "kubectl-edit"), Some(Application));
        // A HelmRelease does not go by what a Kustomization is told.
        let helm = json!({"helm.toolkit.fluxcd.io/name": "apps"});
        assert_eq!(paused(helm, none(), "kubectl-edit"), Some(HelmRelease));
        assert_eq!(paused(none(), none(), "helm-controller"), Some(HelmRelease));
    }

    #[test]
    fn marks_are_told_from_what_a_repository_holds() {
        for mark in [
            "kustomize.toolkit.fluxcd.io/name",
            "kustomize.toolkit.fluxcd.io/namespace",
            "kustomize.toolkit.fluxcd.io/reconcile",
            "helm.toolkit.fluxcd.io/name",
            "argocd.argoproj.io/instance",
            "argocd.argoproj.io/tracking-id",
        ] {
            assert!(is_mark(mark), "{mark}");
        }
        for own in [
            "team",
            "argocd.argoproj.io/sync-wave",
            "kustomize.toolkit.fluxcd.io/ssa",
        ] {
            assert!(!is_mark(own), "{own}");
        }
    }
}
