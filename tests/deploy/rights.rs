//! The least rights that work: with all of them the operator is refused nothing, and without any one
//! of them it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use cluster::{Cluster, Mark, Options, Process, State};
use kube::Client;
use serde_json::{Value, json};

use crate::bed::{DEPLOY, PATIENCE, SYSTEM, folder, must};
use crate::objects::{Objects, args, environment, kustomize, yaml};

/// An operator of one namespace, with the shipped rights or one verb less.
struct Variant {
    /// The namespace of its Workspaces; that of its settings ends in `-system`.
    namespace: String,
    /// As in `pods patch`; of the one that has all, nothing.
    without: Option<String>,
    objects: Objects,
}

impl Variant {
    fn system(&self) -> String {
        format!("{}-system", self.namespace)
    }

    fn user(&self) -> String {
        format!("system:serviceaccount:{}:workspace-operator", self.system())
    }

    /// The registry of this variant that answers 401, and the one that works.
    fn prefix(&self, name: &str) -> String {
        format!("{name}.{}.example.com/a", self.namespace)
    }
}

/// What belongs to a namespace in the shipped overlay, but the Pods: they are played by processes.
fn shipped() -> Objects {
    let mut objects = kustomize(&folder("overlays/namespaced"));
    let ours = |id: &String| id.contains(" agents/") || id.contains(" molecule-system/");
    objects.retain(|id, _| ours(id) && !id.starts_with("Deployment "));
    objects
}

/// Every rule of every Role with every verb, as in `pods patch`, and where it is.
fn verbs(objects: &Objects) -> Vec<(String, String, usize, usize)> {
    let mut verbs = Vec::new();
    for (id, role) in objects.iter().filter(|(id, _)| id.starts_with("Role ")) {
        for (rule, it) in role["rules"].as_array().into_iter().flatten().enumerate() {
            let text = |value: &Value| value[0].as_str().unwrap_or_default().to_owned();
            let what = [text(&it["resources"]), text(&it["resourceNames"])].join(" ");
            for (at, verb) in it["verbs"].as_array().into_iter().flatten().enumerate() {
                let name = format!("{} {}", what.trim(), verb.as_str().expect("a verb"));
                verbs.push((name, id.clone(), rule, at));
            }
        }
    }
    verbs
}

/// The variant with all rights, and one for each verb without it.
fn variants() -> Vec<Variant> {
    let shipped = shipped();
    let mut variants = vec![Variant {
        namespace: "rights".into(),
        without: None,
        objects: shipped.clone(),
    }];
    for (number, (name, id, rule, at)) in verbs(&shipped).into_iter().enumerate() {
        let mut objects = shipped.clone();
        let role = objects.get_mut(&id).expect("the Role");
        let rules = role["rules"].as_array_mut().expect("rules");
        let verbs = rules[rule]["verbs"].as_array_mut().expect("verbs");
        verbs.remove(at);
        // A rule without a verb is refused.
        if verbs.is_empty() {
            rules.remove(rule);
        }
        variants.push(Variant {
            namespace: format!("without-{number}"),
            without: Some(name),
            objects,
        });
    }
    variants
}

/// What a namespace has before its operator starts: a Pod and a claim that are someone else's, and
/// three Workspaces.
fn world(variant: &Variant) -> String {
    let namespace = &variant.namespace;
    let own = yaml(variant.objects.values())
        .replace(SYSTEM, &variant.system())
        .replace(r#""agents""#, &format!(r#""{namespace}""#));
    let down = variant.prefix("down");
    let system = variant.system();
    let others = [
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "blocked"},
            "spec": {"containers": [{"name": "a", "image": "a.example.com/a"}]}}),
        json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": "workspace-claimed"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        workspace("alice", &json!({"storage": {"size": "1Gi"}})),
        workspace("blocked", &json!({})),
        workspace("claimed", &json!({"storage": {"size": "1Gi"}})),
    ];
    let others = others.map(|mut object| {
        object["metadata"]["namespace"] = json!(namespace);
        object.to_string()
    });
    let settings = json!({"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "workspace-settings", "namespace": system},
        "data": {"MOLECULE_IMAGE_REGISTRY": down}});
    [own, settings.to_string()]
        .into_iter()
        .chain(others)
        .collect::<Vec<_>>()
        .join("\n---\n")
}

/// Both namespaces of a variant.
fn namespaces(variant: &Variant) -> String {
    yaml(
        &[&variant.namespace, &variant.system()].map(
            |name| json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
        ),
    )
}

fn workspace(name: &str, spec: &Value) -> Value {
    json!({"kind": "Workspace", "apiVersion": "molecule.ai/v1alpha1",
        "metadata": {"name": name}, "spec": spec})
}

/// The operator with the flags of the shipped Deployment.
fn operator(kubeconfig: &Path, variant: &Variant) -> Process {
    let deployment = &kustomize(DEPLOY)["Deployment molecule-system/workspace-operator"];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut command = Command::new(env!("CARGO_BIN_EXE_workspace-operator"));
    command
        .args(args(container))
        .envs(environment(container, &variant.system()))
        .env("KUBECONFIG", kubeconfig)
        .env("WORKSPACE_NAMESPACE", &variant.namespace)
        .env_remove("MOLECULE_IMAGE_REGISTRY");
    Process::spawn(&mut command).expect("the operator starts")
}

/// All of them, side by side.
struct Bed {
    cluster: Cluster,
    client: Client,
    variants: Vec<Variant>,
    since: Mark,
    /// Who was refused what, as in `pods patch`.
    refused: BTreeMap<String, BTreeSet<String>>,
}

impl Bed {
    /// Takes in what the audit log has to say since the last time.
    fn look(&mut self) {
        let audit = self.cluster.audit();
        let mark = audit.mark().expect("the audit log is there");
        let events = audit
            .events_since(self.since)
            .expect("the audit log is there");
        self.since = mark;
        for event in events.iter().filter(|it| it.code == 403) {
            let what = [&*event.resource, &*event.subresource].join("/");
            let what = format!("{} {}", what.trim_end_matches('/'), event.verb);
            self.refused
                .entry(event.user.clone())
                .or_default()
                .insert(what);
        }
    }

    /// Every object of a kind, by namespace and name.
    async fn all(&self, uri: &str) -> BTreeMap<(String, String), Value> {
        let request = http::Request::get(uri).body(Vec::new()).expect("it is one");
        let list: Value = self
            .client
            .request(request)
            .await
            .expect("the API server answers");
        let key = |it: &Value| {
            let text = |name: &str| it["metadata"][name].as_str().unwrap_or_default().to_owned();
            (text("namespace"), text("name"))
        };
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().map(|it| (key(&it), it)).collect()
    }

    /// Waits until each was refused something, or has what is awaited of it.
    async fn until(&mut self, what: &str, is: impl Fn(&Variant, &Seen) -> bool) {
        let start = Instant::now();
        loop {
            let seen = Seen {
                workspaces: self.all("/apis/molecule.ai/v1alpha1/workspaces").await,
                claims: self.all("/api/v1/persistentvolumeclaims").await,
                maps: self.all("/api/v1/configmaps").await,
                events: self.all("/apis/events.k8s.io/v1/events").await,
            };
            self.look();
            let waits = |it: &&Variant| !self.refused.contains_key(&it.user()) && !is(it, &seen);
            let waiting: Vec<_> = (self.variants.iter().filter(waits))
                .map(|it| format!("{}: {:?}", it.namespace, it.without))
                .collect();
            if waiting.is_empty() {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{what} did not come: {waiting:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    }

    /// One edit in each of the namespaces, by kubectl's patch.
    fn patch(&self, target: &[&str], patch: impl Fn(&Variant) -> (String, Value)) {
        let kubectl = self.cluster.kubectl();
        for variant in &self.variants {
            let (namespace, patch) = patch(variant);
            let patch = patch.to_string();
            let args = ["-n", &namespace, "--type=merge", "-p", &patch];
            must(&kubectl, &[&["patch"], target, &args].concat());
        }
    }
}

impl Bed {
    /// What is told twice is one Event that counts, and so a patch.
    async fn tells_again(&mut self) {
        for round in 1..=2 {
            let env = json!([{"name": "ROUND", "value": round.to_string()}]);
            self.patch(&["workspace", "alice"], |it| {
                (it.namespace.clone(), json!({"spec": {"env": env}}))
            });
            self.until("the replacement", |it, seen| {
                let alice = seen.status(it, "alice");
                alice["state"] == "Ready" && seen.told(&it.namespace, "Replacing") == round
            })
            .await;
        }
        for (registry, rounds) in [("https://invalid", 1), ("up", 1), ("https://invalid", 2)] {
            self.patch(&["configmap", "workspace-settings"], |it| {
                let registry = match registry {
                    "up" => it.prefix("up"),
                    invalid => invalid.to_owned(),
                };
                let data = json!({"data": {"MOLECULE_IMAGE_REGISTRY": registry}});
                (it.system(), data)
            });
            self.until("what is told of the settings", |it, seen| {
                let rejected = seen.told(&it.system(), "SettingsRejected");
                seen.error(it) == (registry != "up") && rejected == rounds
            })
            .await;
        }
    }
}

/// What is there.
struct Seen {
    workspaces: BTreeMap<(String, String), Value>,
    claims: BTreeMap<(String, String), Value>,
    maps: BTreeMap<(String, String), Value>,
    events: BTreeMap<(String, String), Value>,
}

impl Seen {
    fn status(&self, variant: &Variant, name: &str) -> &Value {
        let key = (variant.namespace.clone(), name.to_owned());
        self.workspaces
            .get(&key)
            .map_or(&Value::Null, |it| &it["status"])
    }

    fn in_force(&self, variant: &Variant) -> &Value {
        let key = (variant.system(), "workspace-fleet".to_owned());
        self.maps
            .get(&key)
            .map_or(&Value::Null, |it| &it["data"]["registry"])
    }

    /// How often Events of this reason were told in a namespace.
    fn told(&self, namespace: &str, reason: &str) -> u64 {
        let events = self.events.iter();
        let events = events.filter(|(key, it)| key.0 == namespace && it["reason"] == reason);
        events
            .map(|(_, it)| it["series"]["count"].as_u64().unwrap_or(1))
            .sum()
    }

    fn error(&self, variant: &Variant) -> bool {
        let key = (variant.system(), "workspace-fleet".to_owned());
        let data = self.maps.get(&key).map(|it| &it["data"]);
        data.is_some_and(|it| it["error"].is_string())
    }

    fn size(&self, variant: &Variant) -> &Value {
        let key = (variant.namespace.clone(), "workspace-alice".to_owned());
        self.claims.get(&key).map_or(
            &Value::Null,
            |it| &it["spec"]["resources"]["requests"]["storage"],
        )
    }
}

/// The server has no streaming lists, so that `list` is needed where it ever is.
async fn bed() -> (Bed, Vec<Process>) {
    let crd = std::fs::read_to_string(folder("../crds/workspace.yaml"));
    let options = Options {
        apiserver_args: vec!["--feature-gates=WatchList=false".into()],
        crds: vec![crd.expect("the definition")],
        ..Options::default()
    };
    let cluster = Cluster::start(options).await.expect("the cluster starts");
    let kubectl = cluster.kubectl();
    let variants = variants();
    for part in [namespaces, world] {
        let all: Vec<_> = variants.iter().map(part).collect();
        let all = all.join("\n---\n");
        // A Pod is refused until its namespace has a ServiceAccount.
        let start = Instant::now();
        while let Err(error) = kubectl.apply(&all) {
            assert!(start.elapsed() < PATIENCE, "{error:#}");
        }
    }
    let since = cluster.audit().mark().expect("the audit log is there");
    let mut operators = Vec::new();
    for variant in &variants {
        let down = variant.prefix("down");
        let turned = cluster.registry(&down, State::Unavailable).await;
        turned.expect("the registry is turned");
        let kubeconfig = cluster
            .service_account_kubeconfig(&variant.system(), "workspace-operator")
            .await
            .expect("the ServiceAccount has a token");
        operators.push(operator(&kubeconfig, variant));
    }
    let client = cluster.client().await.expect("a client");
    let refused = BTreeMap::new();
    (
        Bed {
            cluster,
            client,
            variants,
            since,
            refused,
        },
        operators,
    )
}

#[test]
fn the_roles_name_what_they_give_and_give_no_secret_and_no_way_to_more() {
    let mut rules = 0;
    for overlay in ["", "overlays/namespaced"] {
        let objects = kustomize(&folder(overlay));
        let roles = objects.iter().filter(|(id, _)| id.contains("Role "));
        for (id, role) in roles.filter(|(id, _)| id.contains("workspace-operator")) {
            for rule in role["rules"].as_array().expect("rules") {
                let words = rule.to_string();
                for word in [
                    "*",
                    "secrets",
                    "escalate",
                    "bind",
                    "impersonate",
                    "finalizers",
                ] {
                    assert!(!words.contains(word), "{id}: {word} in {words}");
                }
                rules += 1;
            }
        }
    }
    assert_eq!(rules, 20, "all of both were looked at");
}

#[tokio::test]
async fn every_verb_of_the_roles_is_needed_and_no_other_is() {
    let (mut bed, operators) = bed().await;
    bed.until("the failed pull", |it, seen| {
        let alice = seen.status(it, "alice");
        alice["state"] == "ImagePullFailed"
            && alice["address"].is_string()
            && seen.status(it, "blocked")["state"] == "PodNotOwned"
            && seen.status(it, "claimed")["state"] == "VolumeNotOwned"
            && seen.in_force(it) == &json!(it.prefix("down"))
    })
    .await;
    bed.patch(&["configmap", "workspace-settings"], |it| {
        (
            it.system(),
            json!({"data": {"MOLECULE_IMAGE_REGISTRY": it.prefix("up")}}),
        )
    });
    bed.until("the heal", |it, seen| {
        seen.status(it, "alice")["state"] == "Ready" && seen.in_force(it) == &json!(it.prefix("up"))
    })
    .await;
    bed.until("the Events", |it, seen| {
        let of_settings = |reason| seen.told(&it.system(), reason) == 1;
        seen.told(&it.namespace, "PodNotOwned") == 1
            && [
                "RegistryFailing",
                "RegistryFailureOver",
                "SettingsAccepted",
                "Healed",
            ]
            .into_iter()
            .all(of_settings)
    })
    .await;
    bed.patch(&["workspace", "alice"], |it| {
        (
            it.namespace.clone(),
            json!({"spec": {"storage": {"size": "2Gi"}}}),
        )
    });
    bed.until("the growth", |it, seen| seen.size(it) == "2Gi")
        .await;
    bed.tells_again().await;
    bed.patch(&["workspace", "alice"], |it| {
        (it.namespace.clone(), json!({"spec": {"suspend": true}}))
    });
    bed.until("the suspension", |it, seen| {
        seen.status(it, "alice")["state"] == "Suspended"
    })
    .await;

    for variant in &bed.variants {
        let refused = bed.refused.get(&variant.user());
        match &variant.without {
            None => assert_eq!(refused, None),
            Some(verb) => assert!(
                refused.is_some(),
                "{verb} is not needed: remove it from the roles"
            ),
        }
    }
    drop(operators);
}
