//! The API server answers badly, or not at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use proxy::{Ask, Fault, Request};
use serde_json::json;

use crate::bed::{Bed, names};
use crate::scrape::{Scrape, address};

const COUNT: usize = 30;

/// An operator that has served a first Workspace already: else all would wait for the Service of
/// the namespace, and no fault befell a Pod.
async fn serving() -> Bed {
    that_serves(Bed::new().await).await
}

async fn alone() -> Bed {
    that_serves(Bed::new().await.alone()).await
}

async fn that_serves(mut bed: Bed) -> Bed {
    bed.start().await;
    bed.create(&["first".to_owned()], json!({})).await;
    bed.world.ready("first").await;
    bed
}

/// Lets a rollout run into a fault of every write, and lifts it after a while.
async fn rolled_out_through(fault: Fault, writes: usize) -> Bed {
    rolled_out(serving().await, fault, writes).await
}

async fn rolled_out(mut bed: Bed, fault: Fault, writes: usize) -> Bed {
    let rule = bed.proxy.fault(fault, Ask::is_work);
    bed.create(&names(COUNT), json!({})).await;
    bed.until("the fault did not show", |bed| harmed(bed) >= writes)
        .await;
    rule.lift();
    let ever = bed.settled(1 + COUNT).await;
    assert_eq!(ever.len(), 1 + COUNT, "each Pod once");
    bed
}

fn harmed(bed: &Bed) -> usize {
    bed.proxy
        .writes()
        .iter()
        .filter(|it| it.was_harmed())
        .count()
}

/// The writes to each object, by path.
fn by_object(bed: &Bed, is: impl Fn(&Request) -> bool) -> BTreeMap<String, Vec<Request>> {
    let mut objects = BTreeMap::<_, Vec<_>>::new();
    for request in bed.proxy.writes().into_iter().filter(is) {
        objects
            .entry(request.ask.path.clone())
            .or_default()
            .push(request);
    }
    objects
}

#[tokio::test]
async fn writes_answered_by_503_are_made_up_for_without_a_storm() {
    let bed = rolled_out(alone().await, Fault::Answer(503, None), 3 * COUNT).await;
    // At 0, 0.5, 1.5, 3.5 s: who is at the third has not sent more than four each.
    assert!(harmed(&bed) <= 4 * COUNT, "{} requests", harmed(&bed));
}

#[tokio::test]
async fn writes_committed_though_answered_by_504_are_recognised() {
    let bed = rolled_out(alone().await, Fault::AnswerAfter(504), 2 * COUNT).await;
    assert_eq!(bed.created(), 1 + COUNT);
}

/// As those of an etcd that is slow to say that it has stored them.
#[tokio::test]
async fn writes_committed_though_answered_by_500_are_recognised() {
    let bed = rolled_out(alone().await, Fault::AnswerAfter(500), 2 * COUNT).await;
    assert_eq!(bed.created(), 1 + COUNT);
    let log = bed.world.log();
    assert!(!log.contains("the API server refused"), "{log}");
}

#[tokio::test]
async fn connections_reset_after_the_write_was_committed_cost_no_second_pod() {
    let bed = rolled_out(alone().await, Fault::CutAfter, 2 * COUNT).await;
    assert_eq!(bed.created(), 1 + COUNT);
}

#[tokio::test]
async fn connections_reset_before_the_write_are_made_up_for() {
    rolled_out_through(Fault::CutBefore, 2 * COUNT).await;
}

#[tokio::test]
async fn writes_that_are_never_answered_end_by_the_deadline() {
    let mut bed = alone().await;
    let rule = bed.proxy.fault(Fault::SilenceAfter, Ask::is_work);
    bed.create(&names(COUNT), json!({})).await;
    bed.until("the fault did not show", |bed| harmed(bed) >= COUNT)
        .await;
    let lifted = Instant::now();
    rule.lift();
    bed.all(1 + COUNT, "Ready").await;
    let took = lifted.elapsed();
    // The deadline of each is 15 s.
    assert!(took > Duration::from_secs(10), "{took:?}: it did not wait");
    assert!(took < Duration::from_secs(40), "{took:?}");
    let ever = bed.settled(1 + COUNT).await;
    assert_eq!(ever.len(), 1 + COUNT, "each Pod once");
}

#[tokio::test]
async fn lists_and_watches_that_are_never_answered_are_begun_anew() {
    let mut bed = Bed::new().await;
    let rule = bed
        .proxy
        .fault(Fault::Silence, |ask| ask.method == Method::GET);
    bed.run();
    bed.create(&names(3), json!({})).await;
    // One for each kind of object, and two for the ConfigMaps.
    bed.until("nothing is asked", |bed| bed.asked().len() >= 6)
        .await;
    rule.lift();
    bed.all(3, "Ready").await;
    // And those that were under way already.
    let rule = bed
        .proxy
        .fault(Fault::Silence, |ask| ask.method == Method::GET);
    bed.proxy.cut();
    let before = bed.asked().len();
    bed.until("nothing is asked", |bed| bed.asked().len() >= before + 6)
        .await;
    rule.lift();
    bed.create(&["late".to_owned()], json!({})).await;
    bed.settled(4).await;
}

/// The Lease cannot be renewed either, or so it seems: all that was under way is dropped, and what
/// came of it is found out by looking.
#[tokio::test]
async fn an_outage_of_writes_that_outlasts_the_lease_costs_no_second_pod() {
    let mut bed = serving().await;
    let rule = bed.proxy.fault(Fault::AnswerAfter(504), Ask::is_write);
    bed.create(&names(COUNT), json!({})).await;
    bed.world.logged("no longer leading").await;
    assert!(harmed(&bed) > 0, "it worked before");
    rule.lift();
    let ever = bed.settled(1 + COUNT).await;
    assert_eq!(ever.len(), 1 + COUNT, "each Pod once");
}

/// The pause that the server asks for, and one more than any back-off of the operator's own would
/// be by then.
const PAUSE: u32 = 4;

#[tokio::test]
async fn the_pause_that_a_429_asks_for_is_kept_whatever_happens_meanwhile() {
    let mut bed = alone().await;
    let limited = bed
        .proxy
        .fault(Fault::Answer(429, Some(PAUSE)), Ask::is_work);
    let start = Instant::now();
    let all = names(6);
    let mirror = bed.world.prefix("mirror");
    bed.registry(&mirror).await;
    bed.create(&all, json!({})).await;
    // Each edit is an event for the operator to look at.
    let mut edit = 0;
    while start.elapsed() < Duration::from_secs(9) {
        edit += 1;
        let note = json!({"metadata": {"annotations": {"edit": edit.to_string()}}});
        bed.patch(&all, note).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    limited.lift();
    bed.world.in_force(&mirror).await;
    bed.settled(1 + all.len()).await;

    // Names are not in the path of a Pod's create, so those are counted together: each of the
    // Workspaces asks once in a pause, and so does the record of the settings.
    for (path, requests) in by_object(&bed, Request::was_harmed) {
        let askers = if path.ends_with("/pods") {
            all.len()
        } else {
            1
        };
        let pause = Duration::from_secs(u64::from(PAUSE)) - Duration::from_millis(50);
        for from in &requests {
            let within = |it: &&Request| it.came >= from.came && it.came < from.came + pause;
            let within = requests.iter().filter(within).count();
            assert!(within <= askers, "{within} requests to {path} in {PAUSE} s");
        }
        assert!(requests.len() >= 2, "{path} was tried again");
    }
}

#[tokio::test]
async fn a_429_to_a_list_is_kept_too() {
    let mut bed = Bed::new().await;
    let limited = bed.proxy.fault(Fault::Answer(429, Some(PAUSE)), |ask| {
        ask.method == Method::GET
    });
    bed.run();
    bed.create(&names(2), json!({})).await;
    let start = Instant::now();
    bed.until("it did not ask", |bed| !bed.proxy.requests().is_empty())
        .await;
    while start.elapsed() < Duration::from_secs(9) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let requests = bed.proxy.requests();
    limited.lift();
    // By path and label, as each watch is one.
    let mut last = BTreeMap::new();
    for request in &requests {
        let Ask { path, query, .. } = &request.ask;
        let earlier = last.insert(format!("{path}?{query}"), request.came);
        let pause = earlier.map(|it| request.came - it);
        let short = Duration::from_secs(u64::from(PAUSE)) - Duration::from_millis(50);
        assert!(pause.is_none_or(|it| it >= short), "{pause:?} for {path}");
    }
    bed.settled(2).await;
}

/// An operator that may ask for fewer things at a time than there are, of an API server that does not
/// answer.
#[tokio::test]
async fn what_waits_for_its_turn_is_counted_and_for_how_long() {
    let mut bed = Bed::new().await;
    bed.run_with(&[
        ("WORKSPACE_CONCURRENCY", "16"),
        ("WORKSPACE_METRICS_ADDRESS", "127.0.0.1:0"),
    ]);
    let at = address(&bed.world.logged("serving metrics").await);
    let waiting = || {
        let scrape = Scrape::of(at);
        let value = |name: &str| scrape.value(&format!("workspace_operator_queue_{name}"));
        (value("items"), value("oldest_seconds"))
    };
    bed.create(&["first".to_owned()], json!({})).await;
    bed.world.ready("first").await;
    let rule = bed.proxy.fault(Fault::Silence, Ask::is_work);
    bed.create(&names(COUNT), json!({})).await;
    bed.until("nothing waits", |_| {
        let (items, oldest) = waiting();
        items >= 2.0 && oldest > 1.0
    })
    .await;
    rule.lift();
    bed.settled(1 + COUNT).await;
    assert_eq!(waiting(), (0.0, 0.0));
}
