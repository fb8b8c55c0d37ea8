//! `pins`: what is pinned, and whether the tags have moved since.

use std::cell::RefCell;

use clap::Args;
use serde::Serialize;

use super::store::{Note, Store};
use crate::kubectl::output::{self, row};
use crate::kubectl::preflight::{Asking, show};
use crate::kubectl::{Answer, Session};
use crate::preflight::{Asker, Finding, Row, look, tag_of};

const EXAMPLES: &str = "Examples:
  kubectl workspace pins
  kubectl workspace pins -o json

Exit codes: 0 no tag has moved; 1 one has; 2 it cannot be told; 130 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::kubectl) struct Pins {
    #[command(flatten)]
    asking: Asking,
}

/// One pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    runtime: String,
    digest: String,
    /// Whether the default tag stands for something else now; absent where that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<bool>,
    /// What it stands for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    /// Why that cannot be told.
    #[serde(skip_serializing_if = "String::is_empty")]
    because: String,
    #[serde(flatten)]
    note: Note,
}

/// Lists the pins. The answer is yes where no tag has moved.
pub(in crate::kubectl) async fn list(mut session: Session, asked: Pins) -> anyhow::Result<Answer> {
    let client = session.access.client.clone();
    let scope = session.common.scope(session.common.named());
    let access = asked.asking.access();
    let work = async {
        let store = Store::read(&client, &scope).await?;
        let cluster = look(&client, &scope).await?;
        let settings = cluster.as_written()?;
        let asker = Asker::new(&client, &cluster, &settings, &access, None).await?;
        let pinned = settings.known_runtimes();
        let pinned: Vec<_> = pinned
            .filter_map(|runtime| Some((runtime.to_owned(), settings.pin(runtime)?.to_string())))
            .collect();
        let needs = pinned.iter();
        let needs: Result<Vec<_>, _> = needs
            .map(|(runtime, _)| tag_of(&cluster.workspaces, &settings, runtime))
            .collect();
        let needs = needs?;
        let progress = RefCell::new(None);
        let rows = asker.rows(&needs, &|told| show(&progress, &told)).await;
        let listed = pinned.into_iter().map(|(runtime, digest)| {
            let rows = rows.iter().filter(|it| it.runtime == runtime);
            let rows: Vec<_> = rows.collect();
            let note = store.note(&runtime);
            listed(runtime, digest, &rows, note)
        });
        anyhow::Ok(listed.collect::<Vec<_>>())
    };
    let pins = session.interrupt.may_end(work, String::new).await?;
    output::answer(session.common.output, &pins, || table(&pins))?;
    Ok(answer(&pins))
}

fn listed(runtime: String, digest: String, rows: &[&Row], note: Note) -> Listed {
    let tag = rows.iter().find_map(|it| it.digest.clone());
    let missing = rows.iter().any(|it| it.finding == Finding::Missing);
    let because = rows.first().map(|it| it.because.clone());
    Listed {
        moved: match &tag {
            Some(tag) => Some(*tag != digest),
            None => missing.then_some(true),
        },
        because: match &tag {
            Some(_) => String::new(),
            None => because.unwrap_or_default(),
        },
        runtime,
        digest,
        tag,
        note,
    }
}

fn answer(pins: &[Listed]) -> Answer {
    if pins.iter().any(|it| it.moved == Some(true)) {
        Answer::No
    } else if pins.iter().any(|it| it.moved.is_none()) {
        Answer::Unknown
    } else {
        Answer::Yes
    }
}

fn table(pins: &[Listed]) -> String {
    if pins.is_empty() {
        return "No runtime is pinned.\n".to_owned();
    }
    let mut rows = vec![row(["RUNTIME", "DIGEST", "THE TAG NOW", "BY", "AT", "WHY"])];
    rows.extend(pins.iter().map(|pin| {
        let tag = match (pin.moved, &pin.tag) {
            (Some(false), _) => "the same",
            (Some(true), Some(tag)) => tag,
            (Some(true), None) => "gone",
            (None, _) => "cannot tell",
        };
        let Note { by, at, why } = &pin.note;
        row([&pin.runtime, &pin.digest, tag, by, at, why]
            .map(|it| if it.is_empty() { "-" } else { it }))
    }));
    let mut text = output::table(&rows);
    for pin in pins.iter().filter(|it| !it.because.is_empty()) {
        text.push_str(&format!("\n{}: {}.\n", pin.runtime, pin.because));
    }
    text
}
