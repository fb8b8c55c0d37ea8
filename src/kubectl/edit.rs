//! The one edit of the settings: a key of their ConfigMap, by server-side apply, under a field
//! manager of its own. Other keys, whoever wrote them, stay whose they are.

use std::collections::BTreeMap;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, Error};
use serde_json::json;

use super::Refused;
use super::access::explain;
use super::gitops::{Keeper, keeper};
use super::output;
use crate::requests::within;
use crate::watch::Scope;

/// Who edits the registry. Each kind of edit has a manager of its own: what one applies without a
/// key that it applied before, it removes.
pub(super) const SWITCH: &str = "kubectl-workspace-switch";
/// What the managers begin with that are people's hands, and give a key up.
const HANDS: [&str; 2] = ["kubectl", "helm"];

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

    /// Whether it may be edited for all that keeps it in a repository; says so where that is only
    /// since somebody insists.
    pub(super) fn passes(&self, insists: bool) -> bool {
        let Some(keeper) = self.keeper() else {
            return true;
        };
        if insists {
            output::say(&format!(
                "warning: {} keeps configmap {}/{} ({}), and undoes this edit unless it is told \
                 to leave it alone",
                keeper.tool, self.namespace, self.name, keeper.sign
            ));
        }
        insists
    }

    /// It with these keys set, as a repository would hold it.
    pub(super) fn with(&self, data: &BTreeMap<String, String>) -> ConfigMap {
        let mut all = self.data();
        all.extend(data.clone());
        let mut map = ConfigMap {
            data: Some(all),
            binary_data: self.map.as_ref().and_then(|it| it.binary_data.clone()),
            ..ConfigMap::default()
        };
        map.metadata.name = Some(self.name.clone());
        map.metadata.namespace = Some(self.namespace.clone());
        map
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
        let version = self.map.as_ref().map(|it| &it.metadata);
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "uid": version.and_then(|it| it.uid.as_ref()),
                "resourceVersion": version.and_then(|it| it.resource_version.as_ref()),
                "annotations": Some(&edit.annotations).filter(|it| !it.is_empty()),
            },
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
            Error::Api(status) if status.code < 500 && status.code != 429 => {
                Refused(explain(&format!("edit {place}"), error)).into()
            }
            error => anyhow!("{}", explain(&format!("edit {place}"), error)),
        }
    }
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
    HANDS.iter().any(|it| manager.starts_with(it))
}
