//! kustomize and Helm render the same objects, and the chart is as charts should be.

use std::process::Command;

use serde_json::{Value, json};
use workspace_operator::server::PATIENCE;

use crate::alerts::RUNBOOK;
use crate::bed::{SYSTEM, folder, run, tool};
use crate::objects::{Objects, kustomize, objects, own};

/// What `helm template` makes of the chart with these flags.
pub async fn template(flags: &[&str]) -> Objects {
    let helm = tool("helm").await;
    let chart = folder("chart");
    let mut command = Command::new(helm);
    command.args([
        "template",
        "workspace-operator",
        &chart,
        "--namespace",
        SYSTEM,
    ]);
    objects(&run(command.args(flags)))
}

/// Two differences are meant. Helm has no say in the namespace that a release is put into. And its
/// uninstall must not take what other operators share, and with the definition every Workspace.
fn assert_same(mut kustomized: Objects, mut templated: Objects) {
    assert!(kustomized.remove("Namespace molecule-system").is_some());
    assert_eq!(kept(&mut templated), SHARED);
    let ids = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&kustomized), ids(&templated));
    for (id, object) in &kustomized {
        assert_eq!(object, &templated[id], "{id}");
    }
}

/// What a cluster has once.
const SHARED: [&str; 6] = [
    "ClusterRole workspace-edit",
    "ClusterRole workspace-view",
    "CustomResourceDefinition workspaces.molecule.ai",
    "ValidatingAdmissionPolicy workspace-settings",
    "ValidatingAdmissionPolicy workspace-settings-deletion",
    "ValidatingAdmissionPolicy workspace-settings-keys",
];

/// Takes the word that keeps an object through an uninstall away, and tells where it was.
fn kept(objects: &mut Objects) -> Vec<String> {
    let mut kept = Vec::new();
    for (id, object) in objects {
        let metadata = object["metadata"].as_object_mut().expect("metadata");
        let annotations = metadata.get_mut("annotations");
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
            continue;
        };
        if annotations.remove("helm.sh/resource-policy") == Some(json!("keep")) {
            kept.push(id.clone());
        }
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    kept
}

#[tokio::test]
async fn kustomize_and_helm_render_the_same_objects() {
    for (overlay, flags) in [
        ("", &[][..]),
        ("overlays/single", &["--set=replicas=1"]),
        ("overlays/namespaced", &["--set=watchNamespace=agents"]),
    ] {
        assert_same(kustomize(&folder(overlay)), template(flags).await);
    }
}

/// With the definition would go every Workspace.
#[tokio::test]
async fn what_is_no_longer_in_a_repository_does_not_take_the_definition_with_it() {
    for objects in [kustomize(&folder("")), template(&[]).await] {
        let crd = &objects["CustomResourceDefinition workspaces.molecule.ai"];
        let annotations = &crd["metadata"]["annotations"];
        assert_eq!(annotations["kustomize.toolkit.fluxcd.io/prune"], "disabled");
        let argo = &annotations["argocd.argoproj.io/sync-options"];
        assert_eq!(argo, "Prune=false,Delete=false");
    }
}

/// The chart renders the same.
#[test]
fn all_that_is_the_operators_is_found_by_one_label() {
    let all = own("labelled", |there| {
        format!(
            "resources: [{there}/overlays/namespaced]\n\
             components: [{there}/components/servicemonitor, {there}/components/podmonitor, \
             {there}/components/alerts, {there}/components/pod-rights, \
             {there}/components/pull-secrets, {there}/components/pull-secrets-namespaced]\n"
        )
    });
    for objects in [all, kustomize(&folder(""))] {
        let labelled =
            |it: &Value| it["metadata"]["labels"]["app.kubernetes.io/name"] == "workspace-operator";
        let others = objects.iter().filter(|(_, object)| !labelled(object));
        let others: Vec<_> = others.map(|(id, _)| id.as_str()).collect();
        let more_than_its = [
            "CustomResourceDefinition workspaces.molecule.ai",
            "Namespace molecule-system",
        ];
        assert_eq!(others, more_than_its);
    }
}

/// A Pod that names a user is refused there, unless it is one of its namespace's.
#[tokio::test]
async fn on_openshift_the_pods_name_no_user() {
    let kustomized = own("openshift", |there| {
        format!("resources: [{there}/base]\ncomponents: [{there}/components/openshift]\n")
    });
    let id = "Deployment molecule-system/workspace-operator";
    let context = &kustomized[id]["spec"]["template"]["spec"]["securityContext"];
    let expected = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(context, &expected);
    let values = format!("--values={}", folder("chart/values-openshift.yaml"));
    assert_same(kustomized, template(&[&values]).await);
}

/// A kubelet that gives up at the moment at which the operator says that it hangs hears it by chance.
#[test]
fn probes_wait_for_longer_than_the_operator_takes_to_say_that_it_hangs() {
    let all = kustomize(&folder(""));
    let deployment = &all["Deployment molecule-system/workspace-operator"];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["livenessProbe", "readinessProbe"] {
        let seconds = container[probe]["timeoutSeconds"].as_u64();
        assert!(seconds > Some(PATIENCE.as_secs()), "{probe}: {seconds:?}");
    }
}

/// From one replica to two a new Pod starts beside the old one: both have to stand for election.
#[tokio::test]
async fn however_many_replicas_each_stands_for_election() {
    let deployment = "Deployment molecule-system/workspace-operator";
    let mut all = Vec::new();
    for overlay in ["", "overlays/single", "overlays/namespaced"] {
        all.push((overlay, kustomize(&folder(overlay))));
    }
    for set in ["--set=replicas=1", "--set=replicas=2"] {
        all.push((set, template(&[set]).await));
    }
    for (name, objects) in all {
        let spec = &objects[deployment]["spec"];
        let args = &spec["template"]["spec"]["containers"][0]["args"];
        let args = args.as_array().expect("args");
        assert!(args.contains(&json!("--leader-elect")), "{name}: {args:?}");
        assert_eq!(spec["strategy"]["type"], "RollingUpdate", "{name}");
    }
}

#[tokio::test]
async fn the_options_of_the_chart_add_the_components_and_no_more() {
    let plain = template(&[]).await;
    let with = "--set=podRights=true,serviceMonitor.enabled=true,podMonitor.enabled=true,\
                alerts.enabled=true,readPullSecrets=true";
    let with = template(&[with]).await;
    let mut components = kustomize(&folder("chart/files/pod-rights"));
    components.extend(without_runbook(kustomize(&folder("chart/files/alerts"))));
    for file in [
        "servicemonitor/servicemonitor",
        "podmonitor/podmonitor",
        "pull-secrets/role",
    ] {
        let file = std::fs::read_to_string(folder(&format!("components/{file}.yaml")));
        components.extend(objects(&file.expect("the file")));
    }
    let mut added = with.clone();
    added.retain(|id, _| !plain.contains_key(id));
    assert_eq!(kept(&mut added).len(), 2);
    assert_eq!(added, components);

    let set = "--set=watchNamespace=agents,readPullSecrets=true";
    let mut added = template(&[set]).await;
    let plain = template(&["--set=watchNamespace=agents"]).await;
    added.retain(|id, _| !plain.contains_key(id));
    let file = std::fs::read_to_string(folder("components/pull-secrets-namespaced/role.yaml"));
    assert_eq!(added, objects(&file.expect("the file")));

    let second = template(&[
        "--set=shared=false,watchNamespace=agents",
        "--namespace=second",
    ])
    .await;
    let clusterwide: Vec<_> = second.keys().filter(|id| !id.contains('/')).collect();
    assert_eq!(
        clusterwide,
        [
            "FlowSchema workspace-operator.second",
            "ValidatingAdmissionPolicyBinding workspace-settings-deletion.second",
            "ValidatingAdmissionPolicyBinding workspace-settings-keys.second",
            "ValidatingAdmissionPolicyBinding workspace-settings.second",
        ]
    );
}

/// Alerts as they are where nobody has said where the runbook is served.
fn without_runbook(mut alerts: Objects) -> Objects {
    let groups = alerts
        .values_mut()
        .flat_map(|it| it["spec"]["groups"].as_array_mut());
    let rules = groups.flatten().flat_map(|it| it["rules"].as_array_mut());
    for rule in rules.flatten() {
        let annotations = rule["annotations"].as_object_mut().expect("annotations");
        assert!(annotations.remove("runbook_url").is_some(), "{rule}");
    }
    alerts
}

#[tokio::test]
async fn the_alerts_name_the_runbook_that_is_given_and_none_while_none_is() {
    let none = template(&["--set=alerts.enabled=true"]).await;
    let none = none["PrometheusRule molecule-system/workspace-operator"].to_string();
    assert!(!none.contains("runbook_url"), "{none}");
    let url = "https://wiki.example.com/operator";
    let set = format!("--set=alerts.enabled=true,alerts.runbook={url}");
    let rule = template(&[&set]).await;
    let rule = rule["PrometheusRule molecule-system/workspace-operator"].to_string();
    assert!(rule.contains(&format!(r#""runbook_url":"{url}#workspacestuck""#)));
    assert!(!rule.contains(RUNBOOK), "{rule}");
}

/// The image is for Linux; which architecture its nodes have is for those who build it to say.
#[tokio::test]
async fn the_pods_go_to_linux_and_apart_from_each_other() {
    let set = r"--set=nodeSelector.kubernetes\.io/arch=arm64";
    let rendered = template(&[set]).await;
    let pod = &rendered["Deployment molecule-system/workspace-operator"]["spec"]["template"];
    let (spec, labels) = (&pod["spec"], &pod["metadata"]["labels"]);
    let nodes = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"});
    assert_eq!(spec["nodeSelector"], nodes);
    let preferred = "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0";
    let term = &spec.pointer(preferred).expect("it")["podAffinityTerm"];
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(&term["labelSelector"]["matchLabels"], labels);
}

#[tokio::test]
async fn what_is_added_to_the_pods_comes_beside_what_is_theirs() {
    let deployment = "Deployment molecule-system/workspace-operator";
    let mut plain = template(&[]).await.remove(deployment).expect("it");
    let variable = json!({"name": "SSL_CERT_FILE", "value": "/authority/ca.crt"});
    let volume = json!({"name": "authority", "configMap": {"name": "registry-authority"}});
    let mount = json!({"name": "authority", "mountPath": "/authority", "readOnly": true});
    let mut more = template(&[
        "--set=podAnnotations.note=a,podLabels.team=b",
        &format!("--set-json=extraEnv=[{variable}]"),
        &format!("--set-json=extraVolumes=[{volume}]"),
        &format!("--set-json=extraVolumeMounts=[{mount}]"),
    ])
    .await;
    let more = more.remove(deployment).expect("it");
    let pod = &mut plain["spec"]["template"];
    pod["metadata"]["annotations"]["note"] = json!("a");
    pod["metadata"]["labels"]["team"] = json!("b");
    pod["spec"]["volumes"] = json!([volume]);
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([mount]);
    container["env"]
        .as_array_mut()
        .expect("a list")
        .push(variable);
    assert_eq!(more, plain);

    let other = "--set=podAnnotations.kubectl\\.kubernetes\\.io/default-container=sidecar";
    let other = template(&[other]).await;
    let annotations = &other[deployment]["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(
        annotations,
        &json!({"kubectl.kubernetes.io/default-container": "sidecar"})
    );
}

#[tokio::test]
async fn rules_of_the_network_are_added_to_those_of_the_chart_or_there_are_none() {
    let policy = "NetworkPolicy molecule-system/workspace-operator";
    let mut plain = template(&[]).await;
    let rule = |port: u16| json!({"ports": [{"port": port, "protocol": "TCP"}]});
    let more = template(&[
        &format!("--set-json=networkPolicy.extraIngress=[{}]", rule(9090)),
        &format!("--set-json=networkPolicy.extraEgress=[{}]", rule(5000)),
    ])
    .await;
    let unchanged = plain.clone();
    for (side, port) in [("ingress", 9090), ("egress", 5000)] {
        let spec = &mut plain.get_mut(policy).expect("it")["spec"];
        spec[side].as_array_mut().expect("rules").push(rule(port));
    }
    assert_eq!(more, plain);
    plain.remove(policy);
    assert_eq!(
        template(&["--set=networkPolicy.enabled=false"]).await,
        plain
    );

    let monitoring = json!({"namespaceSelector": {"matchLabels": {"team": "monitoring"}}});
    let other = template(&[
        &format!("--set-json=networkPolicy.scrapers=[{monitoring}]"),
        "--set=networkPolicy.apiServerPorts={443,16443}",
    ])
    .await;
    let mut plain = unchanged;
    let spec = &mut plain.get_mut(policy).expect("it")["spec"];
    spec["ingress"][0]["from"] = json!([monitoring]);
    spec["egress"][1]["ports"][1]["port"] = json!(16443);
    assert_eq!(other, plain);
}

#[tokio::test]
async fn the_image_is_a_digest_where_one_is_given() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let set = format!("--set=image.repository=r.example.com/op,image.digest={digest}");
    let rendered = template(&[&set]).await;
    let deployment = &rendered["Deployment molecule-system/workspace-operator"];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("r.example.com/op@{digest}"));
}

#[tokio::test]
async fn lint_finds_nothing() {
    let said = run(Command::new(tool("helm").await).args(["lint", "--strict", &folder("chart")]));
    for word in ["[WARNING]", "[ERROR]", "[INFO]"] {
        assert!(
            !said
                .replace("[INFO] Chart.yaml: icon is recommended", "")
                .contains(word),
            "{said}"
        );
    }
}

#[test]
fn the_chart_has_the_definition_that_the_code_prints() {
    let text = |path: &str| std::fs::read_to_string(folder(path)).expect("the file");
    let same = text("chart/files/workspace.yaml") == text("../crds/workspace.yaml");
    assert!(
        same,
        "deploy/chart/files/workspace.yaml is out of date: run `make crd`"
    );
}

#[test]
fn the_chart_has_the_version_of_the_code() {
    let text = std::fs::read_to_string(folder("chart/Chart.yaml")).expect("the file");
    let chart: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
