//! What rights a person needs.

use cluster::{Kubectl, Output};
use serde_json::json;

use crate::bed::{assert_says, command, run};
use crate::fixture::World;
use crate::granted::{kubeconfig, listed};

const ROLES: &str = include_str!("../../deploy/chart/files/roles.yaml");

/// kubectl of a ServiceAccount in the namespace of a test.
async fn as_account(world: &World, name: &str) -> Kubectl {
    let kubeconfig = kubeconfig(world, name).await;
    world.admin().with_kubeconfig(&kubeconfig)
}

/// kubectl of someone with these roles in the namespace of a test.
async fn person(world: &World, name: &str, roles: &[&str]) -> Kubectl {
    world.admin().apply(ROLES).expect("the roles are applied");
    let namespace = &world.namespace;
    world.kubectl(&["create", "serviceaccount", name]);
    let subject = format!("--serviceaccount={namespace}:{name}");
    for role in roles {
        let binding = format!("{name}-{role}");
        let role = format!("--clusterrole={role}");
        world.kubectl(&["create", "rolebinding", &binding, &role, &subject]);
    }
    let kubectl = as_account(world, name).await;
    // The controller that adds up the roles takes a moment.
    world
        .holds("the role", |_| {
            let args = ["get", "workspaces", "-n", namespace];
            kubectl.run(&args).is_ok_and(|it| it.ok())
        })
        .await;
    kubectl
}

/// The plugin as someone, whose settings are in this namespace.
fn plugin(kubectl: &Kubectl, settings: &str, args: &[&str]) -> Output {
    run(&mut command(kubectl, settings, args))
}

#[tokio::test]
async fn who_may_only_view_may_ask_for_the_status_and_nothing_else() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    let namespace = world.namespace.as_str();
    let viewer = person(&world, "viewer", &["view"]).await;
    for args in [
        &["status", "-n", namespace][..],
        &["status", "-n", namespace, "--all", "--outdated", "--wait"],
    ] {
        let status = plugin(&viewer, namespace, args);
        assert_eq!(status.code, 0, "{status:?}");
        assert_says(&status.stdout, &[&format!("Registry in force: {first}")]);
    }
    let everywhere = plugin(&viewer, namespace, &["status", "-A"]);
    assert_eq!(everywhere.code, 2, "{everywhere:?}");
    assert_says(
        &everywhere.stderr,
        &["you may not list", "in all namespaces", "name one with -n"],
    );

    let before = world.versions(&["a", "b"]);
    let second = world.prefix("second");
    for (args, words) in [
        (
            &["switch", second.as_str(), "--yes"][..],
            "you may not edit configmap",
        ),
        (&["restart", "a"], "you may not patch workspace"),
        (&["suspend", "a"], "you may not patch workspace"),
    ] {
        let refused = plugin(&viewer, namespace, &[args, &["-n", namespace]].concat());
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_says(&refused.stderr, &[words]);
    }
    assert_eq!(
        (world.versions(&["a", "b"]), world.named()),
        (before, first)
    );
}

#[tokio::test]
async fn who_may_not_see_the_settings_is_told_the_rest() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let viewer = person(&world, "viewer", &["view"]).await;
    let args = ["status", "-n", world.namespace.as_str()];
    let status = plugin(&viewer, "molecule-system", &args);
    assert_eq!(status.code, 0, "{status:?}");
    assert_says(
        &status.stdout,
        &[
            "Registry in force: none is known",
            "you may not get configmap molecule-system/workspace-settings",
            "Workspaces: 1; Ready: 1, stuck: 0",
            "outdated: not known",
        ],
    );
    let all = plugin(
        &viewer,
        "molecule-system",
        &[&args[..], &["--all"]].concat(),
    );
    assert_eq!(all.code, 2, "{all:?}");
    assert_says(&all.stderr, &["what is outdated cannot be told"]);
    let waited = plugin(
        &viewer,
        "molecule-system",
        &[&args[..], &["--wait"]].concat(),
    );
    assert_eq!(waited.code, 2, "{waited:?}");
    assert_says(
        &waited.stderr,
        &["whether the settings are in force cannot be told: "],
    );
}

#[tokio::test]
async fn who_may_edit_may_do_all() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let namespace = world.namespace.as_str();
    let editor = person(&world, "editor", &["edit"]).await;
    let second = world.prefix("second");
    for args in [
        &["switch", second.as_str(), "--yes"][..],
        &["switch", "--back", "--yes"],
        &["restart", "a"],
        &["suspend", "a"],
        &["resume", "a"],
    ] {
        let done = plugin(&editor, namespace, &[args, &["-n", namespace]].concat());
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
    }
}

#[tokio::test]
async fn who_may_not_read_the_record_is_not_told_that_it_is_in_force() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let namespace = world.namespace.as_str();
    let rights = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": format!("blind-{namespace}")},
        "rules": [
            {"apiGroups": ["molecule.ai"], "resources": ["workspaces"],
             "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["configmaps"],
             "resourceNames": ["workspace-settings"],
             "verbs": ["get", "list", "watch", "patch"]},
        ],
    });
    let applied = world.admin().apply(&rights.to_string());
    applied.expect("the role is applied");
    let blind = person(&world, "blind", &[&format!("blind-{namespace}")]).await;
    let second = world.prefix("second");
    let args = ["switch", &second, "--yes", "-n", namespace];
    let done = plugin(&blind, namespace, &args);
    assert_eq!((done.code, world.named()), (2, second.clone()), "{done:?}");
    let unknown = format!(
        "the settings name {second}; whether the operator has taken that cannot be told. Nothing \
         was seen to be stuck.\n"
    );
    assert_eq!(done.stdout, unknown);
    assert_says(&done.stderr, &["you may not get configmap"]);
}

#[tokio::test]
async fn the_rights_in_the_readme_are_enough_for_a_switch_of_the_cluster() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let namespace = world.namespace.as_str();
    let own = |it: &str| it.replace("name: switcher", &format!("name: switcher-{namespace}"));
    let rights = own(&listed("rights")).replace("molecule-system", namespace);
    world.admin().apply(&rights).expect("they are applied");
    world.kubectl(&["create", "serviceaccount", "night-shift"]);
    let subject = json!([{"op": "replace", "path": "/subjects", "value": [
        {"kind": "ServiceAccount", "name": "night-shift", "namespace": namespace},
    ]}])
    .to_string();
    let name = format!("switcher-{namespace}");
    for kind in ["clusterrolebinding", "rolebinding"] {
        world.kubectl(&["patch", kind, &name, "--type=json", "-p", &subject]);
    }
    let kubectl = as_account(&world, "night-shift").await;
    world
        .holds("the role", |_| {
            kubectl
                .run(&["get", "workspaces", "-A"])
                .is_ok_and(|it| it.ok())
        })
        .await;
    let second = world.prefix("second");
    let done = plugin(
        &kubectl,
        namespace,
        &["switch", &second, "--yes", "--timeout", "20s"],
    );
    assert_eq!(world.named(), second, "{done:?}");
    world.in_force(&second).await;
    let status = plugin(&kubectl, namespace, &["status", "-A"]);
    assert_says(&status.stdout, &[&format!("Registry in force: {second}")]);
    let restart = plugin(&kubectl, namespace, &["restart", "a", "-n", namespace]);
    assert_eq!(restart.code, 1, "that is another right: {restart:?}");
}
