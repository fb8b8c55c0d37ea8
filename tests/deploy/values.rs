//! What may be written into the chart's values, and what is said of what may not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use workspace_operator::settings::{Environment, REGISTRY_KEY, Settings};

use crate::bed::{folder, tool};
use crate::objects::objects;
use crate::render::template;

/// `helm template` with these flags, whatever becomes of it.
fn tried(helm: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(helm);
    command.args(["template", &folder("chart")]).args(flags);
    command.output().expect("helm runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The chart's own values.
fn own_values() -> Value {
    let file = std::fs::read_to_string(folder("chart/values.yaml")).expect("the values");
    serde_saphyr::from_str(&file).expect("it is YAML")
}

/// The path of every value.
fn paths(values: &Value, above: &str) -> Vec<String> {
    let fields = values.as_object().into_iter().flatten();
    let of = |(name, value): (&String, &Value)| {
        let path = format!("{above}{name}");
        let mut all = paths(value, &format!("{path}."));
        all.push(path);
        all
    };
    fields.flat_map(of).collect()
}

/// Without these nothing can be rendered, or it could not be told what is meant.
const NEEDED: [&str; 9] = [
    "image",
    "image.pullPolicy",
    "image.repository",
    "logFormat",
    "networkPolicy",
    "networkPolicy.enabled",
    "replicas",
    "settings",
    "shared",
];

/// Without these it is something else; of all others that are null the default is taken.
const MEANT: [&str; 15] = [
    "alerts",
    "alerts.enabled",
    "podMonitor",
    "podMonitor.enabled",
    "podSecurityContext.runAsGroup",
    "podSecurityContext.runAsUser",
    "readPullSecrets",
    "resources",
    "resources.limits",
    "resources.limits.memory",
    "resources.requests",
    "resources.requests.cpu",
    "resources.requests.memory",
    "serviceMonitor",
    "serviceMonitor.enabled",
];

/// Null takes a value away, as does `--reuse-values` where a release of before has none.
#[tokio::test]
async fn each_value_can_be_null_or_is_said_to_be_needed() {
    let helm = tool("helm").await;
    let on = "--set=alerts.enabled=true,serviceMonitor.enabled=true,podMonitor.enabled=true,\
              readPullSecrets=true";
    let rendered = |flags: &[&str]| {
        let output = tried(&helm, flags);
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    };
    let plain = objects(&rendered(&[on]).expect("it is rendered"));
    let (mut needed, mut meant) = (Vec::new(), Vec::new());
    for path in paths(&own_values(), "") {
        match rendered(&[on, &format!("--set={path}=null")]) {
            Ok(text) if objects(&text) == plain => {}
            Ok(_) => meant.push(path),
            Err(said) => {
                let name = path.rsplit('.').next().unwrap_or_default();
                let words = format!("missing property '{name}'");
                assert!(said.contains(&words), "{path}: {said}");
                needed.push(path);
            }
        }
    }
    needed.sort();
    meant.sort();
    assert_eq!(needed, NEEDED);
    assert_eq!(meant, MEANT);
}

/// What the README says of settings on the command line.
#[tokio::test]
async fn settings_are_texts_and_the_readme_says_how_they_are_written() {
    let rest = include_str!("../../README.md").split("Each of the settings is a text");
    let rest = rest.last().and_then(|it| it.split("--set-string '").nth(1));
    let example = rest.and_then(|it| it.split('\'').next());
    let example = example.expect("an example");
    let set = template(&[&format!("--set-string={example}")]).await;
    let data = &set["ConfigMap molecule-system/workspace-settings"]["data"];
    let expected = json!({
        "PROVISION_TIMEOUT_SECONDS": "900", "ROLLOUT_PAUSED": "true", "EXTRA_RUNTIMES": "goose,aider",
    });
    assert_eq!(data, &expected);

    let helm = tool("helm").await;
    for (set, is) in [
        ("PROVISION_TIMEOUT_SECONDS=900", "number"),
        ("ROLLOUT_MAX_UNAVAILABLE=2", "number"),
        ("ROLLOUT_MAX_FAILED=0", "number"),
        ("ROLLOUT_MIN_READY_SECONDS=0", "number"),
        ("ROLLOUT_PAUSED=true", "boolean"),
        ("PREPULL=true", "boolean"),
    ] {
        let said = tried(&helm, &[&format!("--set=settings.{set}")]);
        let words = format!("got {is}, want string");
        let said = text(&said.stderr);
        assert!(said.contains(&words), "{set}: {said}");
    }
}

/// A name that YAML takes for a number is a name all the same.
#[tokio::test]
async fn names_and_numbers_stay_what_they_are() {
    let rendered = template(&[
        "--set-string=image.pullSecrets[0]=0123,image.pullSecrets[1]=true,priorityClassName=1e3",
        // As from a file of values, whose numbers are floats to Helm.
        r#"--set-json=podSecurityContext={"runAsUser": 1000650000, "runAsGroup": 1000650000}"#,
        "--set-json=networkPolicy.apiServerPorts=[16443]",
    ])
    .await;
    let deployment = &rendered["Deployment molecule-system/workspace-operator"];
    let spec = &deployment["spec"]["template"]["spec"];
    let names = json!([{"name": "0123"}, {"name": "true"}]);
    assert_eq!(spec["imagePullSecrets"], names);
    assert_eq!(spec["priorityClassName"], "1e3");
    for field in ["runAsUser", "runAsGroup"] {
        assert_eq!(spec["securityContext"][field], 1_000_650_000);
    }
    let policy = &rendered["NetworkPolicy molecule-system/workspace-operator"];
    assert_eq!(policy["spec"]["egress"][1]["ports"][1]["port"], 16443);
}

#[tokio::test]
async fn wrong_values_are_refused_by_name() {
    let helm = tool("helm").await;
    for (set, at) in [
        ("replica=2", "replica"),
        ("replicas=-1", "replicas"),
        ("settings.PROVISION_TIMEOUT_SECONDS=600", "settings"),
        ("settings.WATCH_DIGESTS_SECONDS=5m", "WATCH_DIGESTS_SECONDS"),
        (
            "settings.MOLECULE_IMAGE_REGISTRY=https://r.example.com/a",
            "MOLECULE_IMAGE_REGISTRY",
        ),
        (
            "settings.MOLECULE_IMAGE_REGISTRY=r.example.com/a:v1",
            "MOLECULE_IMAGE_REGISTRY",
        ),
        (
            "settings.MOLECULE_IMAGE_REGISTRY=agents",
            "MOLECULE_IMAGE_REGISTRY",
        ),
        ("image.pullPolicy=Always", "pullPolicy"),
        ("image.digest=latest", "digest"),
        ("image.repository=r.example.com/op:v1", "repository"),
        ("watchNamespace=Agents", "watchNamespace"),
        ("alerts.runbook=RUNBOOK.md", "runbook"),
        (
            "networkPolicy=false",
            "networkPolicy has values of its own: write networkPolicy.enabled: false",
        ),
        ("serviceMonitor=true", "write serviceMonitor.enabled: true"),
        ("podMonitor=true", "write podMonitor.enabled: true"),
        ("alerts=true", "write alerts.enabled: true"),
        ("networkPolicy.apiServerPorts[0]=0", "apiServerPorts/0"),
        ("networkPolicy.scrapers[0]=monitoring", "scrapers/0"),
        ("podSecurityContext.runAsUser=0", "runAsUser"),
        ("podSecurityContext.runAsNonRoot=false", "runAsNonRoot"),
        ("networkPolicy.egress=x", "egress"),
        (
            r"nodeSelector.kubernetes\.io/os=windows",
            "nodeSelector must not have kubernetes.io/os: windows",
        ),
        (
            r"podLabels.app\.kubernetes\.io/name=other",
            "podLabels must not have app.kubernetes.io/name",
        ),
        ("extraEnv[0].key=A", "extraEnv/0"),
        ("extraEnv[0].name=WORKSPACE_NAMESPACE", "set watchNamespace"),
        (
            "extraEnv[0].name=WORKSPACE_LEASE_NAME",
            "extraEnv must not have WORKSPACE_LEASE_NAME",
        ),
        ("extraVolumes[0].emptyDir=x", "extraVolumes/0"),
        ("extraVolumeMounts[0].name=a", "extraVolumeMounts/0"),
    ] {
        let output = tried(&helm, &["--set", set]);
        let said = text(&output.stderr);
        assert!(
            !output.status.success() && said.contains(at),
            "{set}: {said}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_the_operator_takes_is_taken_by_the_chart() {
    let helm = tool("helm").await;
    for registry in [
        "",
        "docker.io/molecule-ai",
        "localhost",
        "localhost:5000/agents",
        "mirror:5000/agents",
        "r.example.com",
        "r-1.example.com:443/a/b_c/d--e.f",
        "192.0.2.1/agents",
    ] {
        let data = BTreeMap::from([(REGISTRY_KEY.to_owned(), registry.to_owned())]);
        Settings::parse(&data, &Environment::default()).expect("the operator takes it");
        let set = format!("settings.{REGISTRY_KEY}={registry}");
        let output = tried(&helm, &["--set", &set]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{set}: {said}");
    }
}
