//! What the API server has refused, and for how long it is not asked again.

use super::decide::Case;
use super::{Decision, Finding, Kind, Step, retry_at};
use crate::seen::Ask;
use crate::workspace::Reason;

impl Case<'_> {
    /// The server refused to delete this Pod, and it is too early to ask again.
    pub(super) fn with_delete_refusal(&self, decision: Decision) -> Decision {
        let Some(Step::DeletePod { version, .. }) = &decision.step else {
            return decision;
        };
        let refused = self.end_refused(&version.uid);
        refused.unwrap_or(decision)
    }

    /// The server refused to delete the Pod with this UID, and it is too early to ask again.
    pub(super) fn end_refused(&self, uid: &str) -> Option<Decision> {
        let refusal = self.seen.memory.delete_refusal.as_deref()?;
        let retry = retry_at(refusal, self.now)?;
        Some(Decision::wait(self.refusal_of_end(uid)?).until(retry))
    }

    /// What the server said last of the end of this Pod, if it refused it.
    pub(super) fn refusal_of_end(&self, uid: &str) -> Option<Finding> {
        let refusal = self.seen.memory.delete_refusal.as_deref();
        let refusal = refusal.filter(|it| it.what == uid)?;
        let message = format!(
            "the API server refuses to delete the Pod: {}",
            refusal.message
        );
        Some(Finding::new(Kind::Stalled, Reason::PodRejected, message))
    }

    /// The server refused this very Pod, and it is too early to ask again.
    pub(super) fn rejected(&self, ask: &Ask) -> Option<Decision> {
        let refusal = self.seen.memory.pod_refusal.as_deref()?;
        let retry = retry_at(refusal, self.now)?;
        Some(Decision::wait(self.refusal_of(ask)?).until(retry))
    }

    /// What the server said last of this Pod, if it refused it.
    pub(super) fn refusal_of(&self, ask: &Ask) -> Option<Finding> {
        let refusal = self.seen.memory.pod_refusal.as_deref();
        let refusal = refusal.filter(|it| it.what == *ask)?;
        let message = format!("the API server refused the Pod: {}", refusal.message);
        Some(Finding::new(Kind::Stalled, Reason::PodRejected, message))
    }
}
