//! Metrics and health, as they are served.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::State;
use workspace_operator::metrics::{DOCUMENTED, Kind};

use crate::fixture::{PATIENCE, World, host};
use crate::scrape::{SERVING, Scrape, address, get};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One that is refused may lack a secret; two are an outage, and what runs would not come back.
async fn two_make_an_outage(world: &World, at: SocketAddr, down: &str) {
    let outage = format!(
        "workspace_operator_registry_outage{{registry=\"{}\"}}",
        host(down)
    );
    let at_risk = || Scrape::of(at).value("workspace_operator_workspaces_at_risk");
    let alone = Scrape::of(at);
    assert!(alone.0.contains(&format!("{outage} 0")), "{}", alone.0);
    assert_eq!(at_risk(), 0.0);
    world.workspace("second", "{}");
    world.state("second", "ImagePullFailed").await;
    until("the registry fails", || {
        Scrape::of(at).value(&outage) == 2.0 && at_risk() == 1.0
    })
    .await;
    world.kubectl(&["delete", "workspace", "second"]);
    until("it may be one again", || {
        Scrape::of(at).value(&outage) == 0.0 && at_risk() == 0.0
    })
    .await;
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let mut world = World::without_operator().await;
    let (down, mirror) = (world.prefix("down"), world.prefix("mirror"));
    world.turn(&down, State::Unauthorized).await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    world.workspace("fine", "{}");
    world.ready("fine").await;
    let first = Scrape::of(at);
    assert_eq!(first.value("workspace_operator_leader"), 1.0);
    let ready =
        "workspace_operator_workspaces{state=\"Ready\",stalled=\"false\",registry=\"ghcr.io\"}";
    until("it is counted", || Scrape::of(at).value(ready) == 1.0).await;
    let created = "workspace_rollouts_total{step=\"create\",reason=\"NoPod\",result=\"done\"}";
    assert_eq!(first.value(created), 1.0);
    assert_eq!(first.value("workspace_ready_seconds_count"), 1.0);
    assert_eq!(first.value("workspace_operator_settings_last_good"), 0.0);
    let pods = ["verb=\"create\"", "resource=\"pods\"", "code=\"201\""];
    assert_eq!(
        first.sum("workspace_operator_api_requests_total", &pods),
        1.0
    );

    world.registry(&down);
    world.in_force(&down).await;
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    let failures = format!(
        "workspace_image_pull_failures_total{{registry=\"{}\"}}",
        host(&down)
    );
    let failing = format!(
        "workspace_operator_workspaces{{state=\"ImagePullFailed\",stalled=\"false\",registry=\"{}\"}}",
        host(&down)
    );
    until("the outage is counted", || {
        Scrape::of(at).value(&failing) == 1.0
    })
    .await;
    assert_eq!(Scrape::of(at).value(&failures), 1.0);
    two_make_an_outage(&world, at, &down).await;

    world.registry(&mirror);
    world.ready("stuck").await;
    let healed = Scrape::of(at);
    assert_eq!(
        healed.sum("workspace_rollouts_total", &["step=\"heal\"", "\"done\""]),
        1.0
    );
    assert_eq!(healed.value("workspace_ready_seconds_count"), 2.0);
    let info =
        |scrape: &Scrape, words: &[&str]| scrape.sum("workspace_operator_settings_info", words);
    assert_eq!(info(&healed, &[&mirror, "valid=\"true\""]), 1.0);
    assert_eq!(info(&healed, &[]), 1.0, "one time series");

    world.registry("https://typo");
    world.settings_refused("typo").await;
    let invalid = Scrape::of(at);
    assert_eq!(info(&invalid, &[&mirror, "valid=\"false\""]), 1.0);
    assert_eq!(info(&invalid, &[]), 1.0, "one time series");
    assert_eq!(invalid.value("workspace_operator_settings_last_good"), 1.0);
    assert_eq!(invalid.value("workspace_operator_queue_items"), 0.0);
}

#[tokio::test]
async fn decisions_and_answers_are_timed_and_the_version_is_told() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    world.workspace("alice", "{}");
    world.ready("alice").await;
    for step in ["create_pod", "patch_status"] {
        let count = format!("workspace_operator_apply_seconds_count{{step=\"{step}\"}}");
        until(step, || Scrape::of(at).value(&count) == 1.0).await;
    }
    let scrape = Scrape::of(at);
    assert!(scrape.value("workspace_operator_plan_seconds_count") >= 2.0);
    assert!(scrape.value("workspace_operator_plan_seconds_sum") > 0.0);
    let build = format!(
        "workspace_operator_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(scrape.value(&build), 1.0);
}

#[tokio::test]
async fn settings_are_told_apart_by_their_hash_and_a_record_that_is_gone_is_told() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let hash = || {
        let Scrape(text) = Scrape::of(at);
        let mut lines = text.lines();
        let info = lines.find(|it| it.starts_with("workspace_operator_settings_info{"));
        let hash = info.and_then(|it| it.split("hash=\"").nth(1)?.split('"').next());
        hash.unwrap_or_default().to_owned()
    };
    until("the settings are read", || !hash().is_empty()).await;
    let first = hash();
    world.settings(&[("PLATFORM_URL", "https://a.example.com")]);
    until("another hash", || hash() != first).await;
    world.settings(&[]);
    until("the same again", || hash() == first).await;

    let unrecorded = || Scrape::of(at).value("workspace_operator_settings_unrecorded");
    assert_eq!(unrecorded(), 0.0);
    world.kubectl(&["delete", "configmap", "workspace-fleet"]);
    until("it is missed", || unrecorded() == 1.0).await;
    world.kubectl(&["create", "configmap", "workspace-fleet"]);
    until("it is written", || unrecorded() == 0.0).await;
    assert!(!world.fleet("lastGood").is_empty());
}

/// A Pod that is Ready again is none that became Ready: hours would look like a slow start.
#[tokio::test]
async fn only_the_first_time_that_a_pod_is_ready_counts_as_a_start() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    world.workspace("alice", "{}");
    world.ready("alice").await;
    let counted = || Scrape::of(at).value("workspace_ready_seconds_count");
    until("it is counted", || counted() == 1.0).await;
    let crashed = world
        .cluster
        .crash_container(&world.namespace, "alice")
        .await;
    crashed.expect("it ran");
    let restarts =
        |it: &serde_json::Value| it["status"]["containerStatuses"][0]["restartCount"] == 1;
    world.until("pod", "alice", restarts).await;
    world.ready("alice").await;
    assert_eq!(counted(), 1.0);
}

#[tokio::test]
async fn every_metric_is_documented_as_it_is() {
    let mut world = World::without_operator().await;
    let (up, down) = (world.prefix("up"), world.prefix("down"));
    world.turn(&down, State::Unauthorized).await;
    world.registry(&up);
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    world.workspace("runs", "{}");
    world.ready("runs").await;
    // Labels are seen only of what has been counted.
    world.settings(&[
        ("MOLECULE_IMAGE_REGISTRY", &down),
        ("NEXT_MOLECULE_IMAGE_REGISTRY", &world.prefix("next")),
        ("PREPULL", "true"),
        ("ROLLOUT", "Paced"),
    ]);
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    let is_counted = |_: &World| {
        let families = Scrape::of(at).families();
        let mut labelled = DOCUMENTED.iter().filter(|it| !it.labels.is_empty());
        labelled.all(|it| {
            families
                .get(it.name)
                .is_some_and(|(_, _, labels)| !labels.is_empty())
        })
    };
    world.holds("each metric", is_counted).await;
    let families = Scrape::of(at).families();
    let names: Vec<_> = families.keys().cloned().collect();
    let mut documented: Vec<_> = DOCUMENTED.iter().map(|it| it.name).collect();
    documented.sort_unstable();
    assert_eq!(names, documented);
    for metric in DOCUMENTED {
        let (kind, help, labels) = &families[metric.name];
        let expected = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(kind, expected, "{}", metric.name);
        assert_eq!(*help, format!("{}.", metric.meaning), "{}", metric.name);
        let mut expected: Vec<_> = metric.labels.to_vec();
        expected.sort_unstable();
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            expected,
            "{}",
            metric.name
        );
    }
}

#[tokio::test]
async fn each_asker_gets_the_format_that_it_reads() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let open = get(at, "/metrics", OPEN_METRICS);
    assert!(
        open.kind
            .starts_with("application/openmetrics-text; version=1.0.0"),
        "{}",
        open.kind
    );
    assert!(open.text.ends_with("# EOF\n"));
    let plain = get(at, "/metrics", "text/plain");
    assert!(
        plain.kind.starts_with("text/plain; version=0.0.4"),
        "{}",
        plain.kind
    );
    assert!(!plain.text.contains("# EOF"));
    assert_eq!(get(at, "/", "*/*").status, 404);
}

/// As the kubelet asks, whichever of the two its cluster has.
#[tokio::test]
async fn both_ipv4_and_ipv6_are_answered_on_the_address_of_the_manifests() {
    let mut world = World::without_operator().await;
    let manifest = include_str!("../../deploy/base/deployment.yaml");
    let flag = (manifest.lines()).find_map(|it| it.trim().strip_prefix("- --metrics-address="));
    let any_port = flag.expect("the flag").replace(":8080", ":0");
    world.start_with(&["--metrics-address", &any_port], &[]);
    let port = address(&world.logged("serving metrics").await).port();
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().expect("an address");
        assert_eq!(get((host, port).into(), "/healthz", "*/*").status, 200);
    }
}

/// The kubelet would restart an operator that others keep from answering it.
#[tokio::test]
async fn those_who_connect_and_say_nothing_keep_nobody_out() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let mut half = TcpStream::connect(at).expect("it listens");
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
        .expect("it reads");
    let mut silent = VecDeque::from([half]);
    for _ in 0..10 {
        for _ in 0..200 {
            silent.push_back(TcpStream::connect(at).expect("it listens"));
        }
        // They come back as they are thrown out.
        while silent.len() > 200 {
            silent.pop_front();
        }
        let start = Instant::now();
        assert_eq!(get(at, "/healthz", "*/*").status, 200);
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn an_operator_is_ready_when_it_sees_all_and_says_what_it_does_not_see() {
    let mut world = World::without_operator().await;
    let link = world.link();
    link.refuse(true);
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let ready = || get(at, "/readyz", "*/*");
    let waiting = ready();
    assert_eq!(waiting.status, 503);
    assert!(waiting.text.contains("workspaces"), "{}", waiting.text);
    assert_eq!(get(at, "/healthz", "*/*").status, 200, "it lives");

    link.refuse(false);
    until("it is ready", || ready().status == 200).await;
    assert_eq!(ready().text, "ok: leading\n");

    link.refuse(true);
    link.cut();
    until("it misses the watches", || ready().status == 503).await;
    until("it misses all of them", || {
        [
            "pods",
            "workspaces",
            "services",
            "persistentvolumeclaims",
            "workspace-settings",
        ]
        .iter()
        .all(|it| ready().text.contains(it))
    })
    .await;
    assert_eq!(
        get(at, "/healthz", "*/*").status,
        200,
        "a restart would not help"
    );
    link.refuse(false);
    until("it is ready again", || ready().status == 200).await;
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_about_the_metrics() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    world.workspace("alice", "{}");
    world.ready("alice").await;
    let promtool = cluster::tool("promtool").expect("it is built");
    let check = |text: &str| {
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool runs");
        let mut input = check.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).expect("it reads");
        drop(input);
        let output = check.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let Scrape(text) = Scrape::of(at);
    assert_eq!(check(&text), (true, String::new()));
    let bad = text.replace("workspace_rollouts_total", "workspace_rollouts");
    assert!(!check(&bad).0, "it looks");
}
