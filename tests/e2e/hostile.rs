//! Others who write to our Pods, take their names, or store what does not decode.

use std::time::Duration;

use cluster::{Options, State, mutating_admission};
use serde_json::{Value, json};

use crate::fixture::{World, condition, image, start_cluster, text, uid};

/// A policy that does to every Pod of a namespace what meshes, registries' proxies and quotas'
/// helpers do: other images, one container more, a pull secret, a label.
fn meddling(namespace: &str) -> String {
    let spec = "Object{spec: Object.spec{containers: object.spec.containers.map(it, \
                Object.spec.containers{name: it.name, image: it.image.startsWith(\"proxy.\") \
                ? it.image : \"proxy.example.com/\" + it.image})}}";
    let more = "Object{metadata: Object.metadata{labels: {\"mesh.example.com/in\": \"yes\"}}, \
                spec: Object.spec{containers: [Object.spec.containers{name: \"sidecar\", \
                image: \"proxy.example.com/sidecar:1\"}]}}";
    let secret = "[JSONPatch{op: \"add\", path: \"/spec/imagePullSecrets\", \
                  value: [{\"name\": \"of-proxy\"}]}]";
    let apply = |expression| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let patch = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": secret}});
    let api_version = mutating_admission().expect("a version is pinned");
    let policy = |name: &str, operations: &[&str], mutations: Vec<Value>| {
        let object = json!({
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"],
                    "operations": operations, "resources": ["pods"],
                }]},
                "mutations": mutations,
            },
        });
        let binding = json!({
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "matchResources": {"namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": namespace},
            }}},
        });
        format!("{object}\n---\n{binding}\n---\n")
    };
    policy(
        &format!("{namespace}-images"),
        &["CREATE", "UPDATE"],
        vec![apply(spec)],
    ) + &policy(
        &format!("{namespace}-more"),
        &["CREATE"],
        vec![apply(more), patch],
    )
}

/// Applies the policy and waits until it is in effect.
async fn meddle(world: &World) {
    world.apply(&meddling(&world.namespace));
    let run = [
        "run",
        "probe",
        "--image=x/y",
        "--dry-run=server",
        "-o",
        "yaml",
    ];
    let meddles = |world: &World| {
        let pod = world.kubectl(&run);
        pod.contains("sidecar") && pod.contains("proxy.example.com/x/y")
    };
    world.holds("the policy", meddles).await;
}

#[tokio::test]
async fn a_policy_that_rewrites_every_pod_makes_no_loop_and_hinders_no_healing() {
    let mut world = World::without_operator().await;
    meddle(&world).await;
    let (old, mirror) = (world.prefix("old"), world.prefix("mirror"));
    world.registry(&old);
    world.start();
    world.workspace("first", "{}");
    world.ready("first").await;
    world.forget();
    world.workspace("alice", "{}");
    let pod = world.ready("alice").await;
    assert_eq!(
        image(&pod),
        format!("proxy.example.com/{old}/workspace-template-langgraph:latest")
    );
    assert_eq!(pod["spec"]["containers"][1]["name"], "sidecar");
    assert_eq!(pod["spec"]["imagePullSecrets"][0]["name"], "of-proxy");
    assert_eq!(pod["metadata"]["labels"]["mesh.example.com/in"], "yes");
    let told = world.get("workspace", "alice");
    let asked = format!("{old}/workspace-template-langgraph:latest");
    assert_eq!(text(&told, "/status/image"), asked, "what it was told");
    assert_eq!(
        world.writes(),
        ["create pods alice 201", "patch workspaces/status alice 200"]
    );
    world.silence(8).await;

    world
        .turn(&format!("proxy.example.com/{old}"), State::Unauthorized)
        .await;
    world.workspace("stuck", "{}");
    let told = world.state("stuck", "ImagePullFailed").await;
    let message = text(condition(&told, "Ready"), "/message");
    assert!(message.contains("401 Unauthorized"), "{message}");
    let stuck = world.get("pod", "stuck");
    world.forget();
    world.registry(&mirror);
    let healed = world.ready("stuck").await;
    assert_eq!(uid(&healed), uid(&stuck));
    assert!(image(&healed).starts_with(&format!("proxy.example.com/{mirror}/")));
    assert_eq!(world.done_to("pods", "stuck"), ["patch pods stuck 200"]);
    world.silence(3).await;
    assert_eq!(uid(&world.get("pod", "alice")), uid(&pod));
}

/// The definition without what it says of the spec, so that anything can be stored.
fn loosened(crd: &Value) -> Value {
    let mut loose = crd.clone();
    loose["metadata"] = json!({
        "name": crd["metadata"]["name"], "resourceVersion": crd["metadata"]["resourceVersion"],
    });
    let version = &mut loose["spec"]["versions"][0];
    version["selectableFields"] = Value::Null;
    version["additionalPrinterColumns"] = Value::Null;
    let schema = &mut version["schema"]["openAPIV3Schema"];
    schema["x-kubernetes-validations"] = Value::Null;
    schema["properties"]["spec"] = json!({"x-kubernetes-preserve-unknown-fields": true});
    loose
}

/// Puts Workspaces into the store that the definition would refuse.
async fn smuggle(world: &World, specs: &[(&str, &str)]) {
    const CRD: [&str; 3] = ["get", "crd/workspaces.molecule.ai", "-ojson"];
    let admin = world.cluster.kubectl();
    let crd = || serde_json::from_str::<Value>(&admin.must(&CRD).expect("it is there"));
    let strict = crd().expect("kubectl prints JSON");
    let replace = |crd: &Value| {
        let replaced = admin.run_with_input(&["replace", "-f", "-"], &crd.to_string());
        let replaced = replaced.expect("kubectl runs");
        assert!(replaced.ok(), "{}", replaced.stderr);
    };
    replace(&loosened(&strict));
    for (name, spec) in specs {
        let bad = crate::fixture::workspace(name, spec);
        let stored = |world: &World| {
            let create = [
                "-n",
                &world.namespace,
                "create",
                "--validate=false",
                "-f",
                "-",
            ];
            let created = admin.run_with_input(&create, &bad).expect("kubectl runs");
            created.ok()
        };
        world.holds("the loose definition", stored).await;
    }
    let mut again = strict;
    again["metadata"]["resourceVersion"] =
        crd().expect("kubectl prints JSON")["metadata"]["resourceVersion"].clone();
    replace(&again);
    let refused = |world: &World| {
        let (_, spec) = specs[0];
        world
            .try_apply(&crate::fixture::workspace("probe", spec))
            .is_err()
    };
    world.holds("the strict definition", refused).await;
}

#[tokio::test]
async fn workspaces_that_do_not_decode_harm_only_themselves() {
    let cluster = start_cluster(Options {
        nodes: 1,
        crds: vec![include_str!("../../crds/workspace.yaml").into()],
        ..Options::default()
    })
    .await;
    let mut world = World::in_cluster(cluster).await;
    world.start();
    world.workspace("before", "{}");
    let before = world.ready("before").await;
    let bad = [
        ("maybe", "{suspend: maybe}"),
        ("number", "{env: 5}"),
        (
            "deep",
            "{affinity: {nodeAffinity: {a: b}}, tolerations: [1]}",
        ),
        // Not even its status can be written: the definition's rules fail on such a spec.
        ("list", "[1, 2]"),
    ];
    smuggle(&world, &bad).await;
    for (name, _) in &bad[..3] {
        let told = world.state(name, "InvalidSpec").await;
        assert_eq!(condition(&told, "Stalled")["status"], "True");
    }
    for (name, _) in bad {
        assert_eq!(world.get("pod", name), Value::Null);
    }
    world.workspace("beside", "{}");
    world.ready("beside").await;

    world.stop().await;
    world.forget();
    world.start();
    world.workspace("after", "{}");
    world.ready("after").await;
    let about_others = |it: &String| !it.contains(" list ");
    let writes: Vec<_> = world.writes().into_iter().filter(about_others).collect();
    assert_eq!(
        writes,
        ["create pods after 201", "patch workspaces/status after 200"]
    );
    assert_eq!(uid(&world.get("pod", "before")), uid(&before));

    world.kubectl(&["delete", "workspace", "list"]);
    for name in ["maybe", "list"] {
        world.workspace(name, "{suspend: false}");
        world.ready(name).await;
    }
}

/// A Pod that is not ours: its name, and the rest of its metadata as YAML flow.
fn foreign(name: &str, metadata: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, {metadata}}}\n\
         spec: {{containers: [{{name: agent, image: example.com/other}}]}}\n"
    )
}

#[tokio::test]
async fn foreign_pods_are_left_alone_and_their_end_is_noticed_at_once() {
    let mut world = World::new().await;
    world.workspace("first", "{}");
    world.ready("first").await;
    let map = world.get("configmap", "workspace-fleet");
    let controlled = format!(
        "ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: workspace-fleet, \
         uid: {}, controller: true}}]",
        uid(&map)
    );
    let ours = "labels: {app.kubernetes.io/name: workspace, \
                app.kubernetes.io/managed-by: workspace-operator}";
    let all = [
        ("bare", String::new()),
        ("controlled", controlled),
        ("labelled", ours.into()),
        ("otherwise", "labels: {app.kubernetes.io/name: shop}".into()),
    ];
    let running = |it: &Value| it["status"]["phase"] == "Running";
    for (name, metadata) in &all {
        world.apply(&foreign(name, metadata));
        world.until("pod", name, running).await;
    }
    let pods = |world: &World| {
        let names = all.iter().map(|(name, _)| *name);
        names.map(|it| world.get("pod", it)).collect::<Vec<_>>()
    };
    let before = pods(&world);
    world.forget();
    for (name, _) in &all {
        world.workspace(name, "{}");
    }
    for (name, _) in &all {
        let told = world.state(name, "PodNotOwned").await;
        assert_eq!(condition(&told, "Ready")["status"], "False");
        assert!(told["status"]["pod"].is_null());
    }
    assert_eq!(pods(&world), before);
    for (name, _) in &all {
        assert!(
            world.writes_to("pods", name).len() <= 1,
            "one create at most"
        );
    }
    world.forget();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.reads(), 0, "nothing is polled");
    assert_eq!(world.writes(), Vec::<String>::new());

    let deleted = std::time::Instant::now();
    for (name, _) in &all {
        world.kubectl(&["delete", "pod", name]);
    }
    for (name, _) in &all {
        world.ready(name).await;
    }
    assert!(deleted.elapsed() < Duration::from_secs(10), "not by chance");
    for (name, _) in &all {
        assert_eq!(
            world.writes_to("pods", name),
            [format!("create pods {name} 201")]
        );
    }
}

#[tokio::test]
async fn the_pod_of_another_workspace_is_told_and_not_touched() {
    let world = World::new().await;
    world.workspace("first", "{}");
    world.ready("first").await;
    // The garbage collector has no reason to delete it.
    let metadata = format!(
        "labels: {{app.kubernetes.io/name: workspace}}, ownerReferences: [{{\
         apiVersion: molecule.ai/v1alpha1, kind: Workspace, name: first, uid: {}, \
         controller: true}}]",
        uid(&world.get("workspace", "first"))
    );
    world.apply(&foreign("alice", &metadata));
    let running = |it: &Value| it["status"]["phase"] == "Running";
    world.until("pod", "alice", running).await;
    world.workspace("alice", "{}");
    world.state("alice", "PodNotOwned").await;
    world.kubectl(&["delete", "pod", "alice"]);
    world.ready("alice").await;
    let to_pod = world.writes_to("pods", "alice");
    assert_eq!(to_pod, ["create pods alice 201"]);
}

#[tokio::test]
async fn a_pod_whose_annotations_and_labels_are_stripped_runs_on_and_is_told() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    let pod = world.ready("alice").await;
    let strip = |kind: &str, keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|it| format!("{it}-")).collect();
        let mut args = vec![kind, "pod", "alice"];
        args.extend(keys.iter().map(String::as_str));
        world.kubectl(&args);
    };
    strip(
        "annotate",
        &[
            "molecule.ai/image",
            "molecule.ai/settings",
            "molecule.ai/revision",
        ],
    );
    strip(
        "label",
        &[
            "app.kubernetes.io/instance",
            "app.kubernetes.io/managed-by",
            "molecule.ai/runtime",
        ],
    );
    let told = world.state("alice", "PodAltered").await;
    assert_eq!(condition(&told, "Ready")["status"], "True");
    world.silence(4).await;
    let same = world.get("pod", "alice");
    assert_eq!(uid(&same), uid(&pod));
    assert_eq!(same["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test]
async fn a_pod_without_the_label_that_the_watch_needs_is_told_and_not_touched() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    world.workspace("bob", "{}");
    world.all_ready(2).await;
    let pods = ["alice", "bob"].map(|it| world.get("pod", it));
    world.forget();
    let label = |pod: &str, label: &str| {
        world.kubectl(&["label", "--overwrite", "pod", pod, label]);
    };
    label("alice", "app.kubernetes.io/name-");
    label("bob", "app.kubernetes.io/name=shop");
    for name in ["alice", "bob"] {
        let told = world.state(name, "PodNotOwned").await;
        let message = text(condition(&told, "Stalled"), "/message");
        assert!(
            message.contains("app.kubernetes.io/name=workspace"),
            "{message}"
        );
        assert_eq!(
            world.writes_to("pods", name),
            [format!("create pods {name} 409")]
        );
    }
    // What is not seen is not stopped either.
    world.workspace("alice", "{suspend: true}");
    world
        .until("workspace", "alice", |it| {
            it["status"]["observedGeneration"] == 2
        })
        .await;
    world.silence(3).await;
    world.workspace("alice", "{}");
    for name in ["alice", "bob"] {
        world.kubectl(&[
            "label",
            "--overwrite",
            "pod",
            name,
            "app.kubernetes.io/name=workspace",
        ]);
        world.ready(name).await;
    }
    let now = ["alice", "bob"].map(|it| world.get("pod", it));
    assert_eq!(now.each_ref().map(uid), pods.each_ref().map(uid));
}

#[tokio::test]
async fn a_pod_that_hangs_in_terminating_is_named_with_its_node_and_never_forced() {
    const STUCK: &str =
        "terminationGracePeriodSeconds: 1, podAnnotations: {kwok/behaviour: stuck-terminating}";
    let mut world = World::new().await;
    for name in ["changed", "recreated"] {
        world.workspace(name, &format!("{{{STUCK}}}"));
    }
    world.all_ready(2).await;
    let pods = ["changed", "recreated"].map(|it| world.get("pod", it));
    world.forget();
    world.workspace("changed", "{}");
    world.kubectl(&["delete", "workspace", "recreated"]);
    world.workspace("recreated", "{}");
    let told = world.state("changed", "WaitingForOldPod").await;
    assert_eq!(condition(&told, "Reconciling")["status"], "True");
    let hangs = |it: &Value| it["status"]["state"] == "PodStuckTerminating";
    for (name, pod) in ["changed", "recreated"].into_iter().zip(&pods) {
        let told = world.until_within(90, "workspace", name, hangs).await;
        let stalled = condition(&told, "Stalled");
        let message = text(stalled, "/message");
        assert!(message.contains(text(pod, "/spec/nodeName")), "{message}");
        assert!(
            message.contains("node.kubernetes.io/out-of-service"),
            "{message}"
        );
        assert_eq!(stalled["status"], "True");
        assert!(condition(&told, "Reconciling").is_null());
        let since = text(&world.get("pod", name), "/metadata/deletionTimestamp").to_owned();
        let since: jiff::Timestamp = since.parse().expect("a time");
        let told_at: jiff::Timestamp = text(stalled, "/lastTransitionTime")
            .parse()
            .expect("a time");
        assert!(told_at.duration_since(since).as_secs() >= 60, "{message}");
    }
    for name in ["changed", "recreated"] {
        world.kubectl(&["annotate", "pod", name, "kwok/behaviour-"]);
        world.ready(name).await;
    }
    let requests = world.requests();
    let deletes: Vec<_> = requests.iter().filter(|it| it.verb == "delete").collect();
    assert_eq!(deletes.len(), 1, "the garbage collector deletes the other");
    let body = deletes[0]
        .request_object
        .as_ref()
        .expect("it has preconditions");
    assert_eq!(text(body, "/preconditions/uid"), uid(&pods[0]));
    assert!(body["preconditions"]["resourceVersion"].is_string());
    assert!(body["gracePeriodSeconds"].is_null(), "{body}");
    assert!(!deletes[0].request_uri.contains("gracePeriod"));
}
