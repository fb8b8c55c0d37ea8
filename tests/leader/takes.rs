//! How long nobody writes when the one that leads goes.

use std::time::Duration;

use cluster::Signal;
use jiff::Timestamp;

use crate::pair::{Pair, is_long};

/// After a signal: when the other held the Lease, and when a Workspace that was created at that
/// moment had a Pod.
struct Take {
    held: Duration,
    written: Duration,
}

fn count() -> usize {
    if is_long() { 100 } else { 10 }
}

async fn take(pair: &mut Pair, number: usize, signal: Signal) -> Take {
    let (leader, standby) = pair.roles().await;
    // At any moment between two renewals.
    tokio::time::sleep(Duration::from_millis(number as u64 * 370 % 1250)).await;
    let mark = pair.mark();
    let name = format!("take-{number:03}");
    let start = Timestamp::now();
    pair.members[leader].signal(signal);
    pair.create(&name).await;
    pair.leads(standby).await;
    pair.ready(std::slice::from_ref(&name)).await;
    pair.members[leader].ended().await;

    let since = |it: Timestamp| Duration::try_from(it.duration_since(start)).unwrap_or_default();
    let deeds = pair.deeds(standby, mark);
    let held = *deeds.claims().first().expect("it took the Lease");
    let created = deeds
        .writes()
        .into_iter()
        .find(|(_, words)| words.contains("create pods"));
    let (written, _) = created.expect("it created the Pod");
    pair.start(leader).await;
    Take {
        held: since(held.0),
        written: since(written),
    }
}

/// The value that so many in a hundred do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// Prints the percentiles and returns the 99th.
fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |percent| percentile(&times, percent);
    println!(
        "{what}: {} times, p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100)
    );
    at(99)
}

async fn takes(signal: Signal, what: &str, most: Duration) {
    let mut pair = Pair::started().await;
    let (mut held, mut written) = (Vec::new(), Vec::new());
    for number in 0..count() {
        let took = take(&mut pair, number, signal).await;
        held.push(took.held);
        written.push(took.written);
    }
    let names: Vec<_> = (0..count()).map(|it| format!("take-{it:03}")).collect();
    pair.assert_one_pod_each(&names).await;
    let held = report(&format!("{what}, until the other leads"), held);
    let written = report(&format!("{what}, until it creates a Pod"), written);
    assert!(held <= most && written <= most, "{}", pair.logs());
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_within_a_second() {
    takes(Signal::SIGTERM, "hand-over", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_within_six_seconds() {
    takes(Signal::SIGKILL, "take-over", Duration::from_secs(6)).await;
}
