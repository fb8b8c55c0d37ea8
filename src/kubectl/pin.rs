//! `pin`, `unpin` and `pins`: what the default tag of a runtime stands for.

mod list;
mod store;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use self::store::{Note, Store};
use super::output;
use super::preflight::{Asking, show, words};
use super::{Answer, Refused, Session};
use crate::fleet;
use crate::preflight::{Asker, Cluster, Finding, Need, Row, look, tag_of};
use crate::resolver::{self, Version};
use crate::settings::{Digest, Settings};

pub(super) use list::{Pins, list};

const PIN_EXAMPLES: &str = "Examples:
  # To what the tag of a runtime is now
  kubectl workspace pin codex --why 'release of Monday'

  # To what another cluster runs
  kubectl workspace pin codex=sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1

  # Every runtime that the registry has
  kubectl workspace pin --all

Exit codes: 0 pinned; 1 not pinned; 2 it cannot be told; 130 interrupted.";
const UNPIN_EXAMPLES: &str = "Examples:
  kubectl workspace unpin codex
  kubectl workspace unpin --all

Exit codes: 0 not pinned any more; 1 refused; 2 it cannot be told; 130 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = PIN_EXAMPLES)]
pub(super) struct Pin {
    /// The runtimes; without a digest, to what their default tag is now
    #[arg(value_name = "RUNTIME[=DIGEST]", required_unless_present = "all")]
    pins: Vec<Asked>,
    /// Pin every runtime that the registry has
    #[arg(long, conflicts_with = "pins")]
    all: bool,
    /// Why, for whoever finds the pin later
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Write a digest without asking the registry whether it is there
    #[arg(long)]
    unchecked: bool,
    /// Take pins over from a tool that keeps them
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
#[command(after_help = UNPIN_EXAMPLES)]
pub(super) struct Unpin {
    /// The runtimes
    #[arg(value_name = "RUNTIME", required_unless_present = "all")]
    runtimes: Vec<String>,
    /// Every runtime that is pinned
    #[arg(long, conflicts_with = "runtimes")]
    all: bool,
    /// Remove pins that a tool keeps, too
    #[arg(long)]
    force_conflicts: bool,
}

/// A runtime, and the digest to pin it to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    runtime: String,
    digest: Option<Digest>,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (runtime, digest) = match text.split_once('=') {
            Some((runtime, digest)) => (runtime, Some(digest)),
            None => (text, None),
        };
        let digest = digest.map(str::parse::<Digest>).transpose();
        Ok(Self {
            runtime: runtime.to_owned(),
            digest: digest.map_err(|fault| format!("the digest {fault}"))?,
        })
    }
}

/// What was pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pinned {
    runtime: String,
    digest: String,
    /// What it was pinned to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// How many Workspaces take it when they start anew.
    workspaces: usize,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pinned {
            runtime, digest, ..
        } = self;
        match &self.before {
            Some(before) if before == digest => {
                return write!(f, "{runtime} is pinned to {digest} already");
            }
            Some(before) => write!(f, "{runtime} is pinned to {digest}, no longer to {before}")?,
            None => write!(f, "{runtime} is pinned to {digest}")?,
        }
        match self.workspaces {
            0 => Ok(()),
            1 => write!(f, "; 1 Workspace takes it when it starts anew"),
            count => write!(f, "; {count} Workspaces take it when they start anew"),
        }
    }
}

/// Pins runtimes.
pub(super) async fn pin(mut session: Session, asked: Pin) -> anyhow::Result<Answer> {
    let client = session.access.client.clone();
    let scope = session.common.scope(session.common.named());
    let access = asked.asking.access();
    let work = async {
        let cluster = look(&client, &scope).await?;
        let settings = cluster.as_written()?;
        let asker = Asker::new(&client, &cluster, &settings, &access, None).await?;
        let digests = resolve(&asked, &cluster, &settings, &asker).await?;
        let store = Store::read(&client, &scope).await?;
        let by = store::who(&client).await;
        anyhow::Ok((cluster, settings, digests, store, by))
    };
    let found = session.interrupt.may_end(work, nothing).await?;
    let (cluster, settings, digests, store, by) = found;
    let note = Note {
        by,
        at: fleet::stamp(Timestamp::now()),
        why: asked.why,
    };
    let lines = store::lines(&digests, &note)?;
    store.refuse_if_kept(asked.force_conflicts, &lines, "pin")?;
    store.write(&digests, &note, asked.force_conflicts).await?;
    let pinned: Vec<_> = digests
        .into_iter()
        .map(|(runtime, digest)| Pinned {
            before: settings.pin(&runtime).map(ToString::to_string),
            workspaces: takers(&cluster, &runtime),
            digest: digest.to_string(),
            runtime,
        })
        .collect();
    output::answer(session.common.output, &pinned, || told(&pinned))?;
    Ok(Answer::Yes)
}

fn nothing() -> String {
    "nothing was changed".to_owned()
}

fn told(pinned: &[Pinned]) -> String {
    let mut text: String = pinned.iter().map(|it| format!("{it}\n")).collect();
    if pinned.iter().any(|it| it.workspaces > 0) {
        text.push_str(
            "Nothing that runs is touched; kubectl workspace restart starts them anew.\n",
        );
    }
    text
}

/// How many Workspaces run what the default tag of a runtime stands for.
fn takers(cluster: &Cluster, runtime: &str) -> usize {
    let specs = cluster
        .workspaces
        .iter()
        .filter_map(|it| it.spec.as_ref().ok());
    let by_default = |it: &&crate::workspace::WorkspaceSpec| {
        it.runtime == runtime && it.tag.is_none() && it.digest.is_none()
    };
    specs.filter(by_default).count()
}

/// The digest for each runtime.
async fn resolve(
    asked: &Pin,
    cluster: &Cluster,
    settings: &Settings,
    asker: &Asker<'_>,
) -> anyhow::Result<Vec<(String, Digest)>> {
    let every = settings.known_runtimes().map(|runtime| Asked {
        runtime: runtime.to_owned(),
        digest: None,
    });
    let pins: Vec<_> = if asked.all {
        every.collect()
    } else {
        asked.pins.clone()
    };
    let mut digests = Vec::new();
    let mut needs = Vec::new();
    for (at, pin) in pins.iter().enumerate() {
        if pins[..at].iter().any(|it| it.runtime == pin.runtime) {
            bail!("{} is named twice", pin.runtime);
        }
        let need = need(pin, cluster, settings)?;
        match &pin.digest {
            Some(digest) if asked.unchecked => digests.push((pin.runtime.clone(), digest.clone())),
            _ => needs.push(need),
        }
    }
    let progress = RefCell::new(None);
    let rows = asker.rows(&needs, &|told| show(&progress, &told)).await;
    drop(progress);
    for need in &needs {
        let of_need = rows.iter().filter(|row| row.image == need.image);
        digests.extend(one(need, of_need, asked.all)?);
    }
    Ok(digests)
}

fn need(pin: &Asked, cluster: &Cluster, settings: &Settings) -> anyhow::Result<Need> {
    let mut need = tag_of(&cluster.workspaces, settings, &pin.runtime)
        .map_err(|unknown| Refused(unknown.to_string()))?;
    if let Some(digest) = &pin.digest {
        need.image = resolver::image(settings, &pin.runtime, Version::Digest(digest.as_str()))?;
    }
    Ok(need)
}

/// The digest that those who may see the image agree on; none, where nobody needs it and it is not
/// there.
fn one<'a>(
    need: &Need,
    rows: impl Iterator<Item = &'a Row>,
    may_be_missing: bool,
) -> anyhow::Result<Option<(String, Digest)>> {
    let (image, runtime) = (&need.image, &need.runtime);
    let mut refused = None;
    for row in rows {
        match &row.digest {
            Some(digest) if row.finding != Finding::Unusable => {
                let digest = digest.parse::<Digest>()?;
                return Ok(Some((runtime.clone(), digest)));
            }
            _ => refused = Some(row),
        }
    }
    let Some(row) = refused else { return Ok(None) };
    let (finding, because) = (row.finding, &row.because);
    let nobody = need.users.is_empty();
    if may_be_missing && nobody && matches!(finding, Finding::Missing | Finding::Denied) {
        output::say(&format!(
            "{runtime} is left out, and nobody uses it: {because}"
        ));
        return Ok(None);
    }
    let found = words(image, finding);
    let why = format!("{found}: {because}; nothing was changed");
    match finding {
        Finding::Missing | Finding::Denied | Finding::Unusable => Err(Refused(why).into()),
        _ => bail!(why),
    }
}

/// Takes pins away.
pub(super) async fn unpin(mut session: Session, asked: Unpin) -> anyhow::Result<Answer> {
    let client = session.access.client.clone();
    let scope = session.common.scope(None);
    let reading = Store::read(&client, &scope);
    let store = session.interrupt.may_end(reading, nothing).await?;
    let runtimes = if asked.all {
        store.runtimes()
    } else {
        asked.runtimes
    };
    let pinned = store.runtimes();
    if let Some(unpinned) = runtimes.iter().find(|it| !pinned.contains(it)) {
        let pinned = match pinned.as_slice() {
            [] => "no runtime is".to_owned(),
            pinned => format!("pinned: {}", pinned.join(", ")),
        };
        return Err(Refused(format!("{unpinned} is not pinned; {pinned}")).into());
    }
    if runtimes.is_empty() {
        output::answer(session.common.output, &runtimes, || {
            "No runtime is pinned.\n".to_owned()
        })?;
        return Ok(Answer::Yes);
    }
    store.refuse_if_kept(asked.force_conflicts, &store::without(&runtimes), "unpin")?;
    store.remove(&runtimes, asked.force_conflicts).await?;
    output::answer(session.common.output, &runtimes, || {
        let line = |it: &String| format!("{it} is not pinned any more\n");
        runtimes.iter().map(line).collect()
    })?;
    Ok(Answer::Yes)
}
