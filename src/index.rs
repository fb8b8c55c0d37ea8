//! All that the watches have shown, joined by Workspace, so that one look-up gives all that a
//! decision rests on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::resolver;
use crate::seen::{Claim, Key, Memory, Pod, Seen, Service, Turn, Workspace};
use crate::workspace::{Reason, STALLED};

/// One change of one kind of object.
#[derive(Debug)]
pub enum Change<T> {
    /// A list begins: what it does not bring is gone.
    Listing,
    /// The list brings an object.
    Listed(Key, Box<T>, u64),
    /// The list is complete.
    Complete,
    /// An object is new or changed; the number is its place in the watch.
    Applied(Key, Box<T>, u64),
    /// An object is gone.
    Gone(Key, u64),
}

/// A kind of object that belongs to one Workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Workspaces.
    Workspace,
    /// Pods.
    Pod,
    /// Claims.
    Claim,
}

/// By what Workspaces are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    /// What their status shows; none: there is no status yet.
    pub state: Option<Reason>,
    /// Whether they have the condition `Stalled`.
    pub stalled: bool,
    /// The host of the registry of their image; none: there is no Pod.
    pub registry: Option<String>,
}

/// How many Workspaces there are of each.
pub type Totals = BTreeMap<Total, usize>;

/// A write of ours that the watches have not shown yet. Until they do, what is seen is older than
/// what was done, and the next step would be planned twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The watch of this kind has yet to come to this place.
    Place(Kind, u64),
    /// The Pod of this UID has yet to be seen going.
    PodGoing(String),
}

impl Awaited {
    /// What the watch of which is to show it.
    fn kind(&self) -> Kind {
        match self {
            Self::Place(kind, _) => *kind,
            Self::PodGoing(_) => Kind::Pod,
        }
    }
}

/// After this long the watch is taken to have missed the write; planning it twice is harmless.
const AWAIT_AT_MOST: Duration = Duration::from_secs(40);

/// Below that, room for more costs next to nothing.
const SMALL: usize = 64;

#[derive(Debug, Default)]
struct Entry {
    workspace: Option<Box<Workspace>>,
    pod: Option<Box<Pod>>,
    claim: Option<Box<Claim>>,
    /// What a create ran into and the watches do not show, for it has no label of ours.
    unwatched_pod: Option<Box<Pod>>,
    unwatched_claim: Option<Box<Claim>>,
    memory: Memory,
    /// When this process created or healed the Pod, until the Workspace is told Ready.
    rollout: Option<Instant>,
    awaited: Option<(Awaited, Instant)>,
    /// Whether its Pod was deleted by this process, and no other created yet.
    stopped: bool,
    /// Whether somebody waits for it, while it waits for its namespace's Service.
    in_a_hurry: bool,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.workspace.is_none() && self.pod.is_none() && self.claim.is_none()
    }
}

/// An object that has a place in the index.
pub trait Slot: Sized {
    /// Its kind.
    const KIND: Kind;
    /// Puts it there, or takes it away.
    #[doc(hidden)]
    fn set(index: &mut Index, key: &Key, object: Option<Box<Self>>);
    /// What there is.
    #[doc(hidden)]
    fn get<'a>(index: &'a Index, key: &Key) -> Option<&'a Self>;
    /// Whether somebody waits for what follows from this change.
    #[doc(hidden)]
    fn is_urgent(was: Option<&Self>, is: Option<&Self>) -> bool;
}

/// The Workspaces that a change could matter to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Which.
    pub keys: Vec<Key>,
    /// Whether somebody waits for what follows from it: what a list brings is not news.
    pub urgent: bool,
}

impl From<Vec<Key>> for Woken {
    fn from(keys: Vec<Key>) -> Self {
        let urgent = false;
        Self { keys, urgent }
    }
}

/// All that the watches have shown.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<Key, Box<Entry>>,
    services: HashMap<Arc<str>, Service>,
    /// How far each watch has come.
    places: HashMap<Kind, u64>,
    listing: HashMap<Kind, HashSet<Key>>,
    listed_services: Option<HashSet<Arc<str>>>,
}

impl Index {
    /// Takes in a change.
    pub fn take_in<T: Slot>(&mut self, change: Change<T>) -> Woken {
        match change {
            Change::Listing => {
                self.listing.insert(T::KIND, HashSet::new());
                Woken::default()
            }
            Change::Listed(key, object, place) => {
                self.advance(T::KIND, place);
                self.listing.entry(T::KIND).or_default().insert(key.clone());
                T::set(self, &key, Some(object));
                vec![key].into()
            }
            Change::Complete => self.complete::<T>().into(),
            Change::Applied(key, object, place) => self.changed(key, Some(object), place),
            Change::Gone(key, place) => self.changed::<T>(key, None, place),
        }
    }

    fn changed<T: Slot>(&mut self, key: Key, object: Option<Box<T>>, place: u64) -> Woken {
        self.advance(T::KIND, place);
        let urgent = T::is_urgent(T::get(self, &key), object.as_deref());
        let gone = object.is_none();
        T::set(self, &key, object);
        if gone {
            self.tidy(&key);
        }
        let keys = vec![key];
        Woken { keys, urgent }
    }

    fn complete<T: Slot>(&mut self) -> Vec<Key> {
        let listed = self.listing.remove(&T::KIND).unwrap_or_default();
        let gone = |key: &Key, index: &Self| !listed.contains(key) && T::get(index, key).is_some();
        let gone: Vec<Key> = self
            .entries
            .keys()
            .filter(|it| gone(it, self))
            .cloned()
            .collect();
        for key in &gone {
            T::set(self, key, None);
            self.tidy(key);
        }
        // The list may have passed what was awaited of this kind without showing it.
        for entry in self.entries.values_mut() {
            entry.awaited.take_if(|(it, _)| it.kind() == T::KIND);
        }
        gone
    }

    fn advance(&mut self, kind: Kind, place: u64) {
        let current = self.places.entry(kind).or_default();
        *current = place.max(*current);
    }

    fn tidy(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(|it| it.is_empty()) {
            self.entries.remove(key);
            if self.entries.len() < self.entries.capacity() / 4 {
                self.entries.shrink_to(SMALL);
            }
        }
    }

    /// Takes in a change of a namespace's Service. Returns the Workspaces that it could matter to.
    pub fn take_in_service(&mut self, change: Change<Service>) -> Vec<Key> {
        match change {
            Change::Listing => {
                self.listed_services = Some(HashSet::new());
                Vec::new()
            }
            Change::Listed(key, service, _) => {
                self.listed_services
                    .get_or_insert_default()
                    .insert(Arc::clone(&key.namespace));
                self.set_service(&key.namespace, *service)
            }
            Change::Applied(key, service, _) => self.set_service(&key.namespace, *service),
            Change::Gone(key, _) => self.set_service(&key.namespace, Service::Missing),
            Change::Complete => {
                let listed = self.listed_services.take().unwrap_or_default();
                let known: Vec<_> = self.services.keys().cloned().collect();
                let gone = known
                    .iter()
                    .filter(|namespace| !listed.contains(*namespace));
                gone.flat_map(|it| self.set_service(it, Service::Missing))
                    .collect()
            }
        }
    }

    /// All that is seen of a Workspace.
    #[must_use]
    pub fn seen<'a>(&'a self, key: &'a Key) -> Option<Seen<'a>> {
        let entry = self.entries.get(key)?;
        Some(Seen {
            key,
            workspace: entry.workspace.as_deref(),
            pod: entry.pod.as_deref().or(entry.unwatched_pod.as_deref()),
            claim: entry.claim.as_deref().or(entry.unwatched_claim.as_deref()),
            service: self.service(&key.namespace),
            memory: &entry.memory,
            proof: None,
            turn: Turn::default(),
        })
    }

    /// All that is seen of each Workspace.
    pub fn all(&self) -> impl Iterator<Item = Seen<'_>> {
        self.keys().filter_map(|key| self.seen(key))
    }

    /// Every key of a Workspace.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.workspace.is_some())
            .map(|(key, _)| key)
    }

    /// What is remembered of a Workspace, to change it.
    pub fn memory(&mut self, key: &Key) -> Option<&mut Memory> {
        self.entries.get_mut(key).map(|entry| &mut entry.memory)
    }

    /// A Pod was created or healed.
    pub fn begin_rollout(&mut self, key: &Key, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.rollout = Some(now);
            entry.stopped = false;
        }
    }

    /// Its Pod is to go. Its next Pod, if there is to be one, does not come as a surprise.
    pub fn stops(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.rollout, entry.stopped) = (None, true);
        }
    }

    /// Whether its Pod was deleted by this process, and no other created yet.
    #[must_use]
    pub fn is_stopped(&self, key: &Key) -> bool {
        self.entries.get(key).is_some_and(|it| it.stopped)
    }

    /// The Workspace was told Ready. Returns when its Pod was created or healed, if it was by this
    /// process and has not been Ready since.
    pub fn end_rollout(&mut self, key: &Key) -> Option<Instant> {
        self.entries.get_mut(key)?.rollout.take()
    }

    /// How many Workspaces show which state, by the registry host of what their Pod was told.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = HashMap::<_, usize>::new();
        let workspaces = self.entries.values().filter_map(|it| it.workspace.as_ref());
        for status in workspaces.map(|it| &it.status) {
            let host = status.image.as_deref().map(resolver::registry_host);
            let stalled = status.is_true(STALLED);
            *totals.entry((status.state, stalled, host)).or_default() += 1;
        }
        let owned = |((state, stalled, host), count): ((_, _, Option<&str>), _)| {
            let registry = host.map(str::to_owned);
            let total = Total {
                state,
                stalled,
                registry,
            };
            (total, count)
        };
        totals.into_iter().map(owned).collect()
    }

    /// A write was done: nothing is planned for this Workspace until the watches show it.
    pub fn expect(&mut self, key: &Key, awaited: Awaited, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.awaited = Some((awaited, now + AWAIT_AT_MOST));
        }
    }

    /// Until when at most the watches have to catch up with a write of ours; `None` = they have.
    pub fn behind_until(&mut self, key: &Key, now: Instant) -> Option<Instant> {
        let entry = self.entries.get_mut(key)?;
        let (awaited, until) = entry.awaited.as_ref()?;
        let shown = match awaited {
            Awaited::Place(kind, place) => self.places.get(kind).is_some_and(|it| it >= place),
            Awaited::PodGoing(uid) => entry
                .pod
                .as_ref()
                .is_none_or(|it| it.version.uid != *uid || it.deleting.is_some()),
        };
        if shown || *until <= now {
            entry.awaited = None;
            return None;
        }
        Some(*until)
    }

    /// A create ran into this Pod, or there is no such Pod any more.
    pub fn set_unwatched_pod(&mut self, key: &Key, pod: Option<Box<Pod>>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.unwatched_pod = pod;
        }
    }

    /// A create ran into this claim, or there is no such claim any more.
    pub fn set_unwatched_claim(&mut self, key: &Key, claim: Option<Box<Claim>>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.unwatched_claim = claim;
        }
    }

    /// The Service of a namespace.
    #[must_use]
    pub fn service(&self, namespace: &str) -> Service {
        self.services.get(namespace).copied().unwrap_or_default()
    }

    /// The Service of a namespace became this. Returns the Workspaces that it matters to.
    pub fn set_service(&mut self, namespace: &Arc<str>, service: Service) -> Vec<Key> {
        let earlier = self.services.insert(Arc::clone(namespace), service);
        if earlier.unwrap_or_default() == service {
            return Vec::new();
        }
        self.in_namespace(namespace)
    }

    /// A namespace is going away, and with it all its Workspaces. One that is created again under
    /// its name has others.
    pub fn namespace_terminates(&mut self, namespace: &str) {
        for (key, entry) in &mut self.entries {
            if &*key.namespace == namespace && entry.workspace.is_some() {
                entry.memory.namespace_terminating = true;
            }
        }
    }

    /// Forgets what only this process knew: what others do from now on, it does not notice.
    pub fn forget(&mut self) {
        for entry in self.entries.values_mut() {
            entry.memory = Memory::default();
            entry.rollout = None;
            entry.stopped = false;
            entry.unwatched_pod = None;
            entry.unwatched_claim = None;
            entry.in_a_hurry = false;
        }
        // The moment at which it would be tried again is forgotten as well.
        self.services.retain(|_, it| *it != Service::Refused);
    }

    /// Somebody waits for this Workspace, and it waits for its namespace's Service.
    pub fn hurry(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.in_a_hurry = true;
        }
    }

    /// The Workspaces that a Service matters to: those that somebody waits for, and the others.
    pub fn by_hurry(&mut self, keys: Vec<Key>) -> [Woken; 2] {
        let mut hurry = |key: &Key| {
            let entry = self.entries.get_mut(key);
            entry.is_some_and(|it| std::mem::take(&mut it.in_a_hurry))
        };
        let (keys, rest): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| hurry(key));
        let urgent = true;
        [Woken { keys, urgent }, rest.into()]
    }

    /// The Workspaces of a namespace.
    fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        self.keys()
            .filter(|key| &*key.namespace == namespace)
            .cloned()
            .collect()
    }
}

impl Slot for Workspace {
    const KIND: Kind = Kind::Workspace;

    fn set(index: &mut Index, key: &Key, object: Option<Box<Self>>) {
        let entry = index.entries.entry(key.clone()).or_default();
        let uid =
            |workspace: &Option<Box<Self>>| workspace.as_ref().map(|it| it.version.uid.clone());
        // Another Workspace of the same name starts without a past.
        if uid(&entry.workspace) != uid(&object) {
            entry.memory = Memory::default();
        }
        entry.workspace = object;
    }

    fn get<'a>(index: &'a Index, key: &Key) -> Option<&'a Self> {
        index.entries.get(key)?.workspace.as_deref()
    }

    /// Its user asks for something.
    fn is_urgent(was: Option<&Self>, is: Option<&Self>) -> bool {
        fn asked(it: &Workspace) -> (&str, i64, &str) {
            (&it.version.uid, it.generation, &it.revision)
        }
        is.is_some() && was.map(asked) != is.map(asked)
    }
}

impl Slot for Pod {
    const KIND: Kind = Kind::Pod;

    fn set(index: &mut Index, key: &Key, object: Option<Box<Self>>) {
        index.entries.entry(key.clone()).or_default().pod = object;
    }

    fn get<'a>(index: &'a Index, key: &Key) -> Option<&'a Self> {
        index.entries.get(key)?.pod.as_deref()
    }

    /// An agent is down.
    fn is_urgent(was: Option<&Self>, is: Option<&Self>) -> bool {
        was.is_some() && is.is_none()
    }
}

impl Slot for Claim {
    const KIND: Kind = Kind::Claim;

    fn set(index: &mut Index, key: &Key, object: Option<Box<Self>>) {
        index.entries.entry(key.clone()).or_default().claim = object;
    }

    fn get<'a>(index: &'a Index, key: &Key) -> Option<&'a Self> {
        index.entries.get(key)?.claim.as_deref()
    }

    /// The Pod waits for it.
    fn is_urgent(was: Option<&Self>, is: Option<&Self>) -> bool {
        was.is_none() && is.is_some()
    }
}

#[cfg(test)]
mod tests;
