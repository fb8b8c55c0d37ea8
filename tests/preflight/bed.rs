//! Words for what a person types, and for what the operator would have told.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster::Output;
use serde_json::{Value, json};

use crate::fixture::World;
use crate::images::{Pushed, push};
use crate::registries::Registry;

const VIEWER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: viewer}
rules:
  - {apiGroups: [molecule.ai], resources: [workspaces], verbs: [list]}
  - {apiGroups: [''], resources: [configmaps, serviceaccounts], verbs: [get]}
";

/// A command and its end.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        code: output.status.code().unwrap_or(-1),
    }
}

/// The name of a runtime's image.
pub fn name(runtime: &str) -> String {
    format!("agents/workspace-template-{runtime}")
}

/// The prefix under which images are pushed.
pub fn prefix(registry: &Registry) -> String {
    format!("{}/agents", registry.host)
}

/// Pushes an image of a runtime under a tag.
pub async fn image(registry: &Registry, runtime: &str, tag: &str, content: &str) -> Pushed {
    push(registry, &name(runtime), Some(tag), "amd64", content).await
}

/// Sets one key of the settings, by hand.
pub fn set(world: &World, key: &str, value: &str) {
    let patch = json!({"data": {key: value}}).to_string();
    let settings = ["configmap", "workspace-settings"];
    world.kubectl(&[&["patch"][..], &settings, &["--type=merge", "-p", &patch]].concat());
}

impl World {
    /// The plugin's command line.
    pub fn plugin_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_workspace-operator"));
        command
            .arg("kubectl")
            .args(args)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .env("WORKSPACE_SETTINGS_NAMESPACE", &self.namespace)
            .env_remove("DOCKER_CONFIG");
        command
    }

    /// The plugin in this namespace, which must end with this exit code.
    pub fn plugin(&self, code: i32, args: &[&str]) -> Output {
        let args = [args, &["-n", &self.namespace]].concat();
        let output = run(&mut self.plugin_command(&args));
        assert_eq!(output.code, code, "{args:?}: {output:#?}");
        output
    }

    /// The same, and what it printed as JSON.
    pub fn told(&self, code: i32, args: &[&str]) -> Value {
        let output = self.plugin(code, &[args, &["-o", "json"]].concat());
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// A pull secret with alice's password for a host.
    pub fn pull_secret(&self, name: &str, host: &str, password: &str) {
        let auth = BASE64_STANDARD.encode(format!("alice:{password}"));
        let config = json!({"auths": {host: {"auth": auth}}});
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": config.to_string()},
        });
        self.apply(&secret.to_string());
    }

    /// The kubeconfig of someone who may look at everything here but Secrets.
    pub async fn viewer(&self) -> PathBuf {
        self.apply(VIEWER);
        let namespace = &self.namespace;
        let subject = format!("--serviceaccount={namespace}:viewer");
        self.kubectl(&["create", "rolebinding", "viewer", "--role=viewer", &subject]);
        let kubeconfig = self.cluster.service_account_kubeconfig(namespace, "viewer");
        kubeconfig.await.expect("the account has a token")
    }

    /// What the operator would tell of a Workspace that runs.
    pub fn runs(&self, name: &str, image: &str, digest: &str) {
        let status = json!({"status": {
            "observedGeneration": 1, "state": "Ready", "image": image, "digest": digest,
        }});
        let patch = status.to_string();
        self.kubectl(&[
            "patch",
            "workspace",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }
}

/// The only image of a report.
#[track_caller]
pub fn only(report: &Value) -> &Value {
    let images = report["images"].as_array().expect("a list");
    assert_eq!(images.len(), 1, "{report:#}");
    &images[0]
}
