//! Every rule of the CRD against the real API server: what it accepts and what it refuses.

use serde_json::{Value, json};

/// A rule, by its place in the schema and a part of its sentence, with specs on both sides of it.
pub struct Row {
    pub at: &'static str,
    pub says: &'static str,
    pub good: Vec<Value>,
    pub bad: Vec<Value>,
}

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub fn digest() -> String {
    format!("sha256:{HEX}")
}

/// `depth` wraps each value into the object that holds it: `["storage", "size"]`.
fn under(depth: &[&str], values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let wrap = |value| {
        depth.iter().rev().fold(value, |inner, field| match field {
            &"[]" => json!([inner]),
            field => json!({ *field: inner }),
        })
    };
    values.into_iter().map(wrap).collect()
}

fn row<const G: usize, const B: usize>(
    at: &'static str,
    says: &'static str,
    depth: &[&str],
    good: [Value; G],
    bad: [Value; B],
) -> Row {
    Row {
        at,
        says,
        good: under(depth, good),
        bad: under(depth, bad),
    }
}

/// The rules that look at one object alone.
pub fn rows() -> Vec<Row> {
    let mut rows = image();
    rows.push(id());
    rows.extend(environment());
    rows.extend(environment_sources());
    rows.extend(resources());
    rows.extend(security());
    rows.extend(labels());
    rows.extend(names());
    rows.extend(times_and_storage());
    rows.extend(rollout());
    rows
}

/// Whether and when it is moved, and until when it runs.
fn rollout() -> Vec<Row> {
    let window = |start: &str, end: &str| json!({"start": start, "end": end});
    let (last, beyond) = ("9998-12-31T23:59:59Z", "9999-01-01T00:00:00Z");
    let says = "must be a time of the day in UTC";
    let of_window = &["rollout", "window"];
    vec![
        row(
            "spec.expiresAt",
            "must be before the year 9999",
            &["expiresAt"],
            [json!("2026-11-28T10:00:00+02:00"), json!(last)],
            [json!(beyond)],
        ),
        row(
            "spec.rollout.notBefore",
            "must be before the year 9999",
            &["rollout", "notBefore"],
            [json!(last)],
            [json!(beyond)],
        ),
        row(
            "spec.rollout.window.start",
            says,
            of_window,
            [window("00:00", "23:59")],
            [window("24:00", "06:00"), window("9:00", "06:00")],
        ),
        row(
            "spec.rollout.window.end",
            says,
            of_window,
            [window("22:00", "06:00")],
            [window("22:00", "06:60"), window("22:00", "")],
        ),
        row(
            "spec.rollout.window",
            "start and end must differ",
            of_window,
            [window("22:00", "21:59")],
            [window("22:00", "22:00")],
        ),
    ]
}

fn image() -> Vec<Row> {
    let long = |length| json!("a".repeat(length));
    vec![
        row(
            "spec",
            "set tag or digest, not both",
            &[],
            [json!({}), json!({"tag": "v1"}), json!({"digest": digest()})],
            [json!({"tag": "v1", "digest": digest()})],
        ),
        row(
            "spec.runtime",
            "runtime must be 1 to 40",
            &["runtime"],
            [json!("claude-code"), json!("x"), json!("4all"), long(40)],
            [
                json!(""),
                json!("Hermes"),
                json!("-a"),
                json!("a-"),
                json!("a/b"),
                json!("a.b"),
                json!("a\n"),
                long(41),
            ],
        ),
        row(
            "spec.tag",
            "tag must be 1 to 128",
            &["tag"],
            [json!("latest"), json!("_1.2-Rc"), long(128)],
            [
                json!(""),
                json!(".a"),
                json!("-a"),
                json!("a:b"),
                json!("v1\n"),
                json!("é"),
                long(129),
            ],
        ),
        row(
            "spec.digest",
            "digest must be sha256:",
            &["digest"],
            [json!(digest())],
            [
                json!(""),
                json!(HEX),
                json!(format!("sha256:{}", HEX.to_uppercase())),
                json!(format!("sha256:{}", &HEX[1..])),
                json!(format!("sha256:{HEX}0")),
                json!(format!("sha512:{HEX}{HEX}")),
            ],
        ),
    ]
}

fn id() -> Row {
    row(
        "spec.id",
        "id must be 1 to 253",
        &["id"],
        [
            json!("28fd19db-c30d-4178-9924-a0c992b01ea8"),
            json!("team/a@b:1_2.3"),
            json!("a".repeat(253)),
        ],
        [
            json!(""),
            json!("a\nb"),
            json!("a b"),
            json!("$(HOME)"),
            json!("-a"),
            json!("a".repeat(254)),
        ],
    )
}

fn environment() -> Vec<Row> {
    let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let variable = |name: &str| json!({"name": name, "value": "x"});
    vec![
        row(
            "spec.env[]",
            "set value or valueFrom, not both",
            &["env", "[]"],
            [
                json!({"name": "A"}),
                json!({"name": "A", "value": "1"}),
                json!({"name": "A", "value": "", "valueFrom": secret}),
            ],
            [json!({"name": "A", "value": "1", "valueFrom": secret})],
        ),
        row(
            "spec.env[].name",
            "must be printable ASCII without '='",
            &["env", "[]"],
            ["A", "a.b-c", "1", "PLATFORM_URL", "PYTHONPATH"].map(variable),
            ["", "A=B", "A\n", "é"].map(variable),
        ),
        row(
            "spec.env[].name",
            "are set by the operator",
            &["env", "[]"],
            [variable("WORKSPACE_ID_2")],
            ["WORKSPACE_ID", "WORKSPACE_CONFIG_PATH"].map(variable),
        ),
    ]
}

/// Where a value comes from, when it is not written out.
fn environment_sources() -> Vec<Row> {
    let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let key_of = |reference: &str, key: &str| json!({reference: {"name": "n", "key": key}});
    let data = |reference: &'static str, at: &'static str| {
        let (ref depth, ref bad) = (["env", "[]"], ["", "a b", "a/b"]);
        let whole = |key: &str| json!({"name": "A", "valueFrom": key_of(reference, key)});
        Row {
            at,
            says: "must be a key of the object's data",
            good: under(depth, ["k", ".env", "A_b-c.d"].map(whole)),
            bad: under(depth, bad.map(whole)),
        }
    };
    vec![
        row(
            "spec.env[].valueFrom",
            "set exactly one of configMapKeyRef, secretKeyRef",
            &["env", "[]"],
            [
                json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
                json!({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}),
                json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}),
                json!({"name": "A", "valueFrom": secret}),
            ],
            [
                json!({"name": "A", "valueFrom": {}}),
                json!({"name": "A", "valueFrom": {
                    "secretKeyRef": {"name": "s", "key": "k"},
                    "configMapKeyRef": {"name": "c", "key": "k"},
                }}),
            ],
        ),
        data(
            "configMapKeyRef",
            "spec.env[].valueFrom.configMapKeyRef.key",
        ),
        data("secretKeyRef", "spec.env[].valueFrom.secretKeyRef.key"),
        row(
            "spec.envFrom[]",
            "set exactly one of configMapRef and secretRef",
            &["envFrom", "[]"],
            [
                json!({"secretRef": {"name": "s"}, "prefix": "P_"}),
                json!({"configMapRef": {"name": "c", "optional": true}}),
            ],
            [
                json!({"prefix": "P_"}),
                json!({"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}),
            ],
        ),
    ]
}

fn resources() -> Vec<Row> {
    let good = [
        json!("500m"),
        json!(2),
        json!("4Gi"),
        json!("1e3"),
        json!("1.5"),
    ];
    let bad = [
        json!("lots"),
        json!(""),
        json!("4 Gi"),
        json!("4GB"),
        json!("1,5"),
    ];
    vec![
        row(
            "spec.resources.limits{}",
            "must be a quantity",
            &["resources", "limits", "nvidia.com/gpu"],
            good.clone(),
            bad.clone(),
        ),
        row(
            "spec.resources.requests{}",
            "must be a quantity",
            &["resources", "requests", "cpu"],
            good,
            bad,
        ),
        row(
            "spec.resources",
            "each request must be at most its limit",
            &["resources"],
            [
                json!({"limits": {"cpu": 1}, "requests": {"cpu": "1000m"}}),
                json!({"limits": {"cpu": 1}, "requests": {"memory": "1Gi"}}),
                json!({"requests": {"cpu": 1}}),
            ],
            [
                json!({"limits": {"cpu": 1}, "requests": {"cpu": "1001m"}}),
                json!({"limits": {"memory": "1G"}, "requests": {"memory": "1Gi"}}),
                json!({"limits": {"ephemeral-storage": 1}, "requests": {"ephemeral-storage": 2}}),
            ],
        ),
    ]
}

fn security() -> Vec<Row> {
    vec![
        row(
            "spec.securityContext.privileged",
            "privileged is not allowed",
            &["securityContext", "privileged"],
            [json!(false)],
            [json!(true)],
        ),
        row(
            "spec.securityContext.capabilities.add",
            "capabilities cannot be added, only dropped",
            &["securityContext", "capabilities"],
            [json!({"drop": ["ALL"]}), json!({"add": []})],
            [
                json!({"add": ["NET_BIND_SERVICE"]}),
                json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
            ],
        ),
        row(
            "spec.securityContext.procMount",
            "procMount can only be Default",
            &["securityContext", "procMount"],
            [json!("Default")],
            [json!("Unmasked")],
        ),
        row(
            "spec.securityContext.windowsOptions.hostProcess",
            "hostProcess is not allowed",
            &["securityContext", "windowsOptions", "hostProcess"],
            [json!(false)],
            [json!(true)],
        ),
        row(
            "spec.podSecurityContext.windowsOptions.hostProcess",
            "hostProcess is not allowed",
            &["podSecurityContext", "windowsOptions", "hostProcess"],
            [json!(false)],
            [json!(true)],
        ),
    ]
}

fn labels() -> Vec<Row> {
    let part = "a".repeat(63);
    let prefix = format!("{part}.{part}.{part}.{}", "a".repeat(61));
    let key = |key: &str| json!({key: "x"});
    let good = [
        key("team"),
        key("example.com/team"),
        key(&format!("{prefix}/{part}")),
        key("x.molecule.ai/team"),
    ];
    let bad = [
        key(""),
        key("a b"),
        key("-a"),
        key("a/b/c"),
        key("/a"),
        key("a_b/c"),
        key(&format!("a{part}")),
        key(&format!("{prefix}a/a")),
    ];
    let reserved = ["molecule.ai/runtime", "app.kubernetes.io/name"].map(key);
    let good_values = ["", "a", "A-b_c.1", &part].map(|value| json!(value));
    let bad_values = ["-a", "a b", "é", &format!("a{part}")].map(|value| json!(value));
    let mut rows = vec![
        row(
            "spec.podAnnotations",
            "is not a valid key",
            &["podAnnotations"],
            [key("Example.com/team"), json!({"a": "any text\n"})],
            bad.clone(),
        ),
        row(
            "spec.podLabels",
            "is reserved for the operator",
            &["podLabels"],
            [key("molecule.ai.example/x")],
            reserved.clone(),
        ),
        row(
            "spec.podAnnotations",
            "is reserved for the operator",
            &["podAnnotations"],
            [key("molecule.ai.example/x")],
            reserved,
        ),
    ];
    for (map, keys, values) in [
        ("podLabels", "spec.podLabels", "spec.podLabels{}"),
        ("nodeSelector", "spec.nodeSelector", "spec.nodeSelector{}"),
    ] {
        rows.push(row(
            keys,
            "is not a valid key",
            &[map],
            good.clone(),
            bad.clone(),
        ));
        let says = "must be empty or at most 63";
        rows.push(row(
            values,
            says,
            &[map, "a"],
            good_values.clone(),
            bad_values.clone(),
        ));
    }
    rows
}

/// Each field that names another object.
fn names() -> Vec<Row> {
    let variable = |reference: &str| {
        let reference = reference.to_owned();
        move |name: Value| json!({"env": [{"name": "A", "valueFrom": {reference.clone(): {"name": name, "key": "k"}}}]})
    };
    let long = "a".repeat(254);
    let good = || [json!("a"), json!("a-1.b"), json!("1"), json!(&long[1..])];
    let bad = || ["", "A", "a_b", "-a", "a.", "a..b", "a/b", &long].map(|name| json!(name));
    let says = "must be the name of an object";
    let mut rows: Vec<Row> = [
        (
            "spec.envFrom[].configMapRef.name",
            &["envFrom", "[]", "configMapRef", "name"][..],
        ),
        (
            "spec.envFrom[].secretRef.name",
            &["envFrom", "[]", "secretRef", "name"],
        ),
        (
            "spec.imagePullSecrets[].name",
            &["imagePullSecrets", "[]", "name"],
        ),
        ("spec.serviceAccountName", &["serviceAccountName"]),
        ("spec.priorityClassName", &["priorityClassName"]),
        ("spec.runtimeClassName", &["runtimeClassName"]),
        ("spec.config", &["config"]),
    ]
    .into_iter()
    .map(|(at, depth)| row(at, says, depth, good(), bad()))
    .collect();
    for (at, reference) in [
        (
            "spec.env[].valueFrom.configMapKeyRef.name",
            "configMapKeyRef",
        ),
        ("spec.env[].valueFrom.secretKeyRef.name", "secretKeyRef"),
    ] {
        let (good, bad) = (
            good().map(variable(reference)),
            bad().map(variable(reference)),
        );
        rows.push(row(at, says, &[], good, bad));
    }
    let class = |name| json!({"size": "1Gi", "storageClassName": name});
    let (good, bad) = (["", "fast.ssd"].map(class), ["A", "a b"].map(class));
    rows.push(row(
        "spec.storage.storageClassName",
        says,
        &["storage"],
        good,
        bad,
    ));
    rows
}

fn times_and_storage() -> Vec<Row> {
    let modes = |modes: &[&str]| json!({"size": "1Gi", "accessModes": modes});
    vec![
        row(
            "spec.terminationGracePeriodSeconds",
            "must be at least 1 second",
            &["terminationGracePeriodSeconds"],
            [json!(1), json!(3600)],
            [json!(0), json!(-1)],
        ),
        row(
            "spec.provisionTimeoutSeconds",
            "must be 1 to 86400 seconds",
            &["provisionTimeoutSeconds"],
            [json!(1), json!(86400)],
            [json!(0), json!(-1), json!(86401)],
        ),
        row(
            "spec.storage.size",
            "size must be a quantity of at least one byte",
            &["storage", "size"],
            [json!("20Gi"), json!(1073741824), json!("1.5Gi")],
            [
                json!("big"),
                json!(""),
                json!("0"),
                json!(0),
                json!("-1Gi"),
                json!("100m"),
                json!("20 Gi"),
            ],
        ),
        row(
            "spec.storage.accessModes",
            "accessModes must let the agent write",
            &["storage"],
            [
                modes(&["ReadWriteMany"]),
                modes(&["ReadWriteOncePod"]),
                modes(&["ReadWriteOnce", "ReadOnlyMany"]),
            ],
            [
                modes(&["ReadOnlyMany"]),
                modes(&["ReadWriteOncePod", "ReadWriteOnce"]),
            ],
        ),
    ]
}
