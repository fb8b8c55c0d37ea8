//! The connection to the API server, as kubectl would make it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use http::header::{HeaderValue, USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Error};

use super::{Common, PLUGIN};

/// How long it may take until the API server is reached.
const REACHED: Duration = Duration::from_secs(10);

/// The API server, and the namespace that is meant where none is named.
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// Connects as the flags, the kubeconfig files or the Pod around say.
///
/// # Errors
/// When none of them says how.
pub(super) async fn connect(common: &Common) -> anyhow::Result<Access> {
    let mut config = config(common).await?;
    config.connect_timeout = Some(REACHED);
    let agent = concat!("kubectl-workspace/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    let named = common.named();
    Ok(Access {
        namespace: named.unwrap_or_else(|| config.default_namespace.clone()),
        client: Client::try_from(config).with_context(|| format!("{PLUGIN} cannot connect"))?,
    })
}

async fn config(common: &Common) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: common.context.clone(),
        ..KubeConfigOptions::default()
    };
    let kubeconfig = match &common.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .with_context(|| format!("--kubeconfig {} cannot be used", path.display()))?,
        None => match of_environment() {
            Ok(kubeconfig) => kubeconfig,
            // As kubectl does in a Pod.
            Err(error) if common.context.is_none() => {
                return Config::incluster().map_err(|_| {
                    anyhow::anyhow!(
                        "no cluster to connect to: name a kubeconfig with --kubeconfig or \
                         KUBECONFIG ({error})"
                    )
                });
            }
            Err(error) => return Err(error).context("no kubeconfig can be used"),
        },
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.context("the kubeconfig names no cluster that can be used; see kubectl config view")
}

/// The files of KUBECONFIG that exist, as kubectl reads them; else the usual one.
fn of_environment() -> Result<Kubeconfig, KubeconfigError> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed)
        .filter(|it| !it.as_os_str().is_empty())
        .collect();
    let (there, missing): (Vec<_>, Vec<_>) = listed.into_iter().partition(|it| it.exists());
    match (there.split_first(), missing.first()) {
        (None, None) => Kubeconfig::read(),
        (None, Some(missing)) => Kubeconfig::read_from(missing),
        (Some((first, rest)), _) => {
            let first = Kubeconfig::read_from(first)?;
            rest.iter().try_fold(first, |merged, path| {
                merged.merge(Kubeconfig::read_from(path)?)
            })
        }
    }
}

/// Why a request failed, and what to do, in one sentence. `what` is what was asked for, as in
/// "list workspaces in all namespaces".
pub(super) fn explain(what: &str, error: &Error) -> String {
    match error {
        Error::Api(status) if status.is_forbidden() => {
            format!("you may not {what}: {}", status.message)
        }
        Error::Api(status) if status.code == 401 => {
            format!("cannot {what}: the API server does not accept your credentials (401)")
        }
        Error::Api(status) => format!("cannot {what}: {} ({})", status.message, status.code),
        error => format!("cannot {what}: {}", causes(error)),
    }
}

/// An error of the connection with all that it was caused by, of which each says a little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = next.source();
    }
    told
}
