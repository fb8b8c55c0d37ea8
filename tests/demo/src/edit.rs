//! What one edit of the settings cost and how fast it was, from the API server's audit log.

use std::fmt;

use anyhow::{Context, Result};
use cluster::{Event, Events};
use jiff::Timestamp;

use crate::world::{OPERATOR, SYSTEM};

/// The field manager under which the operator writes the overview.
const OVERVIEW: &str = "workspace-operator-status";

/// A write of the operator.
#[derive(Clone, Debug)]
pub struct Write {
    pub verb: String,
    /// As in `pods` or `workspaces/status`.
    pub resource: String,
    pub name: String,
    pub code: u16,
    pub at: Timestamp,
}

impl Write {
    /// A Pod that changed since the operator saw it refuses a patch, with 409; then nothing is
    /// written, and the operator looks again.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it is this one, as in `patch pods coder`.
    pub fn is(&self, verb: &str, resource: &str, name: &str) -> bool {
        self.succeeded() && self.verb == verb && self.resource == resource && self.name == name
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, resource, name) = (&self.verb, &self.resource, &self.name);
        write!(f, "{verb:6}  {resource:17}  {name:15}  {}", self.code)
    }
}

/// The operator's writes among the requests in the order they came. Dry runs are left out, and what
/// is only told: the Events, and the overview, which comes when a second has passed.
pub fn writes(events: Events) -> Vec<Write> {
    let events = events.by_service_account(SYSTEM, OPERATOR).writes();
    let told = |it: &Event| it.resource == "events" || it.is_by(OVERVIEW);
    let done = events.into_iter().filter(|it| !it.dry_run && !told(it));
    let mut writes: Vec<Write> = done.map(write).collect();
    // The log is in the order of the answers.
    writes.sort_by_key(|it| it.at);
    writes
}

fn write(event: Event) -> Write {
    let resource = match event.subresource.as_str() {
        "" => event.resource,
        subresource => format!("{}/{subresource}", event.resource),
    };
    Write {
        verb: event.verb,
        resource,
        name: event.name,
        code: event.code,
        at: event.timestamp,
    }
}

/// When the settings were last edited.
pub fn edited_at(events: Events) -> Result<Timestamp> {
    let events = events.writes().succeeded();
    let edits = events.of("configmaps").named("workspace-settings");
    let last = edits.last().context("the audit log has no edit")?;
    Ok(last.timestamp)
}

/// The writes with the milliseconds from the edit to each, one a line.
pub fn table(writes: &[Write], edited: Timestamp) -> String {
    let line = |it: &Write| format!("{it}  +{} ms\n", milliseconds(edited, it.at));
    writes.iter().map(line).collect()
}

pub fn milliseconds(from: Timestamp, to: Timestamp) -> i128 {
    to.duration_since(from).as_millis()
}
