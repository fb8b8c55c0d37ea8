//! What the API server has refused, and for how long it is not asked again.

use super::decide::Case;
use super::{Decision, Finding, Kind, Step, retry_at};
use crate::seen::{Ask, Refusal};
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
        let refusal = self.seen.memory.delete_refusal.as_deref();
        self.waits(refusal, self.refusal_of_end(uid)?)
    }

    /// What the server said last of the end of this Pod, if it refused it.
    pub(super) fn refusal_of_end(&self, uid: &str) -> Option<Finding> {
        let refusal = self.seen.memory.delete_refusal.as_deref();
        said(
            refusal,
            uid,
            Reason::PodRejected,
            "refuses to delete the Pod",
        )
    }

    /// The server refused this very Pod, and it is too early to ask again.
    pub(super) fn rejected(&self, ask: &Ask) -> Option<Decision> {
        let refusal = self.seen.memory.pod_refusal.as_deref();
        self.waits(refusal, self.refusal_of(ask)?)
    }

    /// What the server said last of this Pod, if it refused it.
    pub(super) fn refusal_of(&self, ask: &Ask) -> Option<Finding> {
        let refusal = self.seen.memory.pod_refusal.as_deref();
        said(refusal, ask, Reason::PodRejected, "refused the Pod")
    }

    /// The server refused a claim of this size, and it is too early to ask again.
    pub(super) fn claim_rejected(&self) -> Option<Decision> {
        let size = &self.spec.storage.as_ref()?.size.0;
        let refusal = self.seen.memory.claim_refusal.as_deref();
        let finding = said(refusal, size, Reason::VolumeRejected, "refused the claim")?;
        self.waits(refusal, finding)
    }

    fn waits<T>(&self, refusal: Option<&Refusal<T>>, finding: Finding) -> Option<Decision> {
        let retry = retry_at(refusal?, self.now)?;
        Some(Decision::wait(finding).until(retry))
    }
}

/// What the server said last of this, if it refused it.
fn said<T, Q>(
    refusal: Option<&Refusal<T>>,
    what: &Q,
    reason: Reason,
    words: &str,
) -> Option<Finding>
where
    T: PartialEq<Q>,
    Q: ?Sized,
{
    let refusal = refusal.filter(|it| it.what == *what)?;
    let message = format!("the API server {words}: {}", refusal.message);
    Some(Finding::new(Kind::Stalled, reason, message))
}
