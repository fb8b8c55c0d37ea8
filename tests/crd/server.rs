//! What a user meets: the real API server and the real kubectl.

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use workspace_operator::workspace::{Reason, Workspace, WorkspaceSpec};

use crate::bed::{NAMESPACE, bed, untyped, workspace};
use crate::edits::edits;
use crate::rules::rows;

/// Asks the server without storing anything; the error is its words.
async fn try_create(client: &Client, name: &str, spec: &Value) -> Result<(), String> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let created = untyped(client)
        .create(&dry, &workspace(name, spec.clone()))
        .await;
    created.map(drop).map_err(words)
}

fn words(error: Error) -> String {
    match error {
        Error::Api(status) if status.code == 422 => status.message,
        other => panic!("neither accepted nor refused: {other}"),
    }
}

fn check(wrong: &mut Vec<String>, what: String, says: &str, got: Result<(), String>) {
    match got {
        Ok(()) if says.is_empty() => {}
        Err(message) if !says.is_empty() && message.contains(says) => {}
        got => wrong.push(format!("{what}\n  wanted: {says:?}\n  got: {got:?}")),
    }
}

#[tokio::test]
async fn each_rule_refuses_what_is_bad_and_accepts_what_is_good() {
    let (client, _) = bed().await;
    let mut wrong = Vec::new();
    for row in rows() {
        for spec in &row.good {
            let got = try_create(&client, "row", spec).await;
            check(&mut wrong, format!("{} accepts {spec}", row.at), "", got);
        }
        for spec in &row.bad {
            let got = try_create(&client, "row", spec).await;
            check(
                &mut wrong,
                format!("{} refuses {spec}", row.at),
                row.says,
                got,
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn each_edit_is_refused_or_accepted() {
    let (client, _) = bed().await;
    let api = untyped(&client);
    let mut wrong = Vec::new();
    for (number, edit) in edits().into_iter().enumerate() {
        let name = format!("edit-{number}");
        let stored = workspace(&name, edit.from.clone());
        let stored = api
            .create(&PostParams::default(), &stored)
            .await
            .expect("stored");
        let mut edited = workspace(&name, edit.to.clone());
        edited.metadata = stored.metadata;
        let got = api.replace(&name, &PostParams::default(), &edited).await;
        let what = format!("{} to {}", edit.from, edit.to);
        check(&mut wrong, what, edit.says, got.map(drop).map_err(words));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_name_is_a_host_name() {
    let (client, _) = bed().await;
    let says = "metadata.name becomes the Pod's host name";
    let long = "a".repeat(64);
    let mut wrong = Vec::new();
    for (name, says) in [
        ("a", ""),
        ("4-b", ""),
        (&long[1..], ""),
        (&long, says),
        ("a.b", says),
    ] {
        let got = try_create(&client, name, &json!({})).await;
        check(&mut wrong, name.to_owned(), says, got);
    }
    let mut generated = workspace("x", json!({}));
    (generated.metadata.name, generated.metadata.generate_name) = (None, Some("job-".to_owned()));
    let created = untyped(&client)
        .create(&PostParams::default(), &generated)
        .await;
    check(
        &mut wrong,
        "generateName".to_owned(),
        "",
        created.map(drop).map_err(words),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_workspace_as_large_as_the_schema_allows_is_within_the_servers_budget() {
    let (client, _) = bed().await;
    let long = |letter: &str, length: usize| letter.repeat(length);
    let name = long("a", 253);
    let variables: Vec<_> = (0..256)
        .map(|number| {
            let name_of_variable = format!("{}{number:03}", long("A", 1000));
            let reference = json!({"name": name, "key": name});
            json!({"name": name_of_variable, "valueFrom": {"secretKeyRef": reference}})
        })
        .collect();
    let part = long("a", 63);
    let prefix = format!("{part}.{part}.{part}.{}", long("a", 58));
    let map: serde_json::Map<_, _> = (0..64)
        .map(|number| (format!("{prefix}{number:03}/{part}"), json!(part)))
        .collect();
    let sources = vec![json!({"configMapRef": {"name": name}}); 64];
    let secrets: Vec<_> = (10..42)
        .map(|number| json!({"name": format!("{number}{}", &name[2..])}))
        .collect();
    let amounts: serde_json::Map<_, _> = (0..11)
        .map(|number| {
            (
                format!("example.com/{number}"),
                json!("1000000000000000000m"),
            )
        })
        .chain([("cpu".to_owned(), json!("1000"))])
        .collect();
    let spec = json!({
        "id": name,
        "env": variables,
        "envFrom": sources,
        "podLabels": map,
        "podAnnotations": map,
        "nodeSelector": map,
        "imagePullSecrets": secrets,
        "resources": {"limits": amounts, "requests": amounts},
    });
    let created = try_create(&client, "large", &spec).await;
    assert_eq!(created, Ok(()));
}

#[tokio::test]
async fn the_defaults_are_stored_and_the_status_is_there_before_anyone_looked() {
    let (client, _) = bed().await;
    let api = untyped(&client);
    let spec = json!({"tag": null, "storage": {"size": "1Gi"}});
    api.create(&PostParams::default(), &workspace("defaults", spec))
        .await
        .expect("created");
    let read = api.get("defaults").await.expect("read");
    let expected = json!({
        "runtime": "langgraph",
        "storage": {"size": "1Gi", "accessModes": ["ReadWriteOnce"], "whenDeleted": "Retain"},
    });
    assert_eq!(read.data["spec"], expected);
    assert_eq!(read.data["status"], json!({"observedGeneration": -1}));
    assert_eq!(read.metadata.generation, Some(1));
}

#[tokio::test]
async fn whatever_the_server_stores_decodes_into_our_types() {
    let (client, _) = bed().await;
    let api: Api<Workspace> = Api::namespaced(client.clone(), NAMESPACE);
    let good = rows().into_iter().flat_map(|row| row.good);
    for (number, spec) in good.enumerate() {
        let object = workspace(&format!("typed-{number}"), spec.clone());
        let stored = untyped(&client)
            .create(&PostParams::default(), &object)
            .await
            .expect("stored");
        let name = stored.metadata.name.as_deref().expect("a name");
        let read = api
            .get(name)
            .await
            .unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!(
            read.status.and_then(|status| status.observed_generation),
            Some(-1)
        );
    }
}

#[tokio::test]
async fn the_status_takes_the_known_states_and_no_other() {
    let (client, kubectl) = bed().await;
    let api: Api<Workspace> = Api::namespaced(client.clone(), NAMESPACE);
    let new = Workspace::new("state", WorkspaceSpec::default());
    api.create(&PostParams::default(), &new)
        .await
        .expect("created");
    let write = async |state: &str| {
        let status = json!({"status": {"state": state}});
        api.patch_status("state", &PatchParams::default(), &Patch::Merge(status))
            .await
    };
    let written = write("ImagePullFailed").await.expect("a known state");
    assert_eq!(
        written.status.and_then(|status| status.state),
        Some(Reason::ImagePullFailed)
    );
    let refused = words(write("Levitating").await.expect_err("an unknown state"));
    assert!(refused.contains("supported values: \"Ready\""), "{refused}");
    let selected = [
        "get",
        "ws",
        "-o",
        "name",
        "--field-selector",
        "status.state=ImagePullFailed",
    ];
    let selected = kubectl.must(&selected).expect("a field selector");
    assert_eq!(selected.trim(), "workspace.molecule.ai/state");
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_name() {
    let (_, kubectl) = bed().await;
    let apply = |spec: &str| {
        let object = format!(
            "{{apiVersion: molecule.ai/v1alpha1, kind: Workspace, metadata: {{name: unknown}}, spec: {spec}}}"
        );
        kubectl
            .run_with_input(&["apply", "-f", "-"], &object)
            .expect("kubectl runs")
    };
    for (spec, field) in [
        ("{image: evil.example/x}", "spec.image"),
        (
            "{resources: {claims: [{name: gpu}]}}",
            "spec.resources.claims",
        ),
        (
            "{env: [{name: A, valueFrom: {fileKeyRef: {key: a, path: b, volumeName: c}}}]}",
            "spec.env[0].valueFrom.fileKeyRef",
        ),
    ] {
        let output = apply(spec);
        let says = format!("unknown field \"{field}\"");
        assert!(!output.ok() && output.stderr.contains(&says), "{output:?}");
    }
    let twice = apply("{env: [{name: A, value: x}, {name: A, value: y}]}");
    assert!(
        !twice.ok() && twice.stderr.contains("Duplicate value: {\"name\":\"A\"}"),
        "{twice:?}"
    );
}

#[tokio::test]
async fn kubectl_lists_and_explains() {
    let (client, kubectl) = bed().await;
    let spec = json!({"runtime": "hermes"});
    untyped(&client)
        .create(&PostParams::default(), &workspace("listed", spec))
        .await
        .expect("created");
    let columns = |args: &[&str]| -> Vec<String> {
        let table = kubectl.must(args).expect("kubectl get");
        table
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        columns(&["get", "ws", "listed"]),
        ["NAME", "RUNTIME", "STATUS", "IMAGE", "AGE"]
    );
    let wide = [
        "NAME", "RUNTIME", "STATUS", "IMAGE", "AGE", "ADDRESS", "MESSAGE",
    ];
    assert_eq!(columns(&["get", "ws", "listed", "-o", "wide"]), wide);
    let all = kubectl.must(&["get", "all"]).expect("kubectl get all");
    assert!(all.contains("workspace.molecule.ai/listed"), "{all}");
    for (field, says) in [
        ("ws", "runs one agent runtime"),
        (
            "ws.spec.provisionTimeoutSeconds",
            "Seconds until a Pod that is not Ready",
        ),
        (
            "ws.spec.storage.whenDeleted",
            "- Delete: The claim is deleted with its Workspace.",
        ),
        (
            "ws.spec.affinity.nodeAffinity",
            "node affinity scheduling rules",
        ),
        (
            "ws.status.state",
            "- PodStuckTerminating: The old Pod hangs in Terminating",
        ),
    ] {
        let text = kubectl.must(&["explain", field]).expect("kubectl explain");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "{field}: {text}");
    }
}

#[tokio::test]
async fn two_managers_share_lists_item_by_item() {
    let (client, _) = bed().await;
    let api = untyped(&client);
    let apply = async |manager: &str, spec: Value| {
        let object = Patch::Apply(workspace("shared", spec));
        api.patch("shared", &PatchParams::apply(manager), &object)
            .await
    };
    let spec = json!({
        "env": [{"name": "A", "value": "1"}],
        "imagePullSecrets": [{"name": "a"}],
        "podLabels": {"a": "1"},
    });
    apply("team", spec).await.expect("the first manager");
    let spec = json!({
        "env": [{"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "imagePullSecrets": [{"name": "b"}],
        "podLabels": {"b": "2"},
    });
    let both = apply("platform", spec).await.expect("the second manager");
    let names = |field: &str| -> Vec<String> {
        let items = both.data["spec"][field].as_array().expect("a list");
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names("env"), ["A", "B"]);
    assert_eq!(names("imagePullSecrets"), ["a", "b"]);
    assert_eq!(both.data["spec"]["podLabels"], json!({"a": "1", "b": "2"}));

    let taken = apply("platform", json!({"env": [{"name": "A", "value": "2"}]})).await;
    assert!(
        matches!(&taken, Err(Error::Api(status)) if status.code == 409),
        "{taken:?}"
    );
    let left = apply("platform", json!({}))
        .await
        .expect("the second manager lets go");
    assert_eq!(
        left.data["spec"]["env"],
        json!([{"name": "A", "value": "1"}])
    );
}
