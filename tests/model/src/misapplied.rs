//! Deliberately broken ways to apply a step. Each wraps the production rule, as the
//! [`crate::mutants`] wrap that of deciding.

use kube::api::{Patch, Preconditions};
use serde_json::Value;
use workspace_operator::apply::{Call, Outcome, Reply, Request};
use workspace_operator::plan::Step;
use workspace_operator::seen::Key;

use crate::cluster::{APPLYING, Applying};
use crate::invariants::Invariant;

/// A broken way to apply a step.
pub struct Misapplied {
    /// What is wrong with it.
    pub name: &'static str,
    /// The invariant that it breaks.
    pub breaks: Invariant,
    /// The rule.
    pub applying: Applying,
}

const fn asks(
    name: &'static str,
    breaks: Invariant,
    request: fn(&Key, &Step) -> Request,
) -> Misapplied {
    Misapplied {
        name,
        breaks,
        applying: Applying {
            request,
            ..APPLYING
        },
    }
}

/// All of them.
pub const MISAPPLIED: [Misapplied; 6] = [
    asks("creates what it tries", Invariant::I1, tries_in_earnest),
    asks(
        "deletes whatever has the name",
        Invariant::I4,
        deletes_by_name,
    ),
    asks("patches whatever is there", Invariant::I4, patches_by_name),
    asks(
        "patches the Workspace, not its status",
        Invariant::I4,
        patches_itself,
    ),
    asks(
        "patches containers as a plain list",
        Invariant::I7,
        merges_plainly,
    ),
    Misapplied {
        name: "takes what exists for a refusal",
        breaks: Invariant::I7,
        applying: Applying {
            outcome: never_looks,
            ..APPLYING
        },
    },
];

/// The production request, changed after.
fn changed(key: &Key, step: &Step, change: impl Fn(Call) -> Call) -> Request {
    let request = Request::of(key, step);
    Request {
        call: change(request.call),
        ..request
    }
}

/// The production request, its patch changed after.
fn patched(key: &Key, step: &Step, change: impl Fn(Patch<Value>) -> Patch<Value>) -> Request {
    changed(key, step, |call| match call {
        Call::Patch { part, patch } => Call::Patch {
            part,
            patch: change(patch),
        },
        call => call,
    })
}

fn tries_in_earnest(key: &Key, step: &Step) -> Request {
    changed(key, step, |call| match call {
        Call::Create { body, .. } => Call::Create {
            body,
            dry_run: false,
        },
        call => call,
    })
}

fn deletes_by_name(key: &Key, step: &Step) -> Request {
    changed(key, step, |call| match call {
        Call::Delete { .. } => Call::Delete {
            preconditions: Preconditions::default(),
        },
        call => call,
    })
}

fn patches_by_name(key: &Key, step: &Step) -> Request {
    patched(key, step, |mut patch| {
        if let Patch::Merge(body) | Patch::Strategic(body) = &mut patch
            && let Some(metadata) = body["metadata"].as_object_mut()
        {
            metadata.remove("resourceVersion");
        }
        patch
    })
}

fn patches_itself(key: &Key, step: &Step) -> Request {
    changed(key, step, |call| match call {
        Call::Patch { patch, .. } => Call::Patch { part: None, patch },
        call => call,
    })
}

fn merges_plainly(key: &Key, step: &Step) -> Request {
    patched(key, step, |patch| match patch {
        Patch::Strategic(body) => Patch::Merge(body),
        patch => patch,
    })
}

fn never_looks(step: &Step, reply: Reply) -> Option<Outcome> {
    let refused = || Some(Outcome::Refused("already exists".into()));
    Outcome::of(step, reply).or_else(refused)
}
