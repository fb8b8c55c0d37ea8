//! What runs is moved to the mirror as well, and what the mirror lacks is not stopped for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Event;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use workspace_operator::proof::NAME;

use super::{MIRROR, PRIMARY, ensure_within, key, yaml};
use crate::bed::{Answer, MIRROR_NUMBER, SECOND_UNMIRRORED, UNMIRRORED};
use crate::eye::{Kind, Life, Seen, text};
use crate::world::{Lives, SYSTEM, World, but_for_outrun};

/// The one whose image the mirror lacks.
const RARE: &str = "rare";
/// So many may be down at once.
pub const AT_ONCE: usize = 2;
/// How long an agent that ends when it is asked to may be away.
pub const AWAY_AT_MOST: f64 = 2.0;
/// Writes for each that is moved: its Pod's patch, and two statuses.
const WRITES_AT_MOST: usize = 3;
/// All of them, and what is refused is asked for again.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// How often an agent is called.
const EVERY: Duration = Duration::from_millis(20);

/// Step 14.
pub async fn what_runs(world: &mut World) -> Result<()> {
    world.step("14. What runs is moved to the mirror, two at a time. It lacks one of the images.");
    world.bed.registries.primary.answers(Answer::Itself);
    world.bed.registries.mirror.answers(Answer::Itself);
    set(world, PRIMARY, "OnRestart").await?;
    let spec = format!("runtime: {SECOND_UNMIRRORED}, tag: {UNMIRRORED}");
    world.apply(&yaml(RARE, &spec), &[]).await?;
    let rare = key(RARE);
    world
        .until("the one with an image of its own, Ready", |seen| {
            seen.state(&rare) == "Ready"
        })
        .await?;
    let rare_stays = |name: &str, _: &Life| name == rare;
    let moved = move_all(world, MIRROR, rare_stays).await?;
    let images = proved(&moved.writes, &moved.after)?;
    let (away, name) = moved.away.first().context("nobody was moved")?;
    ensure_within(
        &format!("the absence of {name}"),
        away.as_secs_f64(),
        AWAY_AT_MOST,
    )?;
    world.holds(&format!(
        "{} agents run what the mirror has, each in its Pod of before; away for {:.2} s at most, {} \
         at once at most. {} images were proved, each once, and each agent cost {} writes at most.",
        moved.away.len(),
        away.as_secs_f64(),
        moved.down,
        images,
        moved.cost,
    ));
    mirror_the_rare(world).await
}

async fn mirror_the_rare(world: &mut World) -> Result<()> {
    let rare = key(RARE);
    let before = world.lives([&*rare]);
    world
        .eye
        .until("what is said of the rare one", PATIENCE, |seen| {
            seen.state(&rare) == "RolloutBlocked"
        })
        .await?;
    world.kubectl(&["get", "ws,pod", RARE]).await?;
    let why = "jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
    let said = world.kubectl(&["get", "ws", RARE, "-o", why]).await?;
    let mut words = ["answered 404 Not Found", "does not have it"].into_iter();
    let is_clear =
        words.any(|it| said.ends_with(&format!("{UNMIRRORED}: mirror.example.com {it}")));
    ensure!(is_clear, "it does not say what is wrong: {said}");
    ensure!(before[&rare].ready, "it does not run: {before:?}");
    world.holds("The one whose image the mirror lacks runs on, and says why it is not moved.");
    world
        .bed
        .crane
        .mirror(MIRROR_NUMBER, SECOND_UNMIRRORED, UNMIRRORED)?;
    world.on_node(&format!(
        "crane copy ghcr.io/…:{UNMIRRORED} mirror.example.com/…:{UNMIRRORED}"
    ));
    let pushed = Instant::now();
    world
        .eye
        .until("the rare one, moved", PATIENCE, |seen| {
            let life = seen.life(&rare);
            life.ready && life.image.starts_with(MIRROR) && seen.state(&rare) == "Ready"
        })
        .await?;
    world.holds(&format!(
        "Once it is there, it is moved {:.1} s later, by itself.",
        pushed.elapsed().as_secs_f32()
    ));
    set(world, MIRROR, "OnRestart").await
}

/// The settings.
pub async fn set(world: &World, prefix: &str, rollout: &str) -> Result<()> {
    let data = json!({
        "MOLECULE_IMAGE_REGISTRY": prefix,
        "ROLLOUT": rollout,
        "ROLLOUT_MAX_UNAVAILABLE": AT_ONCE.to_string(),
        "ROLLOUT_MIN_READY_SECONDS": "1",
    });
    edit(world, &data).await
}

/// Some of the settings.
pub async fn edit(world: &World, data: &Value) -> Result<()> {
    let data = json!({"data": data}).to_string();
    let object = ["patch", "configmap", "workspace-settings", "-n", SYSTEM];
    let args = [&object[..], &["--type=merge", "-p", &data]].concat();
    world.kubectl(&args).await.map(drop)
}

/// What the move was.
pub struct Moved {
    /// For how long each was away, the longest first.
    pub away: Vec<(Duration, String)>,
    /// How many were down at once.
    pub down: usize,
    /// How many writes one of them took.
    pub cost: usize,
    /// All writes meanwhile.
    pub writes: Vec<Event>,
    /// Those that were moved, as they are now.
    pub after: Lives,
}

/// The agents of the story's namespace: those of others have had pull secrets, and get other Pods.
pub fn agents(world: &World) -> Lives {
    let all = world.eye.now(|seen| {
        let keys = seen.pods("default").map(|(name, _)| key(name));
        keys.filter(|it| !seen.state(it).is_empty())
            .collect::<BTreeSet<_>>()
    });
    world.lives(all.iter().map(String::as_str))
}

/// Has all of them moved to this prefix, but for those that stay.
pub async fn move_all(
    world: &World,
    prefix: &str,
    stays: impl Fn(&str, &Life) -> bool,
) -> Result<Moved> {
    let stays = |it: &str, life: &Life| life.image.starts_with(prefix) || stays(it, life);
    let lives = agents(world).into_iter();
    let (rest, moving): (Lives, Lives) = lives.partition(|(key, it)| stays(key, it));
    ensure!(!moving.is_empty(), "all are there already");
    let calls = Calls::to(world, moving.keys())?;
    let (mark, since) = (world.mark()?, world.eye.mark());
    set(world, prefix, "Paced").await?;
    let is_there = |seen: &Seen, key: &str, before: &Life| {
        let life = seen.life(key);
        let other = life.container != before.container;
        other && life.ready && life.image.starts_with(prefix) && seen.state(key) == "Ready"
    };
    world
        .eye
        .until("all of them moved", PATIENCE, |seen| {
            moving
                .iter()
                .all(|(key, before)| is_there(seen, key, before))
        })
        .await?;
    let away = calls.end().await;
    world.kubectl(&["get", "ws"]).await?;
    world.check_unmoved(&rest, since)?;
    let after = world.lives(moving.keys().map(String::as_str));
    for (key, before) in &moving {
        ensure!(after[key].uid == before.uid, "{key} has another Pod");
    }
    let down = down_at_once(world, &moving, since);
    ensure!(down <= AT_ONCE, "{down} were down at once");
    let writes = but_for_outrun(world.writes(mark)?);
    Ok(Moved {
        away,
        down,
        cost: cost(&writes, &moving)?,
        writes,
        after,
    })
}

/// How many of them were not Ready at the same moment.
fn down_at_once(world: &World, moving: &Lives, since: usize) -> usize {
    let (mut down, mut most) = (BTreeSet::new(), 0);
    for sight in world.eye.since(since) {
        if sight.kind == Kind::Pod && moving.contains_key(&sight.key) {
            if Life::of(&sight.object).ready {
                down.remove(&sight.key);
            } else {
                down.insert(sight.key);
            }
        }
        most = most.max(down.len());
    }
    most
}

/// How many images were proved for these: each of them once. Those of other namespaces have pull
/// secrets, and with others a proof is another one.
fn proved(writes: &[Event], after: &Lives) -> Result<usize> {
    let wanted: BTreeSet<_> = after.values().map(|it| it.image.as_str()).collect();
    let mut probes = BTreeMap::<_, usize>::new();
    let is_probe =
        |it: &&Event| it.verb == "create" && it.namespace == "default" && it.name.starts_with(NAME);
    for event in writes.iter().filter(is_probe) {
        let object = event
            .request_object
            .as_ref()
            .filter(|_| event.resource == "pods");
        let image = object.map_or("", |it| text(it, "/spec/containers/0/image"));
        if wanted.contains(image) {
            *probes.entry(image).or_default() += 1;
        }
    }
    let as_promised = probes.len() == wanted.len() && probes.values().all(|it| *it == 1);
    ensure!(
        as_promised,
        "each of {wanted:?} is proved once, not {probes:?}"
    );
    Ok(wanted.len())
}

/// How many writes the one that took the most of them took.
fn cost(writes: &[Event], moving: &Lives) -> Result<usize> {
    let of = |key: &String| {
        let same = writes.iter().filter(|it| {
            ["pods", "workspaces"].contains(&it.resource.as_str())
                && *key == format!("{}/{}", it.namespace, it.name)
        });
        same.count()
    };
    let most = moving.keys().map(of).max().unwrap_or_default();
    ensure!(most <= WRITES_AT_MOST, "one of them took {most} writes");
    Ok(most)
}

/// Calls agents all the time, as whoever works with them would.
struct Calls {
    over: Arc<AtomicBool>,
    each: JoinSet<(Duration, String)>,
}

impl Calls {
    fn to<'a>(world: &World, keys: impl Iterator<Item = &'a String>) -> Result<Self> {
        let (over, mut each) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for key in keys {
            let address = world
                .eye
                .now(|seen| text(seen.pod(key), "/status/podIP").to_owned());
            let address: IpAddr = address
                .parse()
                .with_context(|| format!("{key}: {address}"))?;
            let (key, over) = (key.clone(), Arc::clone(&over));
            each.spawn(async move { (longest_silence((address, 8000).into(), &over).await, key) });
        }
        Ok(Self { over, each })
    }

    /// For how long each did not answer, the longest first.
    async fn end(self) -> Vec<(Duration, String)> {
        self.over.store(true, Ordering::Relaxed);
        let mut away = self.each.join_all().await;
        away.sort_unstable_by(|one, other| other.cmp(one));
        away
    }
}

async fn longest_silence(address: SocketAddr, over: &AtomicBool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let call = tokio::time::timeout(10 * EVERY, TcpStream::connect(address));
        if let Ok(Ok(_)) = call.await {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        tokio::time::sleep(EVERY).await;
    }
    longest.max(last.elapsed())
}
