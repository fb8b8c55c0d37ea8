use serde_json::{Value, json};

use super::*;
use crate::settings::Environment;
use crate::wire::{self, Wire};

const UID: &str = "0e0e0e0e-0000-0000-0000-000000000000";

fn settings(data: &[(&str, &str)]) -> Settings {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    Settings::parse(&data, &Environment::default())
        .expect("valid settings")
        .settings
}

/// The Pod of a Workspace `w` with this spec, as the JSON that is sent.
fn made(spec: Value, settings: &Settings) -> Value {
    let stored = json!({
        "metadata": {"name": "w", "namespace": "ns", "uid": UID, "resourceVersion": "1"},
        "spec": spec,
    });
    let seen = serde_json::from_value::<wire::Workspace>(stored)
        .expect("a Workspace")
        .seen();
    let spec = seen.spec.as_ref().expect("it decodes").unpack();
    let ask = ask(&seen, &spec, settings).expect("a known runtime");
    json!(pod(&Key::new("ns", "w"), &seen, &spec, &ask, settings, 0))
}

fn plain(spec: Value) -> Value {
    made(spec, &settings(&[]))
}

fn agent(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

fn env(pod: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let vars = agent(pod)["env"].as_array().expect("there is always some");
    vars.iter()
        .map(|var| (text(&var["name"]), text(&var["value"])))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_whole_pod_of_an_empty_spec() {
    let pod = plain(json!({}));
    let image = "ghcr.io/molecule-ai/workspace-template-langgraph:latest";
    assert_eq!(
        pod["metadata"]["labels"],
        json!({
            "app.kubernetes.io/name": "workspace",
            "app.kubernetes.io/instance": "w",
            "app.kubernetes.io/managed-by": "workspace-operator",
            "molecule.ai/runtime": "langgraph",
        })
    );
    assert_eq!(
        pod["metadata"]["name"], "w",
        "I1: the name is what keeps a second Pod out"
    );
    assert_eq!(pod["metadata"]["annotations"]["molecule.ai/image"], image);
    let annotations = pod["metadata"]["annotations"].as_object();
    let told: Vec<_> = annotations
        .map(|it| it.keys().collect())
        .unwrap_or_default();
    // A first Pod follows upon no failures: it does not count them.
    assert_eq!(
        told,
        [
            "molecule.ai/image",
            "molecule.ai/revision",
            "molecule.ai/settings"
        ]
    );
    assert_eq!(
        pod["metadata"]["ownerReferences"],
        json!([{"apiVersion": "molecule.ai/v1alpha1", "kind": "Workspace", "name": "w",
                "uid": UID, "controller": true}])
    );
    let spec = &pod["spec"];
    assert_eq!(
        *spec,
        json!({
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Always",
            "hostname": "w",
            "subdomain": "workspaces",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "workspace", "emptyDir": {}}, {"name": "configs", "emptyDir": {}}],
            "containers": [{
                "name": "agent",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
                "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 2},
                "securityContext": {"allowPrivilegeEscalation": false},
                "env": [
                    {"name": "WORKSPACE_ID", "value": UID},
                    {"name": "WORKSPACE_CONFIG_PATH", "value": "/configs"},
                    {"name": "PLUGINS_DIR", "value": "/plugins"},
                    {"name": "PYTHONPATH", "value": "/app"},
                ],
                "volumeMounts": [
                    {"name": "workspace", "mountPath": "/workspace"},
                    {"name": "configs", "mountPath": "/configs"},
                ],
            }],
        })
    );
}

#[test]
fn every_pull_policy_is_if_not_present() {
    for spec in [
        json!({"tag": "latest"}),
        json!({"tag": "v1"}),
        json!({"runtime": "codex"}),
    ] {
        assert_eq!(agent(&plain(spec))["imagePullPolicy"], "IfNotPresent");
    }
}

#[test]
fn a_tag_or_a_digest_of_the_spec_wins_over_the_pin() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let pinned = settings(&[("PIN_codex", &digest("a"))]);
    let image = |spec: Value| agent(&made(spec, &pinned))["image"].clone();
    let name = "ghcr.io/molecule-ai/workspace-template-codex";
    assert_eq!(
        image(json!({"runtime": "codex"})),
        format!("{name}@{}", digest("a"))
    );
    assert_eq!(
        image(json!({"runtime": "codex", "tag": "v1"})),
        format!("{name}:v1")
    );
    let spec = json!({"runtime": "codex", "digest": digest("b")});
    assert_eq!(image(spec), format!("{name}@{}", digest("b")));
}

#[test]
fn the_users_env_adds_and_overrides_all_but_the_first_two() {
    let platform = settings(&[("PLATFORM_URL", "https://platform.example.com")]);
    let pod = made(
        json!({"id": "kept", "env": [
            {"name": "WORKSPACE_ID", "value": "forged"},
            {"name": "WORKSPACE_CONFIG_PATH", "value": "/elsewhere"},
            {"name": "PYTHONPATH", "value": "/mine"},
            {"name": "EXTRA", "value": "$(WORKSPACE_ID)"},
        ]}),
        &platform,
    );
    assert_eq!(
        env(&pod),
        pairs(&[
            ("WORKSPACE_ID", "kept"),
            ("WORKSPACE_CONFIG_PATH", "/configs"),
            ("PLATFORM_URL", "https://platform.example.com"),
            ("MOLECULE_URL", "https://platform.example.com"),
            ("PLUGINS_DIR", "/plugins"),
            ("PYTHONPATH", "/mine"),
            ("EXTRA", "$(WORKSPACE_ID)"),
        ])
    );
}

#[test]
fn the_settings_pull_secrets_come_after_the_workspaces_and_each_once() {
    let secrets = settings(&[("IMAGE_PULL_SECRETS", "mirror, both")]);
    let spec = json!({"imagePullSecrets": [{"name": "own"}, {"name": "both"}]});
    assert_eq!(
        made(spec, &secrets)["spec"]["imagePullSecrets"],
        json!([{"name": "own"}, {"name": "both"}, {"name": "mirror"}])
    );
}

#[test]
fn storage_is_one_claim_with_a_subpath_for_each_folder() {
    let pod = plain(json!({"runtime": "claude-code", "storage": {"size": "1Gi"}}));
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "storage", "persistentVolumeClaim": {"claimName": "workspace-w"}}])
    );
    assert_eq!(
        agent(&pod)["volumeMounts"],
        json!([
            {"name": "storage", "mountPath": "/workspace", "subPath": "workspace"},
            {"name": "storage", "mountPath": "/configs", "subPath": "configs"},
            {"name": "storage", "mountPath": "/root/.claude/sessions", "subPath": "sessions"},
        ])
    );
}

#[test]
fn a_config_map_fills_configs_even_with_storage() {
    let pod = plain(json!({"config": "c", "storage": {"size": "1Gi"}}));
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(volumes.contains(&json!({"name": "configs", "configMap": {"name": "c"}})));
    let mounts = agent(&pod)["volumeMounts"].as_array().expect("mounts");
    assert!(mounts.contains(&json!({"name": "configs", "mountPath": "/configs"})));
    // And no other folder, without.
    let pod = plain(json!({"config": "c"}));
    assert_eq!(
        pod["spec"]["volumes"],
        json!([
            {"name": "workspace", "emptyDir": {}},
            {"name": "configs", "configMap": {"name": "c"}},
        ])
    );
}

#[test]
fn what_is_set_in_the_security_contexts_stays() {
    let pod = plain(json!({
        "securityContext": {"allowPrivilegeEscalation": true, "runAsUser": 7},
        "podSecurityContext": {"seccompProfile": {"type": "Unconfined"}, "fsGroup": 8},
    }));
    assert_eq!(
        agent(&pod)["securityContext"],
        json!({"allowPrivilegeEscalation": true, "runAsUser": 7})
    );
    assert_eq!(
        pod["spec"]["securityContext"],
        json!({"seccompProfile": {"type": "Unconfined"}, "fsGroup": 8})
    );
}

#[test]
fn the_users_labels_and_annotations_never_replace_ours() {
    let pod = plain(json!({
        "podLabels": {"team": "x", "app.kubernetes.io/name": "y", "molecule.ai/runtime": "z"},
        "podAnnotations": {"note": "x", "molecule.ai/revision": "y"},
    }));
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["team"], "x");
    assert_eq!(labels["app.kubernetes.io/name"], "workspace");
    assert_eq!(labels["molecule.ai/runtime"], "langgraph");
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["note"], "x");
    assert_ne!(annotations["molecule.ai/revision"], "y");
}

#[test]
fn fields_of_core_v1_reach_the_pod_as_they_are() {
    let spec = json!({
        "serviceAccountName": "sa",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
        ],
        "priorityClassName": "pc",
        "runtimeClassName": "rc",
        "terminationGracePeriodSeconds": 5,
    });
    let pod = plain(spec.clone());
    for (field, value) in spec.as_object().expect("fields") {
        assert_eq!(&pod["spec"][field], value, "{field}");
    }
    let spec =
        json!({"resources": {"limits": {"cpu": "1"}}, "envFrom": [{"secretRef": {"name": "s"}}]});
    let pod = plain(spec.clone());
    for (field, value) in spec.as_object().expect("fields") {
        assert_eq!(&agent(&pod)[field], value, "{field}");
    }
}

#[test]
fn no_registry_setting_enters_the_identity_but_the_image() {
    let ask =
        |data: &[(&str, &str)]| made(json!({}), &settings(data))["metadata"]["annotations"].clone();
    let a = ask(&[("MOLECULE_IMAGE_REGISTRY", "a.example.com/x")]);
    let b = ask(&[("MOLECULE_IMAGE_REGISTRY", "b.example.com/x")]);
    assert_ne!(a["molecule.ai/image"], b["molecule.ai/image"]);
    assert_eq!(a["molecule.ai/settings"], b["molecule.ai/settings"]);
    assert_eq!(a["molecule.ai/revision"], b["molecule.ai/revision"]);
    let secret = ask(&[("IMAGE_PULL_SECRETS", "x")]);
    assert_ne!(secret["molecule.ai/settings"], a["molecule.ai/settings"]);
    let url = ask(&[("PLATFORM_URL", "https://example.com")]);
    assert_ne!(url["molecule.ai/settings"], secret["molecule.ai/settings"]);
    assert_eq!(url["molecule.ai/revision"], a["molecule.ai/revision"]);
}

#[test]
fn the_claim_is_owned_only_where_it_goes_with_its_workspace() {
    let key = Key::new("ns", "w");
    let made = |storage: Value| {
        let storage = serde_json::from_value(storage).expect("storage");
        json!(claim(&key, UID, &storage))
    };
    let kept = made(json!({"size": "1Gi"}));
    assert_eq!(kept["metadata"]["name"], "workspace-w");
    assert_eq!(kept["metadata"]["labels"]["molecule.ai/workspace"], "w");
    assert_eq!(kept["metadata"]["ownerReferences"], Value::Null);
    assert_eq!(kept["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(kept["spec"]["storageClassName"], Value::Null);
    let gone = made(json!({
        "size": "1Gi", "storageClassName": "fast", "accessModes": ["ReadWriteMany"],
        "whenDeleted": "Delete",
    }));
    assert_eq!(gone["metadata"]["ownerReferences"][0]["uid"], UID);
    assert_eq!(gone["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(gone["spec"]["storageClassName"], "fast");
}

#[test]
fn the_service_is_headless_and_selects_every_pod_of_ours() {
    let service = json!(service());
    let ours = json!({
        "app.kubernetes.io/name": "workspace",
        "app.kubernetes.io/managed-by": "workspace-operator",
    });
    let whole = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "workspaces", "labels": ours},
        "spec": {
            "clusterIP": "None",
            "selector": ours,
            "ports": [{"name": "http", "port": 8000, "targetPort": "http"}],
        },
    });
    assert_eq!(service, whole);
    let seen = serde_json::from_value::<wire::Service>(service);
    assert_eq!(seen.expect("a Service").seen(), crate::seen::Service::Ours);
}
