//! A fleet that moves while the operator sees late what it did.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use http::Method;
use kube::api::{Patch, PatchParams};
use proxy::{Ask, Fault};
use serde_json::{Value, json};
use workspace_operator::overview::{self, Overview};

use crate::bed::{Bed, names};

const FLEET: usize = 6;
/// Long enough for the whole fleet to be moved.
const HELD: Duration = Duration::from_secs(15);
const REGISTRY: &str = "MOLECULE_IMAGE_REGISTRY";

fn is_move(ask: &Ask) -> bool {
    ask.method == Method::PATCH && ask.about("pods")
}

impl Bed {
    /// Which Pods were told another image, in the order of the requests.
    fn moved(&self) -> Vec<String> {
        let mut asked = self.asked();
        asked.retain(|it| is_move(&it.ask));
        asked.into_iter().map(|it| it.ask.path).collect()
    }

    fn on(&self, prefix: &str) -> usize {
        self.world.on(prefix)
    }

    /// Whether every image of the switch that is prepared is pulled.
    fn is_prepared(&self) -> bool {
        let key = overview::key(Some(&self.world.namespace));
        let told = Overview::from_text(&self.world.fleet(&key)).unwrap_or_default();
        told.prepull
            .is_some_and(|it| it.images > 0 && it.pulled == it.images)
    }
}

#[tokio::test]
async fn an_edit_stops_nobody_else_while_a_move_is_not_seen_yet() {
    edited_in_the_dark(None).await;
}

#[tokio::test]
async fn an_edit_stops_nobody_else_where_the_answer_to_a_move_was_lost() {
    edited_in_the_dark(Some(Fault::CutAfter)).await;
}

#[tokio::test]
async fn an_edit_stops_nobody_else_where_the_answer_to_a_move_was_an_error() {
    edited_in_the_dark(Some(Fault::AnswerAfter(500))).await;
}

/// The patch is done, and nobody has heard of it: the Pod seems to serve, and is about to stop.
async fn edited_in_the_dark(answer: Option<Fault>) {
    let mut bed = Bed::started().await;
    let [a, b, c] = ["a", "b", "c"].map(|it| bed.world.prefix(it));
    bed.world.paced(&a, "1");
    bed.world.in_force(&a).await;
    bed.create(&names(FLEET), json!({})).await;
    bed.all(FLEET, "Ready").await;
    // The images of the edit to come are there already, so that nothing but the pace is waited for.
    let move_to = |bed: &Bed, prefix: &str, paused: &str| {
        bed.world.settings(&[
            (REGISTRY, prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MIN_READY_SECONDS", "0"),
            ("ROLLOUT_PAUSED", paused),
            ("NEXT_MOLECULE_IMAGE_REGISTRY", &c),
            ("PREPULL", "true"),
        ]);
    };
    move_to(&bed, &b, "false");
    bed.until("some moves", |bed| bed.on(&b) > 1).await;
    move_to(&bed, &b, "true");
    bed.until("all is pulled", Bed::is_prepared).await;
    bed.all(FLEET, "Ready").await;
    let moved = bed.on(&b);
    assert!(moved < FLEET, "it was too late to pause");

    let is_held = |ask: &Ask| ask.is_watch() && ask.path.ends_with("/pods");
    let rule = bed.proxy.fault(Fault::Hold, is_held);
    let lost = answer.map(|it| bed.proxy.fault(it, is_move));
    let before = bed.moved().len();
    move_to(&bed, &b, "false");
    bed.until("one more", |bed| bed.on(&b) > moved).await;
    // Those that have been moved come first now, and this one does not.
    move_to(&bed, &c, "false");
    bed.world.in_force(&c).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // One whose answer is lost may be told again; its version is no more, so that changes nothing.
    let told: BTreeSet<_> = bed.moved().split_off(before).into_iter().collect();
    assert_eq!(told.len(), 1, "{told:?}\n{}", bed.world.log());
    drop(lost);
    rule.lift();
    bed.until("the move of all", |bed| bed.on(&c) == FLEET)
        .await;
    bed.world.paced(&c, "1");
    bed.settled(FLEET).await;
}

#[tokio::test]
async fn what_is_put_back_is_told_so_once_where_the_answer_was_lost() {
    let mut bed = Bed::started().await;
    let failed = Failed::of(&bed).await;
    let lost = bed.proxy.fault(Fault::CutAfter, is_move);
    failed.is_put_back(&bed).await;
    drop(lost);
    failed.is_told_so_once(&mut bed).await;
}

#[tokio::test]
async fn what_is_put_back_is_told_so_once_where_its_operator_dies_right_then() {
    let mut bed = Bed::started().await;
    let failed = Failed::of(&bed).await;
    let lost = bed.proxy.fault(Fault::CutAfter, is_move);
    failed.is_put_back(&bed).await;
    bed.kill().await;
    drop(lost);
    bed.start().await;
    failed.is_told_so_once(&mut bed).await;
}

/// One of a fleet that was moved, and does not come back.
struct Failed {
    name: String,
    prefixes: [String; 2],
}

impl Failed {
    async fn of(bed: &Bed) -> Self {
        let prefixes = ["a", "b"].map(|it| bed.world.prefix(it));
        let [a, b] = &prefixes;
        bed.world.paced(a, "1");
        bed.world.in_force(a).await;
        bed.create(&names(FLEET), json!({"provisionTimeoutSeconds": 5}))
            .await;
        bed.all(FLEET, "Ready").await;
        bed.world.settings(&[
            (REGISTRY, b),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_ROLL_BACK", "true"),
        ]);
        bed.until("a move", |bed| bed.on(b) > 0).await;
        let name = bed.moved()[0]
            .rsplit('/')
            .next()
            .expect("a path")
            .to_owned();
        let failed = Self { name, prefixes };
        failed.behaves(bed, json!("not-ready")).await;
        failed
    }

    async fn behaves(&self, bed: &Bed, how: Value) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"kwok/behaviour": how}}}));
        let (pods, params) = (bed.pod_api(), PatchParams::default());
        let patched = pods.patch(&self.name, &params, &patch).await;
        patched.expect("the Pod is annotated");
    }

    async fn is_put_back(&self, bed: &Bed) {
        let [a, _] = &self.prefixes;
        bed.until("it is put back", |bed| bed.on(a) == FLEET).await;
    }

    async fn is_told_so_once(&self, bed: &mut Bed) {
        let [_, b] = &self.prefixes;
        self.behaves(bed, Value::Null).await;
        bed.all(FLEET, "Ready").await;
        let told = bed.patched(&self.name);
        assert_eq!(told, 2, "to go and to come back\n{}", bed.world.log());
        assert_eq!(bed.on(b), 0, "nobody else is moved");
        bed.settled(FLEET).await;
    }
}

/// Ready again by the watch of Pods, and told not to be Ready as far as anybody can read.
#[tokio::test]
async fn a_status_that_is_not_seen_yet_gives_no_place_away() {
    let mut bed = Bed::started().await;
    let [a, b] = ["a", "b"].map(|it| bed.world.prefix(it));
    bed.world.paced(&a, "1");
    bed.world.in_force(&a).await;
    bed.create(&names(FLEET), json!({})).await;
    bed.all(FLEET, "Ready").await;
    // What was told before has been seen, or nobody would be moved at all.
    bed.settled(FLEET).await;
    let is_held = |ask: &Ask| ask.is_watch() && ask.path.ends_with("/workspaces");
    let rule = bed.proxy.fault(Fault::Hold, is_held);
    bed.world.paced(&b, "1");
    bed.until("a move", |bed| bed.on(&b) > 0).await;
    let mut most = 0;
    let start = Instant::now();
    while start.elapsed() < HELD {
        let all = bed.world.list("workspaces");
        let down = all.iter().filter(|it| it["status"]["state"] != "Ready");
        most = most.max(down.count());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rule.lift();
    assert!(
        most <= 1,
        "{most} are told not to be Ready\n{}",
        bed.world.log()
    );
    bed.until("the move of all", |bed| bed.on(&b) == FLEET)
        .await;
    bed.settled(FLEET).await;
}
