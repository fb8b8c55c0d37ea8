//! The command line.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::connection;
use crate::controller::{self, Options, Outside};
use crate::kubectl;
use crate::names;
use crate::resolver;
use crate::server;
use crate::settings::{Environment, REGISTRY_KEY, Settings};
use crate::traffic::Traffic;
use crate::watch::Scope;
use crate::workspace;

/// Runs agent workspaces on Kubernetes, and repoints them to another image registry with one edit.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator, with KUBECONFIG or from inside the cluster
    Run(Run),
    /// Print the CustomResourceDefinition
    ///
    /// Example: workspace-operator crd | kubectl apply --server-side -f -
    Crd,
    /// Print the image of each runtime
    ///
    /// Example: workspace-operator images --registry mirror.example.com/molecule-ai
    Images(Images),
    /// Be the kubectl plugin, as under the name kubectl-workspace
    ///
    /// Example: workspace-operator kubectl status -A
    Kubectl(kubectl::Plugin),
}

#[derive(Debug, Args)]
struct Run {
    /// Look after the Workspaces of this namespace only [default: of all namespaces]
    #[arg(long, env = "WORKSPACE_NAMESPACE", value_parser = names::namespace)]
    namespace: Option<String>,
    /// The namespace of the settings and of their record
    #[arg(
        long,
        value_parser = names::namespace,
        env = "WORKSPACE_SETTINGS_NAMESPACE",
        default_value = "molecule-system"
    )]
    settings_namespace: String,
    /// The name of the ConfigMap with the settings
    #[arg(
        long,
        env = "WORKSPACE_SETTINGS_NAME",
        default_value = "workspace-settings"
    )]
    settings_name: String,
    /// The name of the ConfigMap that records which settings are in force
    #[arg(long, env = "WORKSPACE_FLEET_NAME", default_value = "workspace-fleet")]
    fleet_name: String,
    /// Stand for election by a Lease, and write only while elected: for more than one operator
    #[arg(long, env = "WORKSPACE_LEADER_ELECT", value_parser = BoolishValueParser::new())]
    leader_elect: bool,
    /// The name of that Lease, in the namespace of the settings; it must exist
    #[arg(
        long,
        env = "WORKSPACE_LEASE_NAME",
        default_value = "workspace-operator"
    )]
    lease_name: String,
    /// How many requests to the API server may be under way at once
    #[arg(long, env = "WORKSPACE_CONCURRENCY", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(16..=64))]
    concurrency: u16,
    /// The registry prefix where the settings name none [default: ghcr.io/molecule-ai]
    #[arg(long = "registry", env = REGISTRY_KEY, hide_env_values = true)]
    registry: Option<String>,
    /// Serve /metrics, /healthz and /readyz here, as on [::]:8080 [default: nowhere]
    #[arg(long, env = "WORKSPACE_METRICS_ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, env = "WORKSPACE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Images {
    /// The registry prefix [default: ghcr.io/molecule-ai]
    #[arg(long, env = REGISTRY_KEY)]
    registry: Option<String>,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Runs the command line, and says how it went. `at_rest` is what the operator does when there
/// has been nothing to do for a while.
#[must_use]
pub fn main(at_rest: fn()) -> ExitCode {
    if let Some(code) = kubectl::invoked() {
        return code;
    }
    let done = match Cli::parse().command {
        Command::Kubectl(plugin) => return kubectl::run(plugin),
        Command::Run(run) => operate(run, at_rest),
        Command::Crd => workspace::crd_yaml()
            .map_err(Into::into)
            .and_then(|yaml| print(&yaml)),
        Command::Images(asked) => images(asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "workspace-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A closed pipe (`| head`) is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn images(asked: Images) -> anyhow::Result<()> {
    let environment = Environment {
        registry: asked.registry,
    };
    let parsed = Settings::parse(&BTreeMap::new(), &environment)?;
    let images = resolver::images(&parsed.settings);
    match asked.output {
        Output::Json => {
            let map: BTreeMap<_, _> = images.into_iter().collect();
            print(&format!("{:#}\n", json!(map)))
        }
        Output::Table => {
            let width = images
                .iter()
                .map(|(runtime, _)| runtime.len())
                .max()
                .unwrap_or(0);
            let line = |(runtime, image): &(String, String)| format!("{runtime:width$}  {image}\n");
            print(&images.iter().map(line).collect::<String>())
        }
    }
}

fn operate(run: Run, at_rest: fn()) -> anyhow::Result<()> {
    start_log(run.log_format);
    // One thread: the loop decides in microseconds, and only waits for the API server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let traffic = Traffic::default();
        let client = connection::connect(&traffic).await?;
        let questions = match run.metrics_address {
            Some(address) => Some(server::serve(address).await?),
            None => None,
        };
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let outside = Outside {
            client,
            traffic,
            questions,
            at_rest,
        };
        controller::run(outside, options(run), stop).await;
        Ok(())
    });
    // Name look-ups run on threads of their own, which nothing else can end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

fn options(run: Run) -> Options {
    Options {
        scope: Scope {
            namespace: run.namespace.filter(|it| !it.is_empty()),
            settings_namespace: run.settings_namespace,
            settings_name: run.settings_name,
            fleet_name: run.fleet_name,
        },
        concurrency: run.concurrency.into(),
        lease: run.leader_elect.then_some(run.lease_name),
        environment: Environment {
            registry: run.registry,
        },
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_runtime=off,kube_client=off"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
