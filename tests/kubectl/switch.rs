//! `kubectl workspace switch`, there and back.

use std::time::Duration;

use cluster::State;
use serde_json::{Value, json};

use crate::bed::{REGISTRY, assert_says};
use crate::fixture::{PATIENCE, World, image, uid};

/// Who owns which keys of the settings, by server-side apply or any other write.
fn owners(world: &World) -> Vec<(String, String)> {
    let args = [
        "get",
        "configmap",
        "workspace-settings",
        "--show-managed-fields",
        "-o",
        "json",
    ];
    let map: Value = serde_json::from_str(&world.kubectl(&args)).expect("kubectl prints JSON");
    let managed = map["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut owners = Vec::new();
    for entry in managed {
        let data = entry["fieldsV1"]["f:data"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let manager = entry["manager"].as_str().unwrap_or_default().to_owned();
        let keys = data
            .keys()
            .filter_map(|it| it.strip_prefix("f:"))
            .filter(|it| *it != ".");
        owners.extend(keys.map(|it| (it.to_owned(), manager.clone())));
    }
    owners.sort();
    owners
}

#[tokio::test]
async fn the_stuck_are_freed_and_what_runs_is_not_touched() {
    let world = World::new().await;
    let first = world.running(&["a", "b", "c", "d"]).await;
    world.get_stuck(&first, &["c", "d"]).await;
    world.workspace("odd", "{runtime: zed}");
    world.state("odd", "UnknownRuntime").await;
    let before = world.versions(&["a", "b"]);
    let pods = [world.get("pod", "c"), world.get("pod", "d")];
    let second = world.prefix("second");

    let switched = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(switched.code, 0, "{switched:?}");
    assert_says(
        &switched.stderr,
        &[
            &format!("Switch from {first} to {second}:"),
            "Workspaces: 5; of them take an image from there at their next rollout: 4",
            "stuck, and freed by it: 2",
            "running: 2; none of them is touched",
            "Ready: 2 of 2",
        ],
    );
    let said = format!("In force: {second}. All that were stuck are Ready: 2.\n");
    assert_eq!(switched.stdout, said);
    assert_eq!(world.named(), second);
    assert_eq!(world.fleet("previousRegistry"), first);
    assert_eq!(world.versions(&["a", "b"]), before);
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().expect("it has a name");
        let now = world.ready(name).await;
        assert_eq!(
            now["metadata"]["uid"], pod["metadata"]["uid"],
            "healed in place"
        );
        assert!(image(&now).starts_with(&format!("{second}/")), "{now}");
    }

    // Again: there is nothing to do, and that is a yes.
    let again = world.plugin_json(0, &["switch", &second, "--yes"]);
    assert_eq!(
        (&again["edited"], &again["to"]),
        (&json!(false), &json!(second))
    );
}

#[tokio::test]
async fn back_is_to_the_registry_before_and_back_again() {
    let mut world = World::without_operator().await;
    let first = world.prefix("first");
    world.registry(&first);
    world.start();
    world.running(&["a"]).await;
    let none = world.plugin(&["switch", "--back", "--yes"]);
    assert_eq!(none.code, 1, "{none:?}");
    assert_says(&none.stderr, &["no registry was in force before this one"]);

    let second = world.prefix("second");
    for (args, from, to) in [
        ([second.as_str()], &first, &second),
        (["--back"], &second, &first),
        (["--back"], &first, &second),
    ] {
        let told = world.plugin_json(0, &["switch", args[0], "--yes"]);
        assert_eq!((&told["from"], &told["to"]), (&json!(from), &json!(to)));
        assert_eq!(told["edited"], json!(true));
        assert_eq!(
            (world.named(), world.fleet("registry")),
            (to.clone(), to.clone())
        );
    }
}

#[tokio::test]
async fn other_keys_stay_with_those_who_wrote_them() {
    let world = World::new().await;
    let (first, second) = (world.prefix("first"), world.prefix("second"));
    let create = ["create", "configmap", "workspace-settings"];
    let literals = [
        format!("--from-literal={REGISTRY}={first}"),
        "--from-literal=PLATFORM_URL=http://platform.example.com".to_owned(),
    ];
    world.kubectl(&[&create[..], &[&literals[0], &literals[1]]].concat());
    world.in_force(&first).await;
    let done = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(done.code, 0, "what kubectl created is a person's: {done:?}");
    let expected = [
        (REGISTRY, "kubectl-workspace-switch"),
        ("PLATFORM_URL", "kubectl-create"),
    ];
    let mut expected = expected.map(|(key, by)| (key.to_owned(), by.to_owned()));
    expected.sort();
    assert_eq!(owners(&world), expected);
    assert_eq!(
        world.get("configmap", "workspace-settings")["data"]["PLATFORM_URL"],
        json!("http://platform.example.com")
    );
}

#[tokio::test]
async fn settings_that_are_absent_are_created() {
    let world = World::new().await;
    world.in_force("ghcr.io/molecule-ai").await;
    let prefix = world.prefix("first");
    let done = world.plugin(&["switch", &prefix, "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_says(&done.stderr, &["Switch from ghcr.io/molecule-ai to "]);
    assert_eq!(
        (world.named(), world.fleet("registry")),
        (prefix.clone(), prefix)
    );
    assert_eq!(world.fleet("previousRegistry"), "ghcr.io/molecule-ai");
    let expected = (REGISTRY.to_owned(), "kubectl-workspace-switch".to_owned());
    assert_eq!(owners(&world), [expected]);
    let args = ["get", "configmap", "workspace-settings", "-o"];
    let operations = "jsonpath={.metadata.managedFields[*].operation}";
    let shown = [&args[..], &[operations, "--show-managed-fields"]].concat();
    assert_eq!(world.kubectl(&shown), "Apply");
}

#[tokio::test]
async fn a_fleet_that_is_moved_is_told_so_and_so_is_one_that_is_held() {
    let world = World::new().await;
    let [first, second, third] = ["first", "second", "third"].map(|it| world.prefix(it));
    let held = [("ROLLOUT", "Paced"), ("ROLLOUT_PAUSED", "true")];
    world.settings(&[&[(REGISTRY, first.as_str())][..], &held].concat());
    world.in_force(&first).await;
    let names = ["a", "b"];
    for name in names {
        world.workspace(name, "{runtime: codex}");
    }
    world.all_ready(2).await;
    let before = world.versions(&names);
    let uids = names.map(|it| uid(&world.get("pod", it)).to_owned());
    let switch = |to: &str, expected: Value, words: &str| {
        let switched = world.plugin(&["switch", to, "--yes", "-o", "json"]);
        assert_eq!(switched.code, 0, "{switched:?}");
        assert_says(&switched.stderr, &[words]);
        let told: Value = serde_json::from_str(&switched.stdout).expect("it is JSON");
        let told = ["paced", "paused", "touched"].map(|it| told[it].clone());
        assert_eq!(json!(told), expected);
    };
    let words = "running: 2; none of them is touched while ROLLOUT_PAUSED is true";
    switch(&second, json!([true, true, 0]), words);
    // Time enough for what must not come.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.versions(&names), before);

    let on = async |prefix: &str| {
        for name in names {
            let is = |it: &Value| image(it).starts_with(prefix);
            world.until("pod", name, is).await;
        }
        world.all_ready(2).await;
    };
    let goes_on = r#"{"data": {"ROLLOUT_PAUSED": "false"}}"#;
    let settings = ["configmap", "workspace-settings"];
    world.kubectl(&[&["patch"][..], &settings, &["--type=merge", "-p", goes_on]].concat());
    on(&second).await;
    let words = "running: 2; they are moved a few at a time, once their image is proved";
    switch(&third, json!([true, false, 0]), words);
    on(&third).await;
    let now = names.map(|it| uid(&world.get("pod", it)).to_owned());
    assert_eq!(now, uids, "in place");
}

#[tokio::test]
async fn back_undoes_what_was_not_taken_and_goes_nowhere_where_it_cannot_tell() {
    let mut world = World::new().await;
    let first = world.running(&["a"]).await;
    let second = world.prefix("second");
    for to in [second.as_str(), "--back"] {
        let done = world.plugin(&["switch", to, "--yes"]);
        assert_eq!(done.code, 0, "{done:?}");
    }
    let record = ["registry", "previousRegistry"].map(|it| world.fleet(it));
    assert_eq!(record, [first.clone(), second.clone()]);
    world.stop().await;

    // The settings name the one before, as they also would after a way back.
    let there = world.plugin(&["switch", &second, "--yes", "--timeout", "1s"]);
    assert_eq!(
        (there.code, world.named()),
        (1, second.clone()),
        "{there:?}"
    );
    let back = ["switch", "--back", "--yes", "--timeout", "1s"];
    let undone = world.plugin(&back);
    assert_eq!(
        (undone.code, world.named()),
        (0, first.clone()),
        "{undone:?}"
    );
    let words = format!("Stay with {first}, and undo the edit to {second}, which is not taken:");
    assert_says(&undone.stderr, &[&words]);

    // Whoever wrote it by hand may have meant either.
    world.registry(&second);
    let unclear = world.plugin(&back);
    assert_eq!(
        (unclear.code, world.named()),
        (2, second.clone()),
        "{unclear:?}"
    );
    let words = format!("error: whether back is {first}, which is in force, or {second}, ");
    let say_which = "cannot be told: say which, as in kubectl workspace switch";
    assert_says(&unclear.stderr, &[&words, say_which]);
    let named = world.plugin(&["switch", &first, "--yes"]);
    assert_eq!((named.code, world.named()), (0, first), "{named:?}");
}

#[tokio::test]
async fn a_registry_that_fails_too_is_told_and_the_answer_is_no() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let second = world.prefix("second");
    world.turn(&second, State::NotFound).await;
    let done = world.plugin(&["switch", &second, "--yes", "--timeout", "15s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_says(
        &done.stderr,
        &[&format!(
            "does not have it; to go back: kubectl workspace switch {first}"
        )],
    );
    let left = format!("Ready: 0; not Ready: 1 ({}/b).", world.namespace);
    assert_says(
        &done.stdout,
        &[
            &left,
            &format!("Go on waiting: kubectl workspace switch {second}."),
            &format!("Go back: kubectl workspace switch {first}\n"),
        ],
    );

    world.turn(&first, State::Up).await;
    let back = world.plugin(&["switch", "--back", "--yes"]);
    assert_eq!(back.code, 0, "{back:?}");
    world.ready("b").await;
}

#[tokio::test]
async fn without_an_operator_the_edit_is_made_and_the_answer_is_no() {
    let mut world = World::new().await;
    world.running(&["a"]).await;
    world.stop().await;
    let second = world.prefix("second");
    let done = world.plugin(&["switch", &second, "--yes", "--timeout", "2s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_says(
        &done.stderr,
        &["no operator has taken that: is one running?"],
    );
    assert_eq!(world.named(), second);
    world.start();
    let again = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(again.code, 0, "{again:?}");
}

#[tokio::test]
async fn back_from_what_no_operator_has_taken_is_to_what_is_in_force() {
    let mut world = World::new().await;
    let first = world.running(&["a"]).await;
    let (second, third) = (world.prefix("second"), world.prefix("third"));
    let there = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(there.code, 0, "{there:?}");
    world.stop().await;
    let done = world.plugin(&["switch", &third, "--yes", "--timeout", "2s"]);
    assert_eq!((done.code, world.named()), (1, third.clone()), "{done:?}");
    assert_eq!(world.fleet("previousRegistry"), first);
    let back = world.plugin(&["switch", "--back", "--yes"]);
    assert_eq!((back.code, world.named()), (0, second.clone()), "{back:?}");
    let undone = format!("Stay with {second}, and undo the edit to {third}, which is not taken:");
    assert_says(&back.stderr, &[&undone]);
}

#[tokio::test]
async fn back_that_was_not_taken_yet_is_followed_when_it_is_run_again() {
    let mut world = World::new().await;
    let first = world.running(&["a"]).await;
    let second = world.prefix("second");
    let there = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(there.code, 0, "{there:?}");
    world.stop().await;
    for said in [
        format!("Switch from {second} to {first}:"),
        format!("The settings name {first} already; in force: {second}."),
    ] {
        let back = world.plugin(&["switch", "--back", "--yes", "--timeout", "2s"]);
        assert_eq!((back.code, world.named()), (1, first.clone()), "{back:?}");
        assert_says(&back.stderr, &[&said]);
    }
    world.start();
    world.in_force(&first).await;
}

#[tokio::test]
async fn a_switch_that_somebody_else_undoes_says_so() {
    let mut world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let (second, third) = (world.prefix("second"), world.prefix("third"));
    world.turn(&second, State::Unauthorized).await;
    for has_operator in [true, false] {
        let until = match has_operator {
            true => "Ready: 0 of 1",
            false => "waiting for the operator to take it",
        };
        if !has_operator {
            world.stop().await;
        }
        let mut switching = world.start_plugin(&["switch", &second, "--yes"]);
        let line = switching.wait_for_line(until, PATIENCE).await;
        line.expect("it follows");
        world.registry(&third);
        let ended = switching.wait(PATIENCE).await.expect("it ends");
        let said = switching.lines().join("\n");
        assert_eq!(ended.code(), Some(1), "{said}");
        let undone = format!("they name {third}, and no longer {second}");
        assert_says(&said, &["somebody has edited the settings since", &undone]);
        if has_operator {
            world.in_force(&third).await;
        }
    }
}

#[tokio::test]
async fn a_switch_that_was_interrupted_can_be_run_again() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let second = world.prefix("second");
    world.turn(&second, State::Unauthorized).await;
    let mut switching = world.start_plugin(&["switch", &second, "--yes"]);
    let line = switching.wait_for_line("Ready: 0 of 1", PATIENCE).await;
    line.expect("it follows");
    switching.signal(cluster::Signal::SIGINT).expect("it runs");
    let ended = switching.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(130), "{:?}", switching.lines());
    let said = switching.lines().join("\n");
    assert_says(
        &said,
        &[
            "interrupted: the edit is made, and the operator goes on with it",
            &format!("follow with kubectl workspace switch {second}, or"),
            &format!("go back with kubectl workspace switch {first}"),
        ],
    );
    assert_eq!(world.named(), second);

    world.turn(&second, State::Up).await;
    let again = world.plugin(&["switch", &second, "--yes"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_says(
        &again.stderr,
        &[&format!("The settings name {second} already")],
    );
    let version = |it: &Value| it["metadata"]["resourceVersion"].clone();
    let settings = world.get("configmap", "workspace-settings");
    world.plugin_json(0, &["switch", &second, "--yes"]);
    assert_eq!(
        version(&world.get("configmap", "workspace-settings")),
        version(&settings)
    );
    world.ready("b").await;
}

#[tokio::test]
async fn every_format_says_the_same() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let yaml = |args: &[&str]| -> Value {
        let output = world.plugin(&[args, &["-o", "yaml"]].concat());
        assert_eq!(output.code, 0, "{args:?}: {output:?}");
        serde_saphyr::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let second = world.prefix("second");
    let switched = yaml(&["switch", &second, "--yes"]);
    assert_eq!(
        (&switched["to"], &switched["edited"]),
        (&json!(second), &json!(true))
    );
    let counts =
        ["workspaces", "affected", "running", "freed", "ready"].map(|it| switched[it].clone());
    assert_eq!(counts, [1, 1, 1, 0, 0].map(Value::from));
    let moved = ["paced", "paused", "touched"].map(|it| switched[it].clone());
    assert_eq!(moved, [json!(false), json!(false), json!(0)]);
    let a = json!([format!("{}/a", world.namespace)]);
    for act in ["restart", "suspend", "resume"] {
        let done = yaml(&[act, "a"]);
        assert_eq!(
            (&done["done"], &done["untouched"]),
            (&a, &json!([])),
            "{act}"
        );
    }
    let again = world.plugin_json(0, &["switch", &second, "--yes"]);
    assert_eq!(again, yaml(&["switch", &second, "--yes"]));
}
