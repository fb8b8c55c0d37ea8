//! kubectl with the plugin on its PATH, in the namespace of a test.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cluster::{Kubectl, Output, Process, State};
use serde_json::Value;

use crate::fixture::World;

pub const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";
const PROGRAM: &str = env!("CARGO_BIN_EXE_workspace-operator");

/// The folder with the plugin, linked under the names that kubectl looks for.
pub fn plugins() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in ["kubectl-workspace", "kubectl_complete-workspace"] {
            let link = folder.join(name);
            std::fs::remove_file(&link).ok();
            symlink(PROGRAM, &link).expect("a link");
        }
        folder
    })
}

/// `kubectl workspace …` of someone, in the namespace of a test.
pub fn command(kubectl: &Kubectl, namespace: &str, args: &[&str]) -> Command {
    let kubectl = kubectl.with_plugins(plugins());
    // The registries of these tests are none: that a switch looks there first is tested with others.
    let switch = args.first().filter(|it| **it == "switch");
    let blindly: &[&str] = switch.map_or(&[], |_| &["--no-preflight"]);
    let mut command = kubectl.command(&[&["workspace"], args, blindly].concat());
    command
        .env("WORKSPACE_SETTINGS_NAMESPACE", namespace)
        .env_remove("NO_COLOR");
    command
}

/// Runs a command to its end, without an input.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .expect("kubectl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        code: output.status.code().unwrap_or(-1),
    }
}

impl World {
    /// `kubectl workspace … -n <namespace>` as the cluster's admin.
    pub fn plugin(&self, args: &[&str]) -> Output {
        run(&mut self.plugin_command(args))
    }

    /// The same, to be run in another way.
    pub fn plugin_command(&self, args: &[&str]) -> Command {
        let args = [args, &["-n", &self.namespace]].concat();
        command(&self.admin(), &self.namespace, &args)
    }

    /// The plugin, which must end with this exit code. Returns what it printed as JSON.
    pub fn plugin_json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.plugin(&[args, &["-o", "json"]].concat());
        assert_eq!(output.code, code, "{args:?}: {output:?}");
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// The plugin, in the background.
    pub fn start_plugin(&self, args: &[&str]) -> Process {
        Process::spawn(&mut self.plugin_command(args)).expect("kubectl starts")
    }

    /// Waits until the operator's overview has these words.
    pub async fn recorded(&self, words: &str) {
        let key = format!("status.{}", self.namespace);
        self.until("configmap", "workspace-fleet", |it| {
            it["data"][&key]
                .as_str()
                .is_some_and(|it| it.contains(words))
        })
        .await;
    }

    /// The prefix that the settings name, empty where they name none.
    pub fn named(&self) -> String {
        let settings = self.get("configmap", "workspace-settings");
        settings["data"][REGISTRY]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A registry that works, in force, and so many Workspaces that are Ready on it.
    pub async fn running(&self, names: &[&str]) -> String {
        let prefix = self.prefix("first");
        self.registry(&prefix);
        self.in_force(&prefix).await;
        for name in names {
            self.workspace(name, "{runtime: codex}");
        }
        for name in names {
            self.ready(name).await;
        }
        prefix
    }

    /// Lets the registry refuse from now on, and these Workspaces lose their Pods to that.
    pub async fn get_stuck(&self, prefix: &str, names: &[&str]) {
        self.turn(prefix, State::Unauthorized).await;
        for name in names {
            self.kubectl(&["delete", "pod", name, "--wait=false"]);
        }
        for name in names {
            self.state(name, "ImagePullFailed").await;
        }
    }
}

/// What must be said.
#[track_caller]
pub fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}
