//! The pins as they are kept: keys of the settings, and an annotation for each that says who, when
//! and why.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::kubectl::Refused;
use crate::kubectl::edit::{Edit, PIN, Stored, fields, is_hand};
use crate::names::PINNED;
use crate::requests::within;
use crate::settings::{Digest, PIN_KEY_PREFIX};
use crate::watch::Scope;

/// Who pinned, when and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    pub(super) by: String,
    /// RFC 3339, UTC
    pub(super) at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) why: String,
}

/// The settings' ConfigMap as it was read.
pub(super) struct Store {
    client: Client,
    stored: Stored,
}

/// Pins as a repository would hold them.
///
/// # Errors
/// They cannot be written as YAML.
pub(super) fn lines(pins: &[(String, Digest)], note: &Note) -> anyhow::Result<String> {
    let note = serde_json::to_string(note)?;
    let of = |it: &(String, Digest)| (key(&it.0), json!(it.1.to_string()));
    let data: Map<_, _> = pins.iter().map(of).collect();
    let notes = pins.iter().map(|(it, _)| (annotation(it), json!(note)));
    let notes: Map<_, _> = notes.collect();
    let map = json!({"data": data, "metadata": {"annotations": notes}});
    Ok(serde_saphyr::to_string(&map)?)
}

/// What a repository would hold no more.
pub(super) fn without(runtimes: &[String]) -> String {
    let line = |it: &String| {
        format!(
            "  without {} and the annotation {}\n",
            key(it),
            annotation(it)
        )
    };
    runtimes.iter().map(line).collect()
}

/// The key of a pin.
fn key(runtime: &str) -> String {
    format!("{PIN_KEY_PREFIX}{runtime}")
}

/// The annotation about a pin.
fn annotation(runtime: &str) -> String {
    format!("{PINNED}{runtime}")
}

/// Who asks, in the API server's words.
pub(super) async fn who(client: &Client) -> String {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let (params, review) = (PostParams::default(), SelfSubjectReview::default());
    let review = within(reviews.create(&params, &review)).await.ok();
    let user = review.and_then(|it| it.status?.user_info?.username);
    user.unwrap_or_else(|| "unknown".to_owned())
}

impl Store {
    pub(super) async fn read(client: &Client, scope: &Scope) -> anyhow::Result<Self> {
        Ok(Self {
            client: client.clone(),
            stored: Stored::read(client, scope).await?,
        })
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let map = self.stored.map.as_ref();
        let annotations = map.and_then(|it| it.metadata.annotations.clone());
        annotations.unwrap_or_default()
    }

    /// Every runtime that a key pins, known or not.
    pub(super) fn runtimes(&self) -> Vec<String> {
        let data = self.stored.data();
        let pins = data.iter().filter(|(_, value)| !value.is_empty());
        pins.filter_map(|(key, _)| key.strip_prefix(PIN_KEY_PREFIX))
            .map(str::to_owned)
            .collect()
    }

    /// What is noted of a pin.
    pub(super) fn note(&self, runtime: &str) -> Note {
        let annotations = self.annotations();
        let note = annotations.get(&annotation(runtime));
        note.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// # Errors
    /// The settings come from a repository, which would undo what is written here. `change` says what
    /// to do there. Not where somebody insists.
    pub(super) fn refuse_if_kept(
        &self,
        insists: bool,
        change: &str,
        again: &str,
    ) -> Result<(), Refused> {
        let there = format!("make it in its repository:\n{}\n", change.trim_end());
        self.stored.may_be_edited(insists, &there, again)
    }

    /// Writes pins, beside those that we wrote before: what we would not name, we would remove.
    pub(super) async fn write(
        &self,
        pins: &[(String, Digest)],
        note: &Note,
        force: bool,
    ) -> anyhow::Result<()> {
        let ours: BTreeSet<_> = self
            .stored
            .managers()
            .filter(|it| is_ours(it))
            .flat_map(fields)
            .collect();
        let mut edit = Edit {
            data: self.stored.data(),
            annotations: self.annotations(),
        };
        edit.data.retain(|key, _| ours.contains(key));
        edit.annotations.retain(|key, _| ours.contains(key));
        let note = serde_json::to_string(note)?;
        for (runtime, digest) in pins {
            edit.data.insert(key(runtime), digest.to_string());
            edit.annotations.insert(annotation(runtime), note.clone());
        }
        self.stored.make(&self.client, PIN, &edit, force).await
    }

    /// Removes pins.
    pub(super) async fn remove(&self, runtimes: &[String], force: bool) -> anyhow::Result<()> {
        if !force && let Some((runtime, manager)) = self.of_tools(runtimes) {
            let why = format!(
                "the pin of {runtime} is kept by {manager}, which may write it again: remove it \
                 there, or say --force-conflicts"
            );
            return Err(Refused(why).into());
        }
        let none = |name: fn(&str) -> String| -> Map<String, Value> {
            runtimes.iter().map(|it| (name(it), Value::Null)).collect()
        };
        let map = self.stored.map.as_ref();
        let version = map.and_then(|it| it.metadata.resource_version.as_ref());
        let patch = json!({
            "metadata": {"annotations": none(annotation), "resourceVersion": version},
            "data": none(key),
        });
        let params = PatchParams {
            field_manager: Some(PIN.to_owned()),
            ..PatchParams::default()
        };
        let namespace = &self.stored.namespace;
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let done = within(maps.patch(&self.stored.name, &params, &Patch::Merge(patch))).await;
        done.map(drop).map_err(|error| self.stored.not_made(&error))
    }

    /// A pin that is not kept by a person's hand, and by what.
    fn of_tools(&self, runtimes: &[String]) -> Option<(String, String)> {
        self.stored.managers().find_map(|entry| {
            let manager = entry.manager.clone().filter(|it| !is_hand(it))?;
            let fields = fields(entry);
            let runtime = runtimes.iter().find(|it| fields.contains(&key(it)))?;
            Some((runtime.clone(), manager))
        })
    }
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(PIN)
}
