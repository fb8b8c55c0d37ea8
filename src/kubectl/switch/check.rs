//! Whether the registry to switch to has what the Workspaces need.

use super::Intent;
use crate::kubectl::output::Paint;
use crate::kubectl::preflight::{self, Asking, Nodes};
use crate::kubectl::{Answer, Session};
use crate::preflight::Request;

/// What was found there.
pub(super) struct Checked {
    pub(super) answer: Answer,
    /// For people.
    pub(super) text: String,
}

/// Looks there.
pub(super) async fn check(
    session: &mut Session,
    intent: &Intent,
    (asking, nodes): (&Asking, Nodes),
) -> anyhow::Result<Checked> {
    let request = Request {
        scope: intent.scope.clone(),
        to: Some(intent.to.clone()),
        all: false,
        strict: false,
        access: asking.access(),
    };
    let left = || "nothing was edited".to_owned();
    let report = preflight::ask(session, &request, nodes, left).await?;
    Ok(Checked {
        answer: report.verdict().into(),
        text: preflight::table(&report, Paint::beside()),
    })
}
