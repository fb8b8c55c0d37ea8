//! The real kubectl, as a person at a terminal would use it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs kubectl with a kubeconfig of the cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) cache: PathBuf,
    /// A folder that its PATH begins with.
    pub(crate) plugins: Option<PathBuf>,
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
}

impl Output {
    /// Whether the command ended with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

impl Kubectl {
    /// The same kubectl for another user's kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            ..self.clone()
        }
    }

    /// The same kubectl with the plugins of a folder.
    #[must_use]
    pub fn with_plugins(&self, folder: &Path) -> Self {
        Self {
            plugins: Some(folder.to_owned()),
            ..self.clone()
        }
    }

    /// A command to be run in any other way: interactively, or in the background.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // A person's own cache and preferences neither help nor get anything.
            .env("KUBECACHEDIR", &self.cache)
            .env("KUBERC", "off");
        if let Some(plugins) = &self.plugins {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(plugins.clone()).chain(std::env::split_paths(&path));
            // A folder with a colon in its name is no part of a PATH.
            command.envs(std::env::join_paths(folders).map(|it| ("PATH", it)));
        }
        command
    }

    /// Runs a command; that it failed is an output, not an error.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_with_input(args, "")
    }

    /// Runs a command that reads the input, as `create -f -` does.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Result<Output> {
        self.finish(&mut self.command(args), input)
    }

    /// Runs a command that opens an editor, as `edit` does.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn run_with_editor(&self, args: &[&str], editor: &str) -> Result<Output> {
        self.finish(self.command(args).env("KUBE_EDITOR", editor), "")
    }

    fn finish(&self, command: &mut Command, input: &str) -> Result<Output> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end without reading; then its own words say why.
            stdin.write_all(input.as_bytes()).ok();
        }
        let output = child.wait_with_output()?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        })
    }

    /// Runs a command that must succeed, and gives its standard output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn must(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        if !output.ok() {
            bail!("kubectl {}: {}", args.join(" "), output.stderr.trim());
        }
        Ok(output.stdout)
    }

    /// `kubectl apply -f -`, which must succeed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let output = self.run_with_input(&["apply", "-f", "-"], yaml)?;
        if !output.ok() {
            bail!("kubectl apply: {}", output.stderr.trim());
        }
        Ok(output.stdout)
    }
}
