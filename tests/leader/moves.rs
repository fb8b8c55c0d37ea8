//! The move of a fleet, which passes from one operator to the other.

use std::time::{Duration, Instant};

use cluster::Signal;

use crate::fixture::PATIENCE;
use crate::fleet::Watcher;
use crate::pair::Pair;

const FLEET: usize = 20;

impl Pair {
    async fn has_moved(&self, prefix: &str, count: usize) {
        let start = Instant::now();
        while self.world.on(prefix) < count {
            assert!(start.elapsed() < PATIENCE, "{}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_fleet_is_moved_on_by_the_next_leader_and_nothing_is_moved_twice() {
    let mut pair = Pair::started().await;
    let (a, b) = (pair.world.prefix("a"), pair.world.prefix("b"));
    pair.world.paced(&a, "2");
    let names = pair.create_all("w", FLEET).await;
    pair.ready(&names).await;
    let mark = pair.mark();
    let watcher = Watcher::start(pair.world.client.clone(), &pair.world.namespace);
    pair.world.paced(&b, "2");
    for (count, signal) in [(3, Signal::SIGKILL), (9, Signal::SIGTERM)] {
        pair.has_moved(&b, count).await;
        let (leader, standby) = pair.roles().await;
        pair.members[leader].signal(signal);
        pair.leads(standby).await;
        pair.members[leader].ended().await;
        assert!(pair.world.on(&b) < FLEET, "it was too late to pass it on");
        pair.start(leader).await;
    }
    pair.has_moved(&b, FLEET).await;
    pair.ready(&names).await;
    let most = watcher.end().await;
    assert!((1..=2).contains(&most), "{most} were down");
    let writes = [0, 1].map(|member| pair.deeds(member, mark).writes());
    for name in &names {
        let moves = format!("patch pods/ {name} ");
        let all = writes.iter().flatten();
        let count = all.filter(|(_, words)| words.contains(&moves)).count();
        assert_eq!(count, 1, "{writes:#?}");
    }
    pair.assert_one_pod_each(&names).await;
}
