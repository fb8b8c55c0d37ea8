//! The cluster, the operator in it, and the person at the keyboard.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::{Cluster, Kubectl, Mark, Options, Output, Process, Terminal, typed};
use kube::Client;

use crate::edit::{self, Write};
use crate::mirror::Mirror;
use crate::scene::Scene;
use crate::{PATIENCE, fleet};

const CRD: &str = include_str!("../../../crds/workspace.yaml");
/// Where the operator, its settings and their record are.
pub const SYSTEM: &str = "molecule-system";
/// The name by which kubectl finds the operator's program as its plugin.
const PLUGIN: &str = "kubectl-workspace";
/// Where it is, in the folder of the cluster.
const PLUGINS: &str = "plugins";
/// The operator's ServiceAccount, and its program.
pub const OPERATOR: &str = "workspace-operator";

/// A running cluster, with or without the operator.
pub struct World {
    pub terminal: Terminal,
    pub cluster: Cluster,
    pub mirror: Mirror,
    kubectl: Kubectl,
    client: Client,
    operator: Option<Process>,
}

impl World {
    /// Starts the control plane, and builds it first where that has not been done.
    pub async fn start(terminal: Terminal) -> Result<Self> {
        terminal.heading("Starting a real Kubernetes control plane on this machine.");
        let start = Instant::now();
        // Built first, so that the seconds told below are those of the start.
        let built = tokio::task::spawn_blocking(cluster::ensure).await?;
        built.context("building the control plane")?;
        let building = start.elapsed();
        let cluster = Cluster::start(Options {
            crds: vec![CRD.to_owned()],
            ..Options::default()
        });
        let cluster = cluster.await.context("starting the control plane")?;
        let seconds = (start.elapsed() - building).as_secs_f32();
        terminal.say(&format!(
            "Kubernetes {} is up after {seconds:.1} s: etcd, kube-apiserver, \
             kube-controller-manager, kube-scheduler.\n\
             kwok plays the two nodes and what they pull; nothing else is played.",
            cluster.kubernetes_version()
        ));
        let mirror = Mirror::start(cluster.folder()).await;
        let mirror = mirror.context("starting a registry")?;
        Ok(Self {
            client: cluster.client().await?,
            kubectl: cluster.kubectl().with_plugins(&plugins(&cluster)?),
            terminal,
            mirror,
            cluster,
            operator: None,
        })
    }

    /// Starts the operator as a process of its own, with the rights of its ServiceAccount.
    pub async fn start_operator(&mut self) -> Result<()> {
        let rights = self.cluster.service_account_kubeconfig(SYSTEM, OPERATOR);
        let rights = rights.await?;
        let program = program()?;
        let mut command = Command::new(&program);
        // Without this shell's variables: some of them are flags of the operator.
        command.arg("run").env_clear().env("KUBECONFIG", rights);
        let operator = Process::spawn(&mut command)
            .with_context(|| format!("starting {}; has it been built?", program.display()))?;
        self.terminal.command("workspace-operator run");
        let line = operator
            .wait_for_line("looking after Workspaces", PATIENCE)
            .await;
        self.terminal.output(&line?);
        self.operator = Some(operator);
        Ok(())
    }

    /// Types a kubectl command and shows what it answers. It must succeed.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_ends(args, 0).await
    }

    /// The same, for a command that must end with this exit code.
    pub async fn kubectl_ends(&self, args: &[&str], code: i32) -> Result<String> {
        self.terminal.command(&typed("kubectl", args));
        let output = run(self.kubectl.clone(), args, String::new()).await?;
        self.answer(args, output, code)
    }

    /// Types `kubectl apply -f -` with this text. `more` are not shown, but counted.
    pub async fn apply(&self, shown: &str, more: &[String]) -> Result<String> {
        let rest = match more.len() {
            0 => String::new(),
            count => format!("# ... and {count} more like it\n"),
        };
        let args = ["apply", "-f", "-"];
        self.terminal.command(&format!(
            "{} <<EOF\n{shown}{rest}EOF",
            typed("kubectl", &args)
        ));
        let text = [&[shown.to_owned()], more].concat().join("---\n");
        let output = run(self.kubectl.clone(), &args, text).await?;
        self.answer(&args, output, 0)
    }

    fn answer(&self, args: &[&str], output: Output, code: i32) -> Result<String> {
        // A command that says both says its answer last.
        self.terminal.output(&output.stderr);
        self.terminal.output(&output.stdout);
        if output.code != code {
            bail!(
                "{} ended with exit code {}",
                typed("kubectl", args),
                output.code
            );
        }
        Ok(output.stdout)
    }

    /// Looks at everything once.
    pub async fn look(&self) -> Result<Scene> {
        Scene::look(&self.client).await
    }

    /// Waits until what is stored is so, and returns it.
    pub async fn until(&mut self, what: &str, is: impl Fn(&Scene) -> bool) -> Result<Scene> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scene = self.look().await?;
            if is(&scene) {
                return Ok(scene);
            }
            self.check_operator()?;
            if Instant::now() > deadline {
                bail!("{what}: that did not come about within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The end of the audit log as it is now.
    pub fn mark(&self) -> Result<Mark> {
        self.cluster.audit().mark()
    }

    /// What the operator wrote since the mark.
    pub fn writes_since(&self, mark: Mark) -> Result<Vec<Write>> {
        Ok(edit::writes(self.cluster.audit().events_since(mark)?))
    }

    /// Waits until the operator's writes since the mark are that many: a request is in the log
    /// before it is answered, but what it stored can be seen a little earlier.
    pub async fn written(&self, mark: Mark, count: usize) -> Result<Vec<Write>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let writes = self.writes_since(mark)?;
            let done = writes.iter().filter(|it| it.succeeded()).count();
            if done >= count || Instant::now() > deadline {
                return Ok(writes);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The operator's log so far.
    pub fn log(&self) -> Vec<String> {
        self.operator
            .as_ref()
            .map(Process::lines)
            .unwrap_or_default()
    }

    fn check_operator(&mut self) -> Result<()> {
        match self.operator.as_mut().map(Process::exited).transpose()? {
            Some(Some(status)) => bail!("the operator ended by itself: {status}"),
            _ => Ok(()),
        }
    }

    /// For whoever has to find out why a step did not hold.
    pub async fn show_what_is_there(&self) {
        let terminal = self.terminal;
        terminal.heading("What is there now, and the end of the operator's log.");
        for args in [["get", "workspaces,pods"], ["get", "events"]] {
            if let Err(error) = self.kubectl(&args).await {
                terminal.output(&format!("{error:#}"));
            }
        }
        terminal.say("");
        let log = self.log();
        terminal.output(&log[log.len().saturating_sub(30)..].join("\n"));
    }

    /// Hands the keyboard over.
    pub fn invite(&self) {
        let terminal = self.terminal;
        let kubectl = self.kubectl.command(&[]);
        let folder = std::path::Path::new(kubectl.get_program()).parent();
        let folder = folder.map(|it| it.display().to_string());
        let plugins = self.cluster.folder().join(PLUGINS);
        terminal.heading("The cluster stays up until Ctrl-C. In another terminal:");
        terminal.say(&format!(
            "\n  export KUBECONFIG={}\n  export PATH={}:{}:$PATH",
            self.cluster.kubeconfig().display(),
            plugins.display(),
            folder.unwrap_or_default()
        ));
        terminal.say(&format!(
            "\nThings to try:\n\
             \n  kubectl get ws -w\
             \n  kubectl workspace status -A --outdated\
             \n  kubectl workspace switch --back\
             \n  kubectl explain workspace.spec\
             \n  kubectl edit configmap workspace-settings -n {SYSTEM}\
             \n  kubectl delete pod {lost}\
             \n  kubectl patch ws {lost} --type merge -p '{{\"spec\":{{\"runtime\":\"nonsense\"}}}}'\
             \n\nThe operator's log goes on here:\n",
            lost = fleet::LOST
        ));
    }

    /// Shows each line that the operator logs from now on, until it ends.
    pub async fn follow_log(&mut self) -> Result<()> {
        let mut shown = self.log().len();
        loop {
            for line in &self.log()[shown..] {
                self.terminal.output(line);
                shown += 1;
            }
            self.check_operator()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The operator's program, built beside this one.
fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(OPERATOR))
}

/// A folder with the operator's program under the name of the plugin.
fn plugins(cluster: &Cluster) -> Result<PathBuf> {
    let folder = cluster.folder().join(PLUGINS);
    std::fs::create_dir_all(&folder)?;
    symlink(program()?, folder.join(PLUGIN)).context("linking the plugin")?;
    Ok(folder)
}

/// Beside the story, so that Ctrl-C need not wait for it.
async fn run(kubectl: Kubectl, args: &[&str], input: String) -> Result<Output> {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        kubectl.run_with_input(&args, &input)
    };
    tokio::task::spawn_blocking(run).await?
}
