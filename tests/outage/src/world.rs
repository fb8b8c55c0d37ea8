//! The node, the watch, and the person at the keyboard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Event, Events, Kubectl, Mark, Output, Terminal, typed};
use jiff::Timestamp;
use serde_json::Value;
use workspace_operator::names;

use crate::bed::Bed;
use crate::dips::Dips;
use crate::eye::{Eye, Kind, Life, Seen, text};

/// Where the operator, its settings and their record are.
pub const SYSTEM: &str = "molecule-system";
/// The operator's name, and that of its ServiceAccount.
pub const OPERATOR: &str = "workspace-operator";
/// What shows the overview in the operator's record.
pub const OVERVIEW_ON_RECORD: [&str; 7] = [
    "get",
    "configmap",
    "workspace-fleet",
    "-n",
    SYSTEM,
    "-o",
    "jsonpath={.data.status}",
];
/// How the server refuses what was written to a version that is not the last.
const CONFLICT: u16 = 409;
/// For how long a command waits until what it deletes is gone.
const DELETED_WITHIN: &str = "--timeout=180s";
/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running node with the operator on it.
pub struct World {
    pub terminal: Terminal,
    pub bed: Bed,
    pub eye: Arc<Eye>,
    start: Instant,
    timeline: Vec<String>,
}

/// The agents of some Workspaces, by key.
pub type Lives = BTreeMap<String, Life>;

impl World {
    /// Around a node; the definition of Workspaces has to be there before anything is looked at.
    pub async fn around(bed: Bed, start: Instant) -> Result<Self> {
        Ok(Self {
            terminal: Terminal::new(),
            eye: Eye::open(&bed.cluster.client().await?),
            bed,
            start,
            timeline: Vec::new(),
        })
    }

    /// A step of the story begins.
    pub fn step(&mut self, text: &str) {
        self.terminal.heading(text);
        let line = format!("{}  {text}", self.clock());
        self.timeline.push(line);
    }

    /// Something was checked, and held.
    pub fn holds(&mut self, text: &str) {
        self.terminal.holds(text);
        let line = format!("{}    {text}", self.clock());
        self.timeline.push(line);
    }

    /// Something was measured of which nothing is promised.
    pub fn measured(&mut self, text: &str) {
        self.terminal.say(&format!("\n  measured: {text}"));
        let line = format!("{}    measured: {text}", self.clock());
        self.timeline.push(line);
    }

    /// Something did not hold.
    pub fn failed(&mut self, text: &str) {
        self.terminal.failed("this step", text);
        let line = format!("{}    FAILED: {text}", self.clock());
        self.timeline.push(line);
    }

    /// The steps and what held, with times.
    pub fn timeline(&self) -> String {
        self.timeline.join("\n")
    }

    fn clock(&self) -> String {
        format!("{:6.1} s", self.start.elapsed().as_secs_f32())
    }

    /// Types a kubectl command and shows what it answers. It must succeed. One that deletes does not wait
    /// for ever.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.terminal.command(&typed("kubectl", args));
        let waits = args.first() == Some(&"delete") && !args.contains(&"--wait=false");
        let limit = [DELETED_WITHIN];
        let limited = [args, &limit[..usize::from(waits)]].concat();
        let output = run(self.kubectl_of_admin(), &limited, String::new(), None).await?;
        self.show(&output);
        must(args, output)
    }

    /// Types a command of the kubectl plugin as somebody, and shows what it answers.
    pub async fn plugin(&self, somebody: &Path, args: &[&str]) -> Result<Output> {
        let args = [&["workspace"], args].concat();
        self.terminal.command(&typed("kubectl", &args));
        let plugins = plugins(self.bed.folder())?;
        let kubectl = self.kubectl_of_admin().with_kubeconfig(somebody);
        let output = run(kubectl.with_plugins(&plugins), &args, String::new(), None).await?;
        self.show(&output);
        Ok(output)
    }

    /// Types a kubectl command whose lines are filtered by a text, as grep does.
    pub async fn kubectl_grep(&self, args: &[&str], text: &str) -> Result<String> {
        let command = format!("{} | grep {text}", typed("kubectl", args));
        self.terminal.command(&command);
        let all = must(
            args,
            run(self.kubectl_of_admin(), args, String::new(), None).await?,
        )?;
        let lines = lines_with(&all, text);
        self.terminal.output(&lines);
        Ok(lines)
    }

    /// Runs a kubectl command that nobody has to see.
    pub async fn quietly(&self, args: &[&str]) -> Result<String> {
        must(
            args,
            run(self.kubectl_of_admin(), args, String::new(), None).await?,
        )
    }

    /// A section of the overview, as the operator tells it; null where there is none.
    pub async fn told_of(&self, section: &str) -> Result<Value> {
        let status = self.quietly(&OVERVIEW_ON_RECORD).await?;
        let status: Value = serde_saphyr::from_str(&status)?;
        Ok(status[section].clone())
    }

    /// Types `kubectl apply -f -` with this text. `more` is not shown, but counted.
    pub async fn apply(&self, shown: &str, more: &[String]) -> Result<()> {
        let rest = match more.len() {
            0 => String::new(),
            count => format!("# ... and {count} more like it\n"),
        };
        let args = ["apply", "-f", "-"];
        let command = format!("{} <<EOF\n{shown}{rest}EOF", typed("kubectl", &args));
        self.terminal.command(&command);
        let text = [&[shown.to_owned()], more].concat().join("---\n");
        let output = run(self.kubectl_of_admin(), &args, text, None).await?;
        self.show(&output);
        must(&args, output).map(drop)
    }

    /// Edits the settings as a person does, by an editor that replaces one text by another. Returns
    /// when the API server had the edit.
    pub async fn edit(&self, from: &str, to: &str) -> Result<Timestamp> {
        let mark = self.mark()?;
        let editor = format!("sed -i s#{from}#{to}#");
        let args = ["edit", "configmap", "workspace-settings", "-n", SYSTEM];
        let command = format!("KUBE_EDITOR='{editor}' {}", typed("kubectl", &args));
        self.terminal.command(&command);
        let output = run(self.kubectl_of_admin(), &args, String::new(), Some(editor)).await?;
        self.show(&output);
        must(&args, output)?;
        let events = self.bed.cluster.audit().events_since(mark)?;
        let edits = events.writes().succeeded().of("configmaps");
        let edits = edits.named("workspace-settings");
        Ok(edits.last().context("no edit in the audit log")?.timestamp)
    }

    fn kubectl_of_admin(&self) -> Kubectl {
        self.bed.cluster.kubectl()
    }

    fn show(&self, output: &Output) {
        self.terminal.output(&output.stdout);
        self.terminal.output(&output.stderr);
    }

    /// The end of the audit log as it is now.
    pub fn mark(&self) -> Result<Mark> {
        self.bed.cluster.audit().mark()
    }

    /// What the operator wrote since the mark, or was refused; what is only told, and its Lease, left
    /// out.
    pub fn writes(&self, since: Mark) -> Result<Events> {
        let told = |it: &Event| is_event(it) || it.resource == "leases" || is_overview(it);
        Ok(self.all_writes(since)?.filter(|it| !told(it)))
    }

    /// How often the operator told of things since the mark: by the overview, and by Events.
    pub fn tellings(&self, since: Mark) -> Result<(usize, usize)> {
        let all = self.all_writes(since)?;
        let count = |is: fn(&Event) -> bool| all.iter().filter(|it| is(it)).count();
        Ok((count(is_overview), count(is_event)))
    }

    fn all_writes(&self, since: Mark) -> Result<Events> {
        let events = self.bed.cluster.audit().events_since(since)?;
        let events = events.by_service_account(SYSTEM, OPERATOR).writes();
        Ok(events.filter(|it| !it.dry_run))
    }

    /// The same, without what it had to tell of dips since this mark of the watch.
    pub fn writes_but_of_dips(&self, mark: Mark, since: usize) -> Result<Vec<Event>> {
        let writes = self.writes(mark)?;
        Ok(self.dips(since).leave_out(writes))
    }

    /// The dips since a mark of the watch.
    pub fn dips(&self, since: usize) -> Dips {
        self.eye.now(|seen| Dips::since(seen.sights(), since))
    }

    /// Tells of the dips since a mark of the watch, where there were any: nobody is to be fooled by a
    /// check that leaves them out.
    pub fn tell_of_dips(&mut self, since: usize) {
        let dips = self.dips(since);
        if dips.agents() > 0 {
            self.measured(&format!(
                "agents that ran on were called not ready for a moment: {}",
                dips.words()
            ));
        }
    }

    /// The agents of these Workspaces.
    pub fn lives<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Lives {
        self.eye.now(|seen| {
            let life = |key: &str| (key.to_owned(), seen.life(key));
            keys.into_iter().map(life).collect()
        })
    }

    /// Fails when one of them is, or has been since the mark of the watch, anything else.
    pub fn check_unmoved(&self, before: &Lives, since: usize) -> Result<()> {
        self.check_same(before, since, Life::eq)
    }

    /// The same, but for what is said of their readiness.
    pub fn check_not_rolled(&self, before: &Lives, since: usize) -> Result<()> {
        self.check_same(before, since, Life::is_still)
    }

    fn check_same(
        &self,
        before: &Lives,
        since: usize,
        same: impl Fn(&Life, &Life) -> bool,
    ) -> Result<()> {
        for sight in self.eye.since(since) {
            let Some(life) = before.get(&sight.key).filter(|_| sight.kind == Kind::Pod) else {
                continue;
            };
            let (key, now) = (&sight.key, &sight.life);
            ensure!(!sight.gone, "the Pod {key} is gone");
            let same = same(life, now);
            ensure!(same, "the Pod {key} was {life:?} and became {now:?}");
        }
        let now = self.lives(before.keys().map(String::as_str));
        let same = before.iter().all(|(key, life)| same(life, &now[key]));
        ensure!(same, "it was {before:?} and is {now:?}");
        Ok(())
    }

    /// Fails where what kubectl shows of the Pods of a namespace is not this: a watch that had ended
    /// would see nothing move.
    pub async fn check_shown(&self, namespace: &str, lives: &Lives) -> Result<()> {
        let get = ["get", "pods", "-n", namespace, "-o", "json"];
        let shown: Value = serde_json::from_str(&self.quietly(&get).await?)?;
        let pods = shown["items"].as_array().into_iter().flatten();
        let shown: Lives = pods
            .map(|it| {
                (
                    format!("{namespace}/{}", text(it, "/metadata/name")),
                    Life::of(it),
                )
            })
            .collect();
        ensure!(
            shown == *lives,
            "kubectl shows {shown:?}, and not {lives:?}"
        );
        Ok(())
    }

    /// Waits until what is stored is so.
    pub async fn until(&self, what: &str, is: impl Fn(&Seen) -> bool) -> Result<Timestamp> {
        self.eye.until(what, PATIENCE, is).await
    }

    /// For whoever has to find out why a step did not hold.
    pub async fn show_what_is_there(&self) {
        self.terminal.heading("What is there now.");
        for args in [
            &["get", "workspaces,pods", "-A", "-o", "wide"][..],
            &[
                "logs",
                "-n",
                SYSTEM,
                "deployment/workspace-operator",
                "--tail=30",
            ],
        ] {
            if let Err(error) = self.kubectl(args).await {
                self.terminal.output(&format!("{error:#}"));
            }
        }
    }
}

fn is_overview(write: &Event) -> bool {
    write.is_by(names::STATUS_MANAGER)
}

fn is_event(write: &Event) -> bool {
    write.resource == "events"
}

/// Without the first conflict at each version of an object. The operator names the version that it looked
/// at; where a kubelet tells something of a Pod meanwhile it is refused, and looks again. One that names
/// the same version again counts.
pub fn but_for_outrun(writes: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut refused = BTreeSet::new();
    let mut is_first = |it: &Event| {
        let object = [&it.resource, &it.namespace, &it.name].map(Clone::clone);
        refused.insert((object, version(it)))
    };
    let counts = |it: &Event| it.code != CONFLICT || !is_first(it);
    writes.into_iter().filter(counts).collect()
}

/// The version that a write names; empty where it names none, as one that creates.
fn version(write: &Event) -> String {
    let object = write.request_object.as_ref().unwrap_or(&Value::Null);
    let paths = ["/metadata", "/preconditions"].map(|it| format!("{it}/resourceVersion"));
    let found = paths.iter().map(|it| text(object, it));
    found.collect()
}

/// The lines of a text that have another in them, as grep prints them.
pub fn lines_with(all: &str, text: &str) -> String {
    let lines: Vec<_> = all.lines().filter(|it| it.contains(text)).collect();
    lines.join("\n")
}

/// Seconds from one moment to another, for people.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// A folder with the plugin: the program that was built beside this one, under the name that kubectl
/// looks for.
fn plugins(folder: &Path) -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("workspace-operator");
    ensure!(
        program.is_file(),
        "{} is missing: `make build` makes it",
        program.display()
    );
    let plugins = folder.join("plugins");
    let plugin = plugins.join("kubectl-workspace");
    if !plugin.exists() {
        fs::create_dir_all(&plugins)?;
        symlink(program, plugin)?;
    }
    Ok(plugins)
}

fn must(args: &[&str], output: Output) -> Result<String> {
    if !output.ok() {
        let said = output.stderr.trim();
        bail!(
            "{}: exit code {}: {said}",
            typed("kubectl", args),
            output.code
        );
    }
    Ok(output.stdout)
}

async fn run(
    kubectl: Kubectl,
    args: &[&str],
    input: String,
    editor: Option<String>,
) -> Result<Output> {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let run = move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match editor {
            None => kubectl.run_with_input(&args, &input),
            Some(editor) => kubectl.run_with_editor(&args, &editor),
        }
    };
    tokio::task::spawn_blocking(run).await?
}
