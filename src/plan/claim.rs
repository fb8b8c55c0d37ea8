//! What the claim of a Workspace needs, before its Pod and beside it.

use super::decide::{Case, pending};
use super::{Decision, Finding, How, Kind, Step};
use crate::names;
use crate::pod;
use crate::seen::{Claim, Pod, Seen, Workspace};
use crate::volume;
use crate::workspace::{Reason, Storage};

/// Why another Pod could not have the storage of the one that runs.
#[must_use]
pub fn lost_claim(seen: &Seen<'_>, storage: Option<&Storage>, how: How) -> Option<&'static str> {
    let workspace = seen.workspace.filter(|_| how == How::Anew)?;
    storage?;
    let Some(claim) = seen.claim.filter(|it| is_labelled(it, &seen.key.name)) else {
        // Without its label it is out of sight.
        return Some("is gone, or has lost the label molecule.ai/workspace with its name");
    };
    if claim.deleting || is_predecessors(claim, workspace) {
        Some("goes away as soon as nobody uses it, and all that is on it")
    } else {
        None
    }
}

fn is_labelled(claim: &Claim, name: &str) -> bool {
    claim.workspace.as_deref() == Some(name)
}

/// Owned by an earlier Workspace of this name, so the garbage collector deletes it.
fn is_predecessors(claim: &Claim, workspace: &Workspace) -> bool {
    let uid = &workspace.version.uid;
    let workspaces = claim
        .owners
        .iter()
        .filter(|owner| owner.kind == "Workspace");
    let mut uids = workspaces.map(|owner| &owner.uid).peekable();
    uids.peek().is_some() && !uids.any(|it| it == uid)
}

impl Case<'_> {
    /// What must come before a Pod that mounts the claim. Never that it is bound: with
    /// `WaitForFirstConsumer` that comes after.
    pub(super) fn claim_first(&self) -> Option<Decision> {
        let storage = self.spec.storage.as_ref()?;
        let name = names::claim(&self.seen.key.name);
        match self.seen.claim {
            None => Some(self.create_claim(storage)),
            Some(claim) if !is_labelled(claim, &self.seen.key.name) => {
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
            Some(claim) if claim.deleting || is_predecessors(claim, self.workspace) => {
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

    /// Nobody asked for the stop of what runs, so it is not stopped where that would lose its storage.
    pub(super) fn keeps_storage(&self, pod: &Pod, how: How) -> Option<Decision> {
        let why = lost_claim(self.seen, self.spec.storage.as_ref(), how)?;
        let stays = self.diagnosed(pod);
        if stays.finding.kind != Kind::Ready {
            return Some(stays);
        }
        let message = format!(
            "the Pod runs on as it is, for the PersistentVolumeClaim {} {why}",
            names::claim(&self.seen.key.name)
        );
        let finding = Finding::new(Kind::Stalled, Reason::RolloutBlocked, message);
        Some(Decision { finding, ..stays })
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
        let ours = is_labelled(claim, &self.seen.key.name);
        let goes = claim.deleting || is_predecessors(claim, self.workspace);
        if !ours || goes || self.claim_rejected().is_some() {
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

    /// A refused growth does not stop the Workspace, but it is not what the user asked for.
    pub(super) fn with_claim_refusal(&self, decision: Decision) -> Decision {
        let content = matches!(decision.finding.kind, Kind::Ready | Kind::Suspended);
        match self.claim_rejected() {
            Some(rejected) if content && decision.step.is_none() => rejected,
            _ => decision,
        }
    }
}
