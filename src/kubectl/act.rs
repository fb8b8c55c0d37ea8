//! `restart`, `suspend` and `resume`: one patch for each Workspace, so many at a time.

mod targets;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Error};
use serde::Serialize;
use serde_json::{Value, json};

use super::access::explain;
use super::look::{self, View, Watching};
use super::output;
use super::pace::{Budget, Stage, Target, next};
use super::progress::Progress;
use super::{Answer, PLUGIN, Refused, Session, patience, survey};
use crate::index::Index;
use crate::names;
use crate::requests::within;
use crate::seen::{Key, Packed, Seen};
use crate::wire;
use crate::workspace::{READY, RESTARTED_AT, SUSPENDED};

/// Which Workspaces, and how many at once.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["names", "all", "selector"])))]
pub(super) struct Which {
    /// The names of Workspaces
    #[arg(value_name = "NAME", value_parser = names::namespace,
          conflicts_with_all = ["all", "selector", "all_namespaces"])]
    names: Vec<String>,
    /// All of the namespace
    #[arg(long)]
    all: bool,
    /// Those with these labels, as in team=a,tier!=test
    #[arg(short = 'l', long, value_parser = selector)]
    selector: Option<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// How many may be unavailable at once: a number, or per cent as in 25%; the next ones wait
    /// until these are Ready again
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    max_unavailable: Budget,
    #[command(flatten)]
    patience: patience::Patience,
}

fn selector(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("an empty selector would be everybody: say --all for that".to_owned()),
        text => Ok(text.to_owned()),
    }
}

const RESTART: &str = "Examples:
  kubectl workspace restart alice bob
  kubectl workspace restart -A -l team=research --max-unavailable 10%

A restart starts the image that the node has: it does not fetch a new build under an old tag. For
that, pin its digest: kubectl workspace pin RUNTIME.

Exit codes: 0 all are Ready again; 1 not all, or not after the timeout; 2 it cannot be told; 130
interrupted.";

/// The flags of `restart`.
#[derive(Debug, Args)]
#[command(after_help = RESTART)]
pub(super) struct Restart {
    #[command(flatten)]
    which: Which,
}

const SUSPEND: &str = "Examples:
  kubectl workspace suspend alice
  kubectl workspace suspend --all --max-unavailable 5

The storage stays. Here --max-unavailable is how many are stopped at once.

Exit codes: 0 all are suspended; 1 not all, or not after the timeout; 2 it cannot be told; 130
interrupted.";

/// The flags of `suspend`.
#[derive(Debug, Args)]
#[command(after_help = SUSPEND)]
pub(super) struct Suspend {
    #[command(flatten)]
    which: Which,
}

const RESUME: &str = "Examples:
  kubectl workspace resume alice
  kubectl workspace resume --all --max-unavailable 25%

Here --max-unavailable is how many are started at once.

Exit codes: 0 all are Ready; 1 not all, or not after the timeout; 2 it cannot be told; 130
interrupted.";

/// The flags of `resume`.
#[derive(Debug, Args)]
#[command(after_help = RESUME)]
pub(super) struct Resume {
    #[command(flatten)]
    which: Which,
}

/// What is done to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Restart,
    Suspend,
    Resume,
}

impl Act {
    /// As in "3 of 4 restarted".
    fn done(self) -> &'static str {
        match self {
            Act::Restart => "restarted",
            Act::Suspend => "suspended",
            Act::Resume => "resumed",
        }
    }

    fn change(self, now: Timestamp) -> Value {
        match self {
            Act::Restart => json!({"metadata": {"annotations": {RESTARTED_AT: now.to_string()}}}),
            Act::Suspend => json!({"spec": {"suspend": true}}),
            Act::Resume => json!({"spec": {"suspend": false}}),
        }
    }

    /// Why there is nothing to do about one.
    fn needless(self, seen: &Seen<'_>) -> Option<&'static str> {
        if seen.workspace.is_some_and(|it| it.deleting) {
            return Some("is being deleted");
        }
        match (self, suspends(seen)) {
            (Act::Restart, true) => Some("is suspended, and starts anew when it is resumed"),
            (Act::Suspend, true) => Some("is suspended already"),
            (Act::Resume, false) => Some("is not suspended"),
            _ => None,
        }
    }
}

/// What became of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// Those that it is over for.
    done: Vec<String>,
    /// Those that it is not over for, with where they stand.
    under_way: BTreeMap<String, String>,
    /// Those that nothing was done about.
    untouched: Vec<String>,
}

pub(super) async fn restart(session: Session, asked: Restart) -> anyhow::Result<Answer> {
    run(session, asked.which, Act::Restart).await
}

pub(super) async fn suspend(session: Session, asked: Suspend) -> anyhow::Result<Answer> {
    run(session, asked.which, Act::Suspend).await
}

pub(super) async fn resume(session: Session, asked: Resume) -> anyhow::Result<Answer> {
    run(session, asked.which, Act::Resume).await
}

async fn run(mut session: Session, which: Which, act: Act) -> anyhow::Result<Answer> {
    let client = session.access.client.clone();
    let namespace = (!which.all_namespaces).then(|| session.access.namespace.clone());
    let scope = session.common.scope(namespace);
    let nothing = || format!("none was {}", act.done());
    let looking = async {
        let view = look::once(&client, &scope).await?;
        Ok((targets::keys(&client, &scope, &which).await?, view))
    };
    let (keys, view) = session.interrupt.may_end(looking, nothing).await?;
    let is_named = !which.names.is_empty();
    let mut work = Work::new(act, &keys, is_named, &view.index)?;
    if act == Act::Restart {
        work.offer_pin(&view);
    }
    let most = which.max_unavailable.of(work.stages.len());
    let mut watching = Watching::from(view, &client, &scope);
    let mut ended = Ok(Some(()));
    if !work.stages.is_empty() {
        let deadline = which.patience.deadline();
        let working = deadline.within(work.run(&client, &mut watching, most));
        ended = session.interrupt.may_end(working, String::new).await;
    }
    let told = work.told(&watching.view.index);
    // What was done, and what was not, is to be known however it ended.
    output::answer(session.common.output, &told, || work.text(&told))?;
    ended?;
    Ok(Answer::from(
        told.under_way.is_empty() && told.untouched.is_empty(),
    ))
}

/// The Workspaces, and how far each has come.
struct Work {
    act: Act,
    stages: BTreeMap<Key, Stage>,
    /// The revisions before a restart.
    before: BTreeMap<Key, String>,
}

impl Work {
    fn new(act: Act, keys: &[Key], is_named: bool, index: &Index) -> anyhow::Result<Self> {
        let mut work = Self {
            act,
            stages: BTreeMap::new(),
            before: BTreeMap::new(),
        };
        for key in keys {
            let seen = index.seen(key).filter(|it| it.workspace.is_some());
            let Some(seen) = seen else {
                if is_named {
                    return Err(targets::missing(key));
                }
                continue;
            };
            if let Some(why) = act.needless(&seen) {
                output::say(&format!("{key} {why}."));
                continue;
            }
            let revision = seen.workspace.map(|it| it.revision.clone());
            work.before
                .insert(key.clone(), revision.unwrap_or_default());
            work.stages.insert(key.clone(), Stage::Waits);
        }
        Ok(work)
    }

    /// Of what has a tag, the node has a build, and keeps it.
    fn offer_pin(&self, view: &View) {
        let settings = view.in_force().settings;
        let tagged = |key| {
            let seen = view.index.seen(key)?;
            let spec = seen.workspace?.spec.as_ref().ok()?.unpack();
            let next = settings
                .as_ref()
                .and_then(|it| survey::next_image(&seen, it));
            let is_pinned = next.is_some_and(|it| it.contains('@'));
            (spec.digest.is_none() && !is_pinned).then_some(spec.runtime)
        };
        let runtimes: BTreeSet<_> = self.stages.keys().filter_map(tagged).collect();
        if !runtimes.is_empty() {
            let runtimes: Vec<_> = runtimes.into_iter().collect();
            output::say(&format!(
                "A restart does not fetch a new build under an old tag. For that: kubectl \
                 workspace pin {}",
                runtimes.join(" ")
            ));
        }
    }

    async fn run(
        &mut self,
        client: &Client,
        watching: &mut Watching,
        most: usize,
    ) -> anyhow::Result<()> {
        let mut progress = Progress::new(self.stages.len());
        loop {
            self.look(&watching.view.index);
            let done = self.count(Stage::Done);
            let (all, act) = (self.stages.len(), self.act.done());
            let under_way = self.count(Stage::UnderWay);
            progress.set(
                done,
                &format!("{act}: {done} of {all} (under way: {under_way})"),
            );
            if done == all {
                return Ok(());
            }
            for key in self.turn(&watching.view.index, most) {
                self.patch(client, &watching.view.index, &key).await?;
            }
            if let Some(trouble) = watching.changed().await? {
                progress.note(&trouble);
            }
        }
    }

    fn count(&self, stage: Stage) -> usize {
        self.stages.values().filter(|it| **it == stage).count()
    }

    /// Which are over by now.
    fn look(&mut self, index: &Index) {
        for (key, stage) in &mut self.stages {
            let Some(seen) = index.seen(key).filter(|it| it.workspace.is_some()) else {
                *stage = Stage::Done;
                continue;
            };
            if *stage == Stage::UnderWay && is_over(self.act, &seen, &self.before[key]) {
                *stage = Stage::Done;
            }
        }
    }

    /// Whose turn it is.
    fn turn(&self, index: &Index, most: usize) -> Vec<Key> {
        let target = |(key, stage): (&Key, &Stage)| Target {
            stage: *stage,
            // What is suspended, or to be, is missed by nobody.
            available: self.act != Act::Restart || index.seen(key).is_some_and(|it| is_up(&it)),
        };
        let targets: Vec<_> = self.stages.iter().map(target).collect();
        let keys: Vec<_> = self.stages.keys().collect();
        let turn = next(&targets, most);
        turn.into_iter().map(|it| keys[it].clone()).collect()
    }

    /// Asks for it, of the Workspace as it was seen: what changed since is looked at again first.
    async fn patch(&mut self, client: &Client, index: &Index, key: &Key) -> anyhow::Result<()> {
        let Some(workspace) = index.seen(key).and_then(|it| it.workspace) else {
            return Ok(());
        };
        let mut change = self.act.change(Timestamp::now());
        change["metadata"]["resourceVersion"] = json!(workspace.version.resource_version);
        let params = PatchParams {
            field_manager: Some(PLUGIN.to_owned()),
            ..PatchParams::default()
        };
        let api = Api::<wire::Workspace>::namespaced(client.clone(), &key.namespace);
        // Who interrupts this does not know what becomes of it.
        self.stages.insert(key.clone(), Stage::UnderWay);
        let Err(error) = within(api.patch(&key.name, &params, &Patch::Merge(change))).await else {
            return Ok(());
        };
        let why = explain(&format!("patch workspace {key}"), &error);
        let Error::Api(status) = &error else {
            return Err(anyhow!(why));
        };
        self.stages.insert(key.clone(), Stage::Waits);
        match status.code {
            404 | 409 => Ok(()),
            429 | 500.. => Err(anyhow!(why)),
            _ => Err(Refused(why).into()),
        }
    }

    fn told(&self, index: &Index) -> Told {
        let of = |stage: Stage| self.stages.iter().filter(move |(_, it)| **it == stage);
        let stands = |key: &Key| {
            let workspace = index.seen(key).and_then(|it| it.workspace);
            let state = workspace.and_then(|it| it.status.state);
            let state = state.map_or_else(|| "New".to_owned(), |it| it.to_string());
            let message = workspace.map(survey::message).unwrap_or_default();
            format!("{state}: {message}")
        };
        Told {
            done: of(Stage::Done).map(|(key, _)| key.to_string()).collect(),
            under_way: of(Stage::UnderWay)
                .map(|(key, _)| (key.to_string(), stands(key)))
                .collect(),
            untouched: of(Stage::Waits).map(|(key, _)| key.to_string()).collect(),
        }
    }

    fn text(&self, told: &Told) -> String {
        let mut text = String::new();
        for key in &told.done {
            text.push_str(&format!("{key} {}\n", self.act.done()));
        }
        for (key, stands) in &told.under_way {
            text.push_str(&format!("{key} not yet {} ({stands})\n", self.act.done()));
        }
        for key in &told.untouched {
            text.push_str(&format!("{key} untouched\n"));
        }
        text
    }
}

fn suspends(seen: &Seen<'_>) -> bool {
    let spec = seen.workspace.and_then(|it| it.spec.as_ref().ok());
    spec.map(Packed::unpack).is_some_and(|it| it.suspend)
}

/// Whether it is there for its users.
fn is_up(seen: &Seen<'_>) -> bool {
    let ready = seen.workspace.is_some_and(|it| it.status.is_true(READY));
    ready && survey::own_pod(seen).is_some_and(|it| it.ready)
}

/// Whether what was asked for has come about.
fn is_over(act: Act, seen: &Seen<'_>, before: &str) -> bool {
    let Some(workspace) = seen.workspace else {
        return true;
    };
    let observed = workspace.status.observed_generation == Some(workspace.generation);
    match act {
        Act::Suspend => observed && workspace.status.is_true(SUSPENDED) && seen.pod.is_none(),
        Act::Resume => observed && is_up(seen),
        Act::Restart => {
            let told = seen.pod.and_then(|it| it.told.revision.as_ref());
            workspace.revision != before && told == Some(&workspace.revision) && is_up(seen)
        }
    }
}
