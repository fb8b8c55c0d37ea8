//! The one edit of the settings: a key of their ConfigMap, by server-side apply, under a field
//! manager of its own. Other keys, whoever wrote them, stay whose they are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, Error};
use serde_json::{Map, Value, json};

use super::access::explain;
use super::gitops::{Keeper, is_mark, keeper};
use super::{PLUGIN, Refused, output};
use crate::names::LABEL_MANAGED_BY;
use crate::requests::within;
use crate::watch::Scope;

/// Who edits the registry. Each kind of edit has a manager of its own: what one applies without a
/// key that it applied before, it removes.
pub(super) const SWITCH: &str = "kubectl-workspace-switch";
/// The same, on the way back.
pub(super) const BACK: &str = "kubectl-workspace-switch-back";
/// Who edits pins.
pub(super) const PIN: &str = "kubectl-workspace-pin";
/// The managers that are people's hands, and give a key up.
const HANDS: [&str; 15] = [
    BACK,
    HELM,
    PIN,
    PLUGIN,
    SWITCH,
    "kubectl",
    "kubectl-annotate",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-edit",
    "kubectl-label",
    "kubectl-last-applied",
    "kubectl-patch",
    "kubectl-replace",
    "kubectl-set",
];
/// By what the guard lets settings be deleted.
const ALLOW_DELETION: &str = "molecule.ai/allow-deletion";
const HELM: &str = "helm";
/// What an object has that Helm makes once, and counts among no release's.
const HOOK: &str = "helm.sh/hook";
/// What Helm writes on what is of one of its releases.
const RELEASE: &str = "meta.helm.sh/";
/// What an apply without the server left, of no use to a repository.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// No object has this version, so that an apply which is held to it makes one, and changes none.
const NONE_YET: &str = "1";

/// All that one field manager has to say of the settings.
pub(super) struct Edit {
    pub(super) data: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The ConfigMap of the settings as it is stored, if there is one.
pub(super) struct Stored {
    pub(super) map: Option<ConfigMap>,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Stored {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(client: &Client, scope: &Scope) -> anyhow::Result<Self> {
        let (namespace, name) = (&scope.settings_namespace, &scope.settings_name);
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let map = within(maps.get_opt(name)).await;
        let map = map.map_err(|error| {
            anyhow!(
                "{}",
                explain(&format!("get configmap {namespace}/{name}"), &error)
            )
        })?;
        Ok(Self {
            map,
            namespace: namespace.clone(),
            name: name.clone(),
        })
    }

    /// What it holds.
    pub(super) fn data(&self) -> BTreeMap<String, String> {
        let data = self.map.as_ref().and_then(|it| it.data.clone());
        data.unwrap_or_default()
    }

    /// Who keeps it in a repository, if anyone is seen to.
    pub(super) fn keeper(&self) -> Option<Keeper> {
        keeper(&self.map.as_ref()?.metadata)
    }

    /// Says what undoes an edit, before anybody is asked. `there` is what to do in a repository that
    /// keeps it, and `again` the command to insist with.
    ///
    /// # Errors
    /// A repository keeps it, and nobody insists; or nothing in it can be edited at all.
    pub(super) fn may_be_edited(
        &self,
        insists: bool,
        there: &str,
        again: &str,
    ) -> Result<(), Refused> {
        let (namespace, name) = (&self.namespace, &self.name);
        let place = format!("configmap {namespace}/{name}");
        if self
            .map
            .as_ref()
            .is_some_and(|it| it.immutable == Some(true))
        {
            return Err(Refused(immutable(namespace, name)));
        }
        match self.keeper() {
            None if self.is_of_helm() => output::say(&format!(
                "warning: {place} is part of a Helm release: the next helm upgrade may undo this \
                 edit"
            )),
            None => {}
            Some(Keeper { tool, sign }) if insists => output::say(&format!(
                "warning: {tool} keeps {place} ({sign}), and undoes this edit unless it is told to \
                 leave it alone"
            )),
            Some(keeper) => {
                return Err(Refused(format!(
                    "{} keeps {place} ({}) and would undo an edit: {there}in a hurry, tell it to \
                     leave that alone ({}), and {again} with --force-conflicts",
                    keeper.tool,
                    keeper.sign,
                    keeper.pause(namespace, name)
                )));
            }
        }
        Ok(())
    }

    fn is_of_helm(&self) -> bool {
        let Some(ObjectMeta {
            labels,
            annotations,
            managed_fields,
            ..
        }) = self.map.as_ref().map(|it| &it.metadata)
        else {
            return false;
        };
        let mut labels = labels.iter().flatten();
        let labelled =
            labels.any(|(key, value)| (key.as_str(), value.as_str()) == (LABEL_MANAGED_BY, "Helm"));
        let mut managers = managed_fields.iter().flatten();
        let managed = managers.any(|it| it.manager.as_deref() == Some(HELM));
        let is_hook = annotations.iter().any(|it| it.contains_key(HOOK));
        (labelled || managed) && !is_hook
    }

    /// Who is seen to have written a key of its data.
    pub(super) fn writers(&self, key: &str) -> BTreeSet<&str> {
        let entries = self.managers().filter(|it| fields(it).contains(key));
        entries.filter_map(|it| it.manager.as_deref()).collect()
    }

    /// Who is seen to have written what.
    pub(super) fn managers(&self) -> impl Iterator<Item = &ManagedFieldsEntry> {
        let maps = self.map.iter();
        maps.flat_map(|it| &it.metadata.managed_fields).flatten()
    }

    /// It with these keys set, as a repository would hold it: without what the tools that keep it put
    /// on it in the cluster.
    pub(super) fn with(&self, data: &BTreeMap<String, String>) -> ConfigMap {
        let mut all = self.data();
        all.extend(data.clone());
        let stored = self.map.clone().unwrap_or_default();
        let own = |all: Option<BTreeMap<String, String>>| {
            let mut all = all.unwrap_or_default();
            all.retain(|key, value| is_of_repository(key, value));
            Some(all).filter(|it| !it.is_empty())
        };
        ConfigMap {
            data: Some(all),
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: own(stored.metadata.labels),
                annotations: own(stored.metadata.annotations),
                ..ObjectMeta::default()
            },
            ..stored
        }
    }

    /// Sets these keys, unless somebody has changed the ConfigMap since it was read.
    ///
    /// # Errors
    /// [`Refused`] when the API server does not take them; any other where it is not known what
    /// became of it.
    pub(super) async fn set(
        &self,
        client: &Client,
        manager: &str,
        data: &BTreeMap<String, String>,
        force: bool,
    ) -> anyhow::Result<()> {
        let edit = Edit {
            data: data.clone(),
            annotations: BTreeMap::new(),
        };
        self.make(client, manager, &edit, force).await
    }

    /// Makes an edit, unless somebody has changed the ConfigMap since it was read.
    ///
    /// # Errors
    /// As for [`Stored::set`].
    pub(super) async fn make(
        &self,
        client: &Client,
        manager: &str,
        edit: &Edit,
        force: bool,
    ) -> anyhow::Result<()> {
        let first = self.apply(client, manager, edit, force).await;
        let done = match &first {
            Err(Error::Api(status)) if status.code == 409 && gives_up(status) => {
                self.apply(client, manager, edit, true).await
            }
            _ => first,
        };
        done.map_err(|error| self.not_made(&error))
    }

    async fn apply(
        &self,
        client: &Client,
        manager: &str,
        edit: &Edit,
        force: bool,
    ) -> Result<(), Error> {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &self.namespace);
        let stored = self.map.as_ref().map(|it| &it.metadata);
        let mut metadata = match stored {
            Some(stored) => json!({"uid": stored.uid, "resourceVersion": stored.resource_version}),
            None => json!({"resourceVersion": NONE_YET}),
        };
        metadata["name"] = json!(self.name);
        if !edit.annotations.is_empty() {
            metadata["annotations"] = json!(edit.annotations);
        }
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": edit.data,
        });
        let params = PatchParams {
            force,
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        within(maps.patch(&self.name, &params, &Patch::Apply(map))).await?;
        Ok(())
    }

    /// Why an edit was not made, and what to do.
    pub(super) fn not_made(&self, error: &Error) -> anyhow::Error {
        let place = format!("configmap {}/{}", self.namespace, self.name);
        match error {
            Error::Api(status) if status.code == 409 => {
                let owners = owners(status);
                Refused(if owners.is_empty() {
                    format!("{place} was edited meanwhile: look again, and run this again")
                } else {
                    format!(
                        "{place} is kept by {}, which may undo this edit: make it there, or take \
                         the key over with --force-conflicts",
                        owners.join(" and ")
                    )
                })
                .into()
            }
            Error::Api(status) if status.code == 404 && self.map.is_none() => anyhow!(
                "there is no namespace {}, so no operator has its settings there: name theirs with \
                 --settings-namespace",
                self.namespace
            ),
            Error::Api(status) if status.code < 500 && status.code != 429 => {
                Refused(explain(&format!("edit {place}"), error)).into()
            }
            error => anyhow!("{}", explain(&format!("edit {place}"), error)),
        }
    }
}

/// The way out where nothing can be edited.
fn immutable(namespace: &str, name: &str) -> String {
    format!(
        "configmap {namespace}/{name} is immutable, and takes no edit: save it (kubectl workspace \
         switch PREFIX --dry-run prints it with a new registry), announce that it is deleted \
         (kubectl annotate configmap {name} -n {namespace} {ALLOW_DELETION}=true), delete it, and \
         create it anew"
    )
}

/// Whether a label or an annotation is one that a repository holds.
fn is_of_repository(key: &str, value: &str) -> bool {
    let is_of_helm = key.starts_with(RELEASE) || (key, value) == (LABEL_MANAGED_BY, "Helm");
    !(is_mark(key) || is_of_helm || [ALLOW_DELETION, LAST_APPLIED].contains(&key))
}

/// The keys of the data and of the annotations that somebody has written.
pub(super) fn fields(entry: &ManagedFieldsEntry) -> BTreeSet<String> {
    let Some(all) = entry.fields_v1.as_ref().map(|it| &it.0) else {
        return BTreeSet::new();
    };
    let of = |path: &str| all.pointer(path).and_then(Value::as_object);
    let places = [of("/f:data"), of("/f:metadata/f:annotations")];
    let keys = places.into_iter().flatten().flat_map(Map::keys);
    keys.filter_map(|key| key.strip_prefix("f:").map(str::to_owned))
        .collect()
}

/// The field managers with which an edit is in conflict.
fn owners(status: &Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|it| &it.causes);
    let conflicts = causes.filter(|it| it.reason == "FieldManagerConflict");
    let names = conflicts.filter_map(|it| it.message.split('"').nth(1));
    names.map(str::to_owned).collect()
}

/// Whether all of them are people's hands.
fn gives_up(status: &Status) -> bool {
    let owners = owners(status);
    !owners.is_empty() && owners.iter().all(|it| is_hand(it))
}

/// Whether this field manager is a person's hand.
pub(super) fn is_hand(manager: &str) -> bool {
    HANDS.contains(&manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_a_repository_holds() {
        let map = json!({
            "metadata": {
                "name": "workspace-settings", "namespace": "agents", "uid": "u",
                "labels": {
                    "team": "a",
                    "app.kubernetes.io/managed-by": "Helm",
                    "argocd.argoproj.io/instance": "apps",
                    "kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                },
                "annotations": {
                    "note": "b",
                    "molecule.ai/pin-codex": "{}",
                    "argocd.argoproj.io/sync-wave": "1",
                    "argocd.argoproj.io/tracking-id": "apps:/ConfigMap:agents/workspace-settings",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                    "meta.helm.sh/release-name": "agents",
                    "molecule.ai/allow-deletion": "true",
                },
            },
            "data": {"PLATFORM_URL": "http://p.example.com"},
        });
        let stored = Stored {
            map: serde_json::from_value(map).expect("it is a ConfigMap"),
            namespace: "agents".into(),
            name: "workspace-settings".into(),
        };
        let key = |key: &str| key.to_owned();
        let printed = stored.with(&BTreeMap::from([(key("NEW"), key("x"))]));
        let printed = serde_json::to_value(printed).expect("it is JSON");
        let metadata = json!({
            "name": "workspace-settings", "namespace": "agents", "labels": {"team": "a"},
            "annotations": {
                "note": "b", "molecule.ai/pin-codex": "{}", "argocd.argoproj.io/sync-wave": "1",
            },
        });
        assert_eq!(printed["metadata"], metadata);
        let data = json!({"PLATFORM_URL": "http://p.example.com", "NEW": "x"});
        assert_eq!(printed["data"], data);
    }
}
