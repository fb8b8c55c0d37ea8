//! The overview of all Workspaces in `workspace-fleet`: are we safe?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::State;
use jiff::Timestamp;
use serde_json::{Value, json};
use workspace_operator::overview::Overview;

use crate::fixture::{PATIENCE, World, host};

impl World {
    /// The overview as it stands in the record.
    pub fn overview_text(&self) -> String {
        self.fleet(&format!("status.{}", self.namespace))
    }

    /// The overview, once it says so.
    async fn overview(&self, is: impl Fn(&Overview) -> bool) -> Overview {
        let start = Instant::now();
        loop {
            let text = self.overview_text();
            match Overview::from_text(&text) {
                Some(overview) if is(&overview) => return overview,
                _ => assert!(start.elapsed() < PATIENCE, "{text}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn patch_fleet(&self, changes: &Value) {
        let fleet = ["configmap", "workspace-fleet", "--type=merge", "-p"];
        self.kubectl(&[&["patch"][..], &fleet, &[&changes.to_string()]].concat());
    }
}

#[tokio::test]
async fn the_overview_tells_of_an_outage_and_of_who_would_not_survive_it() {
    let mut world = World::new().await;
    let (a, b) = (world.prefix("a"), world.prefix("b"));
    world.registry(&a);
    world.in_force(&a).await;
    let in_force_since = world.fleet("since");
    in_force_since.parse::<Timestamp>().expect("a time");
    for name in ["alice", "bob", "carol"] {
        world.workspace(name, "{}");
        world.ready(name).await;
    }
    world.workspace("dave", "{suspend: true}");
    let calm = world
        .overview(|it| it.ready == 3 && it.suspended == 1)
        .await;
    assert_eq!(calm.workspaces, 4);
    assert_eq!(calm.running, BTreeMap::from([(host(&a).to_owned(), 3)]));
    assert_eq!((&*calm.pull_failures, calm.at_risk), (&[][..], None));

    world.turn(&a, State::Unauthorized).await;
    world.kubectl(&["delete", "pod", "bob", "--wait=false"]);
    let one = world.overview(|it| !it.pull_failures.is_empty()).await;
    assert_eq!(one.outages().count(), 0, "it may be the pull secret of one");
    world.kubectl(&["delete", "pod", "carol", "--wait=false"]);
    let outage = world.overview(|it| it.outages().count() == 1).await;
    let failure = &outage.pull_failures[0];
    assert_eq!(failure.registry, host(&a));
    assert_eq!(failure.cause, "answered 401 Unauthorized");
    assert_eq!(failure.workspaces, 2);
    let since = failure.since.clone();
    assert_eq!(since, one.pull_failures[0].since);
    assert_eq!(
        outage.progressing,
        BTreeMap::from([("ImagePullFailed".into(), 2)])
    );
    let at_risk = outage.at_risk.expect("its next Pod could not start");
    assert_eq!(at_risk.workspaces, 1);
    let because = format!("{} answered 401 Unauthorized", host(&a));
    assert_eq!(at_risk.because, because);
    assert_eq!(at_risk.among_them, [format!("{}/alice", world.namespace)]);

    // The next operator goes on from what is recorded.
    world.silence(1).await;
    world.kill().await;
    world.forget();
    world.start();
    world.logged("looking after Workspaces").await;
    world.silence(3).await;
    let still = world.overview(|it| it.outages().count() == 1).await;
    assert_eq!(world.fleet("since"), in_force_since);
    assert_eq!(still.pull_failures[0].since, since);

    world.registry(&b);
    let over = world.overview(|it| it.ready == 3).await;
    assert_eq!((&*over.pull_failures, over.at_risk), (&[][..], None));
    let running = [(host(&a), 1), (host(&b), 2)].map(|(host, it)| (host.to_owned(), it));
    assert_eq!(over.running, BTreeMap::from(running));
    assert_eq!(
        (world.fleet("registry"), world.fleet("previousRegistry")),
        (b, a)
    );
    assert!(world.fleet("since") > in_force_since);
}

#[tokio::test]
async fn the_overview_counts_what_waits_for_somebody_by_its_reason() {
    let world = World::new().await;
    world.workspace("alice", "{}");
    for name in ["bob", "carol"] {
        world.workspace(name, "{runtime: own-agent}");
    }
    let both = BTreeMap::from([("UnknownRuntime".to_owned(), 2)]);
    let told = world
        .overview(|it| it.ready == 1 && it.stalled == both)
        .await;
    assert_eq!((told.workspaces, told.progressing.len()), (3, 0));
    world.settings(&[("EXTRA_RUNTIMES", "own-agent")]);
    let told = world.overview(|it| it.ready == 3).await;
    assert_eq!(told.stalled, BTreeMap::new());
}

#[tokio::test]
async fn the_overview_is_written_at_most_once_a_second_and_again_when_it_was_changed() {
    const COUNT: usize = 40;
    let mut world = World::new().await;
    world.in_force("ghcr.io/molecule-ai").await;
    world.silence(1).await;
    world.forget();
    let start = Instant::now();
    for number in 0..COUNT {
        world.workspace(&format!("agent-{number}"), "{}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.overview(|it| it.ready == COUNT).await;
    let seconds = start.elapsed().as_secs() as usize;
    let written = world.overviews().len();
    assert!(
        (2..=seconds + 1).contains(&written),
        "{written} in {seconds} s"
    );

    let key = format!("status.{}", world.namespace);
    world.patch_fleet(&json!({"data": {key: "nothing"}}));
    world.overview(|it| it.ready == COUNT).await;
    world.silence(3).await;
}

#[tokio::test]
async fn what_an_operator_of_all_namespaces_left_is_removed_and_that_of_others_stays() {
    let mut world = World::without_operator().await;
    let left = json!({"data": {"status": "workspaces: 9", "status.other": "workspaces: 1"}});
    world.patch_fleet(&left);
    world.workspace("alice", "{}");
    world.start();
    world.overview(|it| it.ready == 1).await;
    assert_eq!(world.fleet("status"), "");
    assert_eq!(world.fleet("status.other"), "workspaces: 1");

    // Two that do not know of each other do not fight over it.
    world.patch_fleet(&left);
    world.workspace("bob", "{}");
    world.overview(|it| it.ready == 2).await;
    assert_eq!(world.fleet("status"), "workspaces: 9");
}
