//! A fleet whose settings move it: what it runs, and how many are down at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::fixture::{World, condition, image};

pub const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";

impl World {
    pub fn paced(&self, prefix: &str, most: &str) {
        self.settings(&[
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_MAX_UNAVAILABLE", most),
        ]);
    }

    /// Which image the Pods have, by their names.
    pub fn images(&self) -> BTreeMap<String, String> {
        let pods = self.list("pods").into_iter();
        let pods =
            pods.filter(|it| it["metadata"]["labels"]["app.kubernetes.io/name"] == "workspace");
        let name = |it: &Value| {
            it["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        pods.map(|it| (name(&it), image(&it).to_owned())).collect()
    }

    pub fn on(&self, prefix: &str) -> usize {
        let images = self.images();
        images.values().filter(|it| it.starts_with(prefix)).count()
    }
}

/// Looks from outside how many Workspaces are told not to be Ready at once.
pub struct Watcher {
    most: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Watcher {
    pub fn start(client: Client, namespace: &str) -> Self {
        let (most, ends) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let uri = format!("/apis/molecule.ai/v1alpha1/namespaces/{namespace}/workspaces");
        let (seen, over) = (Arc::clone(&most), Arc::clone(&ends));
        let task = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let request = http::Request::get(&uri)
                    .body(Vec::new())
                    .expect("it is one");
                let list: Value = client.request(request).await.expect("it is listed");
                let down = list["items"].as_array().into_iter().flatten();
                let down = down.filter(|it| condition(it, "Ready")["status"] != "True");
                seen.fetch_max(down.count(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { most, ends, task }
    }

    /// How many there were at most.
    pub async fn end(self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.expect("it has looked");
        self.most.load(Ordering::Relaxed)
    }
}
