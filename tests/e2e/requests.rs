//! What the operator asked of the API server, by the audit log.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cluster::{Event, Events};
use jiff::Timestamp;

use workspace_operator::names;

use crate::fixture::{PATIENCE, World};

/// After the last change.
const OVERVIEW_AT_MOST: Duration = Duration::from_secs(2);

impl World {
    /// From now on only later requests count.
    pub fn forget(&mut self) {
        self.since = self.cluster.audit().mark().expect("the audit log is there");
    }

    /// The operator's writes since the start or the last `forget`, dry runs left out, as
    /// `verb resource/subresource name code`. The overviews are left out as well: how many there
    /// are depends on the clock; and the Events and the Lease, which have tests of their own.
    pub fn writes(&self) -> Vec<String> {
        let writes = self.requests().writes().filter(|it| {
            let is_elsewhere = ["events", "leases"].contains(&it.resource.as_str());
            !it.dry_run && !it.is_by(names::STATUS_MANAGER) && !is_elsewhere
        });
        writes.iter().map(words).collect()
    }

    /// How many requests since the start or the last `forget` were no writes.
    pub fn reads(&self) -> usize {
        self.requests().filter(|it| !it.is_write()).len()
    }

    /// When the overview of all Workspaces was written since the start or the last `forget`.
    pub fn overviews(&self) -> Vec<Timestamp> {
        let written = self.requests().writes();
        let written = written.filter(|it| it.is_by(names::STATUS_MANAGER));
        written.iter().map(|it| it.timestamp).collect()
    }

    /// The writes of Events since the start or the last `forget`.
    fn events_written(&self) -> Vec<String> {
        let told = self.requests().writes().of("events");
        told.iter().map(words).collect()
    }

    /// Waits until the overview tells of the last change, as it does within a second.
    async fn overview_settles(&mut self) {
        let start = Instant::now();
        loop {
            self.forget();
            tokio::time::sleep(OVERVIEW_AT_MOST).await;
            if self.overviews().is_empty() {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the overview goes on for ever");
        }
    }

    /// Those of the writes that are about this resource and object: `writes_to("pods", "alice")`.
    pub fn writes_to(&self, resource: &str, name: &str) -> Vec<String> {
        let about = |line: &String| {
            let mut words = line.split(' ');
            let of = words.nth(1).unwrap_or_default();
            of.split('/').next() == Some(resource) && words.next() == Some(name)
        };
        self.writes().into_iter().filter(about).collect()
    }

    /// Those that took place. While a node writes to a Pod of its own accord, a write of ours that
    /// was planned from before is refused with 409, and planned anew.
    pub fn done_to(&self, resource: &str, name: &str) -> Vec<String> {
        let mut writes = self.writes_to(resource, name);
        writes.retain(|line| !line.ends_with(" 409"));
        writes
    }

    /// When the operator first wrote so: `written_at("patch workspaces/status alice 200")`.
    pub fn written_at(&self, line: &str) -> Timestamp {
        let found = self.requests().into_iter().find(|it| words(it) == line);
        found.expect("it was written").timestamp
    }

    /// The operator's requests since the start or the last `forget`.
    pub fn requests(&self) -> Events {
        self.events()
            .by_service_account(&self.namespace, "workspace-operator")
    }

    /// Every request in the cluster since the start or the last `forget`.
    pub fn events(&self) -> Events {
        let audit = self.cluster.audit();
        audit
            .events_since(self.since)
            .expect("the audit log is there")
    }

    /// When the Pod's status first said this: until then nobody can have known.
    pub fn shown_at(&self, pod: &str, words: &str) -> Timestamp {
        let says = |event: &Event| {
            let status = event.request_object.as_ref().map(ToString::to_string);
            event.subresource == "status" && status.is_some_and(|it| it.contains(words))
        };
        let events = self.events().in_namespace(&self.namespace);
        let shown = events.of("pods").named(pod).filter(says);
        shown.first().expect("the Pod shows it").timestamp
    }

    /// The operator writes nothing for this long.
    pub async fn silence(&mut self, seconds: u64) {
        self.no_probe_is_left().await;
        self.silence_beside_probes(seconds).await;
    }

    /// The same, while there are probes that stay.
    pub async fn silence_beside_probes(&mut self, seconds: u64) {
        self.overview_settles().await;
        self.forget();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(self.writes(), Vec::<String>::new(), "\n{}", self.log());
        assert_eq!(self.overviews(), [], "\n{}", self.log());
        assert_eq!(
            self.events_written(),
            Vec::<String>::new(),
            "\n{}",
            self.log()
        );
    }
}

/// A request as `verb resource/subresource name code`.
fn words(event: &Event) -> String {
    let mut line = format!("{} {}", event.verb, event.resource);
    if !event.subresource.is_empty() {
        let _ = write!(line, "/{}", event.subresource);
    }
    let _ = write!(line, " {} {}", event.name, event.code);
    line
}
