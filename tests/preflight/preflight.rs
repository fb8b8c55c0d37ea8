//! Is every image there?

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Event;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::bed::{image, name, only, prefix};
use crate::fixture::World;
use crate::front::{Front, status};
use crate::images::{INDEX, push, push_index};
use crate::registries::Registry;

#[tokio::test]
async fn yes_when_every_image_is_there_and_nothing_is_written() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let codex = image(&registry, "codex", "latest", "a").await;
    image(&registry, "hermes", "v2", "b").await;
    world.workspace("one", "{runtime: codex}");
    world.workspace("two", "{runtime: codex}");
    world.workspace("three", "{runtime: hermes, tag: v2, suspend: true}");
    let since = world.cluster.audit().mark().expect("the log is there");
    let to = prefix(&registry);

    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(
        (&report["verdict"], &report["registry"]),
        (&json!("yes"), &json!(to))
    );
    let names: Vec<_> = ["one", "two"]
        .iter()
        .map(|it| format!("{}/{it}", world.namespace))
        .collect();
    let expected = json!({
        "runtime": "codex", "image": format!("{}/{}:latest", registry.host, name("codex")),
        "finding": "present", "digest": codex.digest, "size": codex.size,
        "platforms": ["linux/amd64"], "workspaces": names,
    });
    assert_eq!(report["images"][0], expected);
    assert_eq!(report["images"].as_array().map(Vec::len), Some(2));

    let told = world.plugin(0, &["preflight", "--to", &to]);
    let last = format!("\nYes: of 2 images, all are there under {to}.\n");
    assert!(told.stdout.ends_with(&last), "{}", told.stdout);
    assert!(
        told.stdout.starts_with("RUNTIME   FOUND     SIZE"),
        "{}",
        told.stdout
    );
    // Nobody sees a bar here.
    assert!(
        told.stderr.contains("of 2: codex is present\n"),
        "{}",
        told.stderr
    );
    assert!(!told.stdout.contains('\u{1b}') && !told.stderr.contains('\u{1b}'));

    let events = world
        .cluster
        .audit()
        .events_since(since)
        .expect("the log is there");
    let asked = events
        .iter()
        .filter(|it| it.user_agent.starts_with("kubectl-workspace"));
    let asked: Vec<_> = asked.collect();
    assert!(asked.len() > 4, "{}", asked.len());
    // Other tests write in namespaces of their own.
    let wrote =
        |it: &Event| it.is_write() && (it.namespace.is_empty() || it.namespace == world.namespace);
    assert!(!asked.iter().any(|it| wrote(it)), "{asked:#?}");
}

#[tokio::test]
async fn no_when_an_image_is_missing() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    image(&registry, "codex", "latest", "a").await;
    world.workspace("one", "{runtime: codex}");
    world.workspace("two", "{runtime: hermes}");
    world.workspace(
        "three",
        &format!("{{runtime: codex, digest: 'sha256:{}'}}", "0".repeat(64)),
    );
    let to = prefix(&registry);
    let args = ["preflight", "--to", &to];
    let told = world.plugin(1, &args);
    let host = &registry.host;
    for line in [
        format!(
            "{host}/{}:latest: {host} answered 404 Not Found.",
            name("hermes")
        ),
        format!("No: of 3 images, 2 cannot be pulled from {to}."),
    ] {
        assert!(told.stdout.contains(&line), "{line}\n{}", told.stdout);
    }
    let yaml = world.plugin(1, &[&args[..], &["-o", "yaml"]].concat());
    assert!(yaml.stdout.contains("finding: missing"), "{}", yaml.stdout);
}

#[tokio::test]
async fn where_nobody_needs_one_every_runtimes_is_looked_for() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    image(&registry, "codex", "latest", "a").await;
    let report = world.told(1, &["preflight", "--to", &prefix(&registry)]);
    assert_eq!(report["images"].as_array().map(Vec::len), Some(9));
    let warnings = report["warnings"].to_string();
    let words = format!("No Workspace in the namespace {} needs", world.namespace);
    assert!(warnings.contains(&words), "{warnings}");
}

#[tokio::test]
async fn with_all_every_runtime_is_looked_for_under_the_prefix_in_force() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    image(&registry, "codex", "latest", "a").await;
    let pin = image(&registry, "hermes", "v1", "b").await.digest;
    let missing = format!("sha256:{}", "0".repeat(64));
    world.settings(&[
        ("MOLECULE_IMAGE_REGISTRY", &prefix(&registry)),
        ("PIN_hermes", &pin),
        ("PIN_crewai", &missing),
    ]);
    let report = world.told(1, &["preflight", "--all"]);
    let finding = |runtime: &str| {
        let images = report["images"].as_array().expect("a list");
        let image = images
            .iter()
            .find(|it| it["runtime"] == runtime)
            .expect("it is there");
        (image["finding"].clone(), image["image"].clone())
    };
    let of = |rest: String| json!(format!("{}/{rest}", registry.host));
    assert_eq!(report["images"].as_array().map(Vec::len), Some(9));
    assert_eq!(finding("codex").0, "present");
    assert_eq!(
        finding("hermes"),
        (json!("present"), of(format!("{}@{pin}", name("hermes"))))
    );
    assert_eq!(
        finding("crewai"),
        (
            json!("missing"),
            of(format!("{}@{missing}", name("crewai")))
        )
    );
    assert_eq!(finding("openclaw").0, "missing");
}

#[tokio::test]
async fn a_registry_that_hangs_is_waited_for_once() {
    let world = World::without_operator().await;
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let to = format!("{}/agents", hole.local_addr().expect("an address"));
    for number in 0..20 {
        world.workspace(
            &format!("w{number}"),
            &format!("{{runtime: codex, tag: v{number}}}"),
        );
    }
    let begun = Instant::now();
    let args = ["preflight", "--to", &to, "--registry-timeout", "2"];
    let report = world.told(2, &args);
    assert_eq!(report["verdict"], "unknown");
    assert_eq!(report["images"].as_array().map(Vec::len), Some(20));
    for image in report["images"].as_array().expect("a list") {
        assert_eq!(image["finding"], "unreachable");
        assert!(
            image["because"]
                .as_str()
                .expect("text")
                .ends_with("does not answer in time")
        );
    }
    // Twenty of them, eight at a time, would be six seconds.
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_are_asked_for_at_a_time() {
    const AT_ONCE: usize = 8;
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    for number in 0..AT_ONCE {
        let tag = format!("v{number}");
        image(&registry, "codex", &tag, "a").await;
        let spec = format!("{{runtime: codex, tag: {tag}}}");
        world.workspace(&format!("w{number}"), &spec);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let to = format!("{}/agents", listener.local_addr().expect("an address"));
    let behind = registry.host.clone();
    // Nobody is answered before so many have asked, each on a connection of its own.
    let come = Arc::new(watch::Sender::new(0));
    let front = tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let (behind, come) = (behind.clone(), Arc::clone(&come));
            tokio::spawn(async move {
                come.send_modify(|it| *it += 1);
                drop(come.subscribe().wait_for(|it| *it >= AT_ONCE).await);
                let mut to = TcpStream::connect(behind).await.expect("it is there");
                // Whoever has what it came for goes away.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(
        report["images"].as_array().map(Vec::len),
        Some(AT_ONCE),
        "{report:#}"
    );
    front.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_pause_is_left_alone_and_the_pause_told() {
    let world = World::without_operator().await;
    let front = Front::alone(|_| status(429, &[("retry-after", "77")], "")).await;
    world.workspace("one", "{runtime: codex}");
    let to = format!("{}/agents", front.host);
    let report = world.told(2, &["preflight", "--to", &to]);
    assert_eq!(only(&report)["retryAfterSeconds"], 77);
    let told = world.plugin(2, &["preflight", "--to", &to]);
    let line = "answered 429 Too Many Requests; it asks to be left alone for 77 s.";
    assert!(told.stdout.contains(line), "{}", told.stdout);
    assert!(
        told.stdout
            .contains("It cannot be told: the one image under"),
        "{}",
        told.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_off_is_made_anew() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    image(&registry, "codex", "latest", "a").await;
    world.workspace("one", "{runtime: codex}");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let to = format!("{}/agents", listener.local_addr().expect("an address"));
    let behind = registry.host.clone();
    let broken = tokio::spawn(async move {
        let first = listener.accept().await.expect("somebody comes");
        drop(first);
        while let Ok((mut from, _)) = listener.accept().await {
            let behind = behind.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(behind).await.expect("it is there");
                // Whoever has what it came for goes away.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let report = world.told(0, &["preflight", "--to", &to]);
    assert_eq!(only(&report)["finding"], "present");
    broken.abort();
}

#[tokio::test]
async fn an_image_for_other_processors_is_no_use() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    // The nodes of this cluster are linux/amd64.
    push(&registry, &name("codex"), Some("latest"), "arm64", "a").await;
    let amd = push(&registry, &name("hermes"), None, "amd64", "b").await;
    let arm = push(&registry, &name("hermes"), None, "arm64", "c").await;
    push_index(
        &registry,
        &name("hermes"),
        "latest",
        INDEX,
        &[&amd, &arm],
        &[],
    )
    .await;
    world.workspace("one", "{runtime: codex}");
    world.workspace("two", "{runtime: hermes}");
    let report = world.told(1, &["preflight", "--to", &prefix(&registry)]);
    let because = "it is built for linux/arm64, and its nodes are linux/amd64";
    assert_eq!(report["images"][0]["finding"], "unusable");
    assert_eq!(report["images"][0]["because"], because);
    assert_eq!(report["images"][1]["finding"], "present");
    assert_eq!(
        report["images"][1]["platforms"],
        json!(["linux/amd64", "linux/arm64"])
    );
}

#[tokio::test]
async fn what_would_not_take_effect_is_an_error_and_what_has_no_image_a_warning() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let to = prefix(&registry);
    world.workspace("one", "{runtime: nope}");
    image(&registry, "codex", "latest", "a").await;
    world.workspace("two", "{runtime: codex}");
    let report = world.told(0, &["preflight", "--to", &to]);
    let warning = report["warnings"][0].as_str().expect("a warning");
    let begins = format!("{}/one has no image: The runtime \"nope\"", world.namespace);
    assert!(warning.starts_with(&begins), "{warning}");

    world.settings(&[("PLATFORM_URL", "nowhere")]);
    let told = world.plugin(2, &["preflight", "--to", &to]);
    assert!(
        told.stderr.contains("a switch would change nothing"),
        "{}",
        told.stderr
    );
    let told = world.plugin(2, &["preflight", "--to", "https://x.example.com/a"]);
    assert!(
        told.stderr.contains("write \"x.example.com/a\""),
        "{}",
        told.stderr
    );
}

#[tokio::test]
async fn the_operators_own_image_is_watched_over() {
    let world = World::without_operator().await;
    let registry = Registry::open().await;
    let own = format!("{}/platform/operator:1", registry.host);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "op", "labels": {"app.kubernetes.io/name": "workspace-operator"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "operator", "image": own}]},
            },
        },
    });
    world.apply(&deployment.to_string());
    world.workspace("one", "{runtime: codex}");
    image(&registry, "codex", "latest", "a").await;
    let warned = |to: &str| {
        let code = if to.starts_with("127") { 0 } else { 2 };
        let report = world.told(code, &["preflight", "--to", to]);
        report["warnings"].to_string()
    };
    let with = warned(&prefix(&registry));
    assert!(with.contains("with the Workspaces'"), "{with}");
    world.settings(&[("MOLECULE_IMAGE_REGISTRY", &prefix(&registry))]);
    let elsewhere = Registry::open().await;
    image(&elsewhere, "codex", "latest", "a").await;
    let left = warned(&prefix(&elsewhere));
    assert!(left.contains("which is being left"), "{left}");
}
