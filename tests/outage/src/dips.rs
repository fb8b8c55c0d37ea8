//! Dips: on a machine with too much to do a kubelet calls an agent not ready for a moment, which runs on
//! all the while.
//!
//! The operator has to tell of a dip, and of its end. Nothing else may come of it.

use std::collections::{BTreeMap, BTreeSet};

use cluster::Event;
use serde_json::Value;

use crate::eye::{Kind, Life, Sight, condition, text};

/// That an agent is only called not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dip {
    /// It was Ready in the version before.
    Begins,
    Lasts,
}

/// The container that each agent had last, by the key of its Pod.
#[derive(Default)]
pub struct Containers(BTreeMap<String, Container>);

struct Container {
    id: String,
    /// What its Pod was told when it was seen first.
    image: String,
    /// Its Pod has never been told to run another image, or to end.
    stays: bool,
    was_ready: bool,
    dips: bool,
}

impl Containers {
    /// Looks at the next version of a Pod, and says whether its agent is in a dip.
    pub fn look(&mut self, key: &str, life: &Life, gone: bool) -> Option<Dip> {
        if gone || life.container.is_empty() {
            self.0.remove(key);
            return None;
        }
        let entry = self.0.entry(key.to_owned());
        let container = entry.or_insert_with(|| Container::of(life));
        if container.id != life.container {
            *container = Container::of(life);
        }
        container.dip(life)
    }
}

impl Container {
    fn of(life: &Life) -> Self {
        Self {
            id: life.container.clone(),
            image: life.image.clone(),
            stays: true,
            was_ready: false,
            dips: false,
        }
    }

    fn dip(&mut self, life: &Life) -> Option<Dip> {
        self.stays &= !life.going && life.image == self.image;
        self.was_ready |= life.ready;
        let dipped = self.dips;
        self.dips = self.stays && self.was_ready && life.runs && !life.ready;
        match (dipped, self.dips) {
            (_, false) => None,
            (false, true) => Some(Dip::Begins),
            (true, true) => Some(Dip::Lasts),
        }
    }
}

/// The dips of some time, by the key of the Pod.
pub struct Dips(BTreeMap<String, Times>);

#[derive(Clone, Copy, Default)]
struct Times {
    count: usize,
    /// The first of them had begun before, which may have been told before.
    lasted: bool,
    /// That one of them begins was told, and its end was not.
    told: bool,
}

impl Dips {
    /// Those that lasted when the mark of the watch was set, and those since.
    pub fn since(sights: &[Sight], mark: usize) -> Self {
        let (before, after) = sights.split_at(mark);
        let mut lasting = BTreeSet::new();
        for sight in before.iter().filter(|it| it.kind == Kind::Pod) {
            if sight.dip.is_some() {
                lasting.insert(&sight.key);
            } else {
                lasting.remove(&sight.key);
            }
        }
        let one = Times {
            count: 1,
            lasted: true,
            told: false,
        };
        let mut all: BTreeMap<_, _> = lasting.into_iter().map(|it| (it.clone(), one)).collect();
        for sight in after.iter().filter(|it| it.dip == Some(Dip::Begins)) {
            all.entry(sight.key.clone()).or_default().count += 1;
        }
        Self(all)
    }

    /// Of how many agents.
    pub fn agents(&self) -> usize {
        self.0.len()
    }

    /// Whether this one had any.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// How many there were, and of which agents.
    pub fn words(&self) -> String {
        let all: usize = self.0.values().map(|it| it.count).sum();
        let each = self.0.iter().map(|(key, it)| format!("{key} {}", it.count));
        format!("{all} in all, of {}", each.collect::<Vec<_>>().join(", "))
    }

    /// The writes without what had to be told of them: of each that an agent is not ready, and that it
    /// is again.
    pub fn leave_out(&self, writes: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let mut rest = self.0.clone();
        let mut is_of_dip = |it: &Event| {
            let is_status = (&*it.resource, &*it.subresource) == ("workspaces", "status");
            let times = rest.get_mut(&format!("{}/{}", it.namespace, it.name));
            let times = times.filter(|_| is_status && it.succeeded());
            times.is_some_and(|times| times.take(it))
        };
        let writes = writes.into_iter();
        writes.filter(|it| !is_of_dip(it)).collect()
    }
}

impl Times {
    /// Whether this status is what had to be told next.
    fn take(&mut self, write: &Event) -> bool {
        let object = write.request_object.as_ref().unwrap_or(&Value::Null);
        let state = text(object, "/status/state");
        let is_ready = &condition(object, "Ready")["status"];
        if is_ready == "True" && state == "Ready" && (self.told || self.lasted) {
            self.count -= 1;
            (self.told, self.lasted) = (false, false);
            return true;
        }
        // Of one that has ended before it is said that it is restarted, and right after its move that it is
        // being replaced.
        let is_told = ["NotReady", "CrashLooping", "Replacing"].contains(&state);
        let begins = is_ready == "False" && is_told && !self.told && self.count > 0;
        self.told |= begins;
        begins
    }
}
