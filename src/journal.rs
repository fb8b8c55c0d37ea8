//! The log lines that people look for: one at each boundary of a rollout.

use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::apply::Outcome;
use crate::fleet::{InForce, Origin};
use crate::plan::Step;
use crate::proof::Learnt;
use crate::seen::{Ask, Packed, Question, Seen, Shown, Workspace};
use crate::settings::Settings;
use crate::watch::Scope;
use crate::workspace::Reason;

/// The first line after the lists have come.
pub fn started(scope: &Scope, in_force: &InForce) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = scope.namespace.as_deref().unwrap_or("(all)"),
        settings = format!("{}/{}", scope.settings_namespace, scope.settings_name),
        registry = registry(in_force),
        "looking after Workspaces"
    );
}

fn registry(in_force: &InForce) -> &str {
    in_force
        .settings
        .as_ref()
        .map_or("(none)", |settings| settings.registry().as_str())
}

/// The settings in force, or what is wrong with them, changed.
pub fn in_force(earlier: &InForce, next: &InForce) {
    if let Some(message) = next
        .error
        .as_ref()
        .filter(|it| Some(*it) != earlier.error.as_ref())
    {
        let stays = next
            .settings
            .as_ref()
            .map_or("nothing is in force", |_| "what is in force stays");
        error!(
            registry = registry(next),
            "the settings are not taken, so {stays}: {message}"
        );
    }
    for warning in next
        .warnings
        .iter()
        .filter(|it| !earlier.warnings.contains(it))
    {
        warn!("settings: {warning}");
    }
    if next.settings != earlier.settings && earlier.origin != Origin::Unread {
        let old = earlier
            .settings
            .as_ref()
            .map(Settings::registry)
            .map(ToString::to_string);
        info!(
            registry = registry(next),
            earlier = old,
            "settings in force changed"
        );
    }
}

/// A step was planned.
pub fn planned(seen: &Seen<'_>, step: &Step) {
    let Some(workspace) = seen.workspace else {
        return;
    };
    let (uid, runtime) = (&workspace.version.uid, runtime(workspace));
    match step {
        // A refused one is tried again and again, and told once.
        Step::CreatePod { ask, .. } if refused(seen, ask).is_some() => {}
        Step::CreatePod { rollout, ask, .. } => info!(
            workspace = %seen.key, uid, runtime, image = ask.image, reason = %rollout,
            "rollout planned"
        ),
        Step::DeletePod { why, .. } => info!(
            workspace = %seen.key, uid, runtime, reason = %why, "the Pod is deleted"
        ),
        _ => {}
    }
}

/// A probe brought this. What fails again and again for one reason is told once.
pub fn probed(learnt: &Learnt) {
    let Question { node, image, .. } = &learnt.question;
    match &learnt.result {
        Ok(()) => info!(node, image, "proved: the node has the image"),
        Err(why) if learnt.is_news => {
            warn!(node, image, "not proved, so nothing stops for it: {why}")
        }
        Err(_) => {}
    }
}

/// A step was applied, or not. `shown` is what the Workspace showed before: the watch may be quicker
/// than the answer, and then what is seen has the new state already.
pub fn applied(seen: &Seen<'_>, shown: Shown, step: &Step, outcome: &Outcome) {
    let Some(workspace) = seen.workspace else {
        return;
    };
    let (uid, runtime) = (&workspace.version.uid, runtime(workspace));
    match (step, outcome) {
        (Step::CreatePod { ask, .. }, Outcome::Written(_)) => {
            info!(workspace = %seen.key, uid, runtime, image = ask.image, "Pod created");
        }
        (Step::SetImage { ask, why, .. }, Outcome::Written(_)) => {
            info!(
                workspace = %seen.key, uid, runtime, image = ask.image, reason = %why,
                "healed: the stuck Pod got another image"
            );
        }
        (Step::MovePod { ask, moved, .. }, Outcome::Written(_)) => {
            let what = if moved.back.is_some() {
                "put back on the image that it ran"
            } else {
                "moved in place"
            };
            info!(workspace = %seen.key, uid, runtime, image = ask.image, "{what}");
        }
        (Step::PatchStatus { status, .. }, Outcome::Written(_)) if shown.state != status.state => {
            state(seen, workspace, status.state, status.image.as_deref());
        }
        (
            Step::CreatePod { ask, .. }
            | Step::TryPod { ask, .. }
            | Step::SetImage { ask, .. }
            | Step::MovePod { ask, .. },
            Outcome::Refused(message),
        ) if refused(seen, ask) == Some(message) => {}
        (Step::PatchStatus { .. }, Outcome::NoEffect) => warn!(
            workspace = %seen.key, uid, runtime,
            "the API server did not store the status as it was written: is the \
             CustomResourceDefinition as new as the operator?"
        ),
        (_, Outcome::Refused(message)) => {
            warn!(workspace = %seen.key, uid, runtime, "the API server refused: {message}");
        }
        _ => {}
    }
}

/// The words in which the API server refused this very Pod before.
fn refused<'a>(seen: &'a Seen<'_>, ask: &Ask) -> Option<&'a String> {
    let refusal = seen.memory.pod_refusal.as_ref()?;
    (refusal.what == *ask).then_some(&refusal.message)
}

fn state(seen: &Seen<'_>, workspace: &Workspace, state: Option<Reason>, image: Option<&str>) {
    let (uid, runtime) = (&workspace.version.uid, runtime(workspace));
    let Some(state) = state else { return };
    match (state, seen.pod) {
        (Reason::Ready, Some(pod)) => {
            let moved = pod.told.moved.as_ref().map(|it| it.at);
            let since = pod.told.healed.max(moved).unwrap_or(pod.created);
            let took = Timestamp::now().duration_since(since).as_secs();
            info!(workspace = %seen.key, uid, runtime, image, seconds = took, "Ready");
        }
        _ => info!(workspace = %seen.key, uid, runtime, image, "{state}"),
    }
}

fn runtime(workspace: &Workspace) -> String {
    let spec = workspace.spec.as_ref();
    spec.map_or_else(|_| "(unknown)".into(), Packed::runtime)
}
