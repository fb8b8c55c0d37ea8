//! A switch in one go, by someone who has the rights of the README and no others: the look at the
//! registry, the edit, and what was stuck is freed.

use std::collections::BTreeSet;
use std::path::Path;

use cluster::{Options, State};
use serde_json::{Value, json};

use crate::bed::{image, prefix, run};
use crate::fixture::{World, start_cluster};
use crate::granted::{kubeconfig, listed};
use crate::objects::{image as image_of, uid};
use crate::registries::Registry;

const CRD: &str = include_str!("../../crds/workspace.yaml");
const ACCOUNT: &str = "night-shift";

/// Every verb that these roles grant, as in `list nodes`.
fn granted(rights: &str) -> BTreeSet<String> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(rights).expect("it is YAML");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut granted = BTreeSet::new();
    for rule in objects.iter().flat_map(|it| list(&it["rules"])) {
        for resource in list(&rule["resources"]) {
            let verbs = list(&rule["verbs"]);
            let words = verbs
                .iter()
                .map(|it| format!("{it} {resource}").replace('"', ""));
            granted.extend(words);
        }
    }
    granted
}

/// Two Workspaces from a registry that refuses now. Of the other one they have the password, one by a
/// pull secret of its own and one by that of its ServiceAccount.
async fn one_runs_and_one_is_stuck(world: &World, first: &str, registry: &Registry) {
    world.pull_secret("mirror", &registry.host, "secret");
    let secrets = r#"{"imagePullSecrets": [{"name": "mirror"}]}"#;
    world.kubectl(&["patch", "serviceaccount", "default", "-p", secrets]);
    let own = "{runtime: codex, imagePullSecrets: [{name: mirror}]}";
    world.workspace("own", own);
    world.workspace("account", "{runtime: hermes}");
    for name in ["own", "account"] {
        world.ready(name).await;
    }
    world.turn(first, State::Unauthorized).await;
    world.kubectl(&["delete", "pod", "account", "--wait=false"]);
    world.state("account", "ImagePullFailed").await;
}

/// Gives these rights and no others to the account, and waits until it has this one of them.
async fn grant(world: &World, kubeconfig: &Path, rights: &str, one: &[&str]) {
    let namespace = world.namespace.as_str();
    let group = "{apiGroup: rbac.authorization.k8s.io, kind: Group, name: night-shift}";
    let account = format!("{{kind: ServiceAccount, name: {ACCOUNT}, namespace: {namespace}}}");
    let own = rights.replace("molecule-system", namespace);
    let own = own.replace(group, &account);
    assert!(own.contains(&account));
    world.admin().apply(&own).expect("they are applied");
    let person = world.admin().with_kubeconfig(kubeconfig);
    let may = [&["auth", "can-i"], one, &["-n", namespace]].concat();
    world
        .holds("the rights", |_| person.run(&may).is_ok_and(|it| it.ok()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_in_the_readme_are_those_that_a_switch_with_its_preflight_needs() {
    let options = Options {
        crds: vec![CRD.into()],
        ..Options::default()
    };
    let mut world = World::in_cluster(start_cluster(options).await).await;
    let open = Registry::open().await;
    let registry = open.with_password().await;
    let to = prefix(&registry);
    image(&open, "codex", "latest", "a").await;
    image(&open, "hermes", "latest", "b").await;

    let first = world.prefix("first");
    world.start_with(&["--registry", &first], &[]);
    world.in_force(&first).await;
    one_runs_and_one_is_stuck(&world, &first, &registry).await;
    let stuck = uid(&world.get("pod", "account")).to_owned();
    let before = world.versions(&["own"]);
    let rights = format!("{}\n---\n{}", listed("rights"), listed("preflight rights"));
    world.kubectl(&["create", "serviceaccount", ACCOUNT]);
    let kubeconfig = kubeconfig(&world, ACCOUNT).await;

    // To make the first settings is a patch, and takes the right to create them all the same.
    let fewer = rights.replace("verbs: [create]", "verbs: [get]");
    grant(&world, &kubeconfig, &fewer, &["list", "deployments.apps"]).await;
    let mut command = world.plugin_command(&["switch", &to, "--yes", "--no-preflight"]);
    let refused = run(command.env("KUBECONFIG", &kubeconfig));
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(
        refused.stderr.contains("cannot create resource"),
        "{refused:#?}"
    );
    assert!(world.get("configmap", "workspace-settings").is_null());
    grant(&world, &kubeconfig, &rights, &["create", "configmaps"]).await;

    world.forget();
    let switch = ["switch", &to, "--yes"];
    let mut command = world.plugin_command(&switch);
    let done = run(command.env("KUBECONFIG", &kubeconfig));
    assert_eq!(done.code, 0, "{done:#?}");
    for words in [
        format!("Yes: of 2 images, all are there under {to}."),
        "stuck, and freed by it: 1\n  running: 1; none of them is touched".to_owned(),
        format!("MOLECULE_IMAGE_REGISTRY is now {to}."),
        "Ready: 1 of 1".to_owned(),
    ] {
        assert!(done.stderr.contains(&words), "{words}\n{}", done.stderr);
    }
    assert!(!done.stderr.contains("Warning"), "{}", done.stderr);
    let freed = world.ready("account").await;
    assert_eq!(uid(&freed), stuck, "the same Pod");
    assert!(image_of(&freed).starts_with(&to));
    assert_eq!(world.versions(&["own"]), before);

    // The first settings are created, and later ones patched.
    let back = ["switch", "--back", "--yes", "--no-preflight"];
    let mut command = world.plugin_command(&back);
    let back = run(command.env("KUBECONFIG", &kubeconfig));
    assert_eq!(back.code, 0, "{back:#?}");
    let settings = world.get("configmap", "workspace-settings");
    assert_eq!(settings["data"], json!({"MOLECULE_IMAGE_REGISTRY": first}));

    let events = world.events().by_service_account(&world.namespace, ACCOUNT);
    let refused: Vec<_> = events.iter().filter(|it| it.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let used: BTreeSet<_> = events
        .iter()
        .map(|it| format!("{} {}", it.verb, it.resource))
        // Where all are Ready by the time that the Pods are listed, nothing is left to be watched.
        .chain(["watch pods", "create configmaps"].map(str::to_owned))
        .collect();
    assert_eq!(used, granted(&rights));
}
