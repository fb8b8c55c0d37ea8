//! What the cluster says: its Workspaces, its settings, its nodes, and the operator's own image.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{self as core, Namespace};
use kube::api::ListParams;
use kube::{Api, Client, Error};

use super::nodes::{self, Bound, Node};
use crate::fleet::{self, Source};
use crate::names;
use crate::requests::{list, within};
use crate::seen::{Key, Workspace};
use crate::settings::{Environment, Prefix, REGISTRY_KEY, Settings};
use crate::watch::Scope;
use crate::wire::{self, Wire};
use crate::workspace::{WorkspaceSpec, WorkspaceStatus};

const SILENT: &str = "the API server does not answer";

/// What was seen of the cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The settings' ConfigMap.
    pub settings: Source,
    /// The record of what is in force.
    pub fleet: Source,
    /// Every Workspace that is not being deleted.
    pub workspaces: Vec<Known>,
    /// The nodes; none where they cannot be read.
    pub nodes: Vec<Node>,
    /// The images of the operator itself; `None` = they cannot be read.
    pub operators: Option<BTreeSet<String>>,
}

/// A Workspace.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where it is.
    pub key: Key,
    /// What its user asked for, or why that cannot be read.
    pub spec: Result<WorkspaceSpec, String>,
    /// Where it stands.
    pub status: WorkspaceStatus,
    /// What the nodes are that its Pod can be on, as in `linux/amd64`; nothing where that is not known.
    pub platforms: BTreeSet<String>,
}

impl Known {
    /// What is known of a Workspace, unless it is on its way out: among these nodes, with its Pod on
    /// this one.
    #[must_use]
    pub fn of(key: Key, seen: Workspace, nodes: &[Node], bound: Option<&Bound>) -> Option<Self> {
        if seen.deleting {
            return None;
        }
        let spec = seen.spec.map(|it| it.unpack());
        let platforms = spec.as_ref().map(|it| nodes::platforms(nodes, it, bound));
        Some(Self {
            key,
            platforms: platforms.unwrap_or_default(),
            spec,
            status: seen.status,
        })
    }
}

/// Looks at the cluster.
///
/// # Errors
/// The Workspaces cannot be listed, or there is no such namespace. What else cannot be read is left out,
/// or a part of what is seen.
pub async fn look(client: &Client, scope: &Scope) -> anyhow::Result<Cluster> {
    let all = scope.objects::<wire::Workspace>(client);
    let pods = scope.objects::<wire::Pod>(client);
    let of_workspaces =
        ListParams::default().labels(&format!("{}={}", names::LABEL_NAME, names::NAME));
    let nodes = Api::<core::Node>::all(client.clone());
    let home = &scope.settings_namespace;
    let deployments = Api::<Deployment>::namespaced(client.clone(), home);
    let operators =
        ListParams::default().labels(&format!("{}={}", names::LABEL_NAME, names::MANAGER));
    let (workspaces, pods, nodes, operators, settings, fleet) = futures::join!(
        list(&all, ListParams::default()),
        list(&pods, of_workspaces),
        list(&nodes, ListParams::default()),
        list(&deployments, operators),
        config_map(client, scope, &scope.settings_name),
        config_map(client, scope, &scope.fleet_name),
    );
    let workspaces = workspaces
        .map_err(plainly)
        .context("cannot list the Workspaces")?;
    if workspaces.is_empty() {
        refuse_if_missing(client, scope).await?;
    }
    let bound = |it: wire::Pod| Some((it.key(), Bound::of(it.seen())?));
    let bound: BTreeMap<_, _> = pods.into_iter().flatten().filter_map(bound).collect();
    let nodes: Vec<_> = nodes.into_iter().flatten().filter_map(Node::of).collect();
    let known = |it: wire::Workspace| {
        let key = it.key();
        let bound = bound.get(&key);
        Known::of(key, it.seen(), &nodes, bound)
    };
    Ok(Cluster {
        settings: settings.unwrap_or_else(|error| unreadable(&error)),
        fleet: fleet.unwrap_or_else(|error| unreadable(&error)),
        workspaces: workspaces.into_iter().filter_map(known).collect(),
        nodes,
        operators: operators
            .ok()
            .map(|it| it.iter().flat_map(images).collect()),
    })
}

/// Finds out why nothing was found: the API server lists what is in no namespace as nothing.
///
/// # Errors
/// There is no such namespace. Where that cannot be read, there may be one.
pub async fn refuse_if_missing(client: &Client, scope: &Scope) -> anyhow::Result<()> {
    match &scope.namespace {
        Some(name) if is_missing(client, name).await => {
            bail!("there is no namespace {name}: see kubectl get namespaces")
        }
        _ => Ok(()),
    }
}

/// Whether there is no namespace of this name, as far as that may be read.
async fn is_missing(client: &Client, namespace: &str) -> bool {
    let namespaces = Api::<Namespace>::all(client.clone());
    let found = within(namespaces.get_metadata_opt(namespace)).await;
    matches!(found, Ok(None))
}

/// What the API server says, without what the library makes of it.
fn plainly(error: Error) -> anyhow::Error {
    match error {
        Error::Api(status) if status.is_forbidden() => anyhow!("you may not: {}", status.message),
        Error::Api(status) if status.message.is_empty() => {
            anyhow!("the API server answers {}", status.code)
        }
        Error::Api(status) => anyhow!("the API server says: {}", status.message),
        Error::Auth(error) => anyhow!("there are no credentials for the API server: {error}"),
        Error::SerdeError(error) => anyhow!("what the API server sends is not understood: {error}"),
        _ => anyhow!(SILENT),
    }
}

/// Reads the ConfigMap of the settings or of their record.
///
/// # Errors
/// It cannot be read.
pub async fn config_map(client: &Client, scope: &Scope, name: &str) -> Result<Source, Error> {
    let found = within(scope.maps(client).get_opt(name)).await?;
    Ok(found.map_or(Source::Absent, |map| Source::Present(map.seen())))
}

fn unreadable(error: &Error) -> Source {
    Source::Unreadable(match error {
        Error::Api(status) => status.message.clone(),
        _ => SILENT.into(),
    })
}

fn images(deployment: &Deployment) -> Vec<String> {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|it| it.template.spec.as_ref());
    let containers = pod.iter().flat_map(|it| &it.containers);
    containers.filter_map(|it| it.image.clone()).collect()
}

impl Cluster {
    /// What the nodes are.
    #[must_use]
    pub fn platforms(&self) -> BTreeSet<String> {
        self.nodes.iter().map(|it| it.platform.clone()).collect()
    }

    /// What the nodes are on which a Pod can be that asks for none in particular; all, where there is
    /// none of these.
    #[must_use]
    pub fn platforms_for_anyone(&self) -> BTreeSet<String> {
        let open = nodes::platforms(&self.nodes, &WorkspaceSpec::default(), None);
        match open.is_empty() {
            true => self.platforms(),
            false => open,
        }
    }

    /// The settings in force, as far as that is seen from here.
    ///
    /// # Errors
    /// There are none.
    pub fn in_force(&self) -> anyhow::Result<Settings> {
        let found = fleet::seen_from_outside(&self.settings, &self.fleet);
        let why = found.error.unwrap_or_default();
        found
            .settings
            .with_context(|| format!("no settings are in force: {why}"))
    }

    /// The settings as they stand in the ConfigMap, with the prefix in force where they name none.
    ///
    /// # Errors
    /// They are invalid, or cannot be read.
    pub fn as_written(&self) -> anyhow::Result<Settings> {
        let registry = self.in_force().ok().map(|it| it.registry().to_string());
        let parsed = Settings::parse(&self.data()?, &Environment { registry });
        Ok(parsed.context("the settings are invalid")?.settings)
    }

    fn data(&self) -> anyhow::Result<BTreeMap<String, String>> {
        match &self.settings {
            Source::Present(data) => Ok(data.clone()),
            Source::Absent => Ok(BTreeMap::new()),
            Source::Unreadable(why) => bail!("the settings cannot be read: {why}"),
            Source::Unread => bail!("the settings were not read"),
        }
    }

    /// The settings as they would be with this prefix; with none, those in force.
    ///
    /// # Errors
    /// They would be invalid, or cannot be read.
    pub fn settings_under(&self, prefix: Option<&Prefix>) -> anyhow::Result<Settings> {
        let Some(prefix) = prefix else {
            return self.in_force();
        };
        let mut data = self.data()?;
        data.insert(REGISTRY_KEY.to_owned(), prefix.to_string());
        let parsed = Settings::parse(&data, &Environment::default());
        let parsed =
            parsed.context("a switch would change nothing, as the settings are invalid")?;
        Ok(parsed.settings)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_error_of_the_api_server_is_one_plain_sentence() {
        let of = |message: &str, reason: &str, code: u16| {
            let status = Status::failure(message, reason).with_code(code);
            plainly(Error::Api(status.boxed())).to_string()
        };
        let forbidden = "workspaces is forbidden: User \"eve\" cannot list";
        assert_eq!(
            of(forbidden, "Forbidden", 403),
            format!("you may not: {forbidden}")
        );
        let down = of("etcd is down", "InternalError", 500);
        assert_eq!(down, "the API server says: etcd is down");
        assert_eq!(of("", "", 503), "the API server answers 503");
    }
}
