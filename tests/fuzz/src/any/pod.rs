//! Arbitrary Pods.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use workspace_operator::revision::revision;

use super::{
    DIGEST, IMAGES, TEXTS, TIMES, UID, conditions, metadata, one_of, some_of, texts_by,
    typed_object,
};

/// A container as a kubelet sees it.
fn container_status() -> BoxedStrategy<Value> {
    let reasons = [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ContainerCreating",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
    ];
    let reason: BoxedStrategy<Value> = select(reasons.to_vec()).prop_map(Value::from).boxed();
    let terminated = some_of(vec![
        ("exitCode", (-9..300_i64).prop_map(Value::from).boxed()),
        ("reason", one_of(&TEXTS)),
        ("startedAt", one_of(&TIMES[..6])),
        ("finishedAt", one_of(&TIMES[..6])),
    ]);
    let messages = prop_oneof![one_of(&TEXTS), any::<String>().prop_map(Value::from)];
    let waiting = some_of(vec![("reason", reason), ("message", messages.boxed())]);
    let state = some_of(vec![
        ("waiting", waiting),
        ("running", Just(json!({})).boxed()),
        ("terminated", terminated),
    ]);
    some_of(vec![
        ("name", one_of(&["agent", "sidecar"])),
        ("ready", any::<bool>().prop_map(Value::from).boxed()),
        ("restartCount", (0..3_i64).prop_map(Value::from).boxed()),
        ("imageID", one_of(&[DIGEST, "x@sha256:é", "", "sha256:"])),
        ("state", state.clone()),
        ("lastState", state),
    ])
}

/// What a kubelet says of a Pod.
fn pod_status() -> BoxedStrategy<Value> {
    let status = some_of(vec![
        (
            "observedGeneration",
            (0..9_i64).prop_map(Value::from).boxed(),
        ),
        (
            "phase",
            one_of(&["Pending", "Running", "Failed", "Succeeded"]),
        ),
        ("reason", one_of(&["Evicted"])),
        ("conditions", conditions()),
        (
            "containerStatuses",
            vec(container_status(), 0..3).prop_map(Value::from).boxed(),
        ),
    ]);
    prop_oneof![3 => status, 1 => Just(serves())].boxed()
}

fn serves() -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "agent", "ready": true, "state": {"running": {}}}],
    })
}

fn crashes() -> Value {
    json!({
        "phase": "Running",
        "containerStatuses": [{
            "name": "agent", "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }],
    })
}

/// A Pod as stored: the API server sees to the types, and anyone to the annotations.
pub fn pod() -> BoxedStrategy<Value> {
    prop_oneof![6 => any_pod(), 2 => serving(), 2 => fallen()].boxed()
}

/// What can be moved is a rare thing among all Pods: ours, Ready, as its user asked, on a node.
fn serving() -> BoxedStrategy<Value> {
    (select(&IMAGES[..3]), moved())
        .prop_map(|(image, annotations)| ours(image, annotations, &serves()))
        .boxed()
}

/// What can be put back is as rare: it was moved, and crashes on what it was moved to.
fn fallen() -> BoxedStrategy<Value> {
    // The first and the third are of the runtime of a Workspace that names none.
    select(vec![[0_usize, 2], [2, 0], [0, 1]])
        .prop_map(|[told, from]| {
            let annotations = json!({
                "molecule.ai/movedFrom": IMAGES[from],
                "molecule.ai/movedAt": TIMES[0],
                "molecule.ai/movedOver": "0-",
            });
            ours(IMAGES[told], annotations, &crashes())
        })
        .boxed()
}

/// Our Pod, as the user of a Workspace with an empty spec asked for it.
fn ours(image: &str, mut annotations: Value, status: &Value) -> Value {
    annotations["molecule.ai/image"] = json!(image);
    annotations["molecule.ai/revision"] = json!(revision(&json!({}), None));
    json!({
        "metadata": {
            "name": "w", "namespace": "ns", "uid": UID, "resourceVersion": "7",
            "labels": {"app.kubernetes.io/name": "workspace"}, "annotations": annotations,
            "ownerReferences": [{
                "kind": "Workspace", "apiVersion": "molecule.ai/v1", "name": "w", "uid": UID,
                "controller": true,
            }],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "agent", "image": image}]},
        "status": status,
    })
}

fn moved() -> BoxedStrategy<Value> {
    texts_by(vec![
        ("molecule.ai/movedFrom", &IMAGES),
        ("molecule.ai/movedAt", &TIMES),
        ("molecule.ai/movedOver", &["0-", "1- busybox", "x"]),
        ("molecule.ai/movedBack", &IMAGES),
    ])
}

fn any_pod() -> BoxedStrategy<Value> {
    let containers = some_of(vec![
        ("name", one_of(&["agent", "sidecar"])),
        ("image", one_of(&IMAGES)),
    ]);
    let spec = some_of(vec![
        ("nodeName", one_of(&["node-1", ""])),
        (
            "containers",
            vec(containers, 0..3).prop_map(Value::from).boxed(),
        ),
    ]);
    let annotations = texts_by(vec![
        ("molecule.ai/image", &IMAGES),
        ("molecule.ai/settings", &TEXTS),
        ("molecule.ai/revision", &["1ec01344083d9f86", "x"]),
        ("molecule.ai/failures", &["1", "9", "4294967295", "-1", "x"]),
        ("molecule.ai/healedAt", &TIMES),
    ]);
    let annotations = (annotations, moved()).prop_map(|(mut all, moved)| {
        if let (Value::Object(all), Value::Object(moved)) = (&mut all, moved) {
            all.extend(moved);
        }
        all
    });
    let annotations = annotations.boxed();
    let labels = prop_oneof![
        6 => Just(json!({"app.kubernetes.io/name": "workspace"})),
        1 => Just(Value::Null),
    ];
    let meta = metadata(annotations, labels.boxed());
    typed_object(meta, vec![("spec", spec), ("status", pod_status())])
}
