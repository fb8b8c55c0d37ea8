//! The dashboard: each of its queries, asked of a real Prometheus that scrapes a running operator.

use std::path::Path;
use std::process::Command;

use cluster::State;
use serde_json::{Value, json};
use workspace_operator::metrics::DOCUMENTED;

use crate::fixture::World;
use crate::prometheus::{Prometheus, value};
use crate::scrape::{SERVING, address};

const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboard.json");

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

/// Where there are operators in several namespaces, one of them without a leader is not hidden behind
/// another that has one.
#[test]
fn the_leaders_are_told_by_namespace() {
    let queries = queries();
    let (_, query) = queries.iter().find(|it| it.0 == "Leaders").expect("it is");
    let series = |pod: &str, leads: u8| {
        let series = format!("workspace_operator_leader{{{pod}}}");
        json!({"series": series, "values": leads.to_string()})
    };
    let [with, without] = [r#"{namespace="a"}"#, r#"{namespace="b"}"#];
    let test = json!({"tests": [{
        "input_series": [
            series(r#"namespace="a",pod="x""#, 1), series(r#"namespace="a",pod="y""#, 0),
            series(r#"namespace="b",pod="x""#, 0), series(r#"namespace="b",pod="y""#, 0),
        ],
        "promql_expr_test": [{
            "expr": query, "eval_time": "0s",
            "exp_samples": [{"labels": with, "value": 1}, {"labels": without, "value": 0}],
        }],
    }]});
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("leaders.test.json");
    std::fs::write(&file, test.to_string()).expect("it is written");
    let promtool = cluster::tool("promtool").expect("it is built");
    let tested = Command::new(promtool)
        .args(["test", "rules"])
        .arg(&file)
        .output();
    let tested = tested.expect("promtool runs");
    assert!(tested.status.success(), "{tested:?}");
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer() {
    let mut world = World::without_operator().await;
    let (down, next) = (world.prefix("down"), world.prefix("next"));
    world.turn(&down, State::Unauthorized).await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let mut prometheus = Prometheus::start(&world.namespace, &[at], None);
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
    prometheus.stop().await;
}
