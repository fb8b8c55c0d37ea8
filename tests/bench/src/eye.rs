//! An eye on the cluster from outside: when each Pod and each Workspace became what it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kube::Client;
use kube::core::WatchEvent;
use tokio::task::JoinHandle;

use crate::wire::{Object, PODS, WORKSPACES, Watch};

const READY: &str = "Ready";
const LOOK: Duration = Duration::from_millis(20);

/// What has been seen.
#[derive(Default)]
pub struct Sight {
    /// By `namespace/name`.
    pub pods: HashMap<String, Pod>,
    /// By `namespace/name`.
    pub workspaces: HashMap<String, Workspace>,
    /// How many Workspaces did not say Ready at most.
    most_down: usize,
    broken: Option<String>,
}

pub struct Pod {
    pub uid: String,
    pub created: Instant,
    pub image: String,
    /// Since when it is to run this image.
    pub told: Instant,
    /// Whether its node spoke of this image.
    pub looked_at: bool,
}

pub struct Workspace {
    pub state: String,
    /// Since when it has this state.
    pub since: Instant,
}

/// Two watches; they end with this value.
pub struct Eye {
    sight: Arc<Mutex<Sight>>,
    watches: Vec<JoinHandle<()>>,
}

impl Drop for Eye {
    fn drop(&mut self) {
        for watch in &self.watches {
            watch.abort();
        }
    }
}

impl Eye {
    pub fn open(client: &Client) -> Self {
        let sight = Arc::new(Mutex::new(Sight::default()));
        let watches = [PODS, WORKSPACES].map(|list| {
            let (client, sight) = (client.clone(), Arc::clone(&sight));
            tokio::spawn(async move {
                if let Err(error) = follow(&client, list, &sight).await {
                    lock(&sight).broken = Some(format!("{error:#}"));
                }
            })
        });
        Self {
            sight,
            watches: watches.into(),
        }
    }

    pub fn sight(&self) -> MutexGuard<'_, Sight> {
        lock(&self.sight)
    }

    /// Waits until what is seen is so, and returns what that question returned.
    pub async fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        question: impl Fn(&Sight) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            {
                let sight = self.sight();
                if let Some(answer) = question(&sight) {
                    return Ok(answer);
                }
                if let Some(why) = &sight.broken {
                    bail!("{why}");
                }
            }
            if start.elapsed() > patience {
                let seen = self.sight().summary();
                bail!("{what}: not in {patience:?}; seen are {seen}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(client: &Client, list: &'static str, sight: &Mutex<Sight>) -> Result<()> {
    let mut watch = Watch::of(client, list);
    loop {
        match watch.next().await? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                lock(sight).see(list == PODS, &object);
            }
            WatchEvent::Deleted(object) => {
                let mut sight = lock(sight);
                if list == PODS {
                    sight.pods.remove(&object.key());
                } else {
                    sight.workspaces.remove(&object.key());
                }
            }
            WatchEvent::Error(error) => bail!("the watch of {list}: {error}"),
            WatchEvent::Bookmark(_) => {}
        }
    }
}

impl Sight {
    fn see(&mut self, is_pod: bool, object: &Object) {
        let now = Instant::now();
        let key = object.key();
        if !is_pod {
            let state = object.status.state.clone();
            let seen = self.workspaces.entry(key).or_insert_with(|| Workspace {
                state: state.clone(),
                since: now,
            });
            if seen.state != state {
                (seen.state, seen.since) = (state, now);
            }
            let down = self.workspaces.values().filter(|it| it.state != READY);
            self.most_down = self.most_down.max(down.count());
            return;
        }
        let new = || Pod {
            uid: object.metadata.uid.clone(),
            created: now,
            image: object.image().to_owned(),
            told: now,
            looked_at: false,
        };
        let seen = self.pods.entry(key).or_insert_with(new);
        if seen.uid != object.metadata.uid {
            *seen = new();
        }
        if seen.image != object.image() {
            object.image().clone_into(&mut seen.image);
            seen.told = now;
        }
        seen.looked_at = object.is_looked_at();
    }

    /// From now on it counts how many Workspaces do not say Ready.
    pub fn count_down_anew(&mut self) {
        self.most_down = 0;
    }

    /// How many did not at most since then, at any one event of the watch.
    pub fn most_down(&self) -> usize {
        self.most_down
    }

    /// When the last of so many Pods was created, once they are there.
    pub fn all_created(&self, count: usize) -> Option<Instant> {
        (self.pods.len() >= count).then(|| self.pods.values().map(|it| it.created).max())?
    }

    /// When the last Pod was told to run an image of this registry, once all are.
    pub fn all_told(&self, registry: &str) -> Option<Instant> {
        let told = |pod: &Pod| pod.image.starts_with(registry);
        let all = self.pods.values().all(told);
        all.then(|| self.pods.values().map(|it| it.told).max())?
    }

    /// When the last of so many Workspaces came into this state, once all are.
    pub fn all_in(&self, state: &str, count: usize) -> Option<Instant> {
        let there = self.workspaces.len() >= count;
        let all = there && self.workspaces.values().all(|it| it.state == state);
        all.then(|| self.workspaces.values().map(|it| it.since).max())?
    }

    fn summary(&self) -> String {
        let mut states: HashMap<&str, usize> = HashMap::new();
        for workspace in self.workspaces.values() {
            *states.entry(&workspace.state).or_default() += 1;
        }
        format!("{} Pods and Workspaces {states:?}", self.pods.len())
    }
}
