//! Whether the registry to switch to has what the Workspaces need.

use kube::Client;

use super::Intent;
use crate::kubectl::Answer;

/// What was found there.
pub(super) struct Checked {
    pub(super) answer: Answer,
    /// For people.
    pub(super) text: String,
}

/// Looks there; `None` = nobody can look.
pub(super) async fn check(_client: &Client, _intent: &Intent) -> anyhow::Result<Option<Checked>> {
    Ok(None)
}
