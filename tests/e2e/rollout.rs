//! What makes a new Pod, what does not, and what the new Pod is made of.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fixture::{World, condition, image, text, uid};

const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";
const FAILURES: &str = "molecule.ai/failures";

#[tokio::test]
async fn a_runtime_has_an_image_only_when_it_is_known() {
    let mut world = World::new().await;
    let a = world.prefix("a");
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    world.workspace("bob", "{runtime: own-agent}");
    let alice = world.ready("alice").await;
    assert_eq!(
        image(&alice),
        format!("{a}/workspace-template-langgraph:latest")
    );
    assert_eq!(
        alice["metadata"]["labels"]["molecule.ai/runtime"],
        "langgraph"
    );

    let bob = world.state("bob", "UnknownRuntime").await;
    let message = text(condition(&bob, "Stalled"), "/message");
    let nine = "autogen, claude-code, codex, crewai, deepagents, gemini-cli, hermes, langgraph, \
                openclaw";
    for words in ["\"own-agent\"", nine, "EXTRA_RUNTIMES"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(world.get("pod", "bob"), Value::Null);
    world.settings(&[(REGISTRY, &a), ("EXTRA_RUNTIMES", "own-agent")]);
    let bob = world.ready("bob").await;
    assert_eq!(
        image(&bob),
        format!("{a}/workspace-template-own-agent:latest")
    );
    world.silence(3).await;
}

#[tokio::test]
async fn tag_digest_and_pin_choose_the_image() {
    let world = World::new().await;
    let a = world.prefix("a");
    let (pin, own) = (digest('1'), digest('2'));
    world.settings(&[(REGISTRY, &a), ("PIN_codex", &pin)]);
    world.in_force(&a).await;
    let own_digest = format!("{{runtime: codex, digest: \"{own}\"}}");
    let cases = [
        ("pinned", "{runtime: codex}", format!("codex@{pin}")),
        ("tagged", "{runtime: codex, tag: v2}", "codex:v2".into()),
        ("digest", own_digest.as_str(), format!("codex@{own}")),
        ("latest", "{runtime: hermes}", "hermes:latest".into()),
    ];
    for (name, spec, _) in &cases {
        world.workspace(name, spec);
    }
    for (name, _, version) in &cases {
        let pod = world.ready(name).await;
        assert_eq!(image(&pod), format!("{a}/workspace-template-{version}"));
        let workspace = world.get("workspace", name);
        assert_eq!(text(&workspace, "/status/image"), image(&pod));
        if let Some((_, digest)) = version.split_once('@') {
            assert_eq!(text(&workspace, "/status/digest"), digest);
        }
    }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

#[tokio::test]
async fn suspend_stops_the_pod_and_resume_takes_the_settings_of_that_moment() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    world.workspace("alice", "{}");
    world.workspace("bob", "{suspend: true}");
    let old = uid(&world.ready("alice").await).to_owned();
    world.forget();
    world.workspace("alice", "{suspend: true}");
    world.gone("pod", "alice").await;
    for name in ["alice", "bob"] {
        let workspace = world.state(name, "Suspended").await;
        let conditions = workspace["status"]["conditions"].as_array();
        let types: Vec<_> = conditions
            .into_iter()
            .flatten()
            .map(|it| &it["type"])
            .collect();
        assert_eq!(types, ["Suspended"], "which kstatus calls Current");
        assert_eq!(condition(&workspace, "Suspended")["status"], "True");
        for field in ["image", "digest", "pod"] {
            assert_eq!(workspace["status"][field], Value::Null, "{field}");
        }
    }
    assert_eq!(world.done_to("pods", "alice"), ["delete pods alice 200"]);
    assert_eq!(world.writes_to("pods", "bob"), Vec::<String>::new());
    world.silence(3).await;

    world.registry(&b);
    world.in_force(&b).await;
    world.workspace("alice", "{}");
    let alice = world.ready("alice").await;
    assert_ne!(uid(&alice), old);
    assert!(image(&alice).starts_with(&b));
    let conditions = &world.get("workspace", "alice")["status"]["conditions"];
    assert_eq!(conditions.as_array().map(Vec::len), Some(1), "{conditions}");
}

#[tokio::test]
async fn the_restart_annotation_makes_one_new_pod() {
    let mut world = World::new().await;
    world.workspace("alice", "{}");
    let old = uid(&world.ready("alice").await).to_owned();
    let restart = [
        "annotate",
        "ws",
        "alice",
        "--overwrite",
        "molecule.ai/restartedAt=now",
    ];
    world.forget();
    world.kubectl(&restart);
    let new = world
        .until("pod", "alice", |it| !it.is_null() && uid(it) != old)
        .await;
    world.ready("alice").await;
    let replaced = ["delete pods alice 200", "create pods alice 201"];
    assert_eq!(world.done_to("pods", "alice"), replaced);
    world.kubectl(&restart);
    world.kubectl(&["annotate", "ws", "alice", "other=annotation"]);
    world.silence(3).await;
    assert_eq!(uid(&world.get("pod", "alice")), uid(&new));
}

#[tokio::test]
async fn a_changed_spec_makes_a_new_pod_only_where_it_needs_one() {
    let mut world = World::new().await;
    world.may_own_claims().await;
    world.workspace("alice", "{storage: {size: 1Gi}}");
    let old = uid(&world.ready("alice").await).to_owned();
    world.forget();
    let kept = "{size: 2Gi, whenDeleted: Delete}";
    world.workspace(
        "alice",
        &format!("{{storage: {kept}, provisionTimeoutSeconds: 60}}"),
    );
    let pod = world.ready("alice").await;
    assert_eq!(uid(&pod), old);
    assert_eq!(world.writes_to("pods", "alice"), Vec::<String>::new());

    let changed = format!("{{storage: {kept}, tag: v2, env: [{{name: A, value: b}}]}}");
    world.workspace("alice", &changed);
    let pod = world.ready("alice").await;
    assert_ne!(uid(&pod), old);
    assert!(image(&pod).ends_with(":v2"));
    let environment = pod["spec"]["containers"][0]["env"].as_array();
    let a = json!({"name": "A", "value": "b"});
    assert!(environment.is_some_and(|all| all.contains(&a)), "{pod:#}");
    let replaced = ["delete pods alice 200", "create pods alice 201"];
    assert_eq!(world.done_to("pods", "alice"), replaced);
    world.silence(3).await;
}

#[tokio::test]
async fn a_deleted_pod_comes_back_with_the_settings_of_that_moment() {
    let mut world = World::new().await;
    let b = world.prefix("b");
    world.workspace("alice", "{}");
    let old = uid(&world.ready("alice").await).to_owned();
    world.registry(&b);
    world.in_force(&b).await;
    world.forget();
    world.kubectl(&["delete", "pod", "alice"]);
    let new = world
        .until("pod", "alice", |it| !it.is_null() && uid(it) != old)
        .await;
    assert!(image(&new).starts_with(&b));
    world.ready("alice").await;
    assert_eq!(world.done_to("pods", "alice"), ["create pods alice 201"]);
    world.silence(3).await;
}

#[tokio::test]
async fn a_pod_that_failed_is_seen_and_replaced_after_a_pause() {
    let world = World::new().await;
    world.workspace("fails", "{podAnnotations: {kwok/behaviour: fail}}");
    world.workspace("evicted", "{}");
    let first = world.ready("evicted").await;
    let evict = ["annotate", "pod", "evicted", "kwok/behaviour=evict"];
    world.kubectl(&evict);
    for (name, words) in [("evicted", "Evicted"), ("fails", "Error, exit code 1")] {
        let workspace = world.state(name, "PodFailed").await;
        let message = text(condition(&workspace, "Ready"), "/message");
        let expected = format!("the Pod ended ({words}); it is replaced 10 s after its end");
        assert_eq!(message, expected);
    }
    let replaced = |pod: &Value| pod["metadata"]["annotations"][FAILURES] == "1";
    let second = world.until("pod", "evicted", replaced).await;
    assert_ne!(uid(&first), uid(&second));
    world.ready("evicted").await;
    world.until("pod", "fails", replaced).await;
    for name in ["evicted", "fails"] {
        let pause = pause_before_delete(&world, name);
        assert!(pause >= SignedDuration::from_secs(9), "{name}: {pause:?}");
        assert!(pause <= SignedDuration::from_secs(18), "{name}: {pause:?}");
    }
    // What the user changes is not held against the failures of before.
    world.workspace("fails", "{}");
    let pod = world.ready("fails").await;
    assert_eq!(pod["metadata"]["annotations"][FAILURES], Value::Null);
}

/// From the end of the Pod, as its node wrote it, to its deletion.
fn pause_before_delete(world: &World, name: &str) -> SignedDuration {
    let events = world
        .cluster
        .audit()
        .events()
        .expect("the audit log is there");
    let ended = events
        .clone()
        .in_namespace(&world.namespace)
        .of("pods")
        .named(name)
        .filter(|it| it.subresource == "status" && ends(it.request_object.as_ref()));
    let ended = ended.first().expect("it ended").timestamp;
    let deleted = world.written_at(&format!("delete pods {name} 200"));
    deleted.duration_since(ended)
}

fn ends(patch: Option<&Value>) -> bool {
    patch.is_some_and(|patch| patch["status"]["phase"] == "Failed")
}

#[tokio::test]
async fn a_lost_node_costs_its_pods_a_move_and_nothing_else() {
    let mut world = World::new().await;
    let doomed = format!("doomed-{}", world.namespace);
    world.own_node(&doomed).await;
    let prefers = json!({
        "tolerations": [{"key": "only-for", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "preference": {"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [doomed]},
            ]},
        }]}},
    });
    world.workspace("alice", &prefers.to_string());
    world.workspace("bob", "{}");
    let bob = uid(&world.ready("bob").await).to_owned();
    let old = world.ready("alice").await;
    assert_eq!(text(&old, "/spec/nodeName"), doomed);
    world.forget();
    world
        .cluster
        .lose_node(&doomed)
        .await
        .expect("the node goes");
    let new = world
        .until("pod", "alice", |it| !it.is_null() && uid(it) != uid(&old))
        .await;
    let new = world
        .until("pod", "alice", |it| {
            uid(it) == uid(&new) && it["spec"]["nodeName"].is_string()
        })
        .await;
    assert_ne!(text(&new, "/spec/nodeName"), doomed);
    world.ready("alice").await;
    assert_eq!(uid(&world.get("pod", "bob")), bob);
    world.silence(3).await;
}

#[tokio::test]
async fn a_quota_that_refuses_the_new_pod_leaves_the_old_one_running() {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no"},
        "spec": {"hard": {"requests.cpu": "2"}},
    });
    let raise = |world: &World| world.apply(&quota.to_string());
    let lift = |world: &World| drop(world.kubectl(&["delete", "resourcequota", "no"]));
    refused_change(raise, lift, "exceeded quota").await;
}

#[tokio::test]
async fn a_limit_that_refuses_the_new_pod_leaves_the_old_one_running() {
    let limit = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "no"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]},
    });
    let raise = |world: &World| world.apply(&limit.to_string());
    let lift = |world: &World| drop(world.kubectl(&["delete", "limitrange", "no"]));
    refused_change(raise, lift, "maximum cpu usage per Container is 1").await;
}

#[tokio::test]
async fn pod_security_that_refuses_the_new_pod_leaves_the_old_one_running() {
    let label = |world: &World, label: &str| {
        let label = format!("pod-security.kubernetes.io/enforce{label}");
        world.kubectl(&["label", "namespace", &world.namespace, &label]);
    };
    let raise = |world: &World| label(world, "=restricted");
    let lift = |world: &World| label(world, "-");
    refused_change(raise, lift, "violates PodSecurity").await;
}

#[tokio::test]
async fn a_policy_that_refuses_the_new_pod_leaves_the_old_one_running() {
    let raise = |world: &World| {
        let name = &world.namespace;
        let select = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
        let rule = json!({
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            "operations": ["CREATE"],
        });
        let api = "admissionregistration.k8s.io/v1";
        let policy = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"namespaceSelector": select, "resourceRules": [rule]},
                "validations": [{
                    // A probe that it refuses is told of otherwise.
                    "expression": "object.metadata.name.startsWith('workspace-probe-') || \
                                   object.spec.containers.all(c, !c.image.endsWith(':v2'))",
                    "message": "v2 is not for this house",
                }],
            },
        });
        let binding = json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        world.apply(&policy.to_string());
        world.apply(&binding.to_string());
    };
    let lift = |world: &World| {
        for kind in [
            "validatingadmissionpolicybinding",
            "validatingadmissionpolicy",
        ] {
            world.kubectl(&["delete", kind, &world.namespace]);
        }
    };
    refused_change(raise, lift, "v2 is not for this house").await;
}

/// The names that could be taken for a Pod on trial are names of Workspaces as well.
#[tokio::test]
async fn workspaces_whose_names_begin_alike_change_side_by_side() {
    let mut world = World::new().await;
    for name in ["alice", "alice-trial"] {
        world.workspace(name, "{tag: v1}");
    }
    world.all_ready(2).await;
    world.workspace("alice", "{tag: v2}");
    let changed = |it: &Value| text(it, "/status/image").ends_with(":v2");
    world.until("workspace", "alice", changed).await;
    world.ready("alice").await;
    world.silence(3).await;
}

/// The API server comes to refuse what the user changes a Ready Workspace to, and later takes it.
async fn refused_change(raise: impl Fn(&World), lift: impl Fn(&World), words: &str) {
    let mut world = World::new().await;
    world.workspace("alice", "{tag: v1}");
    let old = world.ready("alice").await;
    raise(&world);
    world.until_refused(&pod_with("v2", "4")).await;
    world.forget();
    world.workspace(
        "alice",
        "{tag: v2, resources: {requests: {cpu: '4'}, limits: {cpu: '4'}}}",
    );
    let alice = world.state("alice", "PodRejected").await;
    let stalled = condition(&alice, "Stalled");
    assert_eq!(stalled["status"], "True");
    let message = text(stalled, "/message");
    assert!(message.contains(words), "{message}");
    let ready = condition(&alice, "Ready");
    assert_eq!(ready["status"], "True", "the old Pod runs on");
    let wide = world.kubectl(&["get", "ws", "-o", "wide"]);
    assert!(wide.contains(message), "{message} in {wide}");
    assert_eq!(condition(&alice, "Reconciling"), &Value::Null);
    let generation = &alice["metadata"]["generation"];
    assert_eq!(&alice["status"]["observedGeneration"], generation);
    assert_eq!(text(&alice, "/status/image"), image(&old), "what runs");

    // At least one more trial changes nothing.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let now = world.get("pod", "alice");
    assert_eq!(
        now["metadata"]["resourceVersion"],
        old["metadata"]["resourceVersion"]
    );
    assert_eq!(uid(&now), uid(&old));
    let mut writes = world.writes();
    writes.retain(|it| !it.starts_with("create pods workspace-probe-"));
    let written = ["patch workspaces/status alice 200"];
    assert_eq!(writes, written, "{}", world.log());
    let requests = world.requests();
    let trials = requests.iter().filter(|it| it.dry_run).count();
    assert!((2..=3).contains(&trials), "{trials} trials");

    lift(&world);
    let new = world.ready("alice").await;
    assert_ne!(uid(&new), uid(&old));
    assert!(image(&new).ends_with(":v2"));
    world.silence(3).await;
}

/// A Pod like the one that the operator is about to ask for.
fn pod_with(tag: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
        "spec": {"containers": [{
            "name": "agent",
            "image": format!("probe.example.com/probe:{tag}"),
            "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}},
        }]},
    })
}

#[tokio::test]
async fn a_refused_creation_is_told_and_made_up_for() {
    let mut world = World::new().await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    });
    world.apply(&quota.to_string());
    world.until_refused(&pod_with("v1", "1")).await;
    world.workspace("alice", "{}");
    let alice = world.state("alice", "PodRejected").await;
    let message = text(condition(&alice, "Stalled"), "/message");
    assert!(message.contains("exceeded quota: none"), "{message}");
    assert_eq!(condition(&alice, "Ready")["status"], "False");
    assert_eq!(world.get("pod", "alice"), Value::Null);
    world.kubectl(&["delete", "resourcequota", "none"]);
    world.ready("alice").await;
    let told = ["patch workspaces/status alice 200"; 2];
    assert_eq!(world.writes_to("workspaces", "alice"), told);
    world.silence(3).await;
}
