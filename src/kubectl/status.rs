//! `kubectl workspace status`: the fleet at a glance.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use jiff::Timestamp;

use super::look::{self, View, Watching};
use super::output::{self, Format, Paint, row, table};
use super::progress::Progress;
use super::survey::{Standing, Survey, survey};
use super::{Answer, Refused, Session, patience, rollout};

const EXAMPLES: &str = "Examples:
  # Of the whole cluster
  kubectl workspace status -A

  # By name, what a restart would move to another image
  kubectl workspace status -A --outdated

  # In a script: wait until the settings are in force and nothing is stuck, for ten minutes at most
  kubectl workspace status -A --wait --timeout 10m

Outdated is what runs another image than the settings would give now: its next start brings that. A
tag that has moved, so that it stands for another build, is told apart, where the settings say that
tags are watched; no start brings that, but a pin.

Exit codes: 0 none is stuck (with --all: and none is outdated; with --wait: and the settings, as they
stand, are in force); 1 it is not so, not after the timeout either, or not before somebody mends the
settings; 2 it cannot be told.";

/// So many are named in a table.
const NAMES: usize = 10;
/// A terminal is painted no more often.
const REPAINT: Duration = Duration::from_secs(1);

/// The flags of `status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Show it again whenever it changes, until Ctrl-C
    #[arg(short, long, conflicts_with = "wait")]
    watch: bool,
    /// Return when the settings, as they stand, are in force and none is stuck
    #[arg(long)]
    wait: bool,
    /// Of those that run, count the outdated too: what runs another image than the settings would
    /// give now
    #[arg(long)]
    all: bool,
    /// Name the outdated
    #[arg(long)]
    outdated: bool,
    #[command(flatten)]
    patience: patience::Patience,
}

/// Runs the command.
pub(super) async fn run(mut session: Session, asked: Status) -> anyhow::Result<Answer> {
    let namespace = (!asked.all_namespaces).then(|| session.access.namespace.clone());
    let scope = session.common.scope(namespace);
    let (client, format) = (session.access.client.clone(), session.common.output);
    let looking = look::once(&client, &scope);
    let view = session.interrupt.may_end(looking, String::new).await?;
    if !asked.watch && !asked.wait {
        return tell(&view, &asked, format);
    }
    let mut watching = Watching::from(view, &client, &scope);
    if asked.watch {
        return watch(&mut session, watching, &asked).await;
    }
    let waiting = asked
        .patience
        .deadline()
        .within(wait(&mut watching, &asked));
    session.interrupt.may_end(waiting, String::new).await?;
    tell(&watching.view, &asked, format)
}

/// Says what there is now.
fn tell(view: &View, asked: &Status, format: Format) -> anyhow::Result<Answer> {
    let survey = survey(view, Timestamp::now());
    show(&survey, asked, format)?;
    // Nothing is stuck where nothing is known to be.
    if !survey.settings.recorded && survey.overview.workspaces == 0 {
        return Ok(Answer::Unknown);
    }
    is_well(&survey, asked).map(Answer::from)
}

/// Returns whether anybody still listens.
fn show(survey: &Survey, asked: &Status, format: Format) -> anyhow::Result<bool> {
    let shown = Shown::of(survey, asked);
    output::answer(format, &shown, || text(survey, asked))
}

/// Without `--outdated` only their number is told.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    survey: &'a Survey,
    #[serde(skip_serializing_if = "Option::is_none")]
    outdated_workspaces: Option<&'a [super::survey::Outdated]>,
}

impl<'a> Shown<'a> {
    fn of(survey: &'a Survey, asked: &Status) -> Self {
        let named = asked
            .outdated
            .then_some(survey.outdated_workspaces.as_deref());
        Self {
            survey,
            outdated_workspaces: named.flatten(),
        }
    }
}

/// Whether none is stuck, and if that was asked, none outdated. Who waits for that waits for the settings
/// too: before they are in force, nothing that is seen is their doing.
fn is_well(survey: &Survey, asked: &Status) -> anyhow::Result<bool> {
    let in_force = !asked.wait || are_in_force(survey)?;
    let outdated = match (survey.outdated, asked.all) {
        (_, false) => 0,
        (Some(outdated), true) => outdated,
        (None, true) => {
            let why = survey.settings.error.as_deref();
            let why = why.unwrap_or("no settings are known");
            return Err(anyhow!("what is outdated cannot be told: {why}"));
        }
    };
    Ok(in_force && survey.stuck + outdated == 0)
}

/// Whether the settings, as they stand, are in force.
///
/// # Errors
/// Waiting does not help: they are rejected ([`Refused`]), or that cannot be told.
fn are_in_force(survey: &Survey) -> anyhow::Result<bool> {
    let why = survey.settings.error.as_deref().unwrap_or_default();
    match survey.settings.standing {
        Standing::InForce => Ok(true),
        Standing::Awaited => Ok(false),
        Standing::Rejected => Err(Refused(format!(
            "waiting would not end, as the settings are rejected until somebody mends them: {why}"
        ))
        .into()),
        Standing::Unknown => Err(anyhow!(
            "whether the settings are in force cannot be told: {why}"
        )),
    }
}

async fn wait(watching: &mut Watching, asked: &Status) -> anyhow::Result<()> {
    let first = survey(&watching.view, Timestamp::now());
    let parts = left(&first, asked);
    let mut progress = Progress::new(parts);
    loop {
        let survey = survey(&watching.view, Timestamp::now());
        let done = parts.saturating_sub(left(&survey, asked));
        progress.set(done, &brief(&survey, asked));
        // Whether it is so, or never will be, is told in the end.
        if !matches!(is_well(&survey, asked), Ok(false)) {
            return Ok(());
        }
        if let Some(trouble) = watching.changed().await? {
            progress.note(&trouble);
        }
    }
}

fn left(survey: &Survey, asked: &Status) -> usize {
    let outdated = survey.outdated.filter(|_| asked.all);
    survey.stuck + outdated.unwrap_or(0)
}

fn brief(survey: &Survey, asked: &Status) -> String {
    let mut text = format!("stuck: {}", survey.stuck);
    if let (true, Some(outdated)) = (asked.all, survey.outdated) {
        text.push_str(&format!(", outdated: {outdated}"));
    }
    if survey.settings.standing != Standing::InForce {
        text.push_str("; the settings, as they stand, are not in force");
    }
    text
}

/// Shows it again whenever it changes, for as long as anybody listens.
async fn watch(
    session: &mut Session,
    mut watching: Watching,
    asked: &Status,
) -> anyhow::Result<Answer> {
    let format = session.common.output;
    let repaints = format == Format::Table && io::stdout().is_terminal();
    let mut shown = None;
    loop {
        let survey = survey(&watching.view, Timestamp::now());
        if shown.as_ref() != Some(&survey) {
            if repaints {
                output::print("\x1b[H\x1b[2J")?;
            } else if shown.is_some() && format != Format::Json {
                output::print(if format == Format::Yaml {
                    "---\n"
                } else {
                    "\n"
                })?;
            }
            if !show(&survey, asked, format)? {
                return Ok(Answer::Yes);
            }
            is_well(&survey, asked)?;
            shown = Some(survey);
        }
        let changing = async {
            tokio::time::sleep(REPAINT).await;
            watching.changed().await
        };
        if let Some(trouble) = session.interrupt.may_end(changing, String::new).await? {
            output::say(&trouble);
        }
    }
}

/// What people see.
fn text(survey: &Survey, asked: &Status) -> String {
    let paint = Paint::new();
    let mut text = settings(survey, paint);
    text.push_str(&format!("{}\n", counts(survey, paint)));
    let rollout = survey.overview.rollout.as_ref();
    if let Some(rollout) = rollout.filter(|it| it.is_worth_a_word()) {
        text.push_str(&rollout::text(rollout, paint));
    }
    if let Some(prepull) = &survey.overview.prepull {
        text.push_str(&rollout::prepared(prepull, paint));
    }
    if !survey.registries.is_empty() {
        let mut rows = vec![row(["REGISTRY", "RUNNING", "STUCK", "AT RISK"])];
        rows.extend(survey.registries.iter().map(|it| {
            let cells = [it.running, it.stuck, it.at_risk].map(|it| it.to_string());
            let mut row = vec![it.registry.clone()];
            row.extend(cells);
            row
        }));
        text.push_str(&format!("\n{}", table(&rows)));
    }
    for failure in &survey.overview.pull_failures {
        let outage = if failure.outage {
            "an outage"
        } else {
            "not an outage yet"
        };
        let line = format!(
            "{} {}: {outage}, since {}; stuck on it: {}",
            failure.registry, failure.cause, failure.since, failure.workspaces
        );
        text.push_str(&format!("\n{}\n", paint.bad(&line)));
    }
    if let Some(risk) = &survey.overview.at_risk {
        let line = format!(
            "would not survive the loss of their Pod: {}, because {}",
            risk.workspaces, risk.because
        );
        text.push_str(&format!("\n{}\n", paint.odd(&line)));
    }
    text.push_str(&tags(survey, paint));
    text.push_str(&stuck(survey));
    text.push_str(&outdated(survey, asked));
    text
}

/// What the operator hears of the registry, where it asks.
fn tags(survey: &Survey, paint: Paint) -> String {
    let mut text = String::new();
    for it in &survey.overview.outdated_images {
        let line = format!(
            "the tag of {} has moved to another build, since {}; running what it was: {}",
            it.image, it.since, it.workspaces
        );
        text.push_str(&format!("\n{}\n", paint.odd(&line)));
    }
    for it in &survey.overview.unwatched_images {
        let line = format!(
            "not told whether a tag has moved: {} of the images in use, as {} {}",
            it.images, it.registry, it.because
        );
        text.push_str(&format!("\n{}\n", paint.odd(&line)));
    }
    text
}

fn settings(survey: &Survey, paint: Paint) -> String {
    let settings = &survey.settings;
    let registry = settings.registry.as_deref().unwrap_or("none is known");
    let mut text = format!("Registry in force: {registry}");
    if let Some(since) = &settings.since {
        text.push_str(&format!(", since {since}"));
    }
    if let Some(previous) = &settings.previous_registry {
        text.push_str(&format!("; before: {previous}"));
    }
    text.push('\n');
    let awaited = match &settings.awaited_registry {
        Some(awaited) => Some(format!(
            "The settings name {awaited}; the operator has not taken that yet."
        )),
        None if settings.standing == Standing::Awaited && settings.error.is_none() => {
            Some("The operator has not taken the settings yet, as they stand.".to_owned())
        }
        None => None,
    };
    if let Some(line) = awaited {
        text.push_str(&format!("{}\n", paint.odd(&line)));
    }
    if let Some(error) = &settings.error {
        text.push_str(&format!("{}\n", paint.bad(error)));
    }
    text
}

fn counts(survey: &Survey, paint: Paint) -> String {
    let overview = &survey.overview;
    let not_ready: usize = (overview.progressing.values())
        .chain(overview.stalled.values())
        .sum();
    let under_way = not_ready.saturating_sub(survey.stuck);
    let stuck = format!("stuck: {}", survey.stuck);
    let stuck = if survey.stuck > 0 {
        paint.bad(&stuck)
    } else {
        paint.good(&stuck)
    };
    let mut text = format!(
        "Workspaces: {}; Ready: {}, {stuck}, under way: {under_way}, suspended: {}",
        overview.workspaces, overview.ready, overview.suspended
    );
    match survey.outdated {
        Some(0) => {}
        Some(outdated) => text.push_str(&format!("; outdated: {outdated}")),
        None => text.push_str("; outdated: not known"),
    }
    text
}

fn stuck(survey: &Survey) -> String {
    if survey.stuck_workspaces.is_empty() {
        return String::new();
    }
    let mut rows = vec![row(["NAMESPACE", "STUCK", "STATE", "MESSAGE"])];
    let named = survey.stuck_workspaces.iter().take(NAMES);
    rows.extend(named.map(|it| row([&it.namespace, &it.name, &it.state, &it.message])));
    let more = survey.stuck.saturating_sub(NAMES);
    let more = match more {
        0 => String::new(),
        more => format!("and {more} more: -o json names all\n"),
    };
    format!("\n{}{more}", table(&rows))
}

fn outdated(survey: &Survey, asked: &Status) -> String {
    let Some(named) = survey
        .outdated_workspaces
        .as_ref()
        .filter(|_| asked.outdated)
    else {
        return String::new();
    };
    if named.is_empty() {
        return "\nNone is outdated.\n".to_owned();
    }
    let mut rows = vec![row(["NAMESPACE", "OUTDATED", "RUNS", "NEXT"])];
    rows.extend(
        named
            .iter()
            .map(|it| row([&it.namespace, &it.name, &it.image, &it.next])),
    );
    format!("\n{}", table(&rows))
}
