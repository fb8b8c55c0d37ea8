//! Commands that set the node up, and waiting for what they set up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Process, Terminal};

use super::runtime::SOCKET;
use crate::keeper::LOGS;

/// Longer than anything takes to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command line that must succeed, and gives what it printed.
pub fn must(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("no command")?;
    output(Command::new(program).args(words))
}

/// Runs a command that must succeed, and gives what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Shows a command as it is typed on the node.
pub fn show_on_node(command: &str) {
    Terminal::new().say(&format!("\n  node-1# {command}"));
}

/// Types a command on the node, and shows and gives what it answers. It must succeed.
pub fn type_on_node(command: &str) -> Result<String> {
    show_on_node(command);
    let tools = cluster::tool("ctr")?.with_file_name("");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools).chain(std::env::split_paths(&path));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .env("PATH", std::env::join_paths(path)?)
        .env("CONTAINERD_ADDRESS", SOCKET);
    let said = output(&mut shell)?;
    Terminal::new().output(&said);
    Ok(said)
}

/// Starts a program that ends with its owner, and whose log is kept.
pub fn spawn(name: &str, command: &Command) -> Result<Process> {
    let log = log_of(name);
    let script = r#"exec "$@" >>"$LOG" 2>&1"#;
    let mut logged = Command::new("sh");
    logged.args(["-c", script, "sh"]).arg(command.get_program());
    logged.args(command.get_args()).env("LOG", log);
    for (name, value) in command.get_envs() {
        logged.env(name, value.unwrap_or_default());
    }
    Process::spawn(&mut logged)
}

/// The end of a program's log.
pub fn last_words(name: &str) -> String {
    let text = fs::read_to_string(log_of(name)).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn log_of(name: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{name}.log"))
}

/// Asks until the answer is yes; an error ends the asking.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is().await? {
        if Instant::now() > deadline {
            bail!("{what}: that did not come about within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
