//! The watches. Each is a task that sends what it sees, decoded, into one channel, and goes on
//! trying for as long as that channel is open.

mod trouble;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

pub(crate) use self::trouble::code;
use self::trouble::{Common, Trouble};
use crate::index::Change;
use crate::names;
use crate::proof::{self, Probe};
use crate::seen::{self, Key};
use crate::wire::{self, Wire};

/// What a watch tells.
#[derive(Debug)]
pub enum Event {
    /// Of the Workspaces.
    Workspace(Change<seen::Workspace>),
    /// Of the Pods with our label.
    Pod(Change<seen::Pod>),
    /// Of the probes, which one watch brings with the Pods.
    Probe(Change<Probe>),
    /// Of the claims with our label.
    Claim(Change<seen::Claim>),
    /// Of the Services called `workspaces`.
    Service(Change<seen::Service>),
    /// Of the settings.
    Settings(One),
    /// Of the record of the settings in force.
    Fleet(One),
}

/// What a watch of one ConfigMap tells.
#[derive(Debug)]
pub enum One {
    /// There is one.
    Is {
        /// Its data.
        data: BTreeMap<String, String>,
        /// Its place in the watch.
        place: u64,
        /// Its UID.
        uid: String,
    },
    /// There is none.
    Absent,
    /// It cannot be read, for this reason.
    Unreadable {
        /// In stable words.
        why: String,
        /// Whether the API server forbids it; else it may only be slow or away.
        forbidden: bool,
    },
}

/// Where the watches look.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The one namespace whose Workspaces are looked after; `None` = all.
    pub namespace: Option<String>,
    /// The namespace of the settings.
    pub settings_namespace: String,
    /// The name of the settings ConfigMap.
    pub settings_name: String,
    /// The name of the ConfigMap that records what is in force.
    pub fleet_name: String,
}

impl Scope {
    /// The objects of a kind where Workspaces are looked after.
    #[must_use]
    pub fn objects<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }

    /// The ConfigMaps where the settings and their record are.
    #[must_use]
    pub fn maps(&self, client: &Client) -> Api<wire::ConfigMap> {
        Api::namespaced(client.clone(), &self.settings_namespace)
    }
}

/// A connection that was lost without a word is noticed after this long. Short for the settings,
/// on whose edits people wait.
const SETTINGS_RENEWAL: u32 = 60;
const RENEWAL: u32 = 290;
/// A watch that was forbidden, or cannot go on, is begun anew after this long.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// Starts every watch.
pub fn start(client: &Client, scope: &Scope, events: &Sender<Event>) {
    let common = Common::default();
    let ours = format!(
        "{} in ({}, {})",
        names::LABEL_NAME,
        names::NAME,
        proof::NAME
    );
    let service = format!("metadata.name={}", names::SERVICE);
    let config = watcher::Config::default().timeout(RENEWAL);
    let labelled = |label: &str| config.clone().labels(label);
    let named = config.clone().fields(&service);
    many::<wire::Workspace>(
        client,
        scope,
        config.clone(),
        events,
        Trouble::new("workspaces", &common),
        |it| vec![Event::Workspace(decode(it))],
    );
    many::<wire::Pod>(
        client,
        scope,
        labelled(&ours),
        events,
        Trouble::new("pods", &common),
        of_pods,
    );
    many::<wire::Claim>(
        client,
        scope,
        labelled(names::LABEL_WORKSPACE),
        events,
        Trouble::new("persistentvolumeclaims", &common),
        |it| vec![Event::Claim(decode(it))],
    );
    many::<wire::Service>(
        client,
        scope,
        named,
        events,
        Trouble::new("services", &common),
        |it| vec![Event::Service(decode(it))],
    );
    for (name, event) in [
        (&scope.settings_name, Event::Settings as fn(One) -> Event),
        (&scope.fleet_name, Event::Fleet),
    ] {
        let what = format!("the ConfigMap {}/{name}", scope.settings_namespace);
        one(
            client,
            scope,
            name,
            events,
            Trouble::new(what, &common),
            event,
        );
    }
}

fn many<K>(
    client: &Client,
    scope: &Scope,
    config: watcher::Config,
    events: &Sender<Event>,
    mut trouble: Trouble,
    told: fn(watcher::Event<K>) -> Vec<Event>,
) where
    K: Wire + Resource<Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::Seen: Send,
{
    let api = scope.objects::<K>(client);
    let events = events.clone();
    tokio::spawn(async move {
        let mut strategy = config.clone().streaming_lists();
        loop {
            let mut stream = watcher(api.clone(), strategy.clone())
                .default_backoff()
                .boxed();
            while let Some(next) = stream.next().await {
                let change = match next {
                    Ok(change) => {
                        trouble.over(&change);
                        change
                    }
                    Err(error) if refuses_streaming_lists(&error) && strategy != config => {
                        trouble.no_streaming_lists();
                        strategy = config.clone();
                        break;
                    }
                    Err(error) if cannot_resume(&error) => {
                        sleep(LIST_AGAIN).await;
                        break;
                    }
                    Err(error) => {
                        trouble.tell(&error);
                        continue;
                    }
                };
                for event in told(change) {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
}

/// What the watch of the Pods tells of them, and of the probes. Those of a command line are not ours.
fn of_pods(event: watcher::Event<wire::Pod>) -> Vec<Event> {
    let of_probe = |pod: wire::Pod, change: fn(Key, Box<Probe>, u64) -> Change<Probe>| {
        let (key, place) = (pod.key(), pod.progress());
        let probe = pod.is_probe().then(|| Box::new(pod.probe()));
        probe.map(|probe| Event::Probe(change(key, probe, place)))
    };
    match event {
        watcher::Event::Init => vec![Event::Pod(Change::Listing), Event::Probe(Change::Listing)],
        watcher::Event::InitDone => {
            vec![Event::Pod(Change::Complete), Event::Probe(Change::Complete)]
        }
        watcher::Event::InitApply(pod) if !pod.is_watched() => {
            of_probe(pod, Change::Listed).into_iter().collect()
        }
        watcher::Event::Apply(pod) if !pod.is_watched() => {
            of_probe(pod, Change::Applied).into_iter().collect()
        }
        watcher::Event::Delete(pod) if !pod.is_watched() => {
            vec![Event::Probe(Change::Gone(pod.key(), pod.progress()))]
        }
        event => vec![Event::Pod(decode(event))],
    }
}

/// What an event of the library's watch tells of a Workspace.
pub fn decode<K: Wire>(event: watcher::Event<K>) -> Change<K::Seen> {
    match event {
        watcher::Event::Init => Change::Listing,
        watcher::Event::InitDone => Change::Complete,
        watcher::Event::InitApply(object) => {
            let (key, place) = (key(&object), object.progress());
            Change::Listed(key, Box::new(object.seen()), place)
        }
        watcher::Event::Apply(object) => {
            let (key, place) = (key(&object), object.progress());
            Change::Applied(key, Box::new(object.seen()), place)
        }
        watcher::Event::Delete(object) => Change::Gone(key(&object), object.progress()),
    }
}

/// The key of the Workspace that an object belongs to.
fn key<K: Wire>(object: &K) -> Key {
    let key = object.key();
    if K::kind(&()) != "PersistentVolumeClaim" {
        return key;
    }
    // A claim of another name is no Workspace's; under its own name it meets none.
    let workspace = names::workspace_of_claim(&key.name).unwrap_or("/");
    Key::new(&key.namespace, workspace)
}

/// A server without the feature calls `sendInitialEvents` invalid.
fn refuses_streaming_lists(error: &watcher::Error) -> bool {
    let watcher::Error::WatchStartFailed(Error::Api(status)) = error else {
        return false;
    };
    matches!(status.code, 400 | 422)
}

fn one(
    client: &Client,
    scope: &Scope,
    name: &str,
    events: &Sender<Event>,
    mut trouble: Trouble,
    event: fn(One) -> Event,
) {
    let api = scope.maps(client);
    let config = watcher::Config::default()
        .timeout(SETTINGS_RENEWAL)
        .fields(&format!("metadata.name={name}"));
    let events = events.clone();
    tokio::spawn(async move {
        loop {
            let mut stream = watcher(api.clone(), config.clone())
                .default_backoff()
                .boxed();
            let mut listed = None;
            let mut complete = false;
            while let Some(next) = stream.next().await {
                let told = match next {
                    Ok(watcher::Event::Init) => {
                        listed = None;
                        continue;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        listed = Some(object);
                        continue;
                    }
                    Ok(change @ watcher::Event::InitDone) => {
                        trouble.over(&change);
                        complete = true;
                        listed.take().map_or(One::Absent, is)
                    }
                    Ok(watcher::Event::Apply(object)) => is(object),
                    Ok(watcher::Event::Delete(_)) => One::Absent,
                    // A watch that goes on after that tells only of the next edit, and not that
                    // the object can be read again. A list does.
                    Err(error) if complete && is_forbidden(&error) => break,
                    Err(error) if cannot_resume(&error) => break,
                    Err(error) => {
                        trouble.tell(&error);
                        unreadable(&error)
                    }
                };
                if events.send(event(told)).await.is_err() {
                    return;
                }
            }
            sleep(LIST_AGAIN).await;
        }
    });
}

/// The history that a watch was to go on from is gone. The library lists anew when an event says
/// so; where the answer itself does, it would ask in vain for ever.
fn cannot_resume(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(_)) && code(error) == Some(410)
}

fn is(object: wire::ConfigMap) -> One {
    One::Is {
        place: object.progress(),
        uid: object.meta().uid.clone().unwrap_or_default(),
        data: object.seen(),
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    matches!(code(error), Some(401 | 403))
}

fn unreadable(error: &watcher::Error) -> One {
    match code(error) {
        Some(401) => One::Unreadable {
            why: "the API server does not accept the operator's credentials".into(),
            forbidden: true,
        },
        Some(403) => One::Unreadable {
            why: "the API server answers 403; give the operator get, list and watch".into(),
            forbidden: true,
        },
        _ => One::Unreadable {
            why: "the API server does not answer".into(),
            forbidden: false,
        },
    }
}

/// Waits until an object that the watches do not show is gone, is another one, or got the
/// label by which they show it.
pub async fn until_otherwise<K>(api: Api<K>, name: &str, uid: &str)
where
    K: Wire + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let same = |object: Option<&K>| {
        object
            .is_some_and(|object| object.meta().uid.as_deref() == Some(uid) && !object.is_watched())
    };
    let mut stream = watcher::watch_object(api, name).default_backoff().boxed();
    while let Some(next) = stream.next().await {
        if let Ok(object) = next
            && !same(object.as_ref())
        {
            return;
        }
    }
}
