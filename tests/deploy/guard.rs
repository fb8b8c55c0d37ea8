//! The guard of the settings, on the real API server: what the parser refuses is refused where it is
//! typed, and nothing else is.

mod chart;
#[expect(
    dead_code,
    reason = "the samples are the parser's, and more than are needed here"
)]
mod parser;
mod values;

use std::collections::BTreeMap;

use cluster::Kubectl;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::{Client, Error};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::json;
use workspace_operator::settings::{Environment, Settings};

use crate::bed::{SYSTEM, create_settings, get, guarded, installed, must, until};
use crate::objects::{kustomize, yaml};
use parser::samples;

/// How many arbitrary settings of each kind are tried.
const CASES: usize = 400;
const AT_ONCE: usize = 16;

type Data = BTreeMap<String, String>;

/// A namespace with a guard of its own, as a second operator in a cluster has it.
async fn bed(namespace: &str) -> (Client, Kubectl) {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    must(&kubectl, &["create", "namespace", namespace]);
    bind(&kubectl, namespace);
    guarded(&kubectl, namespace).await;
    (cluster.client().await.expect("a client"), kubectl)
}

/// Has the guard look after the settings of a namespace.
fn bind(kubectl: &Kubectl, namespace: &str) {
    let base = kustomize(crate::bed::DEPLOY);
    let bindings = base
        .iter()
        .filter(|(id, _)| id.starts_with("ValidatingAdmissionPolicyBinding "));
    let bindings = yaml(bindings.map(|(_, object)| object)).replace(SYSTEM, namespace);
    kubectl.apply(&bindings).expect("the bindings are applied");
}

/// What the guard says, when it refuses.
async fn refusal(client: &Client, namespace: &str, settings: &ConfigMap) -> Option<String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match maps.create(&params, settings).await {
        Ok(_) => None,
        Err(Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            assert_eq!((status.code, &*status.reason), (422, "Invalid"));
            Some(status.message)
        }
        Err(error) => panic!("{settings:?}: {error}"),
    }
}

fn settings(data: &Data) -> ConfigMap {
    let metadata = json!({"name": "workspace-settings"});
    let object = json!({"metadata": metadata, "data": data});
    serde_json::from_value(object).expect("it is a ConfigMap")
}

/// What a ConfigMap cannot hold never reaches the guard.
fn can_be_stored(data: &Data) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_key = |key: &String| {
        (1..=253).contains(&key.len())
            && key.chars().all(inner)
            && key != "."
            && !key.starts_with("..")
    };
    data.keys().all(is_key)
}

/// Asks both, and gathers where they differ.
async fn differences(client: &Client, namespace: &str, all: Vec<Data>) -> Vec<String> {
    let asked = all.into_iter().filter(can_be_stored).map(async |data| {
        let parsed = Settings::parse(&data, &Environment::default());
        let refused = refusal(client, namespace, &settings(&data)).await;
        match (parsed, refused) {
            (Ok(_), Some(words)) => Some(format!("refused though valid: {data:?}: {words}")),
            (Err(invalid), None) => Some(format!("let pass: {data:?}: {invalid}")),
            (Err(_), Some(words)) if words.contains("would refuse these settings") => {
                Some(format!("refused without a word: {data:?}"))
            }
            (Err(_), Some(words)) if words.contains("error") => Some(format!(
                "refused by an error of the guard's: {data:?}: {words}"
            )),
            _ => None,
        }
    });
    let told = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    // A few of many tell enough.
    told.filter_map(async |it| it).take(5).collect().await
}

#[tokio::test]
async fn it_agrees_with_the_parser_on_every_value_of_the_table() {
    let (client, _) = bed("guard-table").await;
    let all = values::table();
    let valid = all
        .iter()
        .filter(|it| Settings::parse(it, &Environment::default()).is_ok());
    let valid = valid.count();
    assert!(
        valid > 40 && all.len() - valid > 100,
        "{valid} of {}",
        all.len()
    );
    let different = differences(&client, "guard-table", all).await;
    assert_eq!(different, [""; 0]);
}

#[tokio::test]
async fn it_agrees_with_the_parser_on_whatever_is_typed() {
    let (client, _) = bed("guard-any").await;
    let mut runner = TestRunner::deterministic();
    let mut all = Vec::new();
    for _ in 0..CASES {
        let mut one = |strategy: &dyn Fn(&mut TestRunner) -> Data| all.push(strategy(&mut runner));
        one(&|runner| sample(&samples::good_data(), runner));
        one(&|runner| sample(&samples::any_data(), runner));
        one(&|runner| {
            let prefix = sample(&samples::any_prefix(), runner);
            samples::data(&[(parser::REGISTRY_KEY, &prefix)])
        });
        one(&|runner| {
            let url = sample(&values::any_url(), runner);
            samples::data(&[(parser::PLATFORM_URL_KEY, &url)])
        });
    }
    let different = differences(&client, "guard-any", all).await;
    assert_eq!(different, [""; 0]);
}

fn sample<T>(strategy: &impl Strategy<Value = T>, runner: &mut TestRunner) -> T {
    strategy.new_tree(runner).expect("a sample").current()
}

/// Where the two differ on purpose, all of it on the side of refusing.
#[tokio::test]
async fn it_is_stricter_than_the_parser_in_these_cases_only() {
    let (client, _) = bed("guard-stricter").await;
    let spaces = " ".repeat(32_768);
    let long = |key: &str| settings(&samples::data(&[(key, &format!("a,{spaces}"))]));
    let with = |field: &str, value: serde_json::Value| {
        let mut object = json!({"metadata": {"name": "workspace-settings"}});
        object[field] = value;
        serde_json::from_value::<ConfigMap>(object).expect("it is a ConfigMap")
    };
    for (settings, words) in [
        (
            long("EXTRA_RUNTIMES"),
            "EXTRA_RUNTIMES has more than 32768 characters.",
        ),
        (
            long("IMAGE_PULL_SECRETS"),
            "IMAGE_PULL_SECRETS has more than 32768 characters.",
        ),
        (
            with("binaryData", json!({"PLATFORM_URL": "/w=="})),
            "PLATFORM_URL is under binaryData, which the operator does not read",
        ),
        (
            with("binaryData", json!({"PIN_codex": "/w=="})),
            "PIN_codex is under binaryData, which the operator does not read",
        ),
        (
            with("immutable", json!(true)),
            "immutable is true, so that the registry could not be switched by an edit",
        ),
    ] {
        let data = settings.data.clone().unwrap_or_default();
        assert!(Settings::parse(&data, &Environment::default()).is_ok());
        let said = refusal(&client, "guard-stricter", &settings).await;
        assert!(
            said.as_ref().is_some_and(|it| it.contains(words)),
            "{words}: {said:?}"
        );
    }
    let unread = with("binaryData", json!({"logo.png": "/w=="}));
    assert_eq!(refusal(&client, "guard-stricter", &unread).await, None);
}

#[tokio::test]
async fn it_says_all_that_is_wrong_and_what_to_write() {
    let (_, kubectl) = bed("guard-words").await;
    let entries = [
        "MOLECULE_IMAGE_REGISTRY=myorg",
        "EXTRA_RUNTIMES=zed,Bad one",
        "PIN_zed=v1",
        "PIN_elsewhere=v1",
        "ROLLOUT=now",
        "PROVISION_TIMEOUT_SECONDS=10m",
        "WATCH_DIGESTS_SECONDS=5m",
    ];
    let said = create_settings(&kubectl, "guard-words", &entries, true).stderr;
    for words in [
        "MOLECULE_IMAGE_REGISTRY names no registry, so that nodes would pull from docker.io: put the \
         registry first, as in \"ghcr.io/molecule-ai\".",
        "EXTRA_RUNTIMES lists \"Bad one\", which is no runtime's name: write",
        "PIN_zed is no digest: write",
        "ROLLOUT is no way to roll out: write \"OnRestart\" or \"Paced\", or remove the key.",
        "PROVISION_TIMEOUT_SECONDS is no number of seconds: write",
        "WATCH_DIGESTS_SECONDS is no number of seconds: write a whole number from 10 to 86400, as in \
         \"300\", or remove the key to ask nothing.",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!said.contains("PIN_elsewhere is no digest"), "{said}");
}

/// What the guard warns of, without storing anything.
async fn warned(client: &Client, namespace: &str, data: &Data) -> Vec<String> {
    let uri = format!("/api/v1/namespaces/{namespace}/configmaps?dryRun=All");
    let body = serde_json::to_vec(&settings(data)).expect("it is JSON");
    let request = http::Request::post(uri)
        .header("content-type", "application/json")
        .body(Body::from(body));
    let answer = client.send(request.expect("it is one")).await;
    let answer = answer.expect("the API server answers");
    assert_eq!(answer.status(), 201, "{data:?}");
    let warnings = answer.headers().get_all("warning").iter();
    let warnings = warnings.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    warnings.collect()
}

#[tokio::test]
async fn it_warns_where_the_parser_does() {
    let namespace = "guard-warnings";
    let (client, _) = bed(namespace).await;
    let prefix = |length: usize| format!("h.example/{}", "a".repeat(length - "h.example/".len()));
    let next = |value: &str, with: &[(&str, &str)]| {
        samples::data(&[&[("NEXT_MOLECULE_IMAGE_REGISTRY", value)], with].concat())
    };
    let mut all = values::table();
    for value in ["mirror.example.com/a", "https://mirror.example.com/a"] {
        all.push(next(value, &[("PREPULL", "true")]));
        all.push(next(value, &[("PREPULL", "yes")]));
    }
    for (extra, most) in [(0, 224), (11, 224), (12, 223), (40, 195)] {
        let runtimes = "z".repeat(extra);
        for length in [most, most + 1] {
            all.push(next(&prefix(length), &[("EXTRA_RUNTIMES", &runtimes)]));
        }
    }
    // What is only written twice is not looked for by the guard.
    let of_effect = |mut all: Vec<String>| {
        all.retain(|it| it.to_lowercase().contains("no effect"));
        all
    };
    let parsed = |data: &Data| Settings::parse(data, &Environment::default());
    let told = |data: &Data| parsed(data).map(|it| of_effect(it.warnings));
    let valid = all.into_iter().filter(can_be_stored);
    let valid: Vec<_> = valid.filter(|it| told(it).is_ok()).collect();
    let asked = valid.iter().map(async |data| {
        let (said, warned) = (told(data), warned(&client, namespace, data).await);
        let agree = said
            .as_ref()
            .is_ok_and(|it| it.is_empty() == warned.is_empty());
        let odd = warned.iter().any(|it| !it.contains("has no effect"));
        (!agree || odd).then(|| format!("{data:?}: {said:?}, but {warned:?}"))
    });
    let different = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    let different: Vec<_> = different.filter_map(async |it| it).take(5).collect().await;
    assert_eq!(different, [""; 0]);
}

/// A misspelt key is a warning where it is typed, and a right one is not.
#[tokio::test]
async fn it_warns_of_a_key_without_effect() {
    let (_, kubectl) = bed("guard-keys").await;
    let warned = |entries: &[&str]| {
        let output = create_settings(&kubectl, "guard-keys", entries, true);
        assert!(output.ok(), "{}", output.stderr);
        output.stderr
    };
    for key in [
        "MOLECULE_IMAGE_REGISTERY",
        "pin_codex",
        "PIN_claude_code",
        "PIN_zed",
    ] {
        let said = warned(&[&format!("{key}=x")]);
        assert!(
            said.contains("Warning: ") && said.contains(&format!("{key} has no effect")),
            "{said}"
        );
    }
    let digest = samples::DIGEST;
    let pins = [
        &*format!("PIN_zed={digest}"),
        &format!("PIN_codex={digest}"),
    ];
    let fixed = parser::keys::FIXED.map(|key| format!("{key}="));
    let right = fixed
        .iter()
        .map(String::as_str)
        .filter(|it| !it.starts_with("EXTRA"));
    let right: Vec<_> = right.chain(["EXTRA_RUNTIMES= zed "]).chain(pins).collect();
    assert_eq!(warned(&right), "");
}

/// What was stored before the guard came must not be locked in.
#[tokio::test]
async fn settings_that_are_bad_already_can_be_labelled_mended_and_removed() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    let namespace = "guard-late";
    must(&kubectl, &["create", "namespace", namespace]);
    assert!(
        create_settings(
            &kubectl,
            namespace,
            &["ROLLOUT=Never", "PIN_codex=v1"],
            false
        )
        .ok()
    );
    bind(&kubectl, namespace);
    until("the guard", || {
        let edit = [
            "-p",
            r#"{"data":{"ROLLOUT":"Nowhere"}}"#,
            "--dry-run=server",
        ];
        !patch(&kubectl, namespace, &edit).ok()
    })
    .await;

    let map = ["configmap", "workspace-settings", "-n", namespace];
    must(&kubectl, &[&["label"][..], &map, &["team=a"]].concat());
    let half = patch(&kubectl, namespace, &["-p", r#"{"data":{"ROLLOUT":null}}"#]);
    assert!(
        half.stderr.contains("PIN_codex is no digest"),
        "{}",
        half.stderr
    );
    let whole = ["-p", r#"{"data":{"ROLLOUT":null,"PIN_codex":null}}"#];
    assert!(patch(&kubectl, namespace, &whole).ok());
}

fn patch(kubectl: &Kubectl, namespace: &str, args: &[&str]) -> cluster::Output {
    let patch = [
        "patch",
        "configmap",
        "workspace-settings",
        "-n",
        namespace,
        "--type=merge",
    ];
    kubectl
        .run(&[&patch[..], args].concat())
        .expect("kubectl runs")
}

#[tokio::test]
async fn it_refuses_a_deletion_that_was_not_announced() {
    let (_, kubectl) = bed("guard-deletion").await;
    let namespace = "guard-deletion";
    assert!(create_settings(&kubectl, namespace, &["ROLLOUT=OnRestart"], false).ok());
    let raw = format!("/api/v1/namespaces/{namespace}/configmaps");
    for deletion in [
        &["delete", "configmap", "workspace-settings", "-n", namespace][..],
        &["delete", "configmap", "--all", "-n", namespace],
        // One request for all of them.
        &["delete", "--raw", &raw],
    ] {
        let output = kubectl.run(deletion).expect("kubectl runs");
        assert!(
            !output.ok() && output.stderr.contains("molecule.ai/allow-deletion"),
            "{output:?}"
        );
    }
    let map = ["configmap", "workspace-settings", "-n", namespace];
    let announce = |value: &str| {
        let annotation = format!("molecule.ai/allow-deletion={value}");
        must(
            &kubectl,
            &[&["annotate", "--overwrite"][..], &map, &[&annotation]].concat(),
        );
        kubectl
            .run(&[&["delete"][..], &map].concat())
            .expect("kubectl runs")
            .ok()
    };
    assert!(!announce("false"));
    assert!(announce("true"));
    // Other ConfigMaps of the namespace are nobody's business.
    must(
        &kubectl,
        &[
            "create",
            "configmap",
            "other",
            "-n",
            namespace,
            "--from-literal=ROLLOUT=x",
        ],
    );
    must(&kubectl, &["delete", "configmap", "other", "-n", namespace]);
    let left = get(&kubectl, &["configmaps", "-n", namespace]);
    assert!(!left.to_string().contains("workspace-settings"));
}

/// It would send every new rollout back to the default registry, as a deletion would.
#[tokio::test]
async fn it_refuses_to_lose_the_registry_where_that_was_not_announced() {
    let namespace = "guard-registry";
    let (_, kubectl) = bed(namespace).await;
    let entries = [
        "MOLECULE_IMAGE_REGISTRY=mirror.example.com/a",
        "ROLLOUT=OnRestart",
    ];
    assert!(create_settings(&kubectl, namespace, &entries, false).ok());
    let edit = |edit: &str| patch(&kubectl, namespace, &["-p", edit]);
    for lost in [
        r#"{"data":null}"#,
        r#"{"data":{"MOLECULE_IMAGE_REGISTRY":null}}"#,
        r#"{"data":{"MOLECULE_IMAGE_REGISTRY":""}}"#,
        r#"{"metadata":{"annotations":{"molecule.ai/allow-deletion":"false"}},"data":null}"#,
    ] {
        let said = edit(lost).stderr;
        let words = "would no longer go to mirror.example.com/a but to the default registry. If that is \
                     meant, set the annotation molecule.ai/allow-deletion to \"true\" as well.";
        assert!(said.contains(words), "{lost}: {said}");
    }
    for kept in [
        r#"{"data":{"ROLLOUT":null}}"#,
        r#"{"data":{"MOLECULE_IMAGE_REGISTRY":"other.example.com/a"}}"#,
        r#"{"metadata":{"labels":{"team":"a"}}}"#,
    ] {
        assert!(edit(kept).ok(), "{kept}");
    }
    let meant = r#"{"metadata":{"annotations":{"molecule.ai/allow-deletion":"true"}},"data":null}"#;
    assert!(edit(meant).ok());
    // Where there is none, nothing is lost.
    let none = r#"{"metadata":{"annotations":null},"data":{"ROLLOUT":"OnRestart"}}"#;
    assert!(edit(none).ok());
    assert!(edit(r#"{"data":null}"#).ok());
}

/// A warning of the API server's about the CEL would be in the status.
#[tokio::test]
async fn the_api_server_finds_nothing_odd_in_the_expressions() {
    let cluster = installed().await;
    let kubectl = cluster.kubectl();
    for name in [
        "workspace-settings",
        "workspace-settings-deletion",
        "workspace-settings-keys",
    ] {
        let args = ["validatingadmissionpolicy", name];
        until("the type check", || {
            let policy = get(&kubectl, &args);
            policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
        })
        .await;
        let checked = &get(&kubectl, &args)["status"]["typeChecking"];
        assert!(checked["expressionWarnings"].is_null(), "{checked:#}");
    }
}
