//! `kubectl workspace status`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cluster::{Process, Signal, State};
use serde_json::json;

use crate::bed::{REGISTRY, assert_says};
use crate::fixture::{PATIENCE, World, host};

#[tokio::test]
async fn a_fleet_that_is_well_is_yes_and_one_that_is_stuck_is_no() {
    let world = World::new().await;
    let first = world.running(&["a", "b", "c"]).await;
    let well = world.plugin(&["status"]);
    assert_eq!(well.code, 0, "{well:?}");
    assert_says(
        &well.stdout,
        &[
            &format!("Registry in force: {first}, since 20"),
            "Workspaces: 3; Ready: 3, stuck: 0, under way: 0, suspended: 0\n",
        ],
    );
    assert_eq!(well.stderr, "");

    world.get_stuck(&first, &["b", "c"]).await;
    world.recorded("pullFailures").await;
    let stuck = world.plugin(&["status"]);
    assert_eq!(stuck.code, 1, "{stuck:?}");
    let refused = format!("{} answered 401 Unauthorized", host(&first));
    assert_says(
        &stuck.stdout,
        &[
            "Workspaces: 3; Ready: 1, stuck: 2, under way: 0, suspended: 0\n",
            &format!("{refused}: an outage, since 20"),
            &format!("would not survive the loss of their Pod: 1, because {refused}"),
            "ImagePullFailed",
        ],
    );
    let row = |name: &str, cells: &[&str]| {
        let words: Vec<_> = cells.iter().map(ToString::to_string).collect();
        let found = stuck
            .stdout
            .lines()
            .find(|it| it.split_whitespace().next() == Some(name));
        let found = found.unwrap_or_else(|| panic!("no row of {name}:\n{}", stuck.stdout));
        let cells: Vec<_> = found
            .split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect();
        assert_eq!(cells[..words.len()], words, "{found}");
    };
    row("REGISTRY", &["RUNNING", "STUCK", "AT", "RISK"]);
    row(host(&first), &["1", "2", "1"]);

    let told = world.plugin_json(1, &["status"]);
    assert_eq!(told["settings"]["registry"], json!(first));
    assert_eq!(
        (&told["workspaces"], &told["ready"], &told["stuck"]),
        (&json!(3), &json!(1), &json!(2))
    );
    let registries = json!([{"registry": host(&first), "running": 1, "stuck": 2, "atRisk": 1}]);
    assert_eq!(told["registries"], registries);
    let names = told["stuckWorkspaces"].as_array().expect("they are named");
    let names: Vec<_> = names.iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["b", "c"]);
    let since = &told["pullFailures"][0]["since"];
    assert_eq!(
        *since,
        world.plugin_json(1, &["status"])["pullFailures"][0]["since"]
    );

    let yaml = world.plugin(&["status", "-o", "yaml"]);
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml.stdout).expect("it is YAML");
    assert_eq!(yaml, world.plugin_json(1, &["status"]));
}

#[tokio::test]
async fn the_outdated_are_named_and_count_when_that_is_asked() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    let before = world.plugin(&["status", "--all", "--outdated"]);
    assert_eq!(before.code, 0, "{before:?}");
    assert_says(&before.stdout, &["None is outdated."]);

    let second = world.prefix("second");
    world.registry(&second);
    world.in_force(&second).await;
    let after = world.plugin(&["status", "--outdated"]);
    assert_eq!(after.code, 0, "what runs is not stuck: {after:?}");
    let image = |prefix: &str| format!("{prefix}/workspace-template-codex:latest");
    assert_says(
        &after.stdout,
        &["; outdated: 2\n", &image(&first), &image(&second)],
    );
    let all = world.plugin(&["status", "--all"]);
    assert_eq!(all.code, 1, "{all:?}");
    assert!(
        !all.stdout.contains(&image(&first)),
        "not named unless asked: {}",
        all.stdout
    );
    let told = world.plugin_json(1, &["status", "--all", "--outdated"]);
    assert_eq!(told["outdated"], json!(2));
    let expected = json!({
        "namespace": world.namespace, "name": "a", "image": image(&first), "next": image(&second),
    });
    assert_eq!(told["outdatedWorkspaces"][0], expected);

    world.kubectl(&["delete", "pod", "a", "b"]);
    let waited = world.plugin(&["status", "--wait", "--all", "--timeout", "60s"]);
    assert_eq!(waited.code, 0, "{waited:?}");
    world.all_ready(2).await;
}

#[tokio::test]
async fn waiting_ends_when_nothing_is_stuck_and_with_its_timeout() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    world.get_stuck(&first, &["a"]).await;
    let late = world.plugin(&["status", "--wait", "--timeout", "1s"]);
    assert_eq!(late.code, 1, "{late:?}");
    assert_says(&late.stderr, &["stuck: 1"]);
    assert_says(&late.stdout, &["stuck: 1"]);

    let mut waiting = world.start_plugin(&["status", "--wait"]);
    let line = waiting.wait_for_line("stuck: 1", PATIENCE).await;
    line.expect("it says what it waits for");
    world.turn(&first, State::Up).await;
    let ended = waiting.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{:?}", waiting.lines());
    world.ready("a").await;
    let lines = waiting.lines().join("\n");
    assert!(
        !lines.contains('\x1b'),
        "no colour and no bar where it is piped: {lines}"
    );
}

#[tokio::test]
async fn watching_shows_each_change_until_it_is_interrupted() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let mut watching = world.start_plugin(&["status", "--watch"]);
    let first = watching
        .wait_for_line("Workspaces: 1; Ready: 1", PATIENCE)
        .await;
    first.expect("it shows what there is");
    world.workspace("b", "{runtime: hermes}");
    let next = watching
        .wait_for_line("Workspaces: 2; Ready: 2", PATIENCE)
        .await;
    next.expect("it shows the change");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shown = |it: &Process| {
        it.lines()
            .iter()
            .filter(|it| it.starts_with("Registry in force"))
            .count()
    };
    let before = shown(&watching);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        shown(&watching),
        before,
        "nothing changed: {:?}",
        watching.lines()
    );
    watching.signal(Signal::SIGINT).expect("it runs");
    let ended = watching.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(130), "{:?}", watching.lines());
}

#[tokio::test]
async fn rejected_settings_and_an_edit_that_nobody_took_are_told() {
    let mut world = World::new().await;
    let first = world.running(&["a"]).await;
    world.registry("https://mistyped.example.com/x");
    world.settings_refused("has a scheme").await;
    let rejected = world.plugin(&["status"]);
    assert_eq!(rejected.code, 0, "{rejected:?}");
    assert_says(
        &rejected.stdout,
        &[
            &format!("Registry in force: {first}"),
            "MOLECULE_IMAGE_REGISTRY is \"https://mistyped.example.com/x\", which has a scheme",
        ],
    );

    world.registry(&first);
    world
        .until("configmap", "workspace-fleet", |it| {
            it["data"]["error"].is_null()
        })
        .await;
    world.stop().await;
    let second = world.prefix("second");
    world.registry(&second);
    let awaited = world.plugin(&["status"]);
    assert_says(
        &awaited.stdout,
        &[
            &format!("Registry in force: {first}"),
            &format!("The settings name {second}; the operator has not taken that yet."),
        ],
    );
}

/// How a wait ends that has a second to wait, and what it says.
fn waited(world: &World, code: i32) -> String {
    let waited = world.plugin(&["status", "--wait", "--timeout", "1s"]);
    assert_eq!(waited.code, code, "{waited:?}");
    format!("{}{}", waited.stdout, waited.stderr)
}

#[tokio::test]
async fn waiting_does_not_end_before_the_settings_are_in_force_as_they_stand() {
    let mut world = World::new().await;
    let first = world.running(&["a"]).await;
    waited(&world, 0);
    world.stop().await;
    let second = world.prefix("second");
    let not_yet = "the settings, as they stand, are not in force";
    world.registry(&second);
    let said = waited(&world, 1);
    assert_says(
        &said,
        &[not_yet, &format!("The settings name {second}; the")],
    );

    // It need not be the registry.
    let url = ("PLATFORM_URL", "http://p.example.com");
    world.settings(&[(REGISTRY, &first), url]);
    let said = waited(&world, 1);
    let words = "The operator has not taken the settings yet, as they stand.";
    assert_says(&said, &[not_yet, words]);
    let told = world.plugin_json(1, &["status", "--wait", "--timeout", "1s"]);
    assert_eq!(told["settings"]["standing"], json!("awaited"));
    assert_eq!(world.plugin(&["status"]).code, 0, "none is stuck");

    let mut waiting = world.start_plugin(&["status", "--wait"]);
    let line = waiting.wait_for_line(not_yet, PATIENCE).await;
    line.expect("it says what it waits for");
    world.start();
    let ended = waiting.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{:?}", waiting.lines());
    assert!(world.fleet("lastGood").contains(url.1));
}

#[tokio::test]
async fn waiting_ends_where_the_settings_are_rejected() {
    let world = World::new().await;
    let first = world.running(&["a"]).await;
    world.registry("https://mistyped.example.com/x");
    // Until then it would be for ever.
    let rejected = world.plugin(&["status", "--wait", "--timeout", "0s"]);
    assert_eq!(rejected.code, 1, "{rejected:?}");
    let words = [
        "error: waiting would not end, as the settings are rejected until somebody mends them: ",
        "https://mistyped.example.com/x",
    ];
    assert_says(&rejected.stderr, &words);
    assert_says(&rejected.stdout, &["Workspaces: 1; Ready: 1"]);
    world.registry(&first);
    let mended = world.plugin(&["status", "--wait"]);
    assert_eq!(mended.code, 0, "{mended:?}");
    assert_eq!(world.fleet("error"), "");
}

#[tokio::test]
async fn without_a_record_no_registry_is_in_force() {
    let world = World::without_operator().await;
    let record = ["configmap", "workspace-fleet", "--ignore-not-found"];
    world.kubectl(&[&["delete"], &record[..]].concat());
    for code in [2, 0] {
        let told = world.plugin(&["status"]);
        assert_eq!(told.code, code, "{told:?}");
        assert_says(
            &told.stdout,
            &[
                "Registry in force: none is known\n",
                "there is no record of an operator",
                "outdated: not known",
            ],
        );
        world.workspace("a", "{runtime: codex}");
    }
    let said = waited(&world, 2);
    let words = "whether the settings are in force cannot be told: there is no record";
    assert_says(&said, &[words]);
}

#[tokio::test]
async fn all_namespaces_are_more_than_one() {
    let (world, other) = (World::new().await, World::new().await);
    world.running(&["a"]).await;
    other.running(&["b", "c"]).await;
    let one = world.plugin_json(0, &["status"]);
    assert_eq!(one["workspaces"], json!(1));
    let args = ["status", "-A", "-o", "json"];
    let all = world.plugin(&args);
    let all: serde_json::Value = serde_json::from_str(&all.stdout).expect("it prints JSON");
    assert!(all["workspaces"].as_u64() >= Some(3), "{all}");
}

#[tokio::test]
async fn a_watch_ends_when_nobody_listens_any_more() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let mut command = world.plugin_command(&["status", "--watch"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let listening = watching.stdout.take().expect("it is piped");
    let mut line = String::new();
    let mut listening = BufReader::new(listening);
    listening.read_line(&mut line).expect("it says something");
    assert!(line.starts_with("Registry in force: "), "{line}");
    drop(listening);
    world.workspace("b", "{runtime: codex}");
    let start = Instant::now();
    while watching.try_wait().expect("it can be asked").is_none() && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watching.kill().ok();
    let status = watching.wait().expect("it has ended");
    assert_eq!(status.code(), Some(0));
}
