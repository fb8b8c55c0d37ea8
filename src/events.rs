//! The Kubernetes Events, which `kubectl describe` shows: of Workspaces that were Ready once and of
//! the settings. Nothing is told of what goes as planned.
//!
//! They are for people who look now: the API server forgets them after an hour, and when there are
//! too many some are left out. What must not be missed is in the status and in the record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::apply::Outcome;
use crate::fleet::{self, Changes, FLEET_ERROR, FLEET_LAST_GOOD, FLEET_REGISTRY, InForce};
use crate::moves::Tally;
use crate::names;
use crate::overview::{OutdatedImage, Overview, PullFailure};
use crate::plan::{Rollout, Step};
use crate::revision::short_hash;
use crate::seen::{Key, Seen, Shown};
use crate::settings::{REGISTRY_KEY, Settings};
use crate::workspace::{Reason, STALLED, Workspace};

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    type_: EventType,
    /// One word, as in a condition.
    reason: String,
    note: String,
}

impl Notice {
    fn normal(reason: &str, note: String) -> Self {
        Self {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note,
        }
    }

    fn warning(reason: &str, note: String) -> Self {
        Self {
            type_: EventType::Warning,
            ..Self::normal(reason, note)
        }
    }
}

/// The API takes no longer notes.
const NOTE_AT_MOST: usize = 1024;
/// No Event may take longer; one that does is given up.
const DEADLINE: Duration = Duration::from_secs(15);
/// So many Events may come at once of one kind of object; after that one in [`EARNED`].
const AT_ONCE: u64 = 50;
/// How long it takes until another one may come.
const EARNED: Duration = Duration::from_secs(2);

/// Publishes Events.
pub struct Events {
    recorder: Recorder,
    /// By the kind of the object that they are about: what befalls many Workspaces must not crowd
    /// out what is told of the settings.
    budgets: BTreeMap<String, Budget>,
}

impl Events {
    /// Those of this operator.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            recorder: Recorder::new(client, Reporter::from(names::MANAGER)),
            budgets: BTreeMap::new(),
        }
    }

    /// What to do to publish this; nothing when there were too many.
    pub fn publish(
        &mut self,
        regarding: ObjectReference,
        notice: Notice,
    ) -> Option<BoxFuture<'static, ()>> {
        let (now, kind) = (Instant::now(), regarding.kind.clone().unwrap_or_default());
        let budget = self.budgets.entry(kind).or_insert_with(|| Budget::new(now));
        if !budget.take(now) {
            debug!(reason = notice.reason, "one Event too many is left out");
            return None;
        }
        let recorder = self.recorder.clone();
        let publish = async move {
            let event = event(notice);
            let published = timeout(DEADLINE, recorder.publish(&event, &regarding)).await;
            if !matches!(published, Ok(Ok(()))) {
                debug!(?published, "an Event was not published");
            }
        };
        Some(publish.boxed())
    }
}

fn event(notice: Notice) -> Event {
    let mut note = notice.note;
    let mut end = NOTE_AT_MOST.min(note.len());
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    Event {
        // The library counts Events of one action and reason as one, with the note of the first.
        action: format!("{}-{}", notice.reason, &short_hash(&note)[..8]),
        type_: notice.type_,
        reason: notice.reason,
        note: Some(note),
        secondary: None,
    }
}

/// How many more may come.
#[derive(Debug)]
struct Budget {
    left: u64,
    counted: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            left: AT_ONCE,
            counted: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted);
        let earned = passed.as_secs() / EARNED.as_secs();
        if earned > 0 {
            self.left = AT_ONCE.min(self.left + earned);
            self.counted = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// The Workspace that an Event is about.
#[must_use]
pub fn workspace(key: &Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(Workspace::api_version(&()).into_owned()),
        kind: Some(Workspace::kind(&()).into_owned()),
        namespace: Some(key.namespace.to_string()),
        name: Some(key.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// The ConfigMap that an Event is about.
#[must_use]
pub fn config_map(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("ConfigMap".into()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// What is told of a step of one Workspace, which showed that when the step was planned.
#[must_use]
pub fn of_step(seen: &Seen<'_>, shown: Shown, step: &Step, outcome: &Outcome) -> Option<Notice> {
    let Outcome::Written(_) = outcome else {
        return None;
    };
    match step {
        Step::DeletePod { why, .. } => of_delete(*why, seen),
        Step::CreatePod { .. } => of_create(shown),
        Step::PatchStatus { status, .. } => {
            let news = !shown.is_stalled || shown.state != status.state;
            let mut conditions = status.conditions.iter();
            let stalled = conditions.find(|it| it.type_ == STALLED && it.status == "True")?;
            let message = stalled.message.clone();
            news.then(|| Notice::warning(&stalled.reason, message))
        }
        _ => None,
    }
}

fn of_delete(why: Rollout, seen: &Seen<'_>) -> Option<Notice> {
    let replaced = "the Pod is being replaced";
    match why {
        Rollout::SpecChanged => Some(Notice::normal(
            "Replacing",
            format!("{replaced} because what was asked for changed"),
        )),
        Rollout::SettingsChanged => Some(Notice::normal(
            "Replacing",
            format!("{replaced} because it cannot start, and the settings changed"),
        )),
        Rollout::PodFailed => {
            let failures = seen.pod.map_or(0, |pod| pod.told.failures) + 1;
            Some(Notice::warning(
                "PodFailed",
                format!("{replaced} because it ended; failures in a row: {failures}"),
            ))
        }
        // Those of a whole fleet go as planned.
        Rollout::NoPod
        | Rollout::Suspended
        | Rollout::Expired
        | Rollout::Moved
        | Rollout::PutBack => None,
    }
}

/// That of a new Workspace goes without saying, and that of one that is replaced was told when the
/// old Pod was deleted.
fn of_create(shown: Shown) -> Option<Notice> {
    let is_created = "a Pod is being created";
    let rested = [Reason::Suspended, Reason::Expired].map(Some);
    if rested.contains(&shown.state) {
        let note = format!("{is_created}, as it is not suspended any more");
        return Some(Notice::normal("Resuming", note));
    }
    let note = format!("{is_created}, as the one before is gone");
    shown.has_pod.then(|| Notice::warning("PodGone", note))
}

/// What is told of a write to the record of the settings, which held `stored` before.
#[must_use]
pub fn of_settings(
    changes: &Changes,
    stored: &BTreeMap<String, String>,
    in_force: &InForce,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let error = changes.get(FLEET_ERROR);
    if let Some(Some(error)) = error {
        let note = match in_force.settings {
            Some(_) => format!("not taken, so what is in force stays: {error}"),
            None => format!("not taken, and none are in force, so new rollouts wait: {error}"),
        };
        notices.push(Notice::warning("SettingsRejected", note));
    }
    let accepted = changes.contains_key(FLEET_LAST_GOOD) || error == Some(&None);
    // What an installation begins with is no change.
    let begins = !stored.contains_key(FLEET_LAST_GOOD) && !stored.contains_key(FLEET_ERROR);
    if accepted
        && !begins
        && let Some(settings) = &in_force.settings
    {
        let note = taken(settings, stored);
        notices.push(Notice::normal("SettingsAccepted", note));
    }
    notices
}

fn taken(settings: &Settings, stored: &BTreeMap<String, String>) -> String {
    let next = settings.registry();
    let mut note = match stored.get(FLEET_REGISTRY) {
        None => format!("taken; new rollouts pull from {next}"),
        Some(before) if before == next.as_str() => {
            format!("taken; new rollouts pull from {next} as before")
        }
        Some(before) => {
            format!("taken; new rollouts pull from {next}, and no longer from {before}")
        }
    };
    if let Some(before) = fleet::on_record(stored) {
        let next = settings.to_data();
        let keys: BTreeSet<_> = before.keys().chain(next.keys()).collect();
        let differs = |it: &&String| *it != REGISTRY_KEY && before.get(*it) != next.get(*it);
        let keys: Vec<_> = keys.into_iter().filter(differs).cloned().collect();
        if !keys.is_empty() {
            note.push_str(&format!("; what else changed: {}", keys.join(", ")));
        }
    }
    note
}

/// What is told of registries that begin to fail, or fail no longer.
#[must_use]
pub fn of_outages(earlier: &Overview, next: &Overview) -> Vec<Notice> {
    let fails =
        |overview: &Overview, registry: &str| overview.outages().any(|it| it.registry == registry);
    let begun = next.outages().filter(|it| !fails(earlier, &it.registry));
    let begun = begun.map(|it| {
        let PullFailure {
            registry,
            cause,
            workspaces,
            ..
        } = it;
        let note = format!("{registry} {cause}; Workspaces stuck on it: {workspaces}");
        Notice::warning("RegistryFailing", note)
    });
    let over = earlier.outages().filter(|it| !fails(next, &it.registry));
    let over = over.map(|it| {
        let note = format!("no Workspace is stuck on {} any more", it.registry);
        Notice::normal("RegistryFailureOver", note)
    });
    begun.chain(over).collect()
}

/// What is told of tags that have moved.
#[must_use]
pub fn of_moves(earlier: &Overview, next: &Overview) -> Vec<Notice> {
    let is_told = |it: &OutdatedImage| {
        let mut told = earlier.outdated_images.iter();
        told.any(|told| told.image == it.image && told.is == it.is)
    };
    let news = next.outdated_images.iter().filter(|it| !is_told(it));
    let notice = |it: &OutdatedImage| {
        let OutdatedImage {
            image,
            was,
            is,
            workspaces,
            ..
        } = it;
        let note = format!(
            "{image} stands for {is} now, and no longer for {was}; Workspaces that run that: \
             {workspaces}"
        );
        Notice::normal("TagMoved", note)
    };
    news.map(notice).collect()
}

/// What is told of the move of those that run: its begin, what is in its way, its end.
#[must_use]
pub fn of_rollout(earlier: &Overview, next: &Overview) -> Vec<Notice> {
    let none = Tally::default();
    let was = earlier.rollout.as_ref().unwrap_or(&none);
    let is = next.rollout.as_ref().unwrap_or(&none);
    let mut notices = Vec::new();
    if is.is_under_way() && !was.is_under_way() {
        let note = format!(
            "Workspaces that are to be moved to the settings in force: {}; not Ready at once: at \
             most {}",
            is.to_move, is.max_unavailable
        );
        notices.push(Notice::normal("RolloutBegun", note));
    }
    if let (Some(why), None) = (&is.halted, &was.halted) {
        notices.push(Notice::warning("RolloutHalted", why.clone()));
    }
    let begun = is
        .blocked
        .iter()
        .filter(|(why, _)| !was.blocked.contains_key(*why));
    notices.extend(begun.map(|(why, workspaces)| {
        let note = format!("{why}; Workspaces that run on as they are because of it: {workspaces}");
        Notice::warning("RolloutBlocked", note)
    }));
    let was_on = was.is_under_way() || was.halted.is_some();
    let is_over = was_on && !is.is_under_way() && is.halted.is_none();
    // Where nothing is moved any more, it was the settings that ended it.
    if is_over && next.rollout.is_some() {
        notices.push(over(is));
    }
    notices
}

fn over(rollout: &Tally) -> Notice {
    let Tally {
        moved,
        failed,
        put_back,
        ..
    } = rollout;
    let mut note = format!("Workspaces that have what the settings in force give: {moved}");
    if failed + put_back == 0 {
        return Notice::normal("RolloutOver", note);
    }
    note.push_str(&format!(
        "; of these not Ready again in their time, or crashing: {failed}; besides put back on the image \
         that they ran: {put_back}"
    ));
    Notice::warning("RolloutOver", note)
}

/// What is told of so many stuck Pods that got another image.
#[must_use]
pub fn of_heal(pods: usize) -> Notice {
    let note = format!("stuck Pods that got an image of the settings in force: {pods}");
    Notice::normal("Healed", note)
}

#[cfg(test)]
mod tests;
