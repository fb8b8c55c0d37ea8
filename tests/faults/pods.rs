//! Every Pod of a namespace that ever existed, by a watch of its own, past the proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster::Cluster;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use tokio::sync::oneshot;
use workspace_operator::proof::MANAGER_LABELS;

use crate::fixture::PATIENCE;

/// A Pod that was seen.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub name: String,
    /// The UID of the Workspace that controls it.
    pub workspace: Option<String>,
    /// Whether it has the name and the labels of a probe of the operator's.
    pub is_probe: bool,
    pub gone: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// By UID.
    pods: BTreeMap<String, Sighting>,
    /// Each time a Workspace had a second Pod.
    twice: Vec<String>,
    listing: Vec<Pod>,
    listed: bool,
}

/// The watch.
pub struct Pods {
    book: Arc<Mutex<Book>>,
    _runs: oneshot::Sender<()>,
}

impl Pods {
    /// Begins to watch; returns when it does.
    pub async fn watch(cluster: &Arc<Cluster>, namespace: &str) -> Self {
        let book = Arc::<Mutex<Book>>::default();
        let (_runs, ended) = oneshot::channel();
        let (kept, cluster, namespace) =
            (Arc::clone(&book), Arc::clone(cluster), namespace.to_owned());
        // On a thread of its own: the test blocks its own now and then.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = note_all(&cluster, &namespace, &kept) => {}
                    _ = ended => {}
                }
            });
        });
        let pods = Self { book, _runs };
        let start = Instant::now();
        while !pods.lock().listed {
            assert!(start.elapsed() < PATIENCE, "the Pods cannot be watched");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        pods
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every Pod that ever existed, by UID.
    pub fn all(&self) -> BTreeMap<String, Sighting> {
        self.lock().pods.clone()
    }

    /// How many Pods of Workspaces ever existed.
    pub fn of_workspaces(&self) -> usize {
        let all = self.all();
        all.values().filter(|it| it.workspace.is_some()).count()
    }

    /// How many Pods of each name ever existed.
    pub fn by_name(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for pod in self.all().into_values() {
            *counts.entry(pod.name).or_default() += 1;
        }
        counts
    }

    /// The UIDs of those that exist.
    pub fn alive(&self) -> BTreeSet<String> {
        let all = self.all();
        let alive = all.into_iter().filter(|(_, it)| !it.gone);
        alive.map(|(uid, _)| uid).collect()
    }

    /// Each time a Workspace had a second Pod.
    pub fn twice(&self) -> Vec<String> {
        self.lock().twice.clone()
    }
}

async fn note_all(cluster: &Cluster, namespace: &str, book: &Mutex<Book>) {
    let client = cluster.client().await.expect("a client");
    let pods = Api::<Pod>::namespaced(client, namespace);
    let mut stream = watch(pods, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(next) = stream.next().await {
        if let Ok(event) = next {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.note(event);
        }
    }
}

impl Book {
    fn note(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(pod) => self.listing.push(pod),
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let listed: BTreeSet<_> = listing.iter().filter_map(ResourceExt::uid).collect();
                for (uid, pod) in &mut self.pods {
                    pod.gone |= !listed.contains(uid);
                }
                listing.iter().for_each(|pod| self.exists(pod));
                self.listed = true;
            }
            Event::Apply(pod) => self.exists(&pod),
            Event::Delete(pod) => {
                self.exists(&pod);
                let uid = pod.uid().unwrap_or_default();
                if let Some(pod) = self.pods.get_mut(&uid) {
                    pod.gone = true;
                }
            }
        }
    }

    fn exists(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if self.pods.contains_key(&uid) {
            return;
        }
        let owners = pod.owner_references().iter();
        let controller = owners.filter(|it| it.controller == Some(true) && it.kind == "Workspace");
        let sighting = Sighting {
            name: pod.name_any(),
            workspace: controller.map(|it| it.uid.clone()).next(),
            is_probe: is_probe(pod),
            gone: false,
        };
        let other = self
            .pods
            .values()
            .find(|it| !it.gone && it.workspace.is_some() && it.workspace == sighting.workspace);
        if let Some(other) = other {
            self.twice
                .push(format!("{} beside {}", sighting.name, other.name));
        }
        self.pods.insert(uid, sighting);
    }
}

fn is_probe(pod: &Pod) -> bool {
    let labels = pod.labels();
    let has = |(name, value): (&str, &str)| labels.get(name).is_some_and(|it| it == value);
    MANAGER_LABELS.into_iter().all(has) && pod.name_any().starts_with("workspace-probe-")
}
