//! Whether every image that the Workspaces need is there: asked of the registry before anybody
//! depends on the answer.
//!
//! What is needed is computed by the [`crate::resolver`], as the operator does it, so that what is
//! asked for is what would be pulled; and it is asked with the pull credentials that the Pods would
//! use. Nothing is written anywhere.

mod ask;
mod cluster;
mod compare;
mod judge;
mod needs;
mod nodes;
mod report;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use kube::Client;

use crate::probe::Prober;
use crate::registry;
use crate::settings::Prefix;
use crate::watch::Scope;

pub use ask::Asker;
pub use cluster::{Cluster, Known, config_map, look, refuse_if_missing};
pub use needs::{Need, Needs, Running, User, needs, tag_of};
pub use nodes::{Bound, Node};
pub use report::{Content, Finding, Report, Row, Verdict};

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose Workspaces, and where the settings are.
    pub scope: Scope,
    /// The prefix under which the images have to be; `None` = the one in force.
    pub to: Option<Prefix>,
    /// Whether the default image of every known runtime has to be there, in use or not.
    pub all: bool,
    /// Whether the answer is no where a tag has other content than what runs.
    pub strict: bool,
    /// How the registry is asked.
    pub access: Access,
}

/// How registries are asked.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A docker `config.json` whose credentials are used in place of the Pods'.
    pub docker_config: Option<PathBuf>,
    /// Nodes have credentials of their own, so that a refusal here says nothing of them.
    pub credentials_on_nodes: bool,
    /// Deadlines, certificate authorities, plain http.
    pub options: registry::Options,
}

/// How far the questions have come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// How many are answered.
    pub done: usize,
    /// How many there are.
    pub of: usize,
    /// What the last answer says.
    pub row: &'a Row,
}

/// Looks every image up that is needed under a prefix, several at a time. `told` hears of each
/// answer as it comes.
///
/// With a `prober`, nodes are asked what depends on credentials that are not known here. What it has
/// started, the caller sweeps up in the end.
///
/// A registry that is missing, refuses or hangs is a finding in the report, and no error; so is a
/// pull secret that cannot be read.
///
/// # Errors
/// The API server does not list the Workspaces or show the settings; the settings with the new
/// prefix in them are invalid; no settings are in force and no prefix is given; the certificate
/// authorities or the docker config cannot be read.
pub async fn preflight(
    client: &Client,
    request: &Request,
    prober: Option<&Prober>,
    told: &dyn Fn(Progress<'_>),
) -> anyhow::Result<Report> {
    let cluster = look(client, &request.scope).await?;
    let settings = cluster.settings_under(request.to.as_ref())?;
    let mut needs = needs(&cluster.workspaces, &settings, request.all);
    // Of no images, all would be there.
    if needs.images.is_empty() {
        needs.images = needs::needs(&cluster.workspaces, &settings, true).images;
        needs.without.push(nobodys(&request.scope));
    }
    let asker = Asker::new(client, &cluster, &settings, &request.access, prober).await?;
    let rows = asker.rows(&needs.images, told).await;
    Ok(judge::report(
        &cluster,
        &settings,
        needs.without,
        rows,
        request,
    ))
}

fn nobodys(scope: &Scope) -> String {
    let place = scope.namespace.as_ref();
    let place = place.map(|it| format!(" in the namespace {it}"));
    format!(
        "No Workspace{} needs an image, so the default image of every runtime was looked for.",
        place.unwrap_or_default()
    )
}
