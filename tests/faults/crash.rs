//! The operator is killed at any write of a rollout.

use std::time::{Duration, Instant};

use proxy::Moment;
use serde_json::json;

use cluster::State;

use crate::bed::{Bed, is_long, names};
use crate::fixture::PATIENCE;
use crate::random::Random;

const STUCK: usize = 40;
const ALL: usize = 200;
const CHANGED: usize = 30;
/// How many writes the three parts of the rollout take when nothing goes wrong, more or less.
const WRITES: [u64; 3] = [92, 401, 120];
const SAMPLE: usize = 32;

type Point = (u64, Moment);

const MOMENTS: [Moment; 2] = [Moment::Committed, Moment::Between];

/// At every write: before the operator hears of it at all others, and as soon as it has at those in
/// between, or the other way round.
fn all_points(writes: u64, first: usize) -> Vec<Point> {
    let moments = MOMENTS.into_iter().cycle().skip(first);
    (0..2 * writes)
        .zip(moments)
        .map(|(_, it)| (1, it))
        .collect()
}

/// Where the operator is killed in a part of the rollout, as the number of writes since the last
/// kill.
fn some_points(random: &mut Random, writes: u64) -> Vec<Point> {
    let total: u64 = WRITES.iter().sum();
    let share = SAMPLE * usize::try_from(writes).unwrap_or(0);
    let share = share.div_ceil(usize::try_from(total).unwrap_or(1));
    let mut pick = |_| {
        let moment = MOMENTS[usize::from(random.below(2) == 1)];
        (1 + random.below(writes), moment)
    };
    let mut points: Vec<Point> = (0..share).map(&mut pick).collect();
    points.sort_by_key(|(n, moment)| (*n, *moment == Moment::Between));
    points.dedup();
    let mut before = 0;
    for (n, _) in &mut points {
        (before, *n) = (*n, *n - before);
    }
    points
}

/// Runs the operator from one kill to the next, until the state is reached. Returns how often it
/// was killed; it does not run in the end.
async fn killed_until(bed: &mut Bed, points: Vec<Point>, count: usize, state: &str) -> usize {
    let mut kills = 0;
    for (writes, moment) in points {
        let mut reached = bed.proxy.trap(writes, moment);
        bed.run();
        let start = Instant::now();
        let is_killed = loop {
            tokio::select! {
                _ = &mut reached => break true,
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            if bed.count(state).await == (count, count) {
                break false;
            }
            assert!(start.elapsed() < PATIENCE, "{}", bed.world.log());
        };
        bed.kill().await;
        if !is_killed {
            break;
        }
        kills += 1;
    }
    bed.proxy.open();
    bed.run();
    bed.all(count, state).await;
    bed.kill().await;
    kills
}

#[tokio::test]
async fn an_operator_killed_at_any_write_makes_each_pod_once() {
    if is_long() {
        for first in 0..MOMENTS.len() {
            killed_at(WRITES.map(|writes| all_points(writes, first))).await;
        }
        return;
    }
    let mut random = Random::new();
    killed_at(WRITES.map(|writes| some_points(&mut random, writes))).await;
}

async fn killed_at(mut points: [Vec<Point>; 3]) {
    let mut bed = Bed::new().await;
    let (down, mirror) = (bed.world.prefix("down"), bed.world.prefix("mirror"));
    bed.world.turn(&down, State::Unauthorized).await;
    bed.registry(&down).await;
    let all = names(ALL);
    let (stuck, others) = all.split_at(STUCK);
    let mut next = || std::mem::take(points.iter_mut().find(|it| !it.is_empty()).expect("one"));

    // Some get stuck on a registry that is down, half of them with storage.
    let (with_storage, without) = stuck.split_at(STUCK / 2);
    bed.create(with_storage, json!({"storage": {"size": "1Gi"}}))
        .await;
    bed.create(without, json!({})).await;
    let mut kills = killed_until(&mut bed, next(), STUCK, "ImagePullFailed").await;

    // The switch heals them, while many more are created.
    bed.registry(&mirror).await;
    bed.create(others, json!({})).await;
    kills += killed_until(&mut bed, next(), ALL, "Ready").await;
    assert_eq!(bed.pods.of_workspaces(), ALL, "each Pod once");

    // Some get another Pod, because their users ask for it.
    let changed = &all[STUCK - CHANGED / 2..STUCK + CHANGED / 2];
    bed.patch(changed, json!({"spec": {"tag": "v2"}})).await;
    kills += killed_until(&mut bed, next(), ALL, "Ready").await;

    println!("{kills} kills");
    assert!(kills >= 25, "only {kills} kills");
    bed.start().await;
    let ever = bed.settled(ALL).await;
    assert_eq!(
        ever.len(),
        ALL + CHANGED,
        "two Pods where a second one was asked for"
    );
}
