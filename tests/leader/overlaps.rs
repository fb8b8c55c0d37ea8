//! One is led to believe that it still leads while the other does already.

use std::time::Duration;

use cluster::{Mark, Signal};
use jiff::Timestamp;

use crate::pair::{Pair, is_long};

/// Of each of the five kinds.
fn count() -> usize {
    if is_long() { 20 } else { 2 }
}

/// When the first claim since then was made.
fn taken(pair: &Pair, member: usize, since: Mark) -> Timestamp {
    let claims = pair.deeds(member, since).claims();
    claims.first().expect("it took the Lease").0
}

/// What one wrote after the other had taken the Lease, when all of it has had time to arrive.
async fn late(pair: &Pair, leader: usize, standby: usize, since: Mark) -> Vec<(Timestamp, String)> {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let taken = taken(pair, standby, since);
    let writes = pair.deeds(leader, since).writes();
    writes.into_iter().filter(|(at, _)| *at > taken).collect()
}

/// The process stands still while the other takes over and does the work, and goes on with all
/// that it knew.
async fn stands_still(pair: &mut Pair, prefix: &str) -> Vec<String> {
    let (leader, standby) = pair.roles().await;
    pair.members[leader].signal(Signal::SIGSTOP);
    let names = pair.create_all(prefix, 5).await;
    pair.leads(standby).await;
    pair.ready(&names).await;
    let mark = pair.mark();
    pair.members[leader].signal(Signal::SIGCONT);
    // It finds five Workspaces without a Pod in what it had not read yet.
    pair.members[leader].logged("no longer leading").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let late = pair.deeds(leader, mark).writes();
    assert!(late.is_empty(), "{late:?}\n{}", pair.logs());
    restart(pair, leader).await;
    names
}

/// A later overlap looks for new lines in its log.
async fn restart(pair: &mut Pair, member: usize) {
    pair.members[member].signal(Signal::SIGTERM);
    pair.members[member].ended().await;
    pair.start(member).await;
}

#[tokio::test]
async fn one_that_was_stopped_begins_no_write_when_it_goes_on() {
    let mut pair = Pair::started().await;
    let mut all = Vec::new();
    for number in 0..count() {
        all.extend(stands_still(&mut pair, &format!("still-{number:02}")).await);
    }
    pair.assert_one_pod_each(&all).await;
}

/// What it had begun to send may still arrive then: no more than may be under way, at once, and
/// none of it does harm.
#[tokio::test]
async fn one_that_was_stopped_in_the_midst_of_its_work_makes_no_second_pod() {
    let mut pair = Pair::started().await;
    let mut all = Vec::new();
    for number in 0..count() {
        let (leader, standby) = pair.roles().await;
        let mark = pair.mark();
        let names = pair.create_all(&format!("busy-{number:02}"), 30).await;
        pair.members[leader].signal(Signal::SIGSTOP);
        pair.leads(standby).await;
        pair.ready(&names).await;
        let goes_on = Timestamp::now();
        pair.members[leader].signal(Signal::SIGCONT);
        pair.members[leader].logged("no longer leading").await;
        let late = late(&pair, leader, standby, mark).await;
        println!("{} writes arrived late", late.len());
        assert!(late.len() <= 32, "{late:?}");
        for (at, words) in &late {
            let after = at.duration_since(goes_on);
            assert!(after.as_millis() < 250, "{words} {after}\n{}", pair.logs());
        }
        restart(&mut pair, leader).await;
        all.extend(names);
    }
    pair.assert_one_pod_each(&all).await;
}

#[tokio::test]
async fn one_that_was_cut_off_begins_no_write_when_the_network_is_back() {
    let mut pair = Pair::started().await;
    let mut all = Vec::new();
    for number in 0..count() {
        let (leader, standby) = pair.roles().await;
        let mark = pair.mark();
        let rules = pair.members[leader].cut_off();
        let names = pair.create_all(&format!("cut-{number:02}"), 5).await;
        pair.leads(standby).await;
        pair.ready(&names).await;
        drop(rules);
        pair.members[leader].logged("standing by").await;
        let late = late(&pair, leader, standby, mark).await;
        assert!(late.is_empty(), "{late:?}\n{}", pair.logs());
        restart(&mut pair, leader).await;
        all.extend(names);
    }
    pair.assert_one_pod_each(&all).await;
}

/// Its writes get through, and its renewals do not: it has to stop by itself, before the other
/// begins.
#[tokio::test]
async fn one_that_cannot_renew_stops_in_time() {
    let mut pair = Pair::started().await;
    let mut all = Vec::new();
    for number in 0..count() {
        let (leader, standby) = pair.roles().await;
        let mark = pair.mark();
        // The last renewal is in the log.
        tokio::time::sleep(Duration::from_millis(1350)).await;
        let rules = pair.members[leader].cut_off_from_lease();
        for part in 0..60 {
            let name = format!("mute-{number:02}-{part:02}");
            pair.create(&name).await;
            all.push(name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        pair.leads(standby).await;
        pair.ready(&all).await;
        let deeds = pair.deeds(leader, mark);
        let renewed = deeds.claims().last().expect("it led").0;
        let (last, words) = deeds.writes().into_iter().next_back().expect("it worked");
        let after = last.duration_since(renewed);
        println!("the last write came {after:?} after the last renewal");
        assert!(
            after.as_millis() < 3_300,
            "{words} {after:?}\n{}",
            pair.logs()
        );
        assert!(after.as_millis() > 2_000, "it went on working: {after:?}");
        let taken = taken(&pair, standby, mark);
        assert!(
            last < taken,
            "{words}: {last} is not before {taken}\n{}",
            pair.logs()
        );
        drop(rules);
        restart(&mut pair, leader).await;
    }
    pair.assert_one_pod_each(&all).await;
}

#[tokio::test]
async fn clocks_that_differ_by_hours_change_no_leader_and_delay_none() {
    let mut pair = Pair::new().await;
    if !pair.members.iter_mut().all(|it| it.take_clock()) {
        return;
    }
    pair.start(0).await;
    pair.start(1).await;
    let mut all = Vec::new();
    for number in 0..count() {
        let (leader, standby) = pair.roles().await;
        let offsets = [["+3600", "-3600"], ["-7200", "+7200"]][number % 2];
        for (member, offset) in [leader, standby].into_iter().zip(offsets) {
            let clock = pair.members[member].clock.as_ref();
            clock.expect("it has one").set(offset);
        }
        let before = pair.lease().await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let after = pair.lease().await;
        for field in ["holderIdentity", "leaseTransitions", "acquireTime"] {
            assert_eq!(
                before["spec"][field],
                after["spec"][field],
                "{}",
                pair.logs()
            );
        }
        assert_ne!(before["spec"]["renewTime"], after["spec"]["renewTime"]);
        let mark = pair.mark();
        let stopped = Timestamp::now();
        all.extend(stands_still(&mut pair, &format!("skewed-{number:02}")).await);
        let took = taken(&pair, standby, mark).duration_since(stopped);
        assert!(took.as_millis() < 6000, "{took:?}\n{}", pair.logs());
    }
    pair.assert_one_pod_each(&all).await;
}
