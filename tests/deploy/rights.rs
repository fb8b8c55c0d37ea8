//! The least rights that work: with all of them the operator is refused nothing and does all that is
//! awaited of it, and without any one of them something of that does not come.

mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Cluster, Mark, Options, Process, State};
use kube::Client;
use serde_json::{Value, json};

use crate::bed::{DEPLOY, PATIENCE, folder, must};
use crate::objects::{args, environment, kustomize};
use variant::{Variant, namespaces, variants, world};

/// How much longer than those with all rights one without a right may take for the same.
const GRACE: Duration = Duration::from_secs(4);

/// The operator with the flags of the shipped Deployment.
fn operator(deployment: &Value, kubeconfig: &Path, variant: &Variant) -> Process {
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
    /// In which namespace what did not come that came where all rights are.
    missed: BTreeMap<String, Vec<String>>,
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

    /// Waits until each that was refused nothing has what is awaited of it, and a while longer for those
    /// that were refused something and have come as far. What they do not have then, they have missed.
    async fn until(&mut self, what: &str, is: impl Fn(&Variant, &Seen) -> bool) {
        let (start, mut alone) = (Instant::now(), None);
        loop {
            let seen = Seen {
                workspaces: self.all("/apis/molecule.ai/v1alpha1/workspaces").await,
                claims: self.all("/api/v1/persistentvolumeclaims").await,
                maps: self.all("/api/v1/configmaps").await,
                services: self.all("/api/v1/services").await,
                events: self.all("/apis/events.k8s.io/v1/events").await,
            };
            self.look();
            let waiting = self.variants.iter().filter(|it| !is(it, &seen));
            let (refused, others): (Vec<_>, Vec<_>) =
                waiting.partition(|it| self.refused.contains_key(&it.user()));
            if others.is_empty() {
                let alone = alone.get_or_insert_with(Instant::now);
                let all_missed = (refused.iter()).all(|it| self.missed.contains_key(&it.namespace));
                if all_missed || alone.elapsed() > GRACE {
                    let refused = refused.iter().map(|it| it.namespace.clone());
                    for namespace in refused.collect::<Vec<_>>() {
                        let missed = self.missed.entry(namespace).or_default();
                        missed.push(what.to_owned());
                    }
                    return;
                }
            }
            let names: Vec<_> = others
                .iter()
                .map(|it| (&it.namespace, &it.without))
                .collect();
            assert!(start.elapsed() < PATIENCE, "{what} did not come: {names:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// One edit in each of the namespaces, of what is there in the API. Not all at once: an Event that a
    /// busy API server does not take in time is lost.
    async fn patch(&self, patch: impl Fn(&Variant) -> (String, Value)) {
        for variant in &self.variants {
            let (uri, patch) = patch(variant);
            let request = http::Request::patch(uri)
                .header("content-type", "application/merge-patch+json")
                .body(patch.to_string().into_bytes());
            let patched = self.client.request::<Value>(request.expect("it is one"));
            patched.await.expect("it is edited");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Bed {
    /// The switch frees what is stuck.
    async fn heals(&mut self) {
        self.patch(|it| {
            let data = json!({"data": {"MOLECULE_IMAGE_REGISTRY": it.prefix("up")}});
            (it.map("workspace-settings"), data)
        })
        .await;
        self.until("the heal", |it, seen| {
            seen.status(it, "alice")["state"] == "Ready"
                && seen.in_force(it) == &json!(it.prefix("up"))
        })
        .await;
    }

    /// What somebody else has broken of what only a watch shows.
    async fn mends(&mut self) {
        let named = "--field-selector=metadata.name=workspaces";
        let kubectl = self.cluster.kubectl();
        must(&kubectl, &["delete", "services", "-A", named]);
        self.until("the Service", |it, seen| {
            let service = (it.namespace.clone(), "workspaces".to_owned());
            seen.services.contains_key(&service)
        })
        .await;
        self.patch(|it| {
            let other = json!({"data": {"registry": "other.example.com/a"}});
            (it.map("workspace-fleet"), other)
        })
        .await;
        self.until("the record", |it, seen| {
            seen.in_force(it) == &json!(it.prefix("up"))
        })
        .await;
    }

    /// While nothing happens nothing is listed: what may not be watched would have to be, again and again.
    async fn rests(&mut self) {
        self.look();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let asked = self.cluster.audit().events_since(self.since);
        let asked = asked.expect("the audit log is there");
        let lists = asked.iter().filter(|it| it.verb == "list");
        let lists: BTreeSet<_> = lists.map(|it| it.user.clone()).collect();
        for variant in self.variants.iter().filter(|it| lists.contains(&it.user())) {
            let missed = self.missed.entry(variant.namespace.clone()).or_default();
            missed.push("the rest".to_owned());
        }
        self.look();
    }

    /// The Lease is another's for longer than this test lasts, and then free.
    async fn leads_again(&mut self) {
        let suspend = |is: bool| move |it: &Variant| (it.alice(), json!({"spec": {"suspend": is}}));
        self.patch(suspend(true)).await;
        self.until("the suspension", |it, seen| {
            seen.status(it, "alice")["state"] == "Suspended"
        })
        .await;
        let held = |by: &'static str| {
            move |it: &Variant| {
                let spec = json!({"holderIdentity": by, "leaseDurationSeconds": 600});
                (it.lease(), json!({"spec": spec}))
            }
        };
        self.patch(held("another")).await;
        // Every one of them has had to renew it meanwhile.
        tokio::time::sleep(Duration::from_secs(4)).await;
        self.patch(held("")).await;
        self.patch(suspend(false)).await;
        self.until("the resumption", |it, seen| {
            seen.status(it, "alice")["state"] == "Ready"
        })
        .await;
    }

    /// What is told twice is one Event that counts, and so a patch.
    async fn tells_again(&mut self) {
        for round in 1..=2 {
            let env = json!([{"name": "ROUND", "value": round.to_string()}]);
            self.patch(|it| (it.alice(), json!({"spec": {"env": env}})))
                .await;
            self.until("the replacement", |it, seen| {
                let alice = seen.status(it, "alice");
                alice["state"] == "Ready" && seen.told(&it.namespace, "Replacing") == round
            })
            .await;
        }
        for (registry, rounds) in [("https://invalid", 1), ("up", 1), ("https://invalid", 2)] {
            self.patch(|it| {
                let registry = match registry {
                    "up" => it.prefix("up"),
                    invalid => invalid.to_owned(),
                };
                let data = json!({"data": {"MOLECULE_IMAGE_REGISTRY": registry}});
                (it.map("workspace-settings"), data)
            })
            .await;
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
    services: BTreeMap<(String, String), Value>,
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
    let deployment = &kustomize(DEPLOY)["Deployment molecule-system/workspace-operator"];
    let mut operators = Vec::new();
    for variant in &variants {
        let down = variant.prefix("down");
        let turned = cluster.registry(&down, State::Unavailable).await;
        turned.expect("the registry is turned");
        let kubeconfig = cluster
            .service_account_kubeconfig(&variant.system(), "workspace-operator")
            .await
            .expect("the ServiceAccount has a token");
        operators.push(operator(deployment, &kubeconfig, variant));
    }
    let client = cluster.client().await.expect("a client");
    let (refused, missed) = (BTreeMap::new(), BTreeMap::new());
    (
        Bed {
            cluster,
            client,
            variants,
            since,
            refused,
            missed,
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

/// Operators side by side, one with all rights and one without each verb, of which the same is awaited:
/// that Workspaces get their Pods, volumes and addresses, that a registry that fails is told, and that what
/// is stuck on it is healed, that a Pod is replaced, a volume grows, what somebody else broke is mended,
/// Events count, the Lease is taken again once it is free, and at last nothing is asked for. A verb is needed where some of that comes to
/// those that were refused nothing, and has not come 4 s later to the one without it, which was refused just
/// that verb.
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
    bed.heals().await;
    bed.patch(|it| (it.alice(), json!({"spec": {"storage": {"size": "2Gi"}}})))
        .await;
    bed.until("the growth", |it, seen| seen.size(it) == "2Gi")
        .await;
    bed.tells_again().await;
    bed.mends().await;
    bed.leads_again().await;
    bed.rests().await;

    for variant in &bed.variants {
        let refused = bed.refused.get(&variant.user());
        let missed = bed.missed.get(&variant.namespace);
        println!("without {:?}: {missed:?} {refused:?}", variant.without);
        let expected = variant.refusal().map(|it| BTreeSet::from([it]));
        assert_eq!(refused, expected.as_ref(), "without {:?}", variant.without);
        assert_eq!(
            missed.is_some(),
            variant.without.is_some(),
            "without {:?} all goes as with it: remove it from the roles",
            variant.without
        );
    }
    drop(operators);
}
