//! After the edit: until the operator has taken it, and what was stuck is Ready.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, timeout_at};

use super::Intent;
use crate::fleet::{self, FLEET_ERROR, Source};
use crate::kubectl::look::{self, View, Watching};
use crate::kubectl::patience::Deadline;
use crate::kubectl::progress::Progress;
use crate::kubectl::survey::stored;
use crate::kubectl::{Refused, Session};
use crate::overview::pull_failure;
use crate::seen::{Key, Seen};
use crate::settings::REGISTRY_KEY;
use crate::workspace::{READY, SUSPENDED};

/// An operator that runs takes an edit in milliseconds.
const TAKEN_SOON: Duration = Duration::from_secs(10);
/// So many are named.
const NAMES: usize = 10;
/// How it ended.
pub(super) struct Followed {
    to: String,
    /// How to go back, if that is known.
    back: Option<String>,
    /// Whether the operator is seen to go by it.
    pub(super) taken: bool,
    pub(super) ready: usize,
    /// Those that are not Ready.
    pub(super) left: BTreeSet<Key>,
}

impl Followed {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = match self.taken {
            true => format!("In force: {}. ", self.to),
            false => format!("{}. ", cannot_tell(&self.to)),
        };
        match (self.ready, self.left.len()) {
            (0, 0) if !self.taken => text.push_str("Nothing was seen to be stuck.\n"),
            (0, 0) => text.push_str("Nothing was stuck.\n"),
            (ready, 0) => text.push_str(&format!("All that were stuck are Ready: {ready}.\n")),
            (ready, left) => {
                let named: Vec<_> = self
                    .left
                    .iter()
                    .take(NAMES)
                    .map(ToString::to_string)
                    .collect();
                let more = if left > NAMES { ", …" } else { "" };
                text.push_str(&format!(
                    "Ready: {ready}; not Ready: {left} ({}{more}).\nGo on waiting: {}.",
                    named.join(", "),
                    command(&self.to),
                ));
                let back = self.back.iter().map(|it| format!(" Go back: {it}"));
                text.extend(back);
                text.push('\n');
            }
        }
        text
    }
}

/// Follows the edit. That some are not Ready in time is an answer, and no error.
pub(super) async fn follow(
    session: &mut Session,
    intent: &Intent,
    deadline: Deadline,
) -> anyhow::Result<Followed> {
    let client = session.access.client.clone();
    let waiting = &intent.forecast.waiting;
    let (left, is_taken) = (RefCell::new(waiting.clone()), Cell::new(None));
    let following = async {
        let view = look::once(&client, &intent.scope).await?;
        let mut watching = Watching::from(view, &client, &intent.scope);
        let mut progress = Progress::new(waiting.len());
        let seen = taken(&mut watching, intent, &mut progress).await?;
        is_taken.set(Some(seen));
        healed(&mut watching, intent, &left, &mut progress).await
    };
    let following = deadline.within(following);
    let left_there = || interrupted(intent);
    session.interrupt.may_end(following, left_there).await?;
    let Some(taken) = is_taken.get() else {
        let looking = look::once(&client, &intent.scope);
        let left = || interrupted(intent);
        let view = session.interrupt.may_end(looking, left).await?;
        return Err(match view.fleet {
            Source::Unreadable(why) => anyhow!("{}: {why}", cannot_tell(intent.to.as_str())),
            _ => Refused(not_taken(intent)).into(),
        });
    };
    let left = left.into_inner();
    Ok(Followed {
        to: intent.to.to_string(),
        back: back(intent),
        taken,
        ready: waiting.len() - left.len(),
        left,
    })
}

/// What switches to this prefix, whatever is in force when it is run.
fn command(prefix: &str) -> String {
    format!("kubectl workspace switch {prefix}")
}

fn back(intent: &Intent) -> Option<String> {
    intent.before.as_deref().map(command)
}

fn interrupted(intent: &Intent) -> String {
    let again = command(intent.to.as_str());
    let back = back(intent).map(|it| format!(", or go back with {it}"));
    format!(
        "the edit is made, and the operator goes on with it; follow with {again}{}",
        back.unwrap_or_default()
    )
}

fn cannot_tell(to: &str) -> String {
    format!("the settings name {to}; whether the operator has taken that cannot be told")
}

fn not_taken(intent: &Intent) -> String {
    let namespace = &intent.scope.settings_namespace;
    format!(
        "the settings name {}, and no operator has taken that: is one running? kubectl get \
         pods,lease -n {namespace}",
        intent.to
    )
}

/// # Errors
/// Somebody has made the settings name another prefix since.
fn refuse_if_undone(view: &View, intent: &Intent) -> Result<(), Refused> {
    let Source::Present(settings) = &view.settings else {
        return Ok(());
    };
    let named = settings.get(REGISTRY_KEY).map_or("none", String::as_str);
    if named == intent.to.as_str() {
        return Ok(());
    }
    Err(Refused(format!(
        "somebody has edited the settings since: they name {named}, and no longer {}; what is in \
         force, kubectl workspace status says",
        intent.to
    )))
}

/// Waits until the record says that the operator goes by the new prefix. Returns whether it does:
/// no, where the record may not be read.
async fn taken(
    watching: &mut Watching,
    intent: &Intent,
    progress: &mut Progress,
) -> anyhow::Result<bool> {
    let mut soon = Some(Instant::now() + TAKEN_SOON);
    loop {
        refuse_if_undone(&watching.view, intent)?;
        let unread = match &watching.view.fleet {
            Source::Unreadable(why) => Some(format!("{}: {why}", cannot_tell(intent.to.as_str()))),
            _ => None,
        };
        if let (Some(unread), true) = (&unread, watching.view.hides_fleet()) {
            progress.note(unread);
            return Ok(false);
        }
        let in_force = fleet::last_good(&watching.view.fleet).ok().flatten();
        if in_force.is_some_and(|it| *it.registry() == intent.to) {
            return Ok(true);
        }
        progress.set(0, "waiting for the operator to take it");
        let trouble = match soon {
            Some(at) => match timeout_at(at, watching.changed()).await {
                Ok(changed) => changed?,
                Err(_) => {
                    soon = None;
                    let error = stored(&watching.view.fleet, FLEET_ERROR);
                    let error = unread.or(error.map(str::to_owned));
                    Some(error.unwrap_or_else(|| not_taken(intent)))
                }
            },
            None => watching.changed().await?,
        };
        if let Some(trouble) = trouble {
            progress.note(&trouble);
        }
    }
}

/// Waits until all that waited for an image are Ready, suspended or gone.
async fn healed(
    watching: &mut Watching,
    intent: &Intent,
    left: &RefCell<BTreeSet<Key>>,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let all = left.borrow().len();
    let mut told = BTreeSet::new();
    loop {
        refuse_if_undone(&watching.view, intent)?;
        let index = &watching.view.index;
        left.borrow_mut()
            .retain(|key| index.seen(key).is_some_and(|it| !has_arrived(&it)));
        let seen: Vec<_> = left.borrow().iter().cloned().collect();
        let seen: Vec<_> = seen.iter().filter_map(|it| index.seen(it)).collect();
        for failure in seen.iter().filter_map(|it| fails_there(it, intent)) {
            if told.insert(failure.clone()) {
                let back = back(intent).map(|it| format!("; to go back: {it}"));
                progress.note(&format!("{failure}{}", back.unwrap_or_default()));
            }
        }
        let ready = all - seen.len();
        progress.set(ready, &format!("Ready: {ready} of {all}{}", states(&seen)));
        if seen.is_empty() {
            return Ok(());
        }
        if let Some(trouble) = watching.changed().await? {
            progress.note(&trouble);
        }
    }
}

fn has_arrived(seen: &Seen<'_>) -> bool {
    let Some(workspace) = seen.workspace else {
        return true;
    };
    // It was not when it was first looked at.
    let ready = workspace.status.is_true(READY);
    ready || workspace.status.is_true(SUSPENDED)
}

/// How many are in which state.
fn states(seen: &[Seen<'_>]) -> String {
    let mut states = BTreeMap::<String, usize>::new();
    for workspace in seen.iter().filter_map(|it| it.workspace) {
        let state = workspace.status.state;
        let state = state.map_or_else(|| "New".to_owned(), |it| it.to_string());
        *states.entry(state).or_default() += 1;
    }
    let states: Vec<_> = states
        .iter()
        .map(|(state, count)| format!("{state}: {count}"))
        .collect();
    match states.as_slice() {
        [] => String::new(),
        states => format!(" ({})", states.join(", ")),
    }
}

/// What the new registry does to one that was told to pull from it, where that fails.
fn fails_there(seen: &Seen<'_>, intent: &Intent) -> Option<String> {
    let workspace = seen.workspace?;
    let (registry, cause) = pull_failure(workspace)?;
    let image = workspace.status.image.as_deref()?;
    let there = image.strip_prefix(intent.to.as_str())?.starts_with('/');
    there.then(|| format!("{registry} {}", cause.words))
}
