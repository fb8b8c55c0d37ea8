//! Which Workspaces are meant.

use anyhow::anyhow;
use kube::Client;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;

use super::Which;
use crate::kubectl::Refused;
use crate::kubectl::access::explain;
use crate::requests::within;
use crate::seen::Key;
use crate::watch::Scope;
use crate::workspace::Workspace;

/// Those that are named, or that the API server finds by their labels.
///
/// # Errors
/// When it does not list them; [`Refused`] where there are none.
pub(super) async fn keys(
    client: &Client,
    scope: &Scope,
    which: &Which,
) -> anyhow::Result<Vec<Key>> {
    if let (Some(namespace), false) = (&scope.namespace, which.names.is_empty()) {
        let key = |name: &String| Key::new(namespace, name);
        return Ok(which.names.iter().map(key).collect());
    }
    let api = scope.objects::<Workspace>(client);
    let params = ListParams {
        label_selector: which.selector.clone(),
        ..ListParams::default()
    };
    let found = within(api.list_metadata(&params)).await;
    let found = found.map_err(|error| anyhow!("{}", explain("list workspaces", &error)))?;
    let key = |it: &PartialObjectMeta<Workspace>| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        Key::new(&part(&it.metadata.namespace), &part(&it.metadata.name))
    };
    let keys: Vec<_> = found.items.iter().map(key).collect();
    match keys.is_empty() {
        true => Err(Refused(none(scope, which)).into()),
        false => Ok(keys),
    }
}

fn none(scope: &Scope, which: &Which) -> String {
    let place = match &scope.namespace {
        Some(namespace) => format!("in the namespace {namespace}"),
        None => "in any namespace".to_owned(),
    };
    match &which.selector {
        Some(labels) => format!("no Workspace matches -l {labels} {place}; nothing was changed"),
        None => format!("there is no Workspace {place}; nothing was changed"),
    }
}

/// There is no such Workspace.
pub(super) fn missing(key: &Key) -> anyhow::Error {
    let Key { namespace, name } = key;
    Refused(format!(
        "there is no Workspace {name} in the namespace {namespace}; nothing was changed"
    ))
    .into()
}
