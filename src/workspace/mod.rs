//! The `Workspace` API: what a user asks for, what the operator answers, and the names both use.
//!
//! The types are in `spec` and `status`; their doc comments are what `kubectl explain` prints.
//! `schema` turns them into the CustomResourceDefinition, with the sentences of `rules` in it.

mod rules;
mod schema;
mod spec;
mod status;

pub use schema::{crd_yaml, reasons};
pub use spec::{Policy, Rollout, Storage, WhenDeleted, Window, Workspace, WorkspaceSpec};
pub use status::{READY, RECONCILING, Reason, STALLED, SUSPENDED, WorkspaceStatus};

/// The runtime of a Workspace that names none.
pub const DEFAULT_RUNTIME: &str = "langgraph";
/// The name of our container in a Pod.
pub const AGENT: &str = "agent";
/// The annotation whose new value restarts a Workspace.
pub const RESTARTED_AT: &str = "molecule.ai/restartedAt";
