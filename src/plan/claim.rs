//! What the claim of a Workspace needs, before its Pod and beside it.

use super::decide::{Case, pending};
use super::{Decision, Finding, Kind, Step, retry_at};
use crate::names;
use crate::pod;
use crate::seen::Claim;
use crate::volume;
use crate::workspace::{Reason, Storage};

impl Case<'_> {
    /// What must come before a Pod that mounts the claim. Never that it is bound: with
    /// `WaitForFirstConsumer` that comes after.
    pub(super) fn claim_first(&self) -> Option<Decision> {
        let storage = self.spec.storage.as_ref()?;
        let name = names::claim(&self.seen.key.name);
        match self.seen.claim {
            None => Some(self.create_claim(storage)),
            Some(claim) if claim.workspace.as_deref() != Some(&self.seen.key.name) => {
                let message = format!(
                    "a PersistentVolumeClaim {name} exists without the label {}={}; add the label \
                     to let this Workspace use it, or delete it",
                    names::LABEL_WORKSPACE,
                    self.seen.key.name
                );
                Some(Decision::wait(Finding::new(
                    Kind::Stalled,
                    Reason::VolumeNotOwned,
                    message,
                )))
            }
            Some(claim) if claim.deleting || self.is_predecessors(claim) => {
                let message = format!("the old PersistentVolumeClaim {name} is still going away");
                let reason = Reason::WaitingForOldVolume;
                Some(Decision::wait(Finding::new(
                    Kind::Progress,
                    reason,
                    message,
                )))
            }
            Some(_) => None,
        }
    }

    /// Owned by an earlier Workspace of this name, so the garbage collector deletes it.
    fn is_predecessors(&self, claim: &Claim) -> bool {
        let uid = &self.workspace.version.uid;
        let workspaces = claim
            .owners
            .iter()
            .filter(|owner| owner.kind == "Workspace");
        let mut uids = workspaces.map(|owner| &owner.uid).peekable();
        uids.peek().is_some() && !uids.any(|it| it == uid)
    }

    fn create_claim(&self, storage: &Storage) -> Decision {
        if let Some(decision) = self.claim_rejected() {
            return decision;
        }
        let claim = pod::claim(self.seen.key, &self.workspace.version.uid, storage);
        Decision::act(
            Step::CreateClaim {
                size: storage.size.0.clone(),
                claim: Box::new(claim),
            },
            pending("the PersistentVolumeClaim is about to be created"),
        )
    }

    /// Growth, and whether the claim goes with its Workspace.
    pub(super) fn claim_change(&self) -> Option<Decision> {
        let (storage, claim) = (self.spec.storage.as_ref()?, self.seen.claim?);
        let ours = claim.workspace.as_deref() == Some(&self.seen.key.name);
        if !ours || claim.deleting || self.is_predecessors(claim) || self.claim_rejected().is_some()
        {
            return None;
        }
        let change = volume::change(self.seen.key, &self.workspace.version.uid, storage, claim)?;
        let step = Step::PatchClaim {
            version: claim.version.clone(),
            size: storage.size.0.clone(),
            change,
        };
        Some(Decision::act(
            step,
            pending("the PersistentVolumeClaim is being changed"),
        ))
    }

    fn claim_rejected(&self) -> Option<Decision> {
        let size = &self.spec.storage.as_ref()?.size.0;
        let refusal = self.seen.memory.claim_refusal.as_deref()?;
        let retry = retry_at(refusal, self.now)?;
        (refusal.what == *size).then(|| {
            let message = format!("the API server refused the claim: {}", refusal.message);
            let finding = Finding::new(Kind::Stalled, Reason::VolumeRejected, message);
            Decision::wait(finding).until(retry)
        })
    }

    /// A refused growth does not stop the Workspace, but it is not what the user asked for.
    pub(super) fn with_claim_refusal(&self, decision: Decision) -> Decision {
        let content = matches!(decision.finding.kind, Kind::Ready | Kind::Suspended);
        match self.claim_rejected() {
            Some(rejected) if content && decision.step.is_none() => rejected,
            _ => decision,
        }
    }
}
