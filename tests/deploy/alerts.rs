//! The alerts: each fires when it should, speaks of metrics that there are, and has its section in
//! the runbook.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use workspace_operator::metrics::{DOCUMENTED, Documented};
use workspace_operator::workspace::Reason;

use crate::bed::{folder, run, tool};
use crate::objects::objects;

/// An example's, which people replace.
pub const RUNBOOK: &str = "https://runbooks.example.com/workspace-operator";
const TESTS: &str = include_str!("alerts.test.yaml");

fn groups() -> Value {
    let file = std::fs::read_to_string(folder("chart/files/alerts/alerts.yaml"));
    let rule =
        objects(&file.expect("the PrometheusRule")).remove("PrometheusRule workspace-operator");
    rule.expect("it is one")["spec"]["groups"].take()
}

fn alerts() -> Vec<Value> {
    let groups = groups();
    let groups = groups.as_array().expect("a list");
    let rules = groups.iter().flat_map(|it| it["rules"].as_array());
    rules.flatten().cloned().collect()
}

fn text<'a>(rule: &'a Value, pointer: &str) -> &'a str {
    rule.pointer(pointer)
        .and_then(Value::as_str)
        .expect("a text")
}

#[tokio::test]
async fn each_fires_when_it_should_and_only_then() {
    let promtool = tool("promtool").await;
    let rules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alerts.rules.yaml");
    std::fs::write(&rules, json!({"groups": groups()}).to_string()).expect("it is written");
    let tests = rules.with_file_name("alerts.test.yaml");
    std::fs::write(&tests, TESTS).expect("it is written");
    run(Command::new(&promtool)
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(&rules));
    run(Command::new(&promtool).args(["test", "rules"]).arg(&tests));
    for rule in alerts() {
        let alert = text(&rule, "/alert");
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(TESTS.contains(&fires), "{alert} is never seen to fire");
        let silent = format!("alertname: {alert}}}");
        assert!(
            TESTS.contains(&silent),
            "{alert} is never seen to be silent"
        );
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
}

/// The metrics that an expression selects from, each with what stands between its braces.
fn selected(expr: &str) -> Vec<(&Documented, &str)> {
    let mut selected = Vec::new();
    let mut rest = expr;
    while let Some(name) = words(rest).find(|it| it.starts_with("workspace_")) {
        let metric = name.trim_end_matches("_bucket");
        let known = DOCUMENTED.iter().find(|it| it.name == metric);
        let known = known.unwrap_or_else(|| panic!("{name} in {expr}"));
        rest = rest.split_once(name).map_or("", |it| it.1);
        let inside = rest.strip_prefix('{').and_then(|it| it.split_once('}'));
        selected.push((known, inside.map_or("", |it| it.0)));
    }
    selected
}

#[test]
fn they_speak_of_metrics_and_labels_that_there_are() {
    for rule in alerts() {
        let expr = text(&rule, "/expr");
        let selected = selected(expr);
        assert!(!selected.is_empty(), "{expr}");
        for label in ["registry", "state", "stalled", "valid"] {
            let has = |it: &Documented| it.labels.contains(&label);
            for (metric, inside) in &selected {
                let used = words(inside).any(|it| it == label);
                assert!(!used || has(metric), "{label} of {} in {expr}", metric.name);
            }
            let used = words(expr).any(|it| it == label);
            let known = selected.iter().any(|it| has(it.0));
            assert!(!used || known, "{label} in {expr}");
        }
    }
}

/// A new state counts as stuck until someone says that it is not.
#[test]
fn the_states_that_are_no_trouble_are_states() {
    let rules = alerts();
    let stuck = rules.iter().find(|it| it["alert"] == "WorkspaceStuck");
    let expr = text(stuck.expect("the alert"), "/expr");
    let lists = expr.split("state!~\"").chain(expr.split("state=~\""));
    let lists = lists.filter(|it| !it.starts_with("sum"));
    let lists = lists.filter_map(|it| it.split('"').next());
    let states: Vec<_> = lists.flat_map(|it| it.split('|')).collect();
    assert!(states.len() > 10, "{states:?}");
    for state in states.into_iter().filter(|it| *it != "New") {
        let known = serde_json::from_value::<Reason>(json!(state));
        assert!(known.is_ok(), "{state} is no state");
    }
}

#[test]
fn each_has_a_section_in_the_runbook_and_each_section_an_alert() {
    let runbook = std::fs::read_to_string(folder("RUNBOOK.md")).expect("the runbook");
    let sections: Vec<_> = runbook
        .lines()
        .filter_map(|it| it.strip_prefix("## "))
        .collect();
    let rules = alerts();
    let names: Vec<_> = rules.iter().map(|it| text(it, "/alert")).collect();
    let (mut told, mut all) = (sections.clone(), names.clone());
    told.sort_unstable();
    all.sort_unstable();
    assert_eq!(told, all);
    for (rule, name) in rules.iter().zip(names) {
        let url = text(rule, "/annotations/runbook_url");
        assert_eq!(url, format!("{RUNBOOK}#{}", name.to_lowercase()));
    }
}
