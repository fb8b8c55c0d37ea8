//! `kubectl workspace switch`: the one edit, before it, and until it is over.

mod back;
mod beyond;
mod check;
mod follow;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use anyhow::{Context, anyhow};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::edit::{self, Stored};
use super::forecast::{Forecast, forecast};
use super::look::{self, View};
use super::output::{self, Format};
use super::preflight::{Asking, Nodes};
use super::{Answer, Refused, Session, patience};
use crate::fleet::{self, InForce, Origin};
use crate::settings::{Environment, Prefix, REGISTRY_KEY, ROLLOUT_PAUSED_KEY, Settings};
use crate::watch::Scope;
use back::Registries;

const EXAMPLES: &str = "Examples:
  # See what would happen, and be asked
  kubectl workspace switch mirror.example.com/molecule-ai

  # Go back to the registry before
  kubectl workspace switch --back

  # Print the ConfigMap for a GitOps repository instead of editing it
  kubectl workspace switch mirror.example.com/molecule-ai --dry-run

It looks at all namespaces; with -n, as for an operator of one namespace, at that one only. The
settings, and so the edit, are of all Workspaces that their operators look after.

Exit codes: 0 switched, and what was stuck on its image is Ready; 1 not switched, or not all are
Ready after the timeout; 2 it cannot be told; 130 interrupted: it says how to go on.";

/// The flags of `switch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("where").required(true).args(["prefix", "back"])))]
pub(super) struct Switch {
    /// The registry prefix to switch to, as in mirror.example.com/molecule-ai
    prefix: Option<Prefix>,
    /// Switch back to the prefix that was in force before; or, where the settings name one that no
    /// operator has taken yet, undo that
    #[arg(long)]
    back: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print the ConfigMap, and edit nothing
    #[arg(long)]
    dry_run: bool,
    /// Switch though images cannot be used from there, or that cannot be told, or though it stops
    /// what runs
    #[arg(long)]
    force: bool,
    /// Do not look for the images there, as from where the registry cannot be reached
    #[arg(long)]
    no_preflight: bool,
    /// Edit it though a tool keeps it, as Flux or Argo CD, and take the key over
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    patience: patience::Patience,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    asking: Asking,
}

/// What is about to be done.
pub(super) struct Intent {
    scope: Scope,
    stored: Stored,
    to: Prefix,
    edit: BTreeMap<String, String>,
    /// What would be in force.
    next: InForce,
    forecast: Forecast,
    /// The prefix in force, if one is.
    from: Option<String>,
    /// The prefix to go back to, if one is known.
    before: Option<String>,
    /// Whether the ConfigMap names that prefix already.
    done: bool,
    /// A namespace that is not looked at, and repointed too.
    beyond: Option<String>,
}

/// What was done.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    from: Option<&'a str>,
    to: &'a str,
    /// Whether the ConfigMap was edited.
    edited: bool,
    /// Whether the operator is seen to go by it.
    taken: bool,
    #[serde(flatten)]
    forecast: &'a Forecast,
    /// How many of those that waited for an image are Ready.
    ready: usize,
    /// Those that are not.
    left: Vec<String>,
}

/// Runs the command.
pub(super) async fn run(mut session: Session, asked: Switch) -> anyhow::Result<Answer> {
    let nothing_written = || "nothing was edited".to_owned();
    let namespace = session.common.named();
    let scope = session.common.scope(namespace);
    let client = session.access.client.clone();
    let preparing = prepare(&client, scope, &asked);
    let mut intent = session
        .interrupt
        .may_end(preparing, nothing_written)
        .await?;
    refuse_if_kept(&intent, &asked)?;
    let asking = (&asked.asking, asked.nodes);
    let checked = match asked.no_preflight {
        true => None,
        false => Some(check::check(&mut session, &intent, asking).await?),
    };
    output::say(&announce(&intent));
    if let Some(checked) = &checked {
        output::say(&checked.text);
    }
    if asked.dry_run {
        print_map(&intent, session.common.output)?;
        let checked = checked.filter(|_| !asked.force);
        return Ok(checked.map_or(Answer::Yes, |it| it.answer));
    }
    if !intent.done {
        refuse(&intent, checked.as_ref(), &asked)?;
        if !asked.yes {
            let asking = ask();
            session.interrupt.may_end(asking, nothing_written).await?;
        }
        let looking = intent.look_again(&client);
        let looked = session.interrupt.may_end(looking, nothing_written);
        looked.await?;
        refuse_to_stop(&intent.forecast, asked.force)?;
        // Not to be left half-way: Ctrl-C is heard when it is known what became of it.
        let force = asked.force_conflicts;
        let manager = if asked.back { edit::BACK } else { edit::SWITCH };
        let edited = intent.stored.set(&client, manager, &intent.edit, force);
        edited.await?;
        output::say(&format!("{REGISTRY_KEY} is now {}.", intent.to));
    }
    let followed = follow::follow(&mut session, &intent, asked.patience.deadline());
    let followed = followed.await?;
    let told = Told {
        from: intent.from.as_deref(),
        to: intent.to.as_str(),
        edited: !intent.done,
        taken: followed.taken,
        forecast: &intent.forecast,
        ready: followed.ready,
        left: followed.left.iter().map(ToString::to_string).collect(),
    };
    output::answer(session.common.output, &told, || followed.text())?;
    Ok(match (followed.left.is_empty(), followed.taken) {
        (false, _) => Answer::No,
        (true, false) => Answer::Unknown,
        (true, true) => Answer::Yes,
    })
}

impl Intent {
    /// The registry and a person's answer take minutes, in which more may get stuck.
    async fn look_again(&mut self, client: &kube::Client) -> anyhow::Result<()> {
        let view = look::once(client, &self.scope).await?;
        let now = view.in_force();
        self.forecast = forecast(&view.index, &now, &self.next, Timestamp::now());
        Ok(())
    }
}

async fn prepare(client: &kube::Client, scope: Scope, asked: &Switch) -> anyhow::Result<Intent> {
    let view = look::once(client, &scope).await?;
    let stored = Stored::read(client, &scope).await?;
    let to = match &asked.prefix {
        Some(prefix) => prefix.clone(),
        None => back(&view, &stored)?,
    };
    let edit = BTreeMap::from([(REGISTRY_KEY.to_owned(), to.to_string())]);
    let mut data = stored.data();
    let done = data.get(REGISTRY_KEY) == edit.get(REGISTRY_KEY);
    data.extend(edit.clone());
    let parsed = Settings::parse(&data, &Environment::default());
    let parsed = parsed.map_err(|invalid| {
        Refused(format!(
            "the settings would be invalid, and change nothing: {invalid}"
        ))
    })?;
    let now = view.in_force();
    let next = InForce {
        settings: Some(parsed.settings),
        error: None,
        warnings: parsed.warnings,
        origin: Origin::ConfigMap,
    };
    let beyond = beyond::beyond(client, &scope, &view.fleet).await;
    let forecast = forecast(&view.index, &now, &next, Timestamp::now());
    let from = now.settings.map(|it| it.registry().to_string());
    let earlier = fleet::previous_registry(&view.fleet).map(str::to_owned);
    let before = [from.clone(), earlier].into_iter().flatten();
    let before = before.into_iter().find(|it| it != to.as_str());
    Ok(Intent {
        scope,
        stored,
        to,
        edit,
        next,
        forecast,
        from,
        before,
        done,
        beyond,
    })
}

/// The prefix to go back to.
fn back(view: &View, stored: &Stored) -> anyhow::Result<Prefix> {
    if let fleet::Source::Unreadable(why) = &view.fleet {
        return Err(anyhow!("the registry before cannot be told: {why}"));
    }
    let in_force = fleet::last_good(&view.fleet).ok().flatten();
    let in_force = in_force.map(|it| it.registry().to_string());
    let named = named(stored);
    let back = back::back(&Registries {
        in_force: in_force.as_deref(),
        previous: fleet::previous_registry(&view.fleet),
        named: named.as_deref(),
        writers: stored.writers(REGISTRY_KEY),
    })?;
    let parsed = back.parse::<Prefix>().map_err(|fault| anyhow!("{fault}"));
    parsed.with_context(|| format!("the record names {back:?} as the registry before"))
}

/// The prefix that the settings name, if they name one.
fn named(stored: &Stored) -> Option<String> {
    let named = stored.data().remove(REGISTRY_KEY);
    named.filter(|it| !it.is_empty())
}

/// What will happen.
fn announce(intent: &Intent) -> String {
    let Intent { to, forecast, .. } = intent;
    let from = intent.from.as_deref().unwrap_or("none");
    if intent.done {
        return format!(
            "The settings name {to} already; in force: {from}.\n  waiting for their image: {}",
            forecast.waiting.len()
        );
    }
    let mut text = match named(&intent.stored) {
        _ if from != to.as_str() => format!("Switch from {from} to {to}:"),
        Some(named) => format!("Stay with {to}, and undo the edit to {named}, which is not taken:"),
        None => format!("Stay with {to}, and write it into the settings:"),
    };
    text.push_str(&format!(
        "\n  Workspaces: {}; of them take an image from there at their next rollout: {}\n  stuck, \
         and freed by it: {}\n  running: {}; {}",
        forecast.workspaces,
        forecast.affected,
        forecast.freed.len(),
        forecast.running,
        touched(forecast)
    ));
    if let Some(namespace) = &intent.beyond {
        text.push_str(&format!(
            "\nwarning: with -n the Workspaces of other namespaces, as of {namespace}, are not \
             looked at, and are repointed too"
        ));
    }
    text
}

/// What becomes of those that run.
fn touched(forecast: &Forecast) -> String {
    match (forecast.touched.len(), forecast.paced, forecast.paused) {
        (0, false, _) => "none of them is touched".to_owned(),
        (0, true, false) => "they are moved a few at a time, once their image is proved".to_owned(),
        (0, true, true) => format!(
            "none of them is touched while {ROLLOUT_PAUSED_KEY} is true, and after that they are \
             moved a few at a time, once their image is proved"
        ),
        (touched, ..) => format!("OF THEM STOPPED: {touched}"),
    }
}

/// Where an edit could not be made or would not last, the answer is no before anything is looked for.
fn refuse_if_kept(intent: &Intent, asked: &Switch) -> Result<(), Refused> {
    let Intent { stored, to, .. } = intent;
    if intent.done || asked.dry_run {
        return Ok(());
    }
    let there = format!(
        "put what this prints into its repository: kubectl workspace switch {to} --dry-run; "
    );
    stored.may_be_edited(asked.force_conflicts, &there, "switch")
}

/// Where the answer is no before anybody is asked.
fn refuse(intent: &Intent, checked: Option<&check::Checked>, asked: &Switch) -> anyhow::Result<()> {
    refuse_to_stop(&intent.forecast, asked.force)?;
    if let (Some(namespace), true, false) = (&intent.beyond, asked.yes, asked.force) {
        return Err(Refused(format!(
            "not switched: it would repoint the Workspaces of other namespaces, as of {namespace}, \
             which are not looked at; leave -n away, or switch with --force"
        ))
        .into());
    }
    match checked.map(|it| it.answer) {
        _ if asked.force => Ok(()),
        Some(Answer::No) => Err(Refused(
            "not switched: not every image can be used from there, so what restarts could not \
             start; mend that first, or switch with --force"
                .to_owned(),
        )
        .into()),
        Some(Answer::Unknown) if asked.yes => Err(anyhow!(
            "not switched: it cannot be told from here whether every image is there; switch with \
             --force if you know"
        )),
        _ => Ok(()),
    }
}

/// An edit of the settings stops nothing that runs. Where it would, something is wrong.
fn refuse_to_stop(forecast: &Forecast, force: bool) -> Result<(), Refused> {
    match forecast.touched.len() {
        _ if force => Ok(()),
        0 => Ok(()),
        touched => Err(Refused(format!(
            "not switched: it would stop {touched} of those that run; switch with --force if that \
             is what you want"
        ))),
    }
}

/// Asks whether to go on.
///
/// # Errors
/// [`Refused`] where the answer is no, or there is nobody to ask.
async fn ask() -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        let why = "not switched: there is no terminal to ask on; say --yes";
        return Err(Refused(why.to_owned()).into());
    }
    let _ = write!(io::stderr(), "Switch? [y/N] ");
    let read = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    };
    let line = tokio::task::spawn_blocking(read).await??;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Refused("not switched".to_owned()).into()),
    }
}

/// For a repository: the whole ConfigMap, as it would be.
fn print_map(intent: &Intent, format: Format) -> anyhow::Result<()> {
    let map = intent.stored.with(&intent.edit);
    let yaml = serde_saphyr::to_string(&map)?;
    output::answer(format, &map, || yaml).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Key;

    #[test]
    fn what_would_stop_an_agent_is_refused_unless_forced() {
        let mut forecast = Forecast::default();
        assert!(refuse_to_stop(&forecast, false).is_ok());
        forecast.touched.insert(Key::new("team", "alice"));
        let refused = refuse_to_stop(&forecast, false).map_err(|it| it.to_string());
        assert!(refused.is_err_and(|it| it.contains("would stop 1 of those that run")));
        assert!(refuse_to_stop(&forecast, true).is_ok());
    }

    #[test]
    fn what_becomes_of_those_that_run_is_told() {
        let forecast = |paced, paused| Forecast {
            paced,
            paused,
            ..Forecast::default()
        };
        for (forecast, words) in [
            (forecast(false, false), "none of them is touched"),
            (forecast(false, true), "none of them is touched"),
            (forecast(true, false), "they are moved a few at a time"),
            (
                forecast(true, true),
                "none of them is touched while ROLLOUT_PAUSED is true",
            ),
        ] {
            let told = touched(&forecast);
            assert!(told.starts_with(words), "{told}");
            assert_eq!(told.contains("moved"), forecast.paced, "{told}");
        }
        let mut stopping = forecast(true, true);
        stopping.touched.insert(Key::new("team", "alice"));
        assert_eq!(touched(&stopping), "OF THEM STOPPED: 1");
    }
}
