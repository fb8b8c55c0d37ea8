//! `preflight`: whether every image is there, before anybody depends on it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::Client;

use super::output::{self, Paint, row};
use super::progress::Progress;
use super::{Answer, Session};
use crate::preflight::{self, Access, Finding, Report, Request, Row, Verdict};
use crate::probe::Prober;
use crate::registry;
use crate::settings::Prefix;

const EXAMPLES: &str = "Examples:
  # Is every image at the mirror that the Workspaces need?
  kubectl workspace preflight --to mirror.example.com/molecule-ai

  # And those of all other runtimes?
  kubectl workspace preflight --to mirror.example.com/molecule-ai --all

  # Where nodes have credentials that are not known here, ask one of them
  kubectl workspace preflight --to 1234.dkr.ecr.eu-central-1.amazonaws.com/agents --from-cluster

It looks at all namespaces; with -n at that one only.

Exit codes: 0 every image is there; 1 one cannot be pulled; 2 it cannot be told; 130 interrupted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Preflight {
    /// Look under this prefix, host[:port]/path [default: the one in force]
    #[arg(long, value_name = "PREFIX")]
    to: Option<Prefix>,
    /// Look for the default image of every known runtime too, in use or not
    #[arg(long)]
    all: bool,
    /// Answer no where a tag has other content than what runs, and 2 where that cannot be told
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    asking: Asking,
}

/// Whether nodes are asked.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Nodes {
    /// Let a node pull what is denied here, by a Pod that runs nothing, for so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "60", value_parser = clap::value_parser!(u64).range(1..=3600))]
    from_cluster: Option<u64>,
}

impl Nodes {
    fn prober(self, client: &Client) -> Option<Prober> {
        let seconds = self.from_cluster?;
        Some(Prober::new(client, Duration::from_secs(seconds)))
    }
}

/// How registries are asked.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How the registry is asked")]
pub(super) struct Asking {
    /// Use the credentials of this docker config.json, its helpers included, in place of the Pods'
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// The nodes have credentials of their own: what is denied here cannot be told from here
    #[arg(long)]
    credentials_on_nodes: bool,
    /// Trust the certificate authorities of this file (PEM) too
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    /// Ask this registry in plain http if it speaks no TLS; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    plain_http: Vec<String>,
    /// How many seconds one request to a registry may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=300))]
    registry_timeout: u64,
}

impl Asking {
    pub(super) fn access(&self) -> Access {
        Access {
            docker_config: self.docker_config.clone(),
            credentials_on_nodes: self.credentials_on_nodes,
            options: registry::Options {
                authorities: self.registry_ca.clone(),
                plain_http: self.plain_http.clone(),
                deadline: Duration::from_secs(self.registry_timeout),
            },
        }
    }
}

pub(super) async fn run(mut session: Session, asked: Preflight) -> anyhow::Result<Answer> {
    let request = Request {
        scope: session.common.scope(session.common.named()),
        to: asked.to,
        all: asked.all,
        strict: asked.strict,
        access: asked.asking.access(),
    };
    let report = ask(&mut session, &request, asked.nodes, String::new).await?;
    output::answer(session.common.output, &report, || {
        table(&report, Paint::new())
    })?;
    Ok(report.verdict().into())
}

/// Asks, and tells how far that has come. `left` says what it means when it is interrupted.
pub(super) async fn ask(
    session: &mut Session,
    request: &Request,
    nodes: Nodes,
    left: impl FnOnce() -> String,
) -> anyhow::Result<Report> {
    let client = session.access.client.clone();
    let prober = nodes.prober(&client);
    let progress = RefCell::new(None);
    let told = |it: preflight::Progress<'_>| show(&progress, &it);
    let work = preflight::preflight(&client, request, prober.as_ref(), &told);
    let report = session.interrupt.may_end(work, left).await;
    // A bar that is still there would be drawn over what follows.
    drop(progress);
    if let Some(prober) = &prober
        && let Err(error) = prober.sweep().await
    {
        output::say(&format!("{error:#}"));
    }
    report
}

/// Shows how far the questions have come.
pub(super) fn show(progress: &RefCell<Option<Progress>>, told: &preflight::Progress<'_>) {
    let mut progress = progress.borrow_mut();
    let progress = progress.get_or_insert_with(|| Progress::new(told.of));
    let (done, of) = (told.done, told.of);
    let found = words(&told.row.runtime, told.row.finding);
    progress.set(done, &format!("{done} of {of}: {found}"));
}

/// As in "codex is missing".
pub(super) fn words(what: &str, finding: Finding) -> String {
    match finding {
        Finding::CannotTell => format!("whether {what} is there cannot be told"),
        finding => format!("{what} is {finding}"),
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Yes => Answer::Yes,
            Verdict::No => Answer::No,
            Verdict::Unknown => Answer::Unknown,
        }
    }
}

/// A report for people.
pub(super) fn table(report: &Report, paint: Paint) -> String {
    let head = [
        "RUNTIME",
        "FOUND",
        "SIZE",
        "PLATFORMS",
        "RUNS NOW",
        "WORKSPACES",
        "IMAGE",
    ];
    let mut rows = vec![row(head)];
    rows.extend(report.images.iter().map(cells));
    let mut text = match report.images.is_empty() {
        true => String::new(),
        false => output::table(&rows),
    };
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for image in report.images.iter().filter(|it| !it.because.is_empty()) {
        say(&format!("\n{}: {}.", image.image, sentence(image)));
    }
    if let Some(prepared) = &report.prepared {
        say(&format!("\n{prepared}"));
    }
    for warning in &report.warnings {
        say(&format!("\nWarning: {warning}"));
    }
    say(&format!("\n{}", summary(report, paint)));
    text
}

fn cells(image: &Row) -> Vec<String> {
    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    vec![
        image.runtime.clone(),
        image.finding.to_string(),
        or_dash(image.size.map(size).unwrap_or_default()),
        or_dash(image.platforms.join(",")),
        or_dash(image.content.map(|it| it.to_string()).unwrap_or_default()),
        image.workspaces.len().to_string(),
        image.image.clone(),
    ]
}

fn sentence(image: &Row) -> String {
    let because = &image.because;
    match image.retry_after_seconds {
        Some(seconds) => format!("{because}; it asks to be left alone for {seconds} s"),
        None => because.clone(),
    }
}

/// In the units of registries: of a thousand.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            // A registry may say whatever it likes.
            let (bytes, unit) = (u128::from(bytes), u128::from(unit));
            let tenths = (bytes * 10 + unit / 2) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// The answer in one line.
fn summary(report: &Report, paint: Paint) -> String {
    let count = |is: &dyn Fn(Finding) -> bool| {
        let rows = report.images.iter();
        rows.filter(|it| is(it.finding)).count()
    };
    let of = |verdict: Verdict| count(&|it| it.verdict() == verdict);
    let different = count(&|it| it == Finding::Different);
    let (all, registry) = (report.images.len(), &report.registry);
    match report.verdict() {
        Verdict::Yes => paint.good(&there(all, different, registry)),
        Verdict::No if of(Verdict::No) == 0 => paint.bad(&others(all, different, registry)),
        Verdict::No => paint.bad(&unfit(all, of(Verdict::No), registry)),
        Verdict::Unknown => paint.odd(&unknown(all, of(Verdict::Unknown).max(1), registry)),
    }
}

fn there(all: usize, different: usize, registry: &str) -> String {
    let they = match all {
        1 => "the one image is there".to_owned(),
        all => format!("of {all} images, all are there"),
    };
    match (all, different) {
        (_, 0) => format!("Yes: {they} under {registry}."),
        (1, _) => format!("Yes: {they} under {registry}, with other content than what runs."),
        _ => format!(
            "Yes: {they} under {registry}, {different} of them with other content than what runs."
        ),
    }
}

fn others(all: usize, different: usize, registry: &str) -> String {
    match (all, different) {
        (1, _) => format!("No: the one image under {registry} has other content than what runs."),
        (_, 1) => {
            format!("No: of {all} images under {registry}, 1 has other content than what runs.")
        }
        _ => format!(
            "No: of {all} images under {registry}, {different} have other content than what runs."
        ),
    }
}

fn unfit(all: usize, unfit: usize, registry: &str) -> String {
    match all {
        1 => format!("No: the one image cannot be pulled from {registry}."),
        _ => format!("No: of {all} images, {unfit} cannot be pulled from {registry}."),
    }
}

fn unknown(all: usize, unknown: usize, registry: &str) -> String {
    match all {
        1 => format!(
            "It cannot be told: the one image under {registry} could not be looked up or compared."
        ),
        _ => format!(
            "It cannot be told: of {all} images under {registry}, {unknown} could not be looked up \
             or compared."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_250_000, "1.3 MB"),
            (6_949_999_999, "6.9 GB"),
            (6_950_000_000, "7.0 GB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_is_found_is_a_sentence() {
        for (finding, text) in [
            (Finding::Missing, "codex is missing"),
            (Finding::CannotTell, "whether codex is there cannot be told"),
        ] {
            assert_eq!(words("codex", finding), text);
        }
    }

    #[test]
    fn one_image_is_no_plural() {
        for (of_one, of_two) in [
            (there(1, 0, "x"), there(2, 0, "x")),
            (there(1, 1, "x"), there(2, 1, "x")),
            (others(1, 1, "x"), others(2, 2, "x")),
            (unfit(1, 1, "x"), unfit(2, 2, "x")),
            (unknown(1, 1, "x"), unknown(2, 2, "x")),
        ] {
            assert!(
                of_one.contains("the one image ") && !of_one.contains("images"),
                "{of_one}"
            );
            assert!(of_two.contains("of 2 images"), "{of_two}");
        }
        assert!(others(2, 1, "x").contains("1 has other content"));
    }
}
