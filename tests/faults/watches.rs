//! The watches show too little, too late, or nothing.

use std::time::{Duration, Instant};

use http::Method;
use kube::api::DeleteParams;
use proxy::{Ask, Fate, Fault, Request};
use serde_json::json;

use crate::bed::{Bed, is_long, names};

const COUNT: usize = 30;

/// A stale cache, and meanwhile everything that it could be wrong about.
async fn decides_on_a_stale_view(held: &'static [&'static str]) {
    // The longer one outlasts what the operator waits for its own writes to be shown.
    let time = Duration::from_secs(if is_long() { 50 } else { 30 });
    let mut bed = Bed::started().await;
    let all = names(COUNT);
    let (seen, unseen) = all.split_at(COUNT / 2);
    bed.create(seen, json!({})).await;
    bed.all(seen.len(), "Ready").await;

    let start = Instant::now();
    let is_held = |ask: &Ask| ask.is_watch() && held.iter().any(|it| ask.path.ends_with(it));
    let rule = bed.proxy.fault(Fault::Hold, is_held);
    bed.create(unseen, json!({})).await;
    bed.patch(&seen[..5], json!({"spec": {"tag": "v2"}})).await;
    bed.patch(&seen[5..8], json!({"spec": {"suspend": true}}))
        .await;
    let pods = bed.pod_api();
    for name in &seen[10..] {
        let deleted = pods.delete(name, &DeleteParams::default()).await;
        deleted.expect("the Pod is deleted");
    }
    let edited = Instant::now();
    bed.patch(&seen[5..8], json!({"spec": {"suspend": false}}))
        .await;
    assert!(edited.elapsed() < Duration::from_secs(10));
    tokio::time::sleep(time.saturating_sub(start.elapsed())).await;
    let stale: Vec<_> = bed.proxy.writes();
    rule.lift();
    let ever = bed.settled(COUNT).await;

    if is_long() && held.contains(&"/pods") {
        let conflicts = stale.iter().filter(|it| it.fate == Some(Fate::Passed(409)));
        assert!(conflicts.count() > 0, "nothing was tried on the stale view");
    }
    // What was created in the dark was created once, and what nobody touched still runs. Whether
    // the operator heard of a suspension that was over again is a matter of chance.
    let pods = |name: &String| ever.iter().filter(|it| it.name == *name).count();
    for name in unseen.iter().chain(&seen[8..10]) {
        assert_eq!(pods(name), 1, "{name}");
    }
    for name in seen[..5].iter().chain(&seen[10..]) {
        assert_eq!(pods(name), 2, "{name} was changed, or lost its Pod");
    }
    for name in &seen[5..8] {
        assert!(pods(name) <= 2, "{name} was suspended once");
    }
    assert!(
        stale.len() < 6 * COUNT,
        "{} writes on a stale view",
        stale.len()
    );
}

#[tokio::test]
async fn pods_seen_30_seconds_late_cost_no_second_pod() {
    decides_on_a_stale_view(&["/pods"]).await;
}

#[tokio::test]
async fn workspaces_seen_30_seconds_late_cost_no_second_pod() {
    decides_on_a_stale_view(&["/workspaces"]).await;
}

#[tokio::test]
async fn everything_seen_30_seconds_late_costs_no_second_pod() {
    decides_on_a_stale_view(&[
        "/pods",
        "/workspaces",
        "/services",
        "/persistentvolumeclaims",
        "/configmaps",
        "/leases",
    ])
    .await;
}

fn lists(requests: &[Request]) -> usize {
    requests.iter().filter(|it| it.ask.is_list()).count()
}

#[tokio::test]
async fn expired_watches_are_listed_anew_and_nothing_is_written_twice() {
    let mut bed = Bed::started().await;
    let before = lists(&bed.asked());
    for batch in names(COUNT).chunks(COUNT / 3) {
        bed.create(batch, json!({})).await;
        bed.proxy.expire();
    }
    bed.until("nothing is listed anew", |bed| {
        lists(&bed.asked()) >= before + 6
    })
    .await;
    assert_eq!(bed.settled(COUNT).await.len(), COUNT, "each Pod once");
    // Also where the start of a watch is refused, not its course.
    let rule = bed.proxy.fault(Fault::Answer(410, None), |ask| {
        ask.is_watch() && !ask.is_list()
    });
    bed.proxy.cut();
    let before = lists(&bed.asked());
    bed.until("nothing is listed anew", |bed| {
        lists(&bed.asked()) >= before + 6
    })
    .await;
    rule.lift();
    bed.create(&["late".to_owned()], json!({})).await;
    bed.settled(COUNT + 1).await;
}

#[tokio::test]
async fn a_storm_of_expired_watches_is_no_storm_of_lists() {
    const STORM: Duration = Duration::from_secs(8);
    let mut bed = Bed::started().await;
    bed.create(&names(COUNT), json!({})).await;
    bed.all(COUNT, "Ready").await;
    let before = lists(&bed.asked());
    let rule = bed
        .proxy
        .fault(Fault::Gone, |ask| ask.is_watch() && !ask.is_list());
    let start = Instant::now();
    while start.elapsed() < STORM {
        bed.proxy.expire();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let listed = lists(&bed.asked()) - before;
    rule.lift();
    // Six watches; one of them waits at least 0.4 s before it lists again.
    assert!(listed <= 6 * 20, "{listed} lists in {STORM:?}");
    println!("{listed} lists in {STORM:?}");
    bed.create(&["late".to_owned()], json!({})).await;
    assert_eq!(
        bed.settled(COUNT + 1).await.len(),
        COUNT + 1,
        "each Pod once"
    );
}

#[tokio::test]
async fn a_server_without_bookmarks_is_watched_as_well() {
    let mut bed = Bed::new().await;
    let _rule = bed.proxy.fault(Fault::NoBookmarks, Ask::is_watch);
    bed.start().await;
    for batch in names(COUNT).chunks(COUNT / 3) {
        bed.create(batch, json!({})).await;
        bed.proxy.cut();
    }
    bed.all(COUNT, "Ready").await;
    bed.proxy.expire();
    let reads = |bed: &Bed| {
        let all = bed.asked();
        all.iter().filter(|it| it.ask.method == Method::GET).count()
    };
    let before = reads(&bed);
    bed.until("nothing is watched anew", |bed| reads(bed) >= before + 6)
        .await;
    // The API server sends one to each watch that has lived for a minute.
    bed.until("no bookmark was to be sent", |bed| {
        bed.proxy.left_out() >= 6
    })
    .await;
    bed.create(&["late".to_owned()], json!({})).await;
    assert_eq!(
        bed.settled(COUNT + 1).await.len(),
        COUNT + 1,
        "each Pod once"
    );
}
