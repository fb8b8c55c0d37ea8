//! What the answers mean; pure.

use std::collections::BTreeSet;

use super::Request;
use super::cluster::Cluster;
use super::compare::{content, runs};
use super::needs::{Need, User};
use super::report::{Content, Finding, Report, Row, Verdict};
use crate::credentials::gives_nodes_credentials;
use crate::fleet::Source;
use crate::overview::{self, Overview, Prepull};
use crate::probe::Answer;
use crate::pull::About;
use crate::registry::{Found, Kind, Refusal};
use crate::resolver::registry_host;
use crate::seen::Key;
use crate::settings::Settings;

/// So many Workspaces are named in a sentence.
const NAMES: usize = 10;

/// What was asked.
pub(super) struct Asked<'a> {
    pub(super) need: &'a Need,
    pub(super) users: &'a [&'a User],
    /// What the nodes are that those who need it can be on.
    pub(super) nodes: &'a BTreeSet<String>,
    /// How many logins there were to show.
    pub(super) logins: usize,
    pub(super) credentials_on_nodes: bool,
}

impl Asked<'_> {
    fn host(&self) -> &str {
        registry_host(&self.need.image)
    }

    fn row(&self, finding: Finding, because: String) -> Row {
        Row {
            runtime: self.need.runtime.clone(),
            image: self.need.image.clone(),
            finding,
            because,
            retry_after_seconds: None,
            digest: None,
            size: None,
            platforms: Vec::new(),
            lacking: Vec::new(),
            content: None,
            workspaces: self.users.iter().map(|it| it.key.to_string()).collect(),
        }
    }
}

/// It could not even be asked for.
pub(super) fn unasked(asked: &Asked<'_>, why: &str) -> Row {
    asked.row(Finding::CannotTell, why.to_owned())
}

/// The registry gave no image.
pub(super) fn refused(asked: &Asked<'_>, refusal: &Refusal) -> Row {
    let host = asked.host();
    let words = format!("{host} {}", refusal.words);
    let anybody = asked.logins == 0;
    let (finding, because) = match refusal.kind {
        Kind::Missing => (Finding::Missing, words),
        Kind::Unreachable => (Finding::Unreachable, words),
        Kind::Unusable => (Finding::Unusable, words),
        Kind::Denied if asked.credentials_on_nodes => (
            Finding::CannotTell,
            format!("{words}; the nodes have credentials of their own"),
        ),
        Kind::Denied if anybody && gives_nodes_credentials(host) => (
            Finding::CannotTell,
            format!("{words} without credentials, which nodes have for such registries"),
        ),
        Kind::Denied if anybody => (
            Finding::Denied,
            format!("{words} without credentials, and no pull secret is for it"),
        ),
        Kind::Denied => (Finding::Denied, words),
    };
    let pause = refusal.retry_after.map(|it| it.as_secs());
    Row {
        retry_after_seconds: pause,
        ..asked.row(finding, because)
    }
}

/// What a node says, in place of what was found from here, next to the digests that run. A node
/// tells a digest and no more: where it is another, the content may be the same all the same.
pub(super) fn by_node(row: Row, answer: Answer, running: &[&str]) -> Row {
    let host = registry_host(&row.image);
    let content = match &answer {
        Answer::Pulled(_) if running.is_empty() => None,
        Answer::Pulled(digest) if running.iter().all(|it| Some(*it) == digest.as_deref()) => {
            Some(Content::Same)
        }
        Answer::Pulled(_) => Some(Content::CannotTell),
        _ => None,
    };
    let (finding, because, digest) = match answer {
        Answer::Pulled(digest) => (Finding::Present, "a node has pulled it".to_owned(), digest),
        Answer::Failed(cause) => {
            let finding = match cause.about {
                About::Image => Finding::Missing,
                About::Unclear => Finding::Denied,
                About::Registry => Finding::Unreachable,
            };
            (
                finding,
                format!("{host} {}, asked by a node", cause.words),
                None,
            )
        }
        Answer::Open(why) => (Finding::CannotTell, format!("{}; {why}", row.because), None),
    };
    Row {
        finding,
        because,
        digest,
        content,
        ..row
    }
}

/// The registry has it.
pub(super) fn found(asked: &Asked<'_>, found: &Found, content: Option<Content>) -> Row {
    let (finding, because) = usable(asked, found, content);
    let platforms = found.images.iter().filter_map(|it| it.platform.as_ref());
    let short: BTreeSet<_> = platforms.clone().map(|it| it.short()).collect();
    let lacking = asked.nodes.iter().filter(|it| !short.contains(*it));
    let of_nodes = found.images.iter().filter(|it| runs(it, asked.nodes));
    Row {
        digest: Some(found.digest.clone()),
        size: of_nodes.filter_map(|it| Some(self::content(it)?.1)).max(),
        platforms: platforms.map(ToString::to_string).collect(),
        lacking: if short.is_empty() {
            Vec::new()
        } else {
            lacking.cloned().collect()
        },
        content,
        ..asked.row(finding, because)
    }
}

fn usable(asked: &Asked<'_>, found: &Found, content: Option<Content>) -> (Finding, String) {
    let host = asked.host();
    let mut of_nodes = found.images.iter().filter(|it| runs(it, asked.nodes));
    if of_nodes.clone().next().is_none() {
        let nodes: Vec<_> = asked.nodes.iter().map(String::as_str).collect();
        let because = match built_for(found) {
            built if built.is_empty() => "it is an index without images".to_owned(),
            built => format!(
                "it is built for {built}, and its nodes are {}",
                nodes.join(", ")
            ),
        };
        return (Finding::Unusable, because);
    }
    if let Some(because) = homeless(asked, found) {
        return (Finding::Unusable, because);
    }
    let broken = of_nodes.find_map(|it| match &it.content {
        Some(Err(refusal)) => Some((it, refusal)),
        _ => None,
    });
    if let Some((image, refusal)) = broken {
        let part = image
            .platform
            .as_ref()
            .map_or_else(String::new, |it| format!(" {it}"));
        let because = format!("of its part for{part}, {host} {}", refusal.words);
        let finding = match refusal.kind {
            Kind::Unreachable => Finding::Unreachable,
            _ => Finding::Unusable,
        };
        return (finding, because);
    }
    match content {
        Some(Content::Different) => (
            Finding::Different,
            "under this tag is another build than the one that runs".to_owned(),
        ),
        _ => (Finding::Present, String::new()),
    }
}

/// For what it is built.
fn built_for(found: &Found) -> String {
    let built = found.images.iter().filter_map(|it| it.platform.as_ref());
    let built: Vec<_> = built.map(ToString::to_string).collect();
    built.join(", ")
}

/// Those of whose nodes none can run it, if there are any.
fn homeless(asked: &Asked<'_>, found: &Found) -> Option<String> {
    let can_be = |user: &&&User| found.images.iter().any(|it| runs(it, &user.platforms));
    let users: Vec<_> = asked.users.iter().filter(|it| !can_be(it)).collect();
    let nodes: BTreeSet<_> = users.iter().flat_map(|it| &it.platforms).collect();
    let nodes: Vec<_> = nodes.into_iter().map(String::as_str).collect();
    let keys: Vec<_> = users.iter().map(|it| &it.key).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "it is built for {}, and only on nodes of {} can these be: {}",
            built_for(found),
            nodes.join(", "),
            named(&keys)
        )
    })
}

/// The first of them by name, and how many more there are.
fn named(keys: &[&Key]) -> String {
    let named: Vec<_> = keys.iter().take(NAMES).map(ToString::to_string).collect();
    match keys.len().saturating_sub(NAMES) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// All together.
pub(super) fn report(
    cluster: &Cluster,
    settings: &Settings,
    without: Vec<String>,
    rows: Vec<Row>,
    request: &Request,
) -> Report {
    let of_row = |row: &Row| match row.content {
        Some(Content::Different) if request.strict => Verdict::No,
        Some(Content::CannotTell) if request.strict => row.finding.verdict().max(Verdict::Unknown),
        _ => row.finding.verdict(),
    };
    let in_force = cluster.in_force().ok().map(|it| it.registry().to_string());
    let in_force = in_force.filter(|it| it != settings.registry().as_str());
    let mut warnings = without;
    warnings.extend(operators(cluster, settings, in_force.as_deref()));
    warnings.extend(platforms(cluster, &rows));
    let namespace = request.scope.namespace.as_deref();
    Report {
        verdict: rows.iter().map(of_row).max().unwrap_or(Verdict::Yes),
        registry: settings.registry().to_string(),
        in_force,
        images: rows,
        prepared: prepared(cluster, settings, namespace),
        warnings,
    }
}

/// How far the operator has prepared a switch to this very prefix, if it does.
fn prepared(cluster: &Cluster, settings: &Settings, namespace: Option<&str>) -> Option<String> {
    let Source::Present(record) = &cluster.fleet else {
        return None;
    };
    let text = |namespace| record.get(&overview::key(namespace));
    let recorded = Overview::from_text(text(namespace).or_else(|| text(None))?)?;
    let Prepull {
        registry,
        images,
        pulled,
        failed,
    } = recorded.prepull?;
    let failed = failed
        .iter()
        .map(|(why, count)| format!("; {count} failed: {why}"));
    let noun = if images == 1 { "image" } else { "images" };
    (registry == settings.registry().as_str()).then(|| {
        format!(
            "Pulled before the switch, counted on each node: {pulled} of {images} {noun}{}.",
            failed.collect::<String>()
        )
    })
}

/// The operator has to survive the outage that it cures.
fn operators(cluster: &Cluster, settings: &Settings, left: Option<&str>) -> Vec<String> {
    let target = settings.registry().host();
    let left = left.map(registry_host).filter(|it| *it != target);
    let warning = |image: &String| {
        let host = registry_host(image);
        if left == Some(host) {
            Some(format!(
                "The operator's own image, {image}, is on {host}, which is being left: a node that \
                 has not run it before may not be able to start it. Keep it elsewhere."
            ))
        } else if host == target {
            Some(format!(
                "The operator's own image, {image}, is on {host} with the Workspaces': what takes \
                 these away may take it too. Keep it elsewhere."
            ))
        } else {
            None
        }
    };
    match &cluster.operators {
        Some(images) => images.iter().filter_map(warning).collect(),
        None => vec![
            "The operator's own Deployment cannot be read, so it is not known whether its image is \
             on a host that is being left, or with the Workspaces'."
                .to_owned(),
        ],
    }
}

fn platforms(cluster: &Cluster, rows: &[Row]) -> Vec<String> {
    if cluster.nodes.is_empty() {
        return vec![
            "The nodes cannot be read, so it is not known for which platforms an image has to be."
                .to_owned(),
        ];
    }
    let there = rows
        .iter()
        .filter(|it| it.finding.verdict() == Verdict::Yes);
    let lacking: BTreeSet<&str> = there
        .flat_map(|it| &it.lacking)
        .map(String::as_str)
        .collect();
    let warning = |platform: &str| {
        let rows = rows
            .iter()
            .filter(|it| it.lacking.iter().any(|it| it == platform));
        let images: Vec<_> = rows.map(|it| it.runtime.as_str()).collect();
        format!(
            "Some of those that need these may get on nodes of {platform}, for which they are not \
             built: {}. A nodeSelector keeps them away from there.",
            images.join(", ")
        )
    };
    let mut warnings: Vec<_> = lacking.into_iter().map(warning).collect();
    warnings.extend(nowhere(cluster));
    warnings
}

/// Of whom it is not known what their image has to be built for.
fn nowhere(cluster: &Cluster) -> Option<String> {
    let known = cluster.workspaces.iter().filter(|it| it.spec.is_ok());
    let nowhere = known.filter(|it| it.platforms.is_empty());
    let keys: Vec<_> = nowhere.map(|it| &it.key).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "No node takes these, so it is not known for which platforms their image has to be: {}.",
            named(&keys)
        )
    })
}
