//! Where a switch is refused, with the way out; and where it is not made, but printed.

use std::process::Stdio;

use cluster::Output;
use serde_json::{Value, json};

use crate::bed::{REGISTRY, assert_says, command, run};
use crate::fixture::World;

const GUARD: &str = include_str!("../../deploy/chart/files/settings-guard.yaml");
const BINDINGS: &str = include_str!("../../deploy/base/settings-guard-binding.yaml");

/// The guard of the settings in the namespace of a test.
async fn guard(world: &World) {
    let admin = world.admin();
    admin.apply(GUARD).expect("the policies are applied");
    let bindings = BINDINGS.replace("molecule-system", &world.namespace);
    admin.apply(&bindings).expect("the bindings are applied");
    let wrong = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "workspace-settings", "namespace": world.namespace},
        "data": {"ROLLOUT": "Never"},
    });
    world.until_refused(&wrong).await;
}

/// Sets a mark on the settings as a GitOps tool does.
fn mark(world: &World, patch: &Value, manager: &str) {
    let (patch, manager) = (patch.to_string(), format!("--field-manager={manager}"));
    let args = [
        "patch",
        "configmap",
        "workspace-settings",
        "--type=merge",
        "-p",
        &patch,
        &manager,
    ];
    world.kubectl(&args);
}

#[tokio::test]
async fn what_flux_or_argo_cd_keep_is_not_edited_but_printed() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    let second = world.prefix("second");
    let labels = |key: &str, value: &str| json!({"metadata": {"labels": {key: value}}});
    let annotations = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    for (tool, set, unset) in [
        (
            "Flux",
            labels("kustomize.toolkit.fluxcd.io/name", "apps"),
            json!({"metadata": {"labels": null}}),
        ),
        (
            "Argo CD",
            annotations("argocd.argoproj.io/tracking-id", "apps:/ConfigMap:x/y"),
            json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": null}}}),
        ),
    ] {
        mark(&world, &set, "kubectl-patch");
        let refused = world.plugin(&["switch", &second, "--yes"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_says(
            &refused.stderr,
            &[
                &format!(
                    "error: {tool} keeps configmap {}/workspace-settings",
                    world.namespace
                ),
                &format!("kubectl workspace switch {second} --dry-run"),
            ],
        );
        assert_eq!(
            (world.named(), refused.stdout.as_str()),
            (first.clone(), "")
        );
        let printed = world.plugin(&["switch", &second, "--dry-run"]);
        assert_eq!(printed.code, 0, "{printed:?}");
        for of_tool in ["fluxcd.io", "argoproj.io"] {
            assert!(!printed.stdout.contains(of_tool), "{printed:?}");
        }
        mark(&world, &unset, "kubectl-patch");
    }
    mark(
        &world,
        &json!({"data": {"PLATFORM_URL": "http://p.example.com"}}),
        "argocd-controller",
    );
    let refused = world.plugin(&["switch", &second, "--yes"]);
    assert_says(
        &refused.stderr,
        &["Argo CD keeps", "the field manager argocd-controller"],
    );
    assert_eq!((refused.code, world.named()), (1, first));
}

#[tokio::test]
async fn what_the_refusal_advises_in_a_hurry_works() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    for (to, manager, key) in [
        (
            "second",
            "kustomize-controller",
            "kustomize.toolkit.fluxcd.io/name",
        ),
        ("third", "argocd-controller", "argocd.argoproj.io/instance"),
    ] {
        let labels = json!({"metadata": {"labels": {key: "apps"}}, "data": {REGISTRY: first}});
        mark(&world, &labels, manager);
        world.in_force(&first).await;
        let prefix = world.prefix(to);
        let refused = world.plugin(&["switch", &prefix, "--yes"]);
        assert_eq!((refused.code, world.named()), (1, first.clone()));
        assert_says(&refused.stderr, &["and switch with --force-conflicts"]);
        assert!(!refused.stderr.contains("Switch from"), "{refused:?}");
        if manager == "kustomize-controller" {
            let advised = refused.stderr.split("kubectl annotate ").nth(1);
            let advised = advised.and_then(|it| it.split(')').next());
            let advised = advised.expect("it names the annotation").split(' ');
            world.kubectl(&[&["annotate"], &advised.collect::<Vec<_>>()[..]].concat());
        }
        let done = world.plugin(&["switch", &prefix, "--yes", "--force-conflicts"]);
        assert_eq!((done.code, world.named()), (0, prefix), "{done:?}");
        let warned = done.stderr.contains("warning: ");
        assert_eq!(warned, manager != "kustomize-controller", "{done:?}");
        let unset = json!({"metadata": {"labels": null, "annotations": null}});
        mark(&world, &unset, "kubectl-patch");
    }
}

#[tokio::test]
async fn what_is_printed_is_applied_by_kubectl_and_passes_the_guard() {
    let world = World::new().await;
    let first = world.prefix("first");
    world.settings(&[
        (REGISTRY, &first),
        ("PLATFORM_URL", "http://platform.example.com"),
        ("IMAGE_PULL_SECRETS", "mirror"),
    ]);
    world.in_force(&first).await;
    guard(&world).await;
    let second = world.prefix("second");
    let before = world.get("configmap", "workspace-settings");
    let printed = world.plugin(&["switch", &second, "--dry-run"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    assert_says(
        &printed.stderr,
        &[&format!("Switch from {first} to {second}:")],
    );
    assert_eq!(
        world.get("configmap", "workspace-settings"),
        before,
        "nothing was edited"
    );

    let json = world.plugin(&["switch", &second, "--dry-run", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let yaml: Value = serde_saphyr::from_str(&printed.stdout).expect("it is YAML");
    assert_eq!(json, yaml);

    let said = world
        .try_apply(&printed.stdout)
        .expect("kubectl applies it");
    assert_eq!(said, "configmap/workspace-settings configured\n");
    world.in_force(&second).await;
    let data = world.get("configmap", "workspace-settings")["data"].clone();
    let expected = json!({
        REGISTRY: second,
        "PLATFORM_URL": "http://platform.example.com",
        "IMAGE_PULL_SECRETS": "mirror",
    });
    assert_eq!(data, expected);

    let third = world.prefix("third");
    let done = world.plugin(&["switch", &third, "--yes"]);
    assert_eq!(done.code, 0, "the guard lets an edit pass too: {done:?}");
}

#[tokio::test]
async fn what_cannot_be_right_is_not_even_asked_for() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    for (prefix, words) in [
        ("https://mirror.example.com/x", "has a scheme"),
        ("myorg", "names no registry"),
        ("mirror.example.com/x/", "ends in a slash"),
    ] {
        let wrong = world.plugin(&["switch", prefix, "--yes"]);
        assert_eq!(wrong.code, 2, "{wrong:?}");
        assert_says(&wrong.stderr, &[words, prefix]);
    }
    let neither = world.plugin(&["switch", "--yes"]);
    assert_eq!(neither.code, 2, "{neither:?}");
    let both = world.plugin(&["switch", "mirror.example.com/x", "--back"]);
    assert_eq!(both.code, 2, "{both:?}");
    assert_eq!(world.named(), first);

    // Elsewhere in the settings is a fault that would keep the edit from having an effect.
    world.settings(&[(REGISTRY, &first), ("PROVISION_TIMEOUT_SECONDS", "soon")]);
    let invalid = world.plugin(&["switch", "mirror.example.com/x", "--yes"]);
    assert_eq!(invalid.code, 1, "{invalid:?}");
    assert_says(
        &invalid.stderr,
        &["the settings would be invalid", "PROVISION_TIMEOUT_SECONDS"],
    );
    assert_eq!(world.named(), first);
}

#[tokio::test]
async fn nobody_is_asked_where_nobody_can_answer() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    let second = world.prefix("second");
    let mut command = world.plugin_command(&["switch", &second]);
    let refused: Output = run(command.stdin(Stdio::null()));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(
        &refused.stderr,
        &["there is no terminal to ask on; say --yes"],
    );
    assert_eq!(world.named(), first);
}

#[tokio::test]
async fn a_key_that_a_tool_keeps_is_taken_over_only_when_that_is_said() {
    let world = World::new().await;
    let first = world.prefix("first");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workspace-settings"},
        "data": {REGISTRY: first},
    });
    let args = [
        "-n",
        &world.namespace,
        "apply",
        "--server-side",
        "--field-manager=terraform",
    ];
    let args = [&args[..], &["-f", "-"]].concat();
    let applied = world
        .admin()
        .run_with_input(&args, &map.to_string())
        .expect("kubectl runs");
    assert!(applied.ok(), "{applied:?}");
    world.in_force(&first).await;
    let second = world.prefix("second");
    let refused = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(
        &refused.stderr,
        &["is kept by terraform", "--force-conflicts"],
    );
    assert_eq!(world.named(), first);
    let forced = world.plugin(&["switch", &second, "--yes", "--force-conflicts"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    assert_eq!(world.named(), second);
}

/// Applies settings on the server as a tool does.
fn apply_as(world: &World, manager: &str, prefix: &str) {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workspace-settings"},
        "data": {REGISTRY: prefix},
    });
    let manager = format!("--field-manager={manager}");
    let args = ["-n", &world.namespace, "apply", "--server-side", "-f", "-"];
    let args = [&args[..], &["--force-conflicts", &manager]].concat();
    let applied = world.admin().run_with_input(&args, &map.to_string());
    let applied = applied.expect("kubectl runs");
    assert!(applied.ok(), "{applied:?}");
}

#[tokio::test]
async fn hands_are_known_by_their_names_and_helm_is_warned_of() {
    let world = World::new().await;
    let (first, second) = (world.prefix("first"), world.prefix("second"));
    for manager in ["helmfile-thing", "kubectlish-robot"] {
        apply_as(&world, manager, &first);
        world.in_force(&first).await;
        let refused = world.plugin(&["switch", &second, "--yes"]);
        assert_eq!((refused.code, world.named()), (1, first.clone()));
        assert_says(
            &refused.stderr,
            &[&format!("is kept by {manager}"), "--force-conflicts"],
        );
        assert!(!refused.stderr.contains("Helm"), "{refused:?}");
        world.kubectl(&["delete", "configmap", "workspace-settings"]);
    }
    apply_as(&world, "helm", &first);
    world.in_force(&first).await;
    let done = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!((done.code, world.named()), (0, second), "{done:?}");
    assert_says(&done.stderr, &["the next helm upgrade may undo this edit"]);

    // What Helm only made is of no release.
    let hook = json!({"metadata": {"annotations": {"helm.sh/hook": "pre-install"}}});
    mark(&world, &hook, "kubectl-patch");
    let back = world.plugin(&["switch", "--back", "--yes"]);
    assert_eq!((back.code, world.named()), (0, first), "{back:?}");
    assert!(!back.stderr.contains("helm upgrade"), "{back:?}");
}

#[tokio::test]
async fn a_dry_run_keeps_what_is_beside_the_data() {
    let world = World::without_operator().await;
    world.registry(&world.prefix("first"));
    let beside = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
    mark(&world, &beside, "kubectl-patch");
    let printed = world.plugin_json(0, &["switch", &world.prefix("second"), "--dry-run"]);
    let expected = json!({
        "name": "workspace-settings", "namespace": world.namespace,
        "labels": {"team": "a"}, "annotations": {"note": "b"},
    });
    assert_eq!(printed["metadata"], expected);
}

#[tokio::test]
async fn settings_that_are_immutable_have_a_way_out() {
    let world = World::without_operator().await;
    let (first, second) = (world.prefix("first"), world.prefix("second"));
    world.registry(&first);
    mark(&world, &json!({"immutable": true}), "kubectl-patch");
    for args in [&["switch", &second, "--yes"][..], &["unpin", "--all"]] {
        let done = world.plugin(args);
        let code = i32::from(args[0] == "switch");
        assert_eq!(
            (done.code, world.named()),
            (code, first.clone()),
            "{done:?}"
        );
        if code == 1 {
            let words = ["is immutable", "molecule.ai/allow-deletion=true"];
            assert_says(&done.stderr, &words);
        }
    }
    let printed = world.plugin_json(0, &["switch", &second, "--dry-run"]);
    assert_eq!(printed["immutable"], json!(true));
}

#[tokio::test]
async fn an_edit_repoints_more_than_what_n_looks_at() {
    let (world, other) = (
        World::without_operator().await,
        World::without_operator().await,
    );
    other.workspace("b", "{runtime: codex}");
    let (first, second) = (world.prefix("first"), world.prefix("second"));
    world.registry(&first);
    // As an operator for all, and as others for single namespaces, would have recorded it.
    for key in ["status".to_owned(), format!("status.{}", other.namespace)] {
        let record = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "workspace-fleet"},
            "data": {"status": "", key: "workspaces: 1"},
        });
        world.apply(&record.to_string());
        let refused = world.plugin(&["switch", &second, "--yes"]);
        assert_eq!((refused.code, world.named()), (1, first.clone()));
        let words = [
            "warning: with -n the Workspaces of other namespaces",
            "leave -n away",
        ];
        assert_says(&refused.stderr, &words);
    }
    let forced = world.plugin(&["switch", &second, "--yes", "--force", "--timeout", "1s"]);
    assert_eq!((forced.code, world.named()), (1, second), "{forced:?}");
}

#[tokio::test]
async fn where_there_is_no_namespace_nothing_can_be_told() {
    let world = World::without_operator().await;
    let (admin, namespace) = (world.admin(), world.namespace.as_str());
    let to = world.prefix("first");
    for args in [
        &["status"][..],
        &["switch", &to, "--yes"],
        &["preflight", "--to", &to],
        &["restart", "--all"],
        &["restart", "a"],
        &["pins"],
    ] {
        let args = [args, &["-n", "no-such"]].concat();
        let told = run(&mut command(&admin, namespace, &args));
        assert_eq!(told.code, 2, "{args:?}: {told:?}");
        assert_says(&told.stderr, &["there is no namespace no-such"]);
    }
    let elsewhere = ["switch", &to, "--yes", "-n", namespace];
    let told = run(&mut command(&admin, "no-such", &elsewhere));
    assert_eq!(told.code, 2, "{told:?}");
    assert_says(
        &told.stderr,
        &["no operator has its settings there", "--settings-namespace"],
    );
    assert_eq!(world.named(), "");
}

#[tokio::test]
async fn a_pin_that_a_repository_keeps_is_removed_only_when_that_is_said() {
    let world = World::without_operator().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    world.settings(&[("PIN_codex", &digest)]);
    let label = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}});
    mark(&world, &label, "kubectl-patch");
    let pin = || world.get("configmap", "workspace-settings")["data"]["PIN_codex"].clone();
    let refused = world.plugin(&["unpin", "codex"]);
    assert_eq!((refused.code, pin()), (1, json!(digest)), "{refused:?}");
    assert_says(&refused.stderr, &["Flux keeps", "--force-conflicts"]);
    let done = world.plugin(&["unpin", "codex", "--force-conflicts"]);
    assert_eq!((done.code, pin()), (0, Value::Null), "{done:?}");
    assert_says(&done.stderr, &["warning: Flux keeps"]);
}
