//! What is there: every Workspace and its Pod, the settings and their record; once, or for as long
//! as somebody watches.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{anyhow, bail};
use futures::future::ready;
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Error, Resource};
use serde::de::DeserializeOwned;

use super::access::explain;
use crate::fleet::{self, InForce, Source};
use crate::index::{Change, Index, Slot};
use crate::names;
use crate::preflight;
use crate::requests::list;
use crate::watch::{Scope, decode};
use crate::wire::{self, Wire};
use crate::{seen, watch};

/// What changes together is looked at together.
const GATHER: Duration = Duration::from_millis(200);

/// What is there.
pub(super) struct View {
    pub(super) index: Index,
    pub(super) settings: Source,
    /// The record of the settings in force.
    pub(super) fleet: Source,
    /// Whether the settings, and their record, may not be read.
    hidden: [bool; 2],
    /// The one namespace that was looked at; `None` = all.
    pub(super) namespace: Option<String>,
}

/// Looks once.
///
/// # Errors
/// When the Workspaces or their Pods cannot be read, or there is no such namespace. Settings that cannot
/// be read are a part of what is seen.
pub(super) async fn once(client: &Client, scope: &Scope) -> anyhow::Result<View> {
    let pods = format!("{}={}", names::LABEL_NAME, names::NAME);
    let (workspaces, pods, settings, fleet) = futures::try_join!(
        all::<wire::Workspace>(client, scope, "workspaces", None),
        all::<wire::Pod>(client, scope, "pods", Some(pods)),
        config_map(client, scope, &scope.settings_name).map(Ok),
        config_map(client, scope, &scope.fleet_name).map(Ok),
    )?;
    if workspaces.is_empty() {
        preflight::refuse_if_missing(client, scope).await?;
    }
    let mut index = Index::default();
    take_in_all(&mut index, workspaces);
    take_in_all(&mut index, pods);
    let ((settings, no_settings), (fleet, no_fleet)) = (settings, fleet);
    Ok(View {
        index,
        settings,
        fleet,
        hidden: [no_settings, no_fleet],
        namespace: scope.namespace.clone(),
    })
}

impl View {
    /// Which settings are in force, as far as that is seen from here.
    pub(super) fn in_force(&self) -> InForce {
        fleet::seen_from_outside(&self.settings, &self.fleet)
    }

    /// Whether the settings or their record will not be known, for they may not be read.
    pub(super) fn hides_some(&self) -> bool {
        self.hidden.contains(&true)
    }

    /// Whether the record will not be known, for it may not be read.
    pub(super) fn hides_fleet(&self) -> bool {
        self.hidden[1]
    }
}

async fn all<K>(
    client: &Client,
    scope: &Scope,
    what: &str,
    labels: Option<String>,
) -> anyhow::Result<Vec<K>>
where
    K: Wire + Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = scope.objects::<K>(client);
    let params = ListParams {
        label_selector: labels,
        ..ListParams::default()
    };
    let found = list(&api, params).await;
    found.map_err(|error| not_listed(what, scope, &error))
}

fn not_listed(what: &str, scope: &Scope, error: &Error) -> anyhow::Error {
    let place = match &scope.namespace {
        Some(namespace) => format!("in the namespace {namespace}"),
        None => "in all namespaces".to_owned(),
    };
    let to_do = match error {
        Error::Api(status) if status.is_forbidden() && scope.namespace.is_none() => {
            "; name one with -n, or ask for the right to view all"
        }
        Error::Api(status) if status.is_not_found() => "; is the operator installed here?",
        _ => "",
    };
    anyhow!("{}{to_do}", explain(&format!("list {what} {place}"), error))
}

fn take_in_all<K: Wire>(index: &mut Index, objects: Vec<K>)
where
    K::Seen: Slot,
{
    index.take_in::<K::Seen>(Change::Listing);
    for object in objects {
        let (key, place) = (object.key(), object.progress());
        index.take_in(Change::Listed(key, Box::new(object.seen()), place));
    }
    index.take_in::<K::Seen>(Change::Complete);
}

/// What is known of a ConfigMap, and whether it may not be read.
async fn config_map(client: &Client, scope: &Scope, name: &str) -> (Source, bool) {
    match preflight::config_map(client, scope, name).await {
        Ok(source) => (source, false),
        Err(error) => {
            let namespace = &scope.settings_namespace;
            let why = explain(&format!("get configmap {namespace}/{name}"), &error);
            (Source::Unreadable(why), is_hidden(&error))
        }
    }
}

/// Whether asking again gives no other answer.
fn is_hidden(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.is_forbidden())
}

/// What a watch tells.
enum Told {
    Workspace(Change<seen::Workspace>),
    Pod(Change<seen::Pod>),
    Settings(Source),
    Fleet(Source),
    Trouble(String),
}

/// What is there, kept up to date.
pub(super) struct Watching {
    pub(super) view: View,
    events: SelectAll<BoxStream<'static, Told>>,
    /// The trouble that was told last.
    told: Option<String>,
}

impl Watching {
    /// Goes on from a first look, which has shown that one may look.
    pub(super) fn from(view: View, client: &Client, scope: &Scope) -> Self {
        let pods = format!("{}={}", names::LABEL_NAME, names::NAME);
        let config = watcher::Config::default();
        let mut events = SelectAll::new();
        events.push(many::<wire::Workspace>(
            client,
            scope,
            config.clone(),
            Told::Workspace,
        ));
        events.push(many::<wire::Pod>(
            client,
            scope,
            config.labels(&pods),
            Told::Pod,
        ));
        let maps = [
            (
                view.hidden[0],
                &scope.settings_name,
                Told::Settings as fn(Source) -> Told,
            ),
            (view.hidden[1], &scope.fleet_name, Told::Fleet),
        ];
        for (hidden, name, told) in maps {
            // What may not be read may not be watched either.
            if !hidden {
                events.push(one(client, scope, name, told));
            }
        }
        Self {
            view,
            events,
            told: None,
        }
    }

    /// Waits until something changed. Returns what there is to say of trouble with the watches.
    ///
    /// # Errors
    /// When nothing more can come.
    pub(super) async fn changed(&mut self) -> anyhow::Result<Option<String>> {
        let Some(first) = self.events.next().await else {
            bail!("the watches ended");
        };
        // Before the pause: whoever does not wait for its end has seen it all the same.
        let mut trouble = self.take_in(first);
        tokio::time::sleep(GATHER).await;
        while let Some(Some(next)) = self.events.next().now_or_never() {
            trouble = self.take_in(next).or(trouble);
        }
        Ok(trouble)
    }

    fn take_in(&mut self, told: Told) -> Option<String> {
        match told {
            Told::Workspace(change) => {
                self.view.index.take_in(change);
            }
            Told::Pod(change) => {
                self.view.index.take_in(change);
            }
            Told::Settings(source) => self.view.settings = source,
            Told::Fleet(source) => self.view.fleet = source,
            Told::Trouble(trouble) if self.told.as_ref() != Some(&trouble) => {
                self.told = Some(trouble.clone());
                return Some(trouble);
            }
            Told::Trouble(_) => {}
        }
        None
    }
}

fn many<K>(
    client: &Client,
    scope: &Scope,
    config: watcher::Config,
    told: fn(Change<K::Seen>) -> Told,
) -> BoxStream<'static, Told>
where
    K: Wire + Resource<Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::Seen: Send,
{
    let stream = watcher(scope.objects::<K>(client), config).default_backoff();
    let stream = stream.map(move |next| match next {
        Ok(change) => Some(told(decode(change))),
        Err(error) => trouble(&error),
    });
    stream.filter_map(ready).boxed()
}

fn one(
    client: &Client,
    scope: &Scope,
    name: &str,
    told: fn(Source) -> Told,
) -> BoxStream<'static, Told> {
    let stream = watcher::watch_object(scope.maps(client), name).default_backoff();
    let stream = stream.map(move |next| match next {
        Ok(Some(map)) => Some(told(Source::Present(map.seen()))),
        Ok(None) => Some(told(Source::Absent)),
        Err(error) => trouble(&error),
    });
    stream.filter_map(ready).boxed()
}

fn trouble(error: &watcher::Error) -> Option<Told> {
    let text = match watch::code(error) {
        // The end of a watch's history is part of its normal life.
        Some(410) => return None,
        Some(code) => format!("a watch is refused ({code}); it is tried again"),
        None => "the API server does not answer; it is tried again".to_owned(),
    };
    Some(Told::Trouble(text))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn only_what_is_forbidden_is_not_asked_for_again() {
        for (code, reason, expected) in [
            (403, "Forbidden", true),
            (401, "Unauthorized", false),
            (429, "TooManyRequests", false),
            (503, "ServiceUnavailable", false),
        ] {
            let status = Status::failure("no", reason).with_code(code);
            assert_eq!(is_hidden(&Error::Api(status.boxed())), expected, "{code}");
        }
    }
}
