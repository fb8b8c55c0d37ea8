//! The dashboard: each of its queries, asked of a real Prometheus that scrapes a running operator.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Process, Signal, State};
use serde_json::{Value, json};
use workspace_operator::metrics::DOCUMENTED;

use crate::fixture::{PATIENCE, World};
use crate::scrape::{SERVING, address};

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboard.json");

/// A Prometheus with one target.
struct Prometheus {
    process: Process,
    url: String,
    promtool: PathBuf,
}

impl Prometheus {
    fn start(world: &World, target: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&world.namespace);
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{
                "job_name": "operator", "static_configs": [{"targets": [target]}],
            }],
        });
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string()).expect("it is written");
        let listen = free_address();
        let mut command = Command::new(cluster::tool("prometheus").expect("it is built"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={listen}"));
        Self {
            process: Process::spawn(&mut command).expect("it starts"),
            url: format!("http://{listen}"),
            promtool: cluster::tool("promtool").expect("it is built"),
        }
    }

    /// The result of a query at this moment; none while it does not serve yet.
    fn query(&self, query: &str) -> Vec<Value> {
        let output = Command::new(&self.promtool)
            .args(["query", "instant", "--format=json", &self.url, query])
            .output()
            .expect("promtool runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("bad_data"), "{query}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    async fn until(&self, query: &str, is: impl Fn(&[Value]) -> bool) {
        let start = Instant::now();
        loop {
            let found = self.query(query);
            if is(&found) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{query}: {found:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Prometheus cannot be told to take any port and say which.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has one").to_string()
}

/// Every query of the dashboard, with its panel, as Grafana would ask it.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let query = query
                .replace("$namespace", ".*")
                .replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "{title}: {query}");
            queries.push((title.to_owned(), query));
        }
    }
    queries
}

fn value(found: &[Value]) -> Option<&str> {
    found.first()?["value"][1].as_str()
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let queries = queries();
    let is_shown = |name: &str| {
        let not_a_name = |it: char| !it.is_ascii_alphanumeric() && it != '_';
        let mut words = queries.iter().flat_map(|(_, it)| it.split(not_a_name));
        words.any(|it| it.trim_end_matches("_bucket") == name)
    };
    let missing = DOCUMENTED.iter().filter(|it| !is_shown(it.name));
    let missing: Vec<_> = missing.map(|it| it.name).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer() {
    let mut world = World::without_operator().await;
    let (down, next) = (world.prefix("down"), world.prefix("next"));
    world.turn(&down, State::Unauthorized).await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let mut prometheus = Prometheus::start(&world, &at.to_string());
    // A rate needs a sample from before.
    prometheus
        .until("up", |found| value(found) == Some("1"))
        .await;
    world.workspace("fine", "{rollout: {policy: OnRestart}}");
    world.workspace("blocked", "{}");
    world.all_ready(2).await;
    world.settings(&[
        ("MOLECULE_IMAGE_REGISTRY", &down),
        ("ROLLOUT", "Paced"),
        ("ROLLOUT_MAX_UNAVAILABLE", "100%"),
        ("NEXT_MOLECULE_IMAGE_REGISTRY", &next),
        ("PREPULL", "true"),
    ]);
    world.in_force(&down).await;
    world.state("blocked", "RolloutBlocked").await;
    world.workspace("stuck", "{}");
    world.state("stuck", "ImagePullFailed").await;
    world.workspace("second", "{}");
    world.state("second", "ImagePullFailed").await;

    let all = queries();
    assert!(all.len() > 15, "{} queries", all.len());
    for (title, query) in &all {
        let finite = |found: &[Value]| value(found).is_some_and(|it| it != "NaN");
        println!("{title}: {query}");
        prometheus.until(query, finite).await;
    }
    for (title, expected) in [
        ("Ready", "1"),
        ("Registries that fail", "1"),
        ("At risk", "2"),
        ("Cannot pull", "2"),
        ("Not well", "3"),
        ("Settings", "0"),
        ("Leaders", "1"),
        ("Move", "0"),
        ("To move", "1"),
        ("Blocked", "1"),
        ("Not pulled yet", "0"),
    ] {
        let (_, query) = all.iter().find(|it| it.0 == title).expect("the panel");
        prometheus
            .until(query, |found| value(found) == Some(expected))
            .await;
    }
    prometheus.process.signal(Signal::SIGTERM).expect("it runs");
    prometheus.process.wait(PATIENCE).await.expect("it ends");
}
