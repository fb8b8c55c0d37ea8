//! `kubectl workspace restart`, `suspend` and `resume`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{Process, Signal, State};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::bed::{REGISTRY, assert_says};
use crate::fixture::{PATIENCE, World, image, uid};

/// Looks at the Pods of a namespace all the time, and remembers how many were missing or not Ready
/// at the worst moment.
struct Eye {
    worst: Arc<AtomicUsize>,
    looks: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Eye {
    fn on(world: &World, all: usize) -> Self {
        let eye = Self {
            worst: Arc::default(),
            looks: Arc::default(),
            over: Arc::default(),
        };
        let pods = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
        let (worst, looks) = (Arc::clone(&eye.worst), Arc::clone(&eye.looks));
        let over = Arc::clone(&eye.over);
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let listed = pods
                    .list(&ListParams::default())
                    .await
                    .expect("Pods are listed");
                let ready = listed.items.iter().filter(|it| is_ready(it)).count();
                worst.fetch_max(all - ready, Ordering::Relaxed);
                looks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        eye
    }

    fn worst(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        assert!(
            self.looks.load(Ordering::Relaxed) > 20,
            "it looked too seldom"
        );
        self.worst.load(Ordering::Relaxed)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|it| it.type_ == "Ready" && it.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

#[tokio::test]
async fn a_restart_is_paced_and_gives_each_another_pod() {
    let world = World::new().await;
    let names = ["a", "b", "c", "d", "e", "f"];
    world.running(&names).await;
    let before: Vec<_> = names.iter().map(|it| world.get("pod", it)).collect();
    for (budget, most) in [("1", 1), ("50%", 3)] {
        let eye = Eye::on(&world, names.len());
        let mut restart = world.start_plugin(&["restart", "--all", "--max-unavailable", budget]);
        let ended = restart.wait(PATIENCE).await.expect("it ends");
        let worst = eye.worst();
        assert_eq!(ended.code(), Some(0), "{:?}", restart.lines());
        assert!(
            (1..=most).contains(&worst),
            "{budget}: {worst} were unavailable at once"
        );
        let said = restart.lines().join("\n");
        assert_says(
            &said,
            &[
                "A restart does not fetch a new build under an old tag. For that: kubectl workspace \
             pin codex",
                &format!("{}/f restarted", world.namespace),
            ],
        );
    }
    for pod in before {
        let name = pod["metadata"]["name"].as_str().expect("it has a name");
        assert_ne!(uid(&world.ready(name).await), uid(&pod), "{name}");
    }
}

const FOUR: [&str; 4] = ["a", "b", "c", "d"];

/// Those of the four that are so.
fn those(world: &World, are: fn(&Value) -> bool) -> Vec<&'static str> {
    let those = FOUR.iter().filter(|it| are(&world.get("workspace", it)));
    those.copied().collect()
}

/// Begins to do something about all four, two at a time, while none comes to an end: then it is asked
/// of two, and of no more.
async fn two_at_once(world: &World, act: &str, is_asked: fn(&Value) -> bool) -> Process {
    let working = world.start_plugin(&[act, "--all", "--max-unavailable", "2"]);
    let line = working.wait_for_line("(under way: 2)", PATIENCE).await;
    line.unwrap_or_else(|error| panic!("{act}: {error:#}"));
    // Time enough for what must not come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(those(world, is_asked), ["a", "b"], "{act}");
    working
}

async fn is_done(mut working: Process) {
    let ended = working.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{:?}", working.lines());
}

#[tokio::test]
async fn as_many_as_may_be_are_under_way_and_no_more() {
    let world = World::new().await;
    let first = world.running(&FOUR).await;
    world.turn(&first, State::Unauthorized).await;
    let restart = two_at_once(&world, "restart", |it| {
        let annotation = "/metadata/annotations/molecule.ai~1restartedAt";
        it.pointer(annotation).is_some()
    });
    let restart = restart.await;
    world.turn(&first, State::Up).await;
    is_done(restart).await;

    let behaves = |name: &str, how: &str| {
        world.kubectl(&["annotate", "pod", name, "--overwrite", how]);
    };
    for name in FOUR {
        behaves(name, "kwok/behaviour=stuck-terminating");
    }
    let suspend = two_at_once(&world, "suspend", |it| it["spec"]["suspend"] == true).await;
    // Where one is over, the next comes.
    behaves("a", "kwok/behaviour-");
    world
        .until("workspace", "c", |it| it["spec"]["suspend"] == true)
        .await;
    assert_eq!(
        those(&world, |it| it["spec"]["suspend"] == true),
        ["a", "b", "c"]
    );
    for name in ["b", "c", "d"] {
        behaves(name, "kwok/behaviour-");
    }
    is_done(suspend).await;

    world.turn(&first, State::Unauthorized).await;
    let resume = two_at_once(&world, "resume", |it| it["spec"]["suspend"] != true).await;
    world.turn(&first, State::Up).await;
    is_done(resume).await;
    world.all_ready(4).await;
}

#[tokio::test]
async fn a_pin_is_offered_for_what_has_a_tag() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let pinned = format!("sha256:{}", "0".repeat(64));
    let offer = |spec: &str| {
        world.workspace("b", spec);
        let restart = world.plugin(&["restart", "b", "--timeout", "1s"]);
        restart.stderr.contains("kubectl workspace pin")
    };
    assert!(offer("{runtime: hermes}"));
    assert!(offer("{runtime: hermes, tag: v1}"));
    assert!(!offer(&format!("{{runtime: hermes, digest: '{pinned}'}}")));
    let first = world.fleet("registry");
    world.settings(&[(REGISTRY, &first), ("PIN_codex", &pinned)]);
    world
        .until("configmap", "workspace-fleet", |it| {
            it["data"]["lastGood"]
                .as_str()
                .is_some_and(|it| it.contains("PIN_codex"))
        })
        .await;
    let restart = world.plugin(&["restart", "a"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    assert!(!restart.stderr.contains("pin"), "{restart:?}");
}

#[tokio::test]
async fn one_that_is_down_counts_and_keeps_the_others_up() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.get_stuck(&first, &["b"]).await;
    let before = world.get("pod", "a");
    let restart = world.plugin(&["restart", "a", "b", "--timeout", "8s"]);
    assert_eq!(restart.code, 1, "{restart:?}");
    let (a, b) = (
        format!("{}/a", world.namespace),
        format!("{}/b", world.namespace),
    );
    assert_says(
        &restart.stdout,
        &[
            &format!("{a} untouched\n"),
            &format!("{b} not yet restarted ("),
        ],
    );
    assert_eq!(uid(&world.get("pod", "a")), uid(&before));

    let told = world.plugin_json(1, &["restart", "a", "b", "--timeout", "8s"]);
    assert_eq!(
        (&told["done"], &told["untouched"]),
        (&json!([]), &json!([a]))
    );
    assert!(told["underWay"][&b].is_string(), "{told}");

    world.turn(&first, State::Up).await;
    let told = world.plugin_json(0, &["restart", "a", "b"]);
    assert_eq!(told["done"], json!([a, b]));
}

#[tokio::test]
async fn a_restart_that_is_interrupted_says_who_is_left() {
    let world = World::new().await;
    let first = world.running(&["a", "b"]).await;
    world.turn(&first, State::Unauthorized).await;
    let mut restart = world.start_plugin(&["restart", "--all"]);
    let line = restart.wait_for_line("(under way: 1)", PATIENCE).await;
    line.expect("it begins");
    restart.signal(Signal::SIGINT).expect("it runs");
    let ended = restart.wait(PATIENCE).await.expect("it ends");
    let said = restart.lines().join("\n");
    assert_eq!(ended.code(), Some(130), "{said}");
    assert_says(
        &said,
        &["error: interrupted", "not yet restarted", "untouched"],
    );
    let touched = |name: &str| {
        let annotation = "/metadata/annotations/molecule.ai~1restartedAt";
        world.get("workspace", name).pointer(annotation).is_some()
    };
    assert!(touched("a") && !touched("b"), "one at a time, in order");
    world.turn(&first, State::Up).await;
}

#[tokio::test]
async fn who_is_meant_is_found_by_name_by_label_or_is_all() {
    let world = World::new().await;
    world.running(&["a", "b", "c"]).await;
    world.kubectl(&["label", "workspace", "b", "team=x"]);
    let done = |args: &[&str]| {
        let told = world.plugin_json(0, args);
        let done: Vec<String> = serde_json::from_value(told["done"].clone()).expect("names");
        let bare = |it: &String| it.split('/').nth(1).unwrap_or_default().to_owned();
        done.iter().map(bare).collect::<Vec<_>>()
    };
    assert_eq!(done(&["restart", "c", "a"]), ["a", "c"]);
    assert_eq!(done(&["restart", "-l", "team=x"]), ["b"]);
    assert_eq!(
        done(&["restart", "-l", "team!=x", "--max-unavailable", "2"]),
        ["a", "c"]
    );
    for (args, words) in [
        (
            ["restart", "-l", "team=y"],
            "no Workspace matches -l team=y",
        ),
        (
            ["suspend", "-l", "team=y"],
            "no Workspace matches -l team=y",
        ),
    ] {
        let nobody = world.plugin(&args);
        assert_eq!(nobody.code, 1, "{nobody:?}");
        assert_says(&nobody.stderr, &[words]);
    }

    let before = world.versions(&["a"]);
    let missing = world.plugin(&["restart", "a", "nobody"]);
    assert_eq!(missing.code, 1, "{missing:?}");
    assert_says(
        &missing.stderr,
        &["there is no Workspace nobody in the namespace"],
    );
    for wrong in [
        &["restart"][..],
        &["restart", "a", "--all"],
        &["restart", "a", "-A"],
        &["restart", "-A"],
        &["restart", "--all", "--max-unavailable", "0"],
        &["restart", "-l", "((("],
    ] {
        let wrong = world.plugin(wrong);
        assert_eq!(wrong.code, 2, "{wrong:?}");
    }
    assert_eq!(world.versions(&["a"]), before, "nothing was changed");
}

#[tokio::test]
async fn suspended_workspaces_have_no_pod_until_they_are_resumed() {
    let world = World::new().await;
    world.running(&["a", "b"]).await;
    let suspend = world.plugin(&["suspend", "--all"]);
    assert_eq!(suspend.code, 0, "{suspend:?}");
    assert_says(
        &suspend.stdout,
        &[&format!("{}/b suspended\n", world.namespace)],
    );
    let states = |it: &str| world.get("workspace", it)["status"]["state"].clone();
    assert_eq!(
        (states("a"), states("b")),
        (json!("Suspended"), json!("Suspended"))
    );
    assert_eq!(world.get("pod", "a"), Value::Null);

    let again = world.plugin(&["suspend", "a"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_says(&again.stderr, &["/a is suspended already."]);
    let restart = world.plugin(&["restart", "a"]);
    assert_says(
        &restart.stderr,
        &["/a is suspended, and starts anew when it is resumed."],
    );

    let second = world.prefix("second");
    world.registry(&second);
    let resume = world.plugin(&["resume", "a", "b", "--max-unavailable", "100%"]);
    assert_eq!(resume.code, 0, "{resume:?}");
    for name in ["a", "b"] {
        let pod = world.ready(name).await;
        assert!(image(&pod).starts_with(&second), "{pod}");
    }
    let again = world.plugin(&["resume", "a"]);
    assert_says(&again.stderr, &["/a is not suspended."]);
}

#[tokio::test]
async fn what_is_on_its_way_out_is_not_waited_for() {
    let world = World::without_operator().await;
    let none = world.plugin(&["restart", "--all"]);
    assert_eq!(none.code, 1, "{none:?}");
    assert_says(&none.stderr, &["there is no Workspace in the namespace"]);

    world.workspace("a", "{runtime: codex}");
    let held = r#"{"metadata": {"finalizers": ["example.com/held"]}}"#;
    world.kubectl(&["patch", "workspace", "a", "--type=merge", "-p", held]);
    world.kubectl(&["delete", "workspace", "a", "--wait=false"]);
    let version = || world.get("workspace", "a")["metadata"]["resourceVersion"].clone();
    let before = version();
    let restart = world.plugin(&["restart", "a", "--timeout", "5s"]);
    assert_says(&restart.stderr, &["/a is being deleted."]);
    assert_eq!((restart.code, version()), (0, before));
    let free = r#"{"metadata": {"finalizers": null}}"#;
    world.kubectl(&["patch", "workspace", "a", "--type=merge", "-p", free]);
}

#[tokio::test]
async fn an_empty_selector_is_nobody() {
    let world = World::new().await;
    world.running(&["a"]).await;
    let before = world.versions(&["a"]);
    for act in ["restart", "suspend", "resume"] {
        for selector in ["", " "] {
            let refused = world.plugin(&[act, "-l", selector]);
            assert_eq!(refused.code, 2, "{refused:?}");
            assert_says(&refused.stderr, &["an empty selector would be everybody"]);
        }
    }
    assert_eq!(world.versions(&["a"]), before);
}
