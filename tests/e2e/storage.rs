//! Storage: one claim that outlives its Pods, and goes only when the user said so.

use serde_json::{Value, json};

use crate::fixture::{World, condition, text, uid};

const CLAIM: &str = "persistentvolumeclaim";

/// A world in which what a namespace needs once is there already.
async fn settled() -> World {
    let mut world = World::new().await;
    world.workspace("first", "{}");
    world.ready("first").await;
    world.forget();
    world
}

fn owners(claim: &Value) -> Vec<&str> {
    let owners = claim["metadata"]["ownerReferences"].as_array();
    let uids = owners.into_iter().flatten().map(|it| it["uid"].as_str());
    uids.map(Option::unwrap_or_default).collect()
}

/// Where the container keeps what is on the claim: path and subpath.
fn kept(pod: &Value) -> Vec<(&str, &str)> {
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array();
    let of_claim = mounts
        .into_iter()
        .flatten()
        .filter(|it| it["name"] == "storage");
    of_claim
        .map(|it| (text(it, "/mountPath"), text(it, "/subPath")))
        .collect()
}

fn patch(world: &World, name: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    world.kubectl(&["patch", "workspace", name, "--type=merge", "-p", &patch]);
}

#[tokio::test]
async fn a_workspace_with_storage_becomes_ready_with_three_writes() {
    let mut world = settled().await;
    world.workspace(
        "kept",
        "{runtime: claude-code, storage: {size: 1024Mi, storageClassName: immediate, \
         accessModes: [ReadWriteMany]}}",
    );
    let pod = world.ready("kept").await;
    assert_eq!(
        world.writes(),
        [
            "create persistentvolumeclaims workspace-kept 201",
            "create pods kept 201",
            "patch workspaces/status kept 200"
        ]
    );
    let claim = world.get(CLAIM, "workspace-kept");
    let labels = &claim["metadata"]["labels"];
    assert_eq!(labels["molecule.ai/workspace"], "kept");
    assert_eq!(labels["app.kubernetes.io/managed-by"], "workspace-operator");
    assert_eq!(claim["spec"]["storageClassName"], "immediate");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert!(owners(&claim).is_empty(), "it is retained");
    assert_eq!(
        kept(&pod),
        [
            ("/workspace", "workspace"),
            ("/configs", "configs"),
            ("/root/.claude/sessions", "sessions")
        ]
    );
    // 1024Mi is read back as 1Gi, and that is the same.
    world.silence(3).await;
}

#[tokio::test]
async fn a_claim_outlives_every_pod() {
    let mut world = settled().await;
    world.workspace("kept", "{storage: {size: 1Gi}}");
    let first = world.ready("kept").await;
    let claim = uid(&world.get(CLAIM, "workspace-kept")).to_owned();
    world.forget();

    world.kubectl(&["delete", "pod", "kept"]);
    let replaced = |earlier: &Value| {
        let earlier = uid(earlier).to_owned();
        move |pod: &Value| {
            pod["metadata"]["uid"]
                .as_str()
                .is_some_and(|it| it != earlier)
        }
    };
    world.until("pod", "kept", replaced(&first)).await;
    let second = world.ready("kept").await;

    patch(&world, "kept", &json!({"suspend": true}));
    world.state("kept", "Suspended").await;
    world.gone("pod", "kept").await;
    assert_eq!(uid(&world.get(CLAIM, "workspace-kept")), claim);
    patch(&world, "kept", &json!({"suspend": false}));
    world.until("pod", "kept", replaced(&second)).await;
    let third = world.ready("kept").await;

    patch(
        &world,
        "kept",
        &json!({"env": [{"name": "A", "value": "1"}]}),
    );
    world.until("pod", "kept", replaced(&third)).await;
    let fourth = world.ready("kept").await;
    assert_eq!(kept(&fourth)[0], ("/workspace", "workspace"));
    assert_eq!(uid(&world.get(CLAIM, "workspace-kept")), claim);
    let to_claims = world.writes_to("persistentvolumeclaims", "workspace-kept");
    assert_eq!(to_claims, Vec::<String>::new());
}

#[tokio::test]
async fn a_claim_grows_with_one_patch_and_no_restart() {
    let mut world = settled().await;
    world.workspace("grows", "{storage: {size: 1Gi}}");
    let pod = world.ready("grows").await;
    world.forget();
    patch(&world, "grows", &json!({"storage": {"size": "2048Mi"}}));
    world
        .until(CLAIM, "workspace-grows", |it| {
            it["status"]["capacity"]["storage"] == "2Gi"
        })
        .await;
    let same = world.ready("grows").await;
    assert_eq!(uid(&same), uid(&pod));
    assert_eq!(
        world.writes(),
        [
            "patch persistentvolumeclaims workspace-grows 200",
            "patch workspaces/status grows 200"
        ]
    );
    world.silence(3).await;
}

#[tokio::test]
async fn a_growth_that_the_class_refuses_is_told_and_stops_nothing() {
    let world = settled().await;
    let class = format!("rigid-{}", world.namespace);
    let rigid = |expands: bool| {
        world.apply(&format!(
            "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {class}}}, \
             provisioner: kwok.x-k8s.io/volume, allowVolumeExpansion: {expands}}}"
        ));
    };
    rigid(false);
    let spec = |size: &str| format!("{{storage: {{size: {size}, storageClassName: {class}}}}}");
    world.workspace("rigid", &spec("1Gi"));
    let pod = world.ready("rigid").await;
    world.workspace("rigid", &spec("2Gi"));
    let told = world.state("rigid", "VolumeRejected").await;
    let ready = condition(&told, "Ready");
    assert_eq!(ready["status"], "True", "{told:#}");
    let stalled = condition(&told, "Stalled");
    assert_eq!(stalled["status"], "True");
    let message = text(stalled, "/message");
    assert!(message.contains("storageclass"), "{message}");
    assert_eq!(uid(&world.get("pod", "rigid")), uid(&pod));

    rigid(true);
    let same = world.ready("rigid").await;
    assert_eq!(uid(&same), uid(&pod));
    let claim = world.get(CLAIM, "workspace-rigid");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
    world.kubectl(&["delete", "storageclass", &class]);
}

#[tokio::test]
async fn a_retained_claim_is_used_again_and_another_goes_with_its_workspace() {
    let mut world = settled().await;
    world.workspace("stays", "{storage: {size: 1Gi, whenDeleted: Retain}}");
    world.workspace("goes", "{storage: {size: 1Gi, whenDeleted: Delete}}");
    world.ready("stays").await;
    world.ready("goes").await;
    let retained = world.get(CLAIM, "workspace-stays");
    world.kubectl(&["delete", "workspace", "stays", "goes"]);
    for name in ["stays", "goes"] {
        world.gone("pod", name).await;
    }
    world.gone(CLAIM, "workspace-goes").await;
    assert_eq!(
        uid(&world.get(CLAIM, "workspace-stays")),
        uid(&retained),
        "it is the same"
    );

    world.forget();
    world.workspace("stays", "{storage: {size: 1Gi}}");
    world.ready("stays").await;
    assert_eq!(
        world.writes(),
        ["create pods stays 201", "patch workspaces/status stays 200"]
    );
}

#[tokio::test]
async fn when_deleted_can_be_changed_without_a_restart_by_who_may_delete_the_claim() {
    let mut world = settled().await;
    world.workspace("alice", "{storage: {size: 1Gi}}");
    let pod = world.ready("alice").await;
    let workspace = uid(&world.get("workspace", "alice")).to_owned();

    // Whoever may not delete a claim may not say what it goes with.
    patch(
        &world,
        "alice",
        &json!({"storage": {"whenDeleted": "Delete"}}),
    );
    let told = world.state("alice", "VolumeRejected").await;
    let message = text(condition(&told, "Stalled"), "/message");
    assert!(message.contains("cannot set an ownerRef"), "{message}");
    assert_eq!(condition(&told, "Ready")["status"], "True", "{told:#}");
    patch(
        &world,
        "alice",
        &json!({"storage": {"whenDeleted": "Retain"}}),
    );
    assert_eq!(uid(&world.ready("alice").await), uid(&pod));
    world.may_own_claims().await;

    for (when, owned) in [("Delete", vec![&*workspace]), ("Retain", vec![])] {
        world.forget();
        patch(&world, "alice", &json!({"storage": {"whenDeleted": when}}));
        world
            .until(CLAIM, "workspace-alice", |it| owners(it) == owned)
            .await;
        let same = world.ready("alice").await;
        assert_eq!(uid(&same), uid(&pod));
        assert_eq!(
            world.writes(),
            [
                "patch persistentvolumeclaims workspace-alice 200",
                "patch workspaces/status alice 200"
            ]
        );
    }
    world.kubectl(&["delete", "workspace", "alice"]);
    world.gone("pod", "alice").await;
    let claim = world.get(CLAIM, "workspace-alice");
    assert!(claim["metadata"]["deletionTimestamp"].is_null(), "it stays");
}

#[tokio::test]
async fn a_claim_without_our_label_is_left_alone_until_it_is_given_or_goes() {
    let mut world = settled().await;
    let foreign = |name: &str, label: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\n\
             metadata: {{name: workspace-{name}, labels: {{{label}}}}}\n\
             spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n"
        )
    };
    world.apply(&foreign("given", ""));
    world.apply(&foreign("goes", ""));
    world.apply(&foreign("others", "molecule.ai/workspace: someone"));
    let names = ["given", "goes", "others"];
    world.may_own_claims().await;
    let claims = |world: &World| names.map(|it| world.get(CLAIM, &format!("workspace-{it}")));
    let before = claims(&world);
    for name in names {
        world.workspace(name, "{storage: {size: 2Gi, whenDeleted: Delete}}");
    }
    for name in names {
        let told = world.state(name, "VolumeNotOwned").await;
        let message = text(condition(&told, "Stalled"), "/message");
        let label = format!("molecule.ai/workspace={name}");
        assert!(message.contains(&label), "{message}");
        assert_eq!(world.get("pod", name), Value::Null);
    }
    assert_eq!(claims(&world), before, "nothing touched them");
    let asked = world.requests().of("persistentvolumeclaims");
    let creates = asked.clone().writes();
    assert_eq!(creates.len(), 2, "one each for what no watch shows");
    assert_eq!(asked.filter(|it| it.verb == "get").len(), 2);
    world.forget();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(world.reads(), 0, "nothing is polled");
    assert_eq!(world.writes(), Vec::<String>::new());

    for name in ["given", "others"] {
        let (claim, label) = (
            format!("{CLAIM}/workspace-{name}"),
            format!("molecule.ai/workspace={name}"),
        );
        world.kubectl(&["label", "--overwrite", &claim, &label]);
    }
    world.kubectl(&["delete", CLAIM, "workspace-goes"]);
    for name in names {
        world.ready(name).await;
    }
    let [given, gone, others] = claims(&world);
    assert_eq!(uid(&given), uid(&before[0]));
    assert_ne!(uid(&gone), uid(&before[1]));
    assert_eq!(uid(&others), uid(&before[2]));
    assert_eq!(gone["metadata"]["labels"]["molecule.ai/workspace"], "goes");
}

#[tokio::test]
async fn storage_that_is_added_later_comes_with_a_new_pod() {
    let world = settled().await;
    let bare = world.get("pod", "first");
    assert_eq!(kept(&bare), []);
    patch(&world, "first", &json!({"storage": {"size": "1Gi"}}));
    world
        .until("pod", "first", |it| {
            it["metadata"]["uid"]
                .as_str()
                .is_some_and(|it| it != uid(&bare))
        })
        .await;
    let pod = world.ready("first").await;
    assert_eq!(kept(&pod).len(), 2);
    // The claim first: a Pod is never stopped for one that cannot start.
    assert_eq!(
        world.writes()[..2],
        [
            "create persistentvolumeclaims workspace-first 201",
            "delete pods first 200"
        ]
    );
}
