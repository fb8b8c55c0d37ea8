//! Arbitrary objects: most of their fields are where the API has them, with values that it knows,
//! nearly knows, or never saw.

mod pod;
mod settings;

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use workspace_operator::plan::Answer;
use workspace_operator::seen::{Proof, Turn};

pub use pod::pod;
pub use settings::config_map;

/// The UID of the Workspace.
pub const UID: &str = "ws-1";

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TIMES: [&str; 7] = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:10:00Z",
    "2026-01-01T00:10:00.5Z",
    "0000-01-01T00:00:00Z",
    "-009999-01-02T01:59:59Z",
    "9999-12-30T22:00:00Z",
    "not a time",
];
const IMAGES: [&str; 5] = [
    "a.example.com/agents/workspace-template-langgraph:latest",
    "b.example.com/agents/workspace-template-codex:v1",
    "ghcr.io/molecule-ai/workspace-template-langgraph:latest",
    "busybox",
    "",
];
const TEXTS: [&str; 14] = [
    "",
    "v1",
    "latest",
    "langgraph",
    "codex",
    "zed",
    "1Gi",
    "2Gi",
    "1e9",
    "Delete",
    "Retain",
    "True",
    "False",
    UID,
];
/// Some of these.
fn one_of(texts: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(texts).prop_map(Value::from).boxed()
}

/// JSON of any shape.
fn junk() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        one_of(&TEXTS),
        one_of(&TIMES),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map("[a-z]{1,4}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
    .boxed()
}

/// Mostly this, sometimes anything at all.
fn mostly(usual: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![24 => usual, 1 => junk()].boxed()
}

type Field = (&'static str, BoxedStrategy<Value>);

/// An object with some of these fields.
fn some_of(fields: Vec<Field>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            proptest::option::weighted(0.6, value).prop_map(move |value| Some((name, value?)))
        })
        .collect();
    let object = |fields: Vec<Option<(&str, Value)>>| {
        let fields = fields.into_iter().flatten();
        let fields: Map<_, _> = fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Value::from(fields)
    };
    fields.prop_map(object).boxed()
}

fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    mostly(vec(item, 0..3).prop_map(Value::from))
}

fn text() -> BoxedStrategy<Value> {
    mostly(prop_oneof![
        3 => one_of(&TEXTS),
        1 => "[ -~]{0,12}".prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ])
}

fn whole() -> BoxedStrategy<Value> {
    mostly(prop_oneof![
        3 => (0..1000_i64).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
    ])
}

fn yes_or_no() -> BoxedStrategy<Value> {
    mostly(any::<bool>().prop_map(Value::from))
}

/// What the API server itself keeps in order; only what others can write is arbitrary.
fn metadata(
    annotations: BoxedStrategy<Value>,
    labels: BoxedStrategy<Value>,
) -> BoxedStrategy<Value> {
    let owner = |kind: &str, group: &str, uid: &str| {
        json!({
            "kind": kind, "apiVersion": format!("{group}/v1"), "name": "w", "uid": uid,
            "controller": true,
        })
    };
    let owner = prop_oneof![
        6 => Just(owner("Workspace", "molecule.ai", UID)),
        1 => Just(owner("Workspace", "molecule.ai", "ws-2")),
        1 => Just(owner("ReplicaSet", "apps", UID)),
    ];
    let valid = select(&TIMES[..6]).prop_map(Value::from).boxed();
    let gone = proptest::option::weighted(0.2, valid.clone()).prop_map(Value::from);
    (
        annotations,
        labels,
        valid,
        gone,
        0..9_i64,
        vec(owner, 0..=1),
    )
        .prop_map(|(annotations, labels, created, gone, generation, owners)| {
            json!({
                "name": "w", "namespace": "ns", "uid": UID, "resourceVersion": "7",
                "annotations": annotations, "labels": labels, "creationTimestamp": created,
                "deletionTimestamp": gone, "generation": generation, "ownerReferences": owners,
            })
        })
        .boxed()
}

fn texts_by(keys: Vec<(&'static str, &'static [&'static str])>) -> BoxedStrategy<Value> {
    let fields = keys.into_iter().map(|(key, values)| (key, one_of(values)));
    some_of(fields.collect())
}

fn conditions() -> BoxedStrategy<Value> {
    let types = [
        "Ready",
        "PodScheduled",
        "PodReadyToStartContainers",
        "Stalled",
        "Reconciling",
    ];
    let types: BoxedStrategy<Value> = select(types.to_vec()).prop_map(Value::from).boxed();
    let rest = some_of(vec![
        ("reason", one_of(&["Unschedulable", "Ready", "x"])),
        ("message", one_of(&TEXTS)),
        ("lastTransitionTime", one_of(&TIMES[..6])),
    ]);
    let condition = (types, one_of(&["True", "False", "Unknown"]), rest);
    let condition = condition.prop_map(|(type_, status, mut rest)| {
        rest["type"] = type_;
        rest["status"] = status;
        rest
    });
    vec(condition, 0..4).prop_map(Value::from).boxed()
}

/// What a user says of being moved.
fn rollout() -> BoxedStrategy<Value> {
    let times = &["22:00", "06:00", "24:00", "9:00", ""];
    let window = some_of(vec![("start", one_of(times)), ("end", one_of(times))]);
    some_of(vec![
        ("policy", one_of(&["Paced", "OnRestart"])),
        ("notBefore", mostly(one_of(&TIMES))),
        ("window", mostly(window)),
    ])
}

/// A Workspace as stored.
pub fn workspace() -> BoxedStrategy<Value> {
    let storage = some_of(vec![
        ("size", text()),
        ("whenDeleted", one_of(&["Delete", "Retain"])),
        ("accessModes", list(text())),
        ("storageClassName", text()),
    ]);
    let spec = some_of(vec![
        (
            "runtime",
            mostly(one_of(&["langgraph", "codex", "zed", "nonesuch"])),
        ),
        ("tag", text()),
        ("digest", mostly(one_of(&[DIGEST, "sha256:00", ""]))),
        ("id", text()),
        ("suspend", yes_or_no()),
        (
            "env",
            list(some_of(vec![("name", text()), ("value", text())])),
        ),
        ("podLabels", texts_by(vec![("a", &TEXTS)])),
        ("podAnnotations", texts_by(vec![("a", &TEXTS)])),
        ("imagePullSecrets", list(some_of(vec![("name", text())]))),
        ("config", text()),
        ("resources", junk()),
        ("terminationGracePeriodSeconds", whole()),
        ("provisionTimeoutSeconds", whole()),
        ("storage", mostly(storage)),
        ("rollout", mostly(rollout())),
        ("expiresAt", mostly(one_of(&TIMES))),
        ("affinity", junk()),
        ("securityContext", junk()),
    ]);
    let status = some_of(vec![
        ("observedGeneration", whole()),
        ("state", one_of(&["Ready", "Pending", "FromTheFuture"])),
        ("image", mostly(one_of(&IMAGES))),
        ("pod", text()),
        ("conditions", mostly(conditions())),
    ]);
    let annotations = texts_by(vec![("molecule.ai/restartedAt", &TIMES)]);
    let meta = metadata(annotations, Just(Value::Null).boxed());
    let rest = typed_object(meta, vec![("status", mostly(status))]);
    let spec = prop_oneof![3 => mostly(sparse(spec)), 1 => Just(json!({}))];
    (rest, spec)
        .prop_map(|(mut object, spec)| {
            object["spec"] = spec;
            object
        })
        .boxed()
}

/// Mostly few fields: with all of them hardly any spec would decode.
fn sparse(spec: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let keep = |(spec, mask): (Value, u32)| match spec {
        Value::Object(map) => {
            let kept = map.into_iter().enumerate();
            let kept = kept.filter(|(at, _)| mask >> (at % 32) & 1 == 1);
            Value::Object(kept.map(|(_, field)| field).collect())
        }
        other => other,
    };
    (
        spec,
        any::<(u32, u32)>().prop_map(|(one, other)| one & other),
    )
        .prop_map(keep)
        .boxed()
}

/// A Workspace as no schema would have it: from before there was one, or put there past it. Only its
/// metadata are what the API server itself keeps in order.
pub fn odd_workspace() -> BoxedStrategy<Value> {
    let annotations = texts_by(vec![("molecule.ai/restartedAt", &TIMES)]);
    let meta = metadata(annotations, Just(Value::Null).boxed());
    let part = || proptest::option::weighted(0.9, junk());
    (meta, part(), part(), workspace(), any::<[bool; 2]>())
        .prop_map(|(meta, spec, status, usual, keep)| {
            let mut object = json!({"metadata": meta});
            let parts = [("spec", spec), ("status", status)];
            for ((name, odd), keep) in parts.into_iter().zip(keep) {
                let part = if keep { usual.get(name).cloned() } else { odd };
                if let Some(part) = part {
                    object[name] = part;
                }
            }
            object
        })
        .boxed()
}

/// The same object from an API server that is newer than this operator.
pub fn of_the_future(object: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (object, junk())
        .prop_map(|(mut object, news)| {
            for part in ["/metadata", "/spec", "/status", ""] {
                if let Some(Value::Object(part)) = object.pointer_mut(part) {
                    part.insert("fromTheFuture".to_owned(), news.clone());
                }
            }
            object
        })
        .boxed()
}

fn typed_object(meta: BoxedStrategy<Value>, parts: Vec<Field>) -> BoxedStrategy<Value> {
    (meta, some_of(parts))
        .prop_map(|(meta, mut object)| {
            object["metadata"] = meta;
            object
        })
        .boxed()
}

/// A claim as stored: the API server sees to the types.
pub fn claim() -> BoxedStrategy<Value> {
    let size = one_of(&["1Gi", "1024Mi", "2Gi", "1e400", "x", ""]);
    let requests = some_of(vec![("storage", size)]);
    let spec = some_of(vec![("resources", some_of(vec![("requests", requests)]))]);
    let status = some_of(vec![("phase", one_of(&["Pending", "Bound"]))]);
    let labels = texts_by(vec![("molecule.ai/workspace", &["w", "v"])]);
    let meta = metadata(Just(Value::Null).boxed(), labels);
    typed_object(meta, vec![("spec", spec), ("status", status)])
        .prop_map(|mut claim| {
            claim["metadata"]["name"] = json!("workspace-w");
            claim
        })
        .boxed()
}

/// The Service `workspaces` of the namespace, whoever made it.
pub fn service() -> BoxedStrategy<Value> {
    let ours = json!({
        "app.kubernetes.io/name": "workspace",
        "app.kubernetes.io/managed-by": "workspace-operator",
    });
    let selector = prop_oneof![
        2 => Just(ours).boxed(),
        1 => texts_by(vec![("app.kubernetes.io/name", &["workspace", "x"])]),
    ];
    let spec = some_of(vec![
        ("clusterIP", one_of(&["None", "10.0.0.1", ""])),
        ("selector", selector.boxed()),
    ]);
    let nothing = || Just(Value::Null).boxed();
    typed_object(metadata(nothing(), nothing()), vec![("spec", spec)])
}

/// A moment, near what the objects say or far from it.
pub fn now() -> BoxedStrategy<Timestamp> {
    let times = TIMES[..6].iter().filter_map(|it| it.parse().ok());
    let times: Vec<Timestamp> = times.collect();
    prop_oneof![
        4 => Just("2026-01-01T00:05:00Z".parse().unwrap_or_default()),
        1 => select(times),
    ]
    .boxed()
}

/// Whose turn it is, and what is known of what it wants proved.
pub fn turn() -> BoxedStrategy<(Turn, Proof)> {
    let why = || "answered 401".to_owned();
    let proofs = vec![
        Proof::Unknown,
        Proof::UnderWay,
        Proof::Proved,
        Proof::Failed { why: why() },
        Proof::Refused { why: why() },
    ];
    let turns = vec![Turn::Waits, Turn::Proves, Turn::Moves];
    prop_oneof![
        3 => (select(turns), select(proofs)),
        1 => Just((Turn::Moves, Proof::Proved)),
    ]
    .boxed()
}

/// What the API server answers to a step.
pub fn answer() -> BoxedStrategy<Answer> {
    prop_oneof![
        4 => Just(Answer::Done),
        2 => Just(Answer::NoEffect),
        2 => Just(Answer::Refused("no".into())),
        // Nothing is done after it.
        1 => Just(Answer::NamespaceTerminating),
    ]
    .boxed()
}
