//! The operator asks registries whether tags have moved: real ones, in front of which each test sees
//! what was asked.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use http::header::IF_NONE_MATCH;
use serde_json::Value;
use workspace_operator::overview::{OutdatedImage, Overview, UnwatchedImages};

use crate::bed::{image, name, prefix, set};
use crate::fixture::{PATIENCE, World};
use crate::front::{Fate, Front, status};
use crate::registries::Registry;
use crate::scrape::{SERVING, Scrape, address};

const COMPONENT: &str = include_str!("../../deploy/components/pull-secrets-namespaced/role.yaml");
const NO_RIGHT: &str = "asked as anybody, as the operator may not read pull secrets";
/// As often as the settings allow, in seconds.
const OFTEN: &str = "10";
/// A round comes after eleven seconds at the latest.
const TWO_ROUNDS: Duration = Duration::from_secs(23);
/// Longer than a registry is left alone that failed for the first time and asks for no pause.
const LEFT_ALONE: Duration = Duration::from_secs(40);

impl World {
    fn overview(&self) -> Overview {
        let text = self.fleet(&format!("status.{}", self.namespace));
        Overview::from_text(&text).unwrap_or_default()
    }

    /// The settings: images from here, whose tags are watched.
    async fn watches(&self, registry: &str) {
        self.settings(&[
            ("MOLECULE_IMAGE_REGISTRY", registry),
            ("WATCH_DIGESTS_SECONDS", OFTEN),
        ]);
        self.in_force(registry).await;
    }

    /// What is told of images that are not told about.
    async fn unwatched(&self) -> UnwatchedImages {
        self.only_one("what is not told", |it| it.unwatched_images)
            .await
    }

    /// Waits until the overview has one of these.
    async fn only_one<T: Debug>(&self, what: &str, told: impl Fn(Overview) -> Vec<T>) -> T {
        self.holds(what, |it| !told(it.overview()).is_empty()).await;
        let mut told = told(self.overview());
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }

    /// How long it takes from the creation of five Workspaces, one after the other, until each has its
    /// Pod, the shortest first.
    async fn five_start(&self, name: &str) -> Vec<Duration> {
        let mut took = Vec::new();
        for number in 0..5 {
            let name = format!("{name}{number}");
            self.workspace(&name, "{runtime: hermes, tag: v1}");
            let begun = Instant::now();
            self.until("pod", &name, |it| !it.is_null()).await;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        took
    }

    async fn outdated(&self) -> OutdatedImage {
        self.only_one("an outdated image", |it| it.outdated_images)
            .await
    }

    /// The Events about the settings that a tag has moved.
    fn moves(&self) -> Vec<Value> {
        let mut events = self.list("events.events.k8s.io");
        let of_settings = |it: &Value| it["regarding"]["name"] == "workspace-settings";
        events.retain(|it| it["reason"] == "TagMoved" && of_settings(it));
        events
    }
}

/// Waits until so many requests came.
async fn asked(front: &Front, count: usize) {
    let start = Instant::now();
    while front.seen().len() < count {
        assert!(start.elapsed() < PATIENCE, "{:?}", front.seen());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until it is asked whether the tag of a runtime is still what it was.
async fn known(front: &Front, runtime: &str) {
    let start = Instant::now();
    let is_known = || {
        let mut seen = front.seen_with(&name(runtime)).into_iter();
        seen.any(|it| it.headers.contains_key(IF_NONE_MATCH))
    };
    while !is_known() {
        assert!(start.elapsed() < PATIENCE, "{:?}", front.seen());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_is_told_once_and_touches_nobody() {
    let mut world = World::without_operator().await;
    world.start_with(&SERVING, &[]);
    let at = address(&world.logged("serving metrics").await);
    let registry = Registry::open().await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    let first = image(&registry, "codex", "latest", "a").await;
    image(&registry, "hermes", "v2", "a").await;
    let from = format!("{}/agents", front.host);
    world.watches(&from).await;
    let names = ["one", "two", "three", "four"];
    world.workspace("one", "{runtime: codex}");
    world.workspace("two", "{runtime: codex}");
    world.workspace("three", "{runtime: hermes, tag: v2}");
    let pinned = format!("{{runtime: codex, digest: '{}'}}", first.digest);
    world.workspace("four", &pinned);
    for name in names {
        world.ready(name).await;
    }
    known(&front, "codex").await;
    known(&front, "hermes").await;
    let before = world.versions(&names);
    assert_eq!(world.overview().outdated_images, []);
    let outdated = format!(
        "workspace_operator_workspaces_outdated{{registry=\"{}\"}}",
        front.host
    );
    assert_eq!(Scrape::of(at).value(&outdated), 0.0);

    let second = image(&registry, "codex", "latest", "b").await;
    let told = world.outdated().await;
    let codex = format!("{from}/workspace-template-codex:latest");
    assert_eq!((&told.image, told.workspaces), (&codex, 2));
    assert_eq!((&told.was, &told.is), (&first.digest, &second.digest));
    assert_eq!(Scrape::of(at).value(&outdated), 2.0);
    world.holds("the Event", |it| !it.moves().is_empty()).await;
    let note = format!(
        "{codex} stands for {} now, and no longer for {}; Workspaces that run that: 2",
        second.digest, first.digest
    );
    assert_eq!(world.moves()[0]["note"], note);
    let shown = world.plugin(0, &["status"]);
    let line = format!(
        "the tag of {codex} has moved to another build, since {}; running what it was: 2",
        told.since
    );
    assert!(shown.stdout.contains(&line), "{}", shown.stdout);

    // The next operator knows it from the record, and tells it no second time.
    world.stop().await;
    world.start();
    tokio::time::sleep(TWO_ROUNDS).await;
    assert_eq!(world.overview().outdated_images, [told]);
    let moves = world.moves();
    assert_eq!((moves.len(), &moves[0]["series"]), (1, &Value::Null));
    assert_eq!(world.versions(&names), before, "nobody is touched");
    let by_digest = front.seen_with(&first.digest);
    assert!(by_digest.is_empty(), "{by_digest:?}");

    // A new Pod that runs what the tag is now is outdated no more; here a node never tells so, but a
    // pin is not by a tag.
    set(&world, "PIN_codex", &second.digest);
    world.plugin(0, &["restart", "one", "two"]);
    world
        .holds("that nobody is outdated", |it| {
            it.overview().outdated_images.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_moves_nobody_where_the_settings_move_what_runs() {
    let mut world = World::new().await;
    let registry = Registry::open().await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    image(&registry, "codex", "latest", "a").await;
    let from = format!("{}/agents", front.host);
    world.settings(&[
        ("MOLECULE_IMAGE_REGISTRY", &from),
        ("WATCH_DIGESTS_SECONDS", OFTEN),
        ("ROLLOUT", "Paced"),
    ]);
    world.in_force(&from).await;
    let names = ["one", "two"];
    for name in names {
        world.workspace(name, "{runtime: codex}");
    }
    for name in names {
        world.ready(name).await;
    }
    known(&front, "codex").await;
    let before = world.versions(&names);
    let second = image(&registry, "codex", "latest", "b").await;
    assert_eq!(world.outdated().await.workspaces, 2);
    world.forget();
    tokio::time::sleep(TWO_ROUNDS).await;
    // Whether it may read the pull secrets is a question, though it is asked by a creation.
    let mut writes = world.writes();
    writes.retain(|it| !it.starts_with("create selfsubjectaccessreviews "));
    assert_eq!(writes, Vec::<String>::new(), "no probe either");
    assert_eq!(world.versions(&names), before, "nobody is moved");

    // A pin is another image, and moves them.
    set(&world, "PIN_codex", &second.digest);
    for name in names {
        let is_moved = |it: &Value| crate::objects::image(it).ends_with(&second.digest);
        world.until("pod", name, is_moved).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_where_the_settings_do_not_say_so() {
    let world = World::new().await;
    let registry = Registry::open().await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    image(&registry, "codex", "latest", "a").await;
    let from = format!("{}/agents", front.host);
    world.registry(&from);
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    tokio::time::sleep(TWO_ROUNDS).await;
    assert!(front.seen().is_empty(), "{:?}", front.seen());
    let reviews = world.requests().of("selfsubjectaccessreviews");
    assert_eq!(reviews.len(), 0);

    world.watches(&from).await;
    asked(&front, 1).await;
    world.registry(&from);
    world
        .until("configmap", "workspace-fleet", |it| {
            let last = it["data"]["lastGood"].as_str().unwrap_or_default();
            !last.contains("WATCH_DIGESTS")
        })
        .await;
    let until_then = front.seen().len();
    tokio::time::sleep(TWO_ROUNDS).await;
    assert!(front.seen().len() <= until_then + 1, "{:?}", front.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_asks_for_a_password_is_asked_with_it_where_that_may_be_read() {
    let mut world = World::new().await;
    let open = Registry::open().await;
    let registry = open.with_password().await;
    let first = image(&open, "codex", "latest", "a").await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    let from = format!("{}/agents", front.host);
    world.pull_secret("mirror", &front.host, "secret");
    let secrets = r#"{"imagePullSecrets": [{"name": "mirror"}]}"#;
    world.kubectl(&["patch", "serviceaccount", "default", "-p", secrets]);
    world.watches(&from).await;
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    let told = world.unwatched().await;
    let because = format!("answered 401 Unauthorized; {NO_RIGHT}");
    assert_eq!((&told.registry, told.images), (&front.host, 1));
    assert_eq!(told.because, because);
    let line = world.logged("whether its tag has moved is not told").await;
    assert!(line.contains("answered 401 Unauthorized"), "{line}");
    assert!(front.seen().iter().all(|it| it.credentials().is_none()));
    let shown = world.plugin(0, &["status"]);
    let line = format!("1 of the images in use, as {} {because}", front.host);
    assert!(shown.stdout.contains(&line), "{}", shown.stdout);
    let read = |world: &World| {
        let of = |resource: &str| world.requests().of(resource).len();
        ["serviceaccounts", "secrets"].map(of)
    };
    assert_eq!(read(&world), [0, 0], "what may not be read is not tried");

    let component = COMPONENT.replace("molecule-system", &world.namespace);
    world.apply(&component.replace(
        "namespace: agents",
        &format!("namespace: {}", world.namespace),
    ));
    world
        .holds("that it is told", |it| {
            it.overview().unwatched_images.is_empty()
        })
        .await;
    let second = image(&open, "codex", "latest", "b").await;
    let told = world.outdated().await;
    assert_eq!((&told.was, &told.is), (&first.digest, &second.digest));
    let refused = world.requests().filter(|it| it.code == 403);
    assert_eq!(refused.len(), 0, "{refused:?}");
    assert!(read(&world).iter().all(|it| *it > 0), "{:?}", read(&world));

    // A password that is not it any more is told, and the last digest is kept.
    world.pull_secret("mirror", &front.host, "wrong");
    assert_eq!(world.unwatched().await.because, "answered 401 Unauthorized");
    assert_eq!(world.outdated().await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_hangs_slows_nobody() {
    let world = World::new().await;
    let front = Front::alone(|_| Fate::Hang).await;
    let from = format!("{}/agents", front.host);
    world.registry(&from);
    for number in 0..20 {
        let spec = format!("{{runtime: codex, tag: v{number}}}");
        world.workspace(&format!("w{number}"), &spec);
    }
    world.all_ready(20).await;
    let before = world.five_start("early").await;
    world.watches(&from).await;
    asked(&front, 1).await;
    // While that question hangs, for ten seconds.
    let hangs = Instant::now();
    let during = world.five_start("late").await;
    assert!(hangs.elapsed() < Duration::from_secs(9), "{during:?}");
    // What waited for the registry would take seconds more.
    let most = before[2] * 3 + Duration::from_millis(500);
    assert!(during[2] < most, "{during:?}, and before {before:?}");
    // It is waited for once, and left alone for half a minute after that.
    tokio::time::sleep(TWO_ROUNDS).await;
    assert_eq!(front.seen().len(), 1, "{:?}", front.seen());
    let told = world.unwatched().await;
    assert_eq!(told.because, "does not answer in time");
    assert_eq!(told.images, 21);
    let log = world.log();
    assert_eq!(log.matches("whether its tag has moved").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_registry_asks_for_is_kept() {
    let world = World::new().await;
    let front = Front::alone(|_| status(429, &[("retry-after", "3600")], "")).await;
    let from = format!("{}/agents", front.host);
    world.watches(&from).await;
    world.workspace("one", "{runtime: codex}");
    world.workspace("two", "{runtime: hermes}");
    world.ready("one").await;
    world.ready("two").await;
    asked(&front, 1).await;
    tokio::time::sleep(LEFT_ALONE).await;
    assert_eq!(front.seen().len(), 1, "{:?}", front.seen());
    assert_eq!(world.overview().outdated_images, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_where_the_environment_names_it() {
    let mut world = World::without_operator().await;
    let open = Registry::open().await;
    let first = image(&open, "codex", "latest", "a").await;
    let (registry, authority) = open.with_tls().await;
    let authority = authority.display().to_string();
    world.start_with(&[], &[("SSL_CERT_FILE", &authority)]);
    world.watches(&prefix(&registry)).await;
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    let same = "HTTP/1.1\" 304 0";
    world
        .holds("that it is known", |_| registry.log().contains(same))
        .await;
    let second = image(&open, "codex", "latest", "b").await;
    let told = world.outdated().await;
    assert_eq!((&told.was, &told.is), (&first.digest, &second.digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_only_the_one_that_leads_asks() {
    let mut world = World::without_operator().await;
    let registry = Registry::open().await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    image(&registry, "codex", "latest", "a").await;
    let from = format!("{}/agents", front.host);
    world.start_with(&["--leader-elect"], &[]);
    world.watches(&from).await;
    world.workspace("one", "{runtime: codex}");
    world.ready("one").await;
    let mut second = world.command();
    let second = cluster::Process::spawn(second.arg("--leader-elect")).expect("it starts");
    asked(&front, 1).await;
    tokio::time::sleep(TWO_ROUNDS).await;
    // Each process asks for the first time without a condition.
    let unconditional = |front: &Front| {
        let seen = front.seen().into_iter();
        seen.filter(|it| !it.headers.contains_key(IF_NONE_MATCH))
            .count()
    };
    assert_eq!(unconditional(&front), 1, "{:?}", front.seen());
    world.stop().await;
    let start = Instant::now();
    while unconditional(&front) < 2 {
        assert!(start.elapsed() < PATIENCE, "{:?}", second.lines());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
