//! The kubectl plugin: `kubectl workspace …`, for the person who holds the pager.
//!
//! It decides nothing itself: what is stuck, at risk or outdated, and what an edit would do, is
//! said by the rooms that the operator goes by.

mod access;
mod act;
mod complete;
mod edit;
mod forecast;
mod gitops;
mod interrupt;
mod look;
mod output;
mod pace;
mod patience;
mod pin;
mod preflight;
mod progress;
mod rollout;
mod status;
mod survey;
mod switch;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::names;
use crate::watch::Scope;
use access::Access;
use interrupt::{Interrupt, Interrupted};
use output::Format;

/// The name by which kubectl finds the plugin.
const PLUGIN: &str = "kubectl-workspace";
/// The name by which kubectl asks for the completion of a line.
const COMPLETION: &str = "kubectl_complete-workspace";

const EXAMPLES: &str = "Examples:
  kubectl workspace status -A
  kubectl workspace switch mirror.example.com/molecule-ai

Exit codes: 0 yes, done; 1 no, or not done; 2 it cannot be told; 130 interrupted.";

/// See how agent workspaces fare, and repoint them to another image registry
#[derive(Debug, Parser)]
#[command(name = PLUGIN, bin_name = "kubectl workspace", version, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
pub struct Plugin {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// The kubeconfig file [default: those of KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, global = true)]
    context: Option<String>,
    /// The namespace of the Workspaces [default: that of the context; for preflight, switch, pin and
    /// pins: all]
    #[arg(short, long, global = true, value_parser = names::namespace)]
    namespace: Option<String>,
    /// How to print the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The namespace of the settings and of their record
    #[arg(long, global = true, value_parser = names::namespace, env = "WORKSPACE_SETTINGS_NAMESPACE",
          default_value = "molecule-system", hide_env_values = true)]
    settings_namespace: String,
    /// The name of the ConfigMap with the settings
    #[arg(
        long,
        global = true,
        env = "WORKSPACE_SETTINGS_NAME",
        default_value = "workspace-settings",
        hide_env_values = true
    )]
    settings_name: String,
    /// The name of the ConfigMap that records which settings are in force
    #[arg(
        long,
        global = true,
        env = "WORKSPACE_FLEET_NAME",
        default_value = "workspace-fleet",
        hide_env_values = true
    )]
    fleet_name: String,
}

impl Common {
    /// The namespace that is named, if one is.
    fn named(&self) -> Option<String> {
        self.namespace.clone().filter(|it| !it.is_empty())
    }

    /// Where to look, in this namespace or in all.
    fn scope(&self, namespace: Option<String>) -> Scope {
        Scope {
            namespace,
            settings_namespace: self.settings_namespace.clone(),
            settings_name: self.settings_name.clone(),
            fleet_name: self.fleet_name.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether every image that the Workspaces need is there
    ///
    /// Asks the registry for each image with the credentials that the Pods would use, and changes
    /// nothing.
    Preflight(preflight::Preflight),
    /// Let the default tag of a runtime stand for one build, and stay so
    Pin(pin::Pin),
    /// Let the default tag of a runtime stand for whatever it is
    Unpin(pin::Unpin),
    /// List what is pinned, and whether the tags have moved since
    Pins(pin::Pins),
    /// Show the fleet at a glance: what runs, what is stuck, what would not survive a restart
    Status(status::Status),
    /// Repoint every new rollout, and what is stuck, to another registry
    Switch(switch::Switch),
    /// Restart Workspaces, so many at a time
    Restart(act::Restart),
    /// Stop Workspaces and keep their storage
    Suspend(act::Suspend),
    /// Start suspended Workspaces again
    Resume(act::Resume),
}

/// What a command runs with.
struct Session {
    common: Common,
    access: Access,
    interrupt: Interrupt,
}

/// What a script is told by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 0
    Yes,
    /// 1
    No,
    /// 2
    Unknown,
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The answer is no, for this reason, which says what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// Runs the plugin where the program was invoked by one of its names.
#[must_use]
pub fn invoked() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let program = args.next()?;
    match Path::new(&program).file_stem().and_then(OsStr::to_str) {
        Some(PLUGIN) => Some(run(Plugin::parse_from(std::env::args_os()))),
        Some(COMPLETION) => Some(complete::complete::<Plugin>(args.collect())),
        _ => None,
    }
}

/// Runs a command, and says how it went.
#[must_use]
pub fn run(plugin: Plugin) -> ExitCode {
    match start(plugin) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Unknown) => ExitCode::from(2),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(match error {
                error if error.is::<Interrupted>() => interrupt::CODE,
                error if error.is::<Refused>() => 1,
                _ => 2,
            })
        }
    }
}

fn start(plugin: Plugin) -> anyhow::Result<Answer> {
    let Plugin { common, command } = plugin;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        let interrupt = Interrupt::new()?;
        let access = access::connect(&common).await?;
        let session = Session {
            common,
            access,
            interrupt,
        };
        execute(session, command).await
    });
    // A question that nobody answered is still being asked on a thread of its own.
    runtime.shutdown_background();
    done
}

async fn execute(session: Session, command: Command) -> anyhow::Result<Answer> {
    match command {
        Command::Preflight(asked) => preflight::run(session, asked).await,
        Command::Pin(asked) => pin::pin(session, asked).await,
        Command::Unpin(asked) => pin::unpin(session, asked).await,
        Command::Pins(asked) => pin::list(session, asked).await,
        Command::Status(asked) => status::run(session, asked).await,
        Command::Switch(asked) => switch::run(session, asked).await,
        Command::Restart(asked) => act::restart(session, asked).await,
        Command::Suspend(asked) => act::suspend(session, asked).await,
        Command::Resume(asked) => act::resume(session, asked).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    const README: &str = include_str!("../README.md");

    /// The lines of a text that are command lines of the plugin.
    fn lines(text: &str) -> impl Iterator<Item = &str> {
        let lines = text.lines().map(|it| it.trim().trim_start_matches("$ "));
        lines.filter(|it| it.starts_with("kubectl workspace "))
    }

    /// What such a line says to the plugin, which has to understand it.
    fn parse(line: &str) -> Plugin {
        let words = shlex::split(line).expect("its quotes end");
        let args = words.into_iter().skip(2);
        let parsed = Plugin::try_parse_from(std::iter::once(PLUGIN.to_owned()).chain(args));
        parsed.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn every_example_is_a_command_line() {
        let plugin = Plugin::command();
        let examples = |of: &clap::Command| {
            let help = of.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            lines(&help).map(str::to_owned).collect::<Vec<_>>()
        };
        for command in plugin.get_subcommands() {
            let (name, examples) = (command.get_name(), examples(command));
            assert!(!examples.is_empty(), "{name} has no example");
            for line in examples {
                assert_eq!(line.split(' ').nth(2), Some(name), "{line}");
                parse(&line);
            }
        }
        let of_all = examples(&plugin);
        assert!(!of_all.is_empty());
        for line in of_all {
            parse(&line);
        }
    }

    #[test]
    fn every_command_line_of_the_readme_is_one() {
        let all: Vec<_> = lines(README).collect();
        assert!(all.len() > 10, "{all:?}");
        for line in all {
            parse(line);
        }
    }
}
