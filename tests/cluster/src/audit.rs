//! What was asked of the API server, by whom: its audit log.
//!
//! The server writes a request's line before its answer is complete, so whoever has an
//! answer finds the request in the log. Health checks, and the control plane's own Events and
//! leases, are left out.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The audit log of a cluster.
#[derive(Clone, Debug)]
pub struct Audit {
    pub(crate) path: PathBuf,
}

/// A place in the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(u64);

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Event {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural, as in `pods`; empty for a request that is not about a resource.
    pub resource: String,
    /// As in `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for a list; the generated one where a create left it to the server.
    pub name: String,
    /// Who asked, as in `system:serviceaccount:molecule-system:workspace-operator`.
    pub user: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// Whether it was a dry run, which writes nothing.
    pub dry_run: bool,
    /// Path and query.
    pub request_uri: String,
    /// The body of a write to a Workspace, Pod, PVC, Service, ConfigMap or Lease.
    pub request_object: Option<Value>,
    /// What the client calls itself.
    pub user_agent: String,
    /// When the request came.
    pub timestamp: Timestamp,
}

/// Requests, and ways to choose among them.
#[derive(Clone, Debug, Default)]
pub struct Events(Vec<Event>);

impl Audit {
    /// Every request so far.
    ///
    /// # Errors
    /// When the log cannot be read, as when the cluster was started without it.
    pub fn events(&self) -> Result<Events> {
        self.events_since(Mark::default())
    }

    /// The end of the log, for a later `events_since`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(self.open()?.metadata()?.len()))
    }

    /// The requests that were answered after the mark.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn events_since(&self, mark: Mark) -> Result<Events> {
        let mut log = BufReader::new(self.open()?);
        log.seek(SeekFrom::Start(mark.0))?;
        let mut events = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            match log.read_line(&mut line) {
                // A line without its end is still being written.
                Ok(_) if !line.ends_with('\n') => return Ok(Events(events)),
                Err(error) if error.kind() != ErrorKind::InvalidData => return Err(error.into()),
                _ => {}
            }
            // A mark set while a line was written starts within that line.
            if let Ok(entry) = serde_json::from_str::<Entry>(&line) {
                events.push(entry.into());
            }
        }
    }

    fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))
    }
}

impl Event {
    /// Whether it could change what is stored. Dry runs and refused requests count:
    /// leave them out by `dry_run` and `code`.
    #[must_use]
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// Whether it was written under this field manager.
    #[must_use]
    pub fn is_by(&self, field_manager: &str) -> bool {
        let query = self.request_uri.split_once('?').map_or("", |it| it.1);
        let mut parts = query.split('&').filter_map(|it| it.split_once('='));
        parts.any(|part| part == ("fieldManager", field_manager))
    }

    /// Whether the server did what was asked.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

impl Events {
    /// Those for which the condition holds.
    #[must_use]
    pub fn filter(mut self, condition: impl Fn(&Event) -> bool) -> Self {
        self.0.retain(condition);
        self
    }

    /// The writes, see [`Event::is_write`].
    #[must_use]
    pub fn writes(self) -> Self {
        self.filter(Event::is_write)
    }

    /// Those that did what was asked.
    #[must_use]
    pub fn succeeded(self) -> Self {
        self.filter(Event::succeeded)
    }

    /// Those of one user.
    #[must_use]
    pub fn by_user(self, user: &str) -> Self {
        self.filter(|event| event.user == user)
    }

    /// Those of a ServiceAccount.
    #[must_use]
    pub fn by_service_account(self, namespace: &str, name: &str) -> Self {
        self.by_user(&format!("system:serviceaccount:{namespace}:{name}"))
    }

    /// Those in one namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.filter(|event| event.namespace == namespace)
    }

    /// Those about one resource, its subresources included.
    #[must_use]
    pub fn of(self, resource: &str) -> Self {
        self.filter(|event| event.resource == resource)
    }

    /// Those about one name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.filter(|event| event.name == name)
    }
}

impl std::ops::Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.0
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A line of the log, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
    request_object: Option<Value>,
    response_object: Option<Value>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl From<Entry> for Event {
    fn from(entry: Entry) -> Self {
        let name_in = |object: &Option<Value>| {
            let name = object.as_ref()?.pointer("/metadata/name")?.as_str()?;
            Some(name.to_owned())
        };
        let target = entry.object_ref;
        let name = Some(target.name).filter(|name| !name.is_empty());
        let query = entry
            .request_uri
            .split_once('?')
            .map_or("", |(_, query)| query);
        Self {
            name: name
                .or_else(|| name_in(&entry.response_object))
                .or_else(|| name_in(&entry.request_object))
                .unwrap_or_default(),
            dry_run: query.split('&').any(|part| part.starts_with("dryRun=")),
            verb: entry.verb,
            group: target.api_group,
            resource: target.resource,
            subresource: target.subresource,
            namespace: target.namespace,
            user: entry.user.username,
            code: entry.response_status.code,
            request_uri: entry.request_uri,
            request_object: entry.request_object,
            user_agent: entry.user_agent,
            timestamp: entry.request_received_timestamp,
        }
    }
}
