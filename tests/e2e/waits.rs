//! Waiting for what is to happen, with an end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{PATIENCE, World};
use crate::objects::{assert_sound, text};

impl World {
    /// Waits until an object is so, and returns it.
    pub async fn until(&self, kind: &str, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.until_within(PATIENCE.as_secs(), kind, name, is).await
    }

    /// The same, for what takes its time.
    pub async fn until_within(
        &self,
        seconds: u64,
        kind: &str,
        name: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        loop {
            let object = self.look(kind, name).await;
            if kind == "workspace" {
                assert_sound(&object);
            }
            if is(&object) {
                return object;
            }
            assert!(
                start.elapsed() < Duration::from_secs(seconds),
                "{kind} {name} did not become as awaited: {object:#}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same as `get`, without a kubectl.
    async fn look(&self, kind: &str, name: &str) -> Value {
        let api = match kind {
            "workspace" => "apis/molecule.ai/v1alpha1",
            "pod" | "configmap" | "service" | "persistentvolumeclaim" => "api/v1",
            _ => return self.get(kind, name),
        };
        let uri = format!("/{api}/namespaces/{}/{kind}s/{name}", self.namespace);
        let request = http::Request::get(uri).body(Vec::new()).expect("it is one");
        match self.client.request(request).await {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.is_not_found() => Value::Null,
            Err(error) => panic!("{kind} {name}: {error}"),
        }
    }

    /// Waits until a Workspace shows this state, and returns it.
    pub async fn state(&self, name: &str, state: &str) -> Value {
        self.until("workspace", name, |it| it["status"]["state"] == state)
            .await
    }

    /// Waits until a Workspace is Ready in its current generation, and returns its Pod.
    pub async fn ready(&self, name: &str) -> Value {
        self.until("workspace", name, |it| {
            it["status"]["state"] == "Ready"
                && it["status"]["observedGeneration"] == it["metadata"]["generation"]
        })
        .await;
        self.get("pod", name)
    }

    /// Waits until this many Workspaces are Ready, and no other is there.
    pub async fn all_ready(&self, count: usize) {
        let start = Instant::now();
        loop {
            let all = self.list("workspaces");
            let is_ready = |it: &&Value| it["status"]["state"] == "Ready";
            let ready = all.iter().filter(is_ready).count();
            if (ready, all.len()) == (count, count) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{ready} of {count} are Ready");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until this holds.
    pub async fn holds(&self, what: &str, is: impl Fn(&Self) -> bool) {
        self.holds_within(PATIENCE, what, is).await;
    }

    /// The same, where it takes its time.
    pub async fn holds_within(&self, time: Duration, what: &str, is: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is(self) {
            assert!(
                start.elapsed() < time,
                "{what} did not come\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The operator's probes that there are.
    pub fn probes(&self) -> Vec<Value> {
        let mut pods = self.list("pods");
        pods.retain(|it| text(it, "/metadata/name").starts_with("workspace-probe-"));
        pods
    }

    /// Waits until no probe is left: they outlive by some seconds those who needed them.
    pub async fn no_probe_is_left(&self) {
        self.holds("the end of every probe", |it| it.probes().is_empty())
            .await;
    }

    /// Waits until this registry prefix is in force.
    pub async fn in_force(&self, prefix: &str) {
        self.until("configmap", "workspace-fleet", |it| {
            it["data"]["registry"] == prefix
        })
        .await;
    }

    /// Waits until the record says with these words why the settings are not in force.
    pub async fn settings_refused(&self, words: &str) {
        self.until("configmap", "workspace-fleet", |it| {
            let error = it["data"]["error"].as_str();
            error.is_some_and(|error| error.contains(words))
        })
        .await;
    }

    /// Waits until the operator's log has a line with this text, and returns it.
    pub async fn logged(&mut self, text: &str) -> String {
        let line = self.operator().wait_for_line(text, PATIENCE).await;
        line.expect("the operator logs it")
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: &str, name: &str) {
        self.until(kind, name, Value::is_null).await;
    }

    /// Waits until the API server would refuse to create this object: what decides on that learns
    /// of a new rule a little later.
    pub async fn until_refused(&self, object: &Value) {
        let args = [
            "-n",
            &self.namespace,
            "create",
            "--dry-run=server",
            "-f",
            "-",
        ];
        let start = Instant::now();
        let refused = || self.admin().run_with_input(&args, &object.to_string());
        while refused().expect("kubectl runs").ok() {
            assert!(start.elapsed() < PATIENCE, "it is not refused");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lets no Pod name a user here, in the words of a cluster that gives each namespace users of its
    /// own and assigns one to each Pod.
    pub async fn assigns_users(&self) {
        let (name, api) = (&self.namespace, "admissionregistration.k8s.io/v1");
        let select = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        let rule = json!({
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            "operations": ["CREATE"],
        });
        let policy = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"namespaceSelector": select, "resourceRules": [rule]},
                "validations": [{
                    "expression": "!has(object.spec.securityContext) || \
                                   !has(object.spec.securityContext.runAsUser)",
                    "message": "unable to validate against any security context constraint: \
                                provider restricted-v2: .spec.securityContext.runAsUser: Invalid \
                                value: 65532: must be in the ranges: [1000650000, 1000659999]",
                }],
            },
        });
        let binding = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        self.apply(&policy.to_string());
        self.apply(&binding.to_string());
        // Of the standard `restricted`, so that it is this that refuses it.
        let refused = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"},
            "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "agent", "image": "asked.example.com/asked",
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        });
        self.until_refused(&refused).await;
    }

    /// Ends what was begun by [`World::assigns_users`].
    pub fn assigns_no_users(&self) {
        let kinds = "validatingadmissionpolicy,validatingadmissionpolicybinding";
        self.kubectl(&["delete", kinds, &self.namespace]);
    }
}
