//! What is remembered of a step. A crash forgets it, so nothing here is needed for safety.

use jiff::Timestamp;

use super::{Rollout, Step, status};
use crate::seen::{Ask, Left, Memory, Refusal};

/// What the API server answered to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did it, or of a trial: it would.
    Done,
    /// It took the change, and what is stored is as it was: a policy or an older schema undid it.
    NoEffect,
    /// It refused, in these words.
    Refused(String),
    /// The namespace is going away.
    NamespaceTerminating,
}

/// Takes an answer into the memory.
pub fn remember(memory: &mut Memory, step: &Step, answer: Answer, now: Timestamp) {
    if step.stops().is_some() {
        match answer {
            Answer::Done => memory.was_told_to_go(),
            // Without an answer it may be done all the same.
            _ => memory.told_to_go = None,
        }
    }
    match answer {
        Answer::Done => done(memory, step, now),
        Answer::NoEffect => ignored(memory, step, now),
        Answer::Refused(message) => refused(memory, step, message, now),
        Answer::NamespaceTerminating => memory.namespace_terminating = true,
    }
}

fn ignored(memory: &mut Memory, step: &Step, now: Timestamp) {
    match step {
        Step::PatchStatus { status, .. } => memory.ignored = Some(status::words(status)),
        _ => {
            let message = "it took the change, and a policy or a limit undid it";
            refused(memory, step, message.to_owned(), now);
        }
    }
}

fn done(memory: &mut Memory, step: &Step, now: Timestamp) {
    match step {
        Step::CreatePod { ask, .. } => {
            if std::mem::take(&mut memory.replaces) {
                healed(memory, ask, now);
            }
            memory.failures = 0;
            memory.pod_refusal = None;
            (memory.foreseen, memory.accepted) = (None, None);
            memory.left = None;
        }
        Step::TryPod { ask, ahead, .. } => {
            memory.pod_refusal = None;
            if *ahead {
                memory.foreseen = Some(Box::new(ask.clone()));
            } else {
                memory.accepted = Some(Box::new((ask.clone(), now)));
            }
        }
        Step::DeletePod {
            failures,
            why,
            left,
            ..
        } => {
            memory.left = (**left != Left::default()).then(|| left.clone());
            memory.replaces = *why == Rollout::SettingsChanged;
            memory.failures = *failures;
            memory.delete_refusal = None;
        }
        Step::SetImage { ask, .. } | Step::MovePod { ask, .. } => {
            healed(memory, ask, now);
            memory.pod_refusal = None;
        }
        Step::CreateClaim { .. } | Step::PatchClaim { .. } => memory.claim_refusal = None,
        Step::PatchStatus { .. } => memory.ignored = None,
    }
}

fn healed(memory: &mut Memory, ask: &Ask, now: Timestamp) {
    let earlier = memory.healed.as_deref();
    let healed = Refusal::after(earlier, ask.clone(), String::new(), now);
    memory.healed = Some(healed.into());
}

fn refused(memory: &mut Memory, step: &Step, message: String, now: Timestamp) {
    match step {
        Step::CreatePod { ask, .. }
        | Step::TryPod { ask, .. }
        | Step::SetImage { ask, .. }
        | Step::MovePod { ask, .. } => {
            let earlier = memory.pod_refusal.as_deref();
            let refusal = Refusal::after(earlier, ask.clone(), message, now);
            memory.pod_refusal = Some(refusal.into());
            // A Pod that was accepted on trial and then refused is to be tried again.
            (memory.foreseen, memory.accepted) = (None, None);
        }
        Step::CreateClaim { size, .. } | Step::PatchClaim { size, .. } => {
            let earlier = memory.claim_refusal.as_deref();
            let refusal = Refusal::after(earlier, size.clone(), message, now);
            memory.claim_refusal = Some(refusal.into());
        }
        Step::DeletePod { version, .. } => {
            let earlier = memory.delete_refusal.as_deref();
            let refusal = Refusal::after(earlier, version.uid.clone(), message, now);
            memory.delete_refusal = Some(refusal.into());
        }
        Step::PatchStatus { .. } => {}
    }
}
