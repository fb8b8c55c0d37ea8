//! What a watch of Pods and Workspaces sees, and when: of everything that is stored, every version.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;

use crate::dips::{Containers, Dip};

/// So many things are named that are not Ready.
const TROUBLES: usize = 6;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    Workspace,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Sight {
    pub at: Timestamp,
    pub kind: Kind,
    /// Namespace and name, as in `default/alice`.
    pub key: String,
    /// The last version, for the object is gone.
    pub gone: bool,
    pub object: Value,
    /// What the agent of a Pod is in it.
    pub life: Life,
    /// Of a Pod's agent.
    pub dip: Option<Dip>,
}

/// All that was seen so far.
#[derive(Default)]
pub struct Seen {
    now: BTreeMap<(Kind, String), Value>,
    sights: Vec<Sight>,
    containers: Containers,
}

/// The watch.
pub struct Eye {
    seen: Arc<Mutex<Seen>>,
    count: tokio::sync::watch::Sender<usize>,
}

impl Eye {
    /// Opens it; the definition of Workspaces is there already.
    pub fn open(client: &kube::Client) -> Arc<Self> {
        let eye = Arc::new(Self {
            seen: Arc::default(),
            count: tokio::sync::watch::Sender::new(0),
        });
        for (kind, group, version) in [
            (Kind::Pod, "", "v1"),
            (Kind::Workspace, "molecule.ai", "v1alpha1"),
        ] {
            let name = format!("{kind:?}");
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &name));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let events = watcher(api, watcher::Config::default()).default_backoff();
            tokio::spawn(Arc::clone(&eye).look(kind, events.boxed()));
        }
        eye
    }

    async fn look(
        self: Arc<Self>,
        kind: Kind,
        mut events: impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Unpin,
    ) {
        while let Some(event) = events.next().await {
            let (object, gone) = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                Ok(Event::Delete(object)) => (object, true),
                Ok(Event::Init | Event::InitDone) | Err(_) => continue,
            };
            let Ok(object) = serde_json::to_value(&object) else {
                continue;
            };
            let namespace = text(&object, "/metadata/namespace");
            let key = format!("{namespace}/{}", text(&object, "/metadata/name"));
            self.seen().see(kind, key, object, gone);
            self.count.send_modify(|it| *it += 1);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is stored is so, and says when it was seen.
    pub async fn until(
        &self,
        what: &str,
        within: Duration,
        is: impl Fn(&Seen) -> bool,
    ) -> Result<Timestamp> {
        let mut count = self.count.subscribe();
        let waiting = async {
            loop {
                count.borrow_and_update();
                {
                    let seen = self.seen();
                    if is(&seen) {
                        return seen.sights.last().map_or_else(Timestamp::now, |it| it.at);
                    }
                }
                if count.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(within, waiting).await {
            Ok(at) => Ok(at),
            Err(_) => {
                let instead = self.seen().troubles();
                bail!("{what}: that did not come about within {within:?}; {instead}")
            }
        }
    }

    /// How much has been seen, for a later `since`.
    pub fn mark(&self) -> usize {
        self.seen().sights.len()
    }

    /// What was seen after the mark.
    pub fn since(&self, mark: usize) -> Vec<Sight> {
        self.seen().sights[mark..].to_vec()
    }

    /// Looks at what is stored now.
    pub fn now<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen())
    }
}

impl Seen {
    fn see(&mut self, kind: Kind, key: String, object: Value, gone: bool) {
        let at = Timestamp::now();
        let place = (kind, key.clone());
        if gone {
            self.now.remove(&place);
        } else {
            self.now.insert(place, object.clone());
        }
        let (life, dip) = match kind {
            Kind::Workspace => (Life::default(), None),
            Kind::Pod => {
                let life = Life::of(&object);
                let dip = self.containers.look(&key, &life, gone);
                (life, dip)
            }
        };
        self.sights.push(Sight {
            at,
            kind,
            key,
            gone,
            object,
            life,
            dip,
        });
    }

    /// All that was seen, in its order.
    pub fn sights(&self) -> &[Sight] {
        &self.sights
    }

    /// The Pod of this key, null where there is none.
    pub fn pod(&self, key: &str) -> &Value {
        self.get(Kind::Pod, key)
    }

    /// The Workspace of this key, null where there is none.
    pub fn workspace(&self, key: &str) -> &Value {
        self.get(Kind::Workspace, key)
    }

    /// Every Pod of a namespace, by name.
    pub fn pods<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let own = move |((kind, key), pod): (&'a (Kind, String), &'a Value)| {
            let (space, name) = key.split_once('/')?;
            (*kind == Kind::Pod && space == namespace).then_some((name, pod))
        };
        self.now.iter().filter_map(own)
    }

    /// The key of every Pod.
    pub fn keys_of_pods(&self) -> impl Iterator<Item = &str> {
        let pods = self.now.keys().filter(|(kind, _)| *kind == Kind::Pod);
        pods.map(|(_, key)| key.as_str())
    }

    /// What the agent of this Pod is.
    pub fn life(&self, key: &str) -> Life {
        Life::of(self.pod(key))
    }

    /// The word that the Workspace's status column shows.
    pub fn state(&self, key: &str) -> &str {
        text(self.workspace(key), "/status/state")
    }

    /// Whether its Pod is Ready, and its Workspace says so.
    pub fn is_ready(&self, key: &str) -> bool {
        self.life(key).ready && self.state(key) == "Ready"
    }

    /// What the Workspace's Ready condition says.
    pub fn message(&self, key: &str) -> &str {
        condition(self.workspace(key), "Ready")["message"]
            .as_str()
            .unwrap_or_default()
    }

    /// Who is not Ready, and why, for whoever waited for something in vain.
    fn troubles(&self) -> String {
        let mut all: Vec<_> = self
            .now
            .iter()
            .filter_map(|((kind, key), object)| Some(format!("{key} {}", trouble(*kind, object)?)))
            .collect();
        let more = all.len().saturating_sub(TROUBLES);
        all.truncate(TROUBLES);
        match (all.is_empty(), more) {
            (true, _) => "all that there is is Ready".to_owned(),
            (false, 0) => format!("not Ready: {}", all.join("; ")),
            (false, _) => format!("not Ready: {}; and {more} more", all.join("; ")),
        }
    }

    fn get(&self, kind: Kind, key: &str) -> &Value {
        self.now
            .get(&(kind, key.to_owned()))
            .unwrap_or(&Value::Null)
    }
}

/// What an agent is: as long as all of it stays the same, nothing has happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Of its Pod.
    pub uid: String,
    /// Of its container; empty until there is one.
    pub container: String,
    pub restarts: u64,
    pub runs: bool,
    pub ready: bool,
    /// Its Pod is being deleted.
    pub going: bool,
    /// The image that it was told to run.
    pub image: String,
    /// Why it waits.
    pub waits: String,
}

impl Life {
    /// Of a Pod.
    pub fn of(pod: &Value) -> Self {
        let container = named(pod, "/spec/containers");
        let status = named(pod, "/status/containerStatuses");
        Self {
            uid: text(pod, "/metadata/uid").to_owned(),
            container: text(status, "/containerID").to_owned(),
            restarts: status["restartCount"].as_u64().unwrap_or_default(),
            runs: status.pointer("/state/running").is_some(),
            ready: condition(pod, "Ready")["status"] == "True",
            going: is_going(pod),
            image: text(container, "/image").to_owned(),
            waits: text(status, "/state/waiting/reason").to_owned(),
        }
    }

    /// Whether it is the same, but for what is said of its readiness.
    pub fn is_still(&self, other: &Self) -> bool {
        let ready = other.ready;
        *other
            == Self {
                ready,
                ..self.clone()
            }
    }
}

fn is_going(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// A text in an object; empty where there is none.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    let found = object.pointer(path).and_then(Value::as_str);
    found.unwrap_or_default()
}

/// Why something is not Ready.
fn trouble(kind: Kind, object: &Value) -> Option<String> {
    let life = Life::of(object);
    match kind {
        _ if life.going => Some(format!("({kind:?}: is being deleted)")),
        Kind::Pod if life.ready => None,
        Kind::Pod if life.waits.is_empty() => Some("(Pod)".to_owned()),
        Kind::Pod => Some(format!("(Pod: {})", life.waits)),
        Kind::Workspace => {
            let state = text(object, "/status/state");
            let message = condition(object, "Ready")["message"].as_str();
            let message = message.unwrap_or_default();
            (state != "Ready").then(|| format!("(Workspace: {state}, {message:?})"))
        }
    }
}

fn named<'a>(pod: &'a Value, path: &str) -> &'a Value {
    let all = pod.pointer(path).and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|it| it["name"] == "agent");
    found.unwrap_or(&Value::Null)
}

/// A condition of an object; null where there is none.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let all = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let found = all.into_iter().flatten().find(|it| it["type"] == type_);
    found.unwrap_or(&Value::Null)
}
