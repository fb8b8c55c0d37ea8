//! The move of a fleet, which passes from one operator to the other.

use cluster::Signal;

use crate::down::Watcher;
use crate::fixture::image;
use crate::pair::Pair;

const FLEET: usize = 20;

impl Pair {
    fn paced(&self, prefix: &str) {
        self.world.settings(&[
            ("MOLECULE_IMAGE_REGISTRY", prefix),
            ("ROLLOUT", "Paced"),
            ("ROLLOUT_MAX_UNAVAILABLE", "2"),
        ]);
    }

    /// How many run what this prefix has.
    fn on(&self, prefix: &str) -> usize {
        let pods = self.world.list("pods").into_iter();
        pods.filter(|it| it["metadata"]["labels"]["app.kubernetes.io/name"] == "workspace")
            .filter(|it| image(it).starts_with(prefix))
            .count()
    }

    async fn has_moved(&self, prefix: &str, count: usize) {
        let start = std::time::Instant::now();
        while self.on(prefix) < count {
            assert!(
                start.elapsed() < crate::fixture::PATIENCE,
                "{}",
                self.logs()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_fleet_is_moved_on_by_the_next_leader_and_nothing_is_moved_twice() {
    let mut pair = Pair::started().await;
    let (a, b) = (pair.world.prefix("a"), pair.world.prefix("b"));
    pair.paced(&a);
    let names = pair.create_all("w", FLEET).await;
    pair.ready(&names).await;
    let mark = pair.mark();
    let watcher = Watcher::start(pair.world.client.clone(), &pair.world.namespace);
    pair.paced(&b);
    for (count, signal) in [(3, Signal::SIGKILL), (9, Signal::SIGTERM)] {
        pair.has_moved(&b, count).await;
        let (leader, standby) = pair.roles().await;
        pair.members[leader].signal(signal);
        pair.leads(standby).await;
        pair.members[leader].ended().await;
        assert!(pair.on(&b) < FLEET, "it was too late to pass it on");
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
