//! What an edit of the settings would do, by the operator's own plan; pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::survey::{next_image, own_pod, running};
use crate::fleet::InForce;
use crate::index::Index;
use crate::overview::pull_failure;
use crate::plan::{Rollout, Step, plan};
use crate::seen::{Key, Seen};
use crate::settings::Policy;
use crate::workspace::{Reason, SUSPENDED};

/// What an edit of the settings would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Forecast {
    /// How many Workspaces there are.
    pub(super) workspaces: usize,
    /// How many of them get another image at their next rollout.
    pub(super) affected: usize,
    /// How many agents run; an edit by itself touches none of them.
    pub(super) running: usize,
    /// Whether the settings move those that run, a few at a time.
    pub(super) paced: bool,
    /// Whether the settings hold that.
    pub(super) paused: bool,
    /// Those that are stuck, and get another image or Pod at once.
    #[serde(serialize_with = "number")]
    pub(super) freed: BTreeSet<Key>,
    /// Those that wait for an image, whatever the edit does about them.
    #[serde(skip)]
    pub(super) waiting: BTreeSet<Key>,
    /// Those that run, and would be stopped by the edit. There are none, or something is wrong.
    #[serde(serialize_with = "number")]
    pub(super) touched: BTreeSet<Key>,
}

fn number<S: Serializer>(keys: &BTreeSet<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(keys.len() as u64)
}

/// What would change if these settings were in force, and no longer those.
pub(super) fn forecast(index: &Index, now: &InForce, next: &InForce, at: Timestamp) -> Forecast {
    let rollout = next.settings.as_ref().map(|it| it.rollout());
    let mut forecast = Forecast {
        paced: rollout.is_some_and(|it| it.policy == Policy::Paced),
        paused: rollout.is_some_and(|it| it.paused),
        ..Forecast::default()
    };
    for seen in index.all() {
        forecast.workspaces += 1;
        let image = |it: &InForce| it.settings.as_ref().and_then(|it| next_image(&seen, it));
        if image(next).is_some() && image(next) != image(now) {
            forecast.affected += 1;
        }
        let runs = running(&seen).is_some();
        forecast.running += usize::from(runs);
        let because = moves(&seen, next, at) && !moves(&seen, now, at);
        if because {
            let moved = if runs {
                &mut forecast.touched
            } else {
                &mut forecast.freed
            };
            moved.insert(seen.key.clone());
        }
        if moves(&seen, next, at) || waits_for_image(&seen) {
            forecast.waiting.insert(seen.key.clone());
        }
    }
    forecast
}

/// Whether these settings give its Pod another image, or stop it, at once.
fn moves(seen: &Seen<'_>, in_force: &InForce, at: Timestamp) -> bool {
    match plan(seen, in_force, at).step {
        Some(Step::SetImage { .. }) => true,
        Some(Step::DeletePod { why, .. }) => why == Rollout::SettingsChanged,
        _ => false,
    }
}

/// Whether its image cannot be pulled, or is being pulled since it got another one.
fn waits_for_image(seen: &Seen<'_>) -> bool {
    let Some(workspace) = seen.workspace else {
        return false;
    };
    let healed = own_pod(seen).is_some_and(|it| it.told.healed.is_some() && !it.agent.has_run());
    let status = &workspace.status;
    // Where no settings are in force, there is no image to wait for yet.
    let unset = status.state == Some(Reason::InvalidSettings);
    !status.is_true(SUSPENDED) && (healed || unset || pull_failure(workspace).is_some())
}
