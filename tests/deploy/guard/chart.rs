//! The schema of the chart's value `settings`, which a first installation passes before there is a
//! guard: what the parser takes is taken, and what it refuses is refused.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use workspace_operator::settings::{
    EXTRA_RUNTIMES_KEY, Environment, PIN_KEY_PREFIX, REGISTRY_KEY, Settings,
};

use super::parser::keys::FIXED;
use super::{Data, parser::samples, values};
use crate::bed::{folder, tool};

/// A chart of nothing but values, of which each has the schema of the settings.
fn chart_of_settings() -> TempDir {
    let chart = tempfile::tempdir().expect("a folder");
    let schema = std::fs::read_to_string(folder("chart/values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let settings = &schema["properties"]["settings"];
    assert_eq!(settings["type"], "object");
    for (name, text) in [
        (
            "Chart.yaml",
            json!({"apiVersion": "v2", "name": "settings", "version": "0.1.0"}),
        ),
        (
            "values.schema.json",
            json!({"additionalProperties": settings}),
        ),
    ] {
        std::fs::write(chart.path().join(name), text.to_string()).expect("it is written");
    }
    chart
}

/// Which of these Helm refuses, all of them asked at once.
async fn refused(all: &[Data]) -> BTreeSet<usize> {
    let chart = chart_of_settings();
    let named = all.iter().enumerate();
    let named: serde_json::Map<_, _> = named.map(|(n, it)| (format!("n{n}"), json!(it))).collect();
    let values = chart.path().join("of-this-test.json");
    std::fs::write(&values, Value::from(named).to_string()).expect("it is written");
    let mut helm = Command::new(tool("helm").await);
    let output = helm.args(["template", "settings"]).arg(chart.path());
    let output = output.arg("--values").arg(&values).output();
    let said = String::from_utf8(output.expect("helm runs").stderr).expect("a text");
    assert!(said.contains("don't meet the specifications"), "{said}");
    let places = said.lines().filter_map(|it| it.strip_prefix("- at '/n"));
    let number = |it: &str| it.split(['/', '\'']).next().and_then(|it| it.parse().ok());
    places.map(|it| number(it).expect("a number")).collect()
}

/// A key without effect is a warning of the operator's, and refused by the chart.
fn has_effect(data: &Data) -> bool {
    let parsed = Settings::parse(data, &Environment::default());
    let known = |key: &String| match key.strip_prefix(PIN_KEY_PREFIX) {
        Some(runtime) => parsed.as_ref().is_ok_and(|it| it.settings.knows(runtime)),
        None => FIXED.contains(&key.as_str()),
    };
    parsed.is_err() || data.keys().all(known)
}

/// What no expression tells: a prefix that is too long for one of the other runtimes.
fn is_beyond_expressions(data: &Data) -> bool {
    let by_itself = |key: &String| {
        let alone = Data::from([(key.clone(), data[key].clone())]);
        Settings::parse(&alone, &Environment::default()).is_ok()
    };
    data.contains_key(REGISTRY_KEY)
        && data.contains_key(EXTRA_RUNTIMES_KEY)
        && data.keys().all(by_itself)
}

#[tokio::test]
async fn it_agrees_with_the_parser_on_every_value_of_the_table() {
    let all: Vec<_> = values::table().into_iter().filter(has_effect).collect();
    let refused = refused(&all).await;
    let parsed = |it: &Data| Settings::parse(it, &Environment::default());
    assert!(refused.len() > 100 && all.len() - refused.len() > 40);
    for (number, data) in all.iter().enumerate() {
        match (parsed(data), refused.contains(&number)) {
            (Ok(_), true) => panic!("refused though valid: {data:?}"),
            (Err(invalid), false) if !is_beyond_expressions(data) => {
                panic!("let pass: {data:?}: {invalid}")
            }
            _ => (),
        }
    }
}

#[tokio::test]
async fn what_has_no_effect_is_refused() {
    let typos = [
        "MOLECULE_IMAGE_REGISTERY",
        "pin_codex",
        "PIN_claude_code",
        "FUTURE",
    ];
    let all = typos.map(|key| samples::data(&[(key, "")]));
    assert_eq!(refused(&all).await, BTreeSet::from([0, 1, 2, 3]));
}
