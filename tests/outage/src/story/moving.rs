//! What runs is moved to the mirror as well, and what the mirror lacks is not stopped for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Event;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use workspace_operator::proof::NAME;

use super::pin::push_to_the_mirror;
use super::settings::{pace, plain};
use super::{MIRROR, PRIMARY, ensure_within, key, yaml};
use crate::bed::{SECOND_UNMIRRORED, UNMIRRORED};
use crate::dips::Dips;
use crate::eye::{Kind, Life, Seen, condition, text};
use crate::world::{Lives, World, but_for_outrun};

/// The one whose image the mirror lacks.
const RARE: &str = "rare";
/// So many may be down at once.
pub const AT_ONCE: usize = 2;
/// How long an agent that ends when it is asked to may be away.
pub const AWAY_AT_MOST: f64 = 2.0;
/// So often the status of each that is moved is written: that it is down, and that it is back.
const STATUSES_AT_MOST: usize = 2;
/// All of them, and what is refused is asked for again.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// How often an agent is called.
const EVERY: Duration = Duration::from_millis(20);

/// Step 14.
pub async fn what_runs(world: &mut World) -> Result<()> {
    world.step("14. What runs is moved to the mirror, two at a time. It lacks one of the images.");
    world.bed.registries.answer_themselves();
    let told = all_but_the_rare(world).await;
    if told.is_err() {
        // The steps after this one move all of them.
        push_to_the_mirror(world, SECOND_UNMIRRORED).ok();
    }
    told
}

async fn all_but_the_rare(world: &mut World) -> Result<()> {
    plain(world, PRIMARY).await?;
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
    let (before, since) = (world.lives([&*rare]), world.eye.mark());
    world
        .eye
        .until("what is said of the rare one", PATIENCE, |seen| {
            seen.state(&rare) == "RolloutBlocked"
        })
        .await?;
    let said = world.eye.now(|seen| {
        let stalled = condition(seen.workspace(&rare), "Stalled");
        text(stalled, "/message").to_owned()
    });
    world.kubectl(&["get", "ws,pod", RARE]).await?;
    let why = "jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
    world.kubectl(&["get", "ws", RARE, "-o", why]).await?;
    let mut words = ["answered 404 Not Found", "does not have it"].into_iter();
    let is_clear =
        words.any(|it| said.ends_with(&format!("{UNMIRRORED}: mirror.example.com {it}")));
    ensure!(is_clear, "it does not say what is wrong: {said}");
    ensure!(before[&rare].runs, "it did not run: {before:?}");
    world.check_not_rolled(&before, since)?;
    world.holds("The one whose image the mirror lacks runs on, and says why it is not moved.");
    push_to_the_mirror(world, SECOND_UNMIRRORED)?;
    let pushed = Instant::now();
    world
        .eye
        .until("the rare one, moved", PATIENCE, |seen| {
            let life = seen.life(&rare);
            let other = life.container != before[&rare].container;
            other && life.image.starts_with(MIRROR) && seen.is_ready(&rare)
        })
        .await?;
    world.holds(&format!(
        "Once it is there, it is moved {:.1} s later, by itself.",
        pushed.elapsed().as_secs_f32()
    ));
    plain(world, MIRROR).await
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

/// Sees that all of them are on this prefix, as they are not where a step before was not told or did
/// not hold.
pub async fn gather(world: &World, prefix: &str) -> Result<()> {
    let mut lives = agents(world).into_values();
    if lives.any(|it| !it.image.starts_with(prefix)) {
        move_all(world, prefix, |_, _| false).await?;
    }
    plain(world, prefix).await
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
    all_ready(world).await?;
    let lives = agents(world).into_iter();
    let (rest, moving): (Lives, Lives) = lives.partition(|(key, it)| stays(key, it));
    ensure!(!moving.is_empty(), "all are there already");
    let calls = Calls::to(world, moving.keys())?;
    let (mark, since) = (world.mark()?, world.eye.mark());
    pace(world, prefix).await?;
    let is_there = |seen: &Seen, key: &str, before: &Life| {
        let life = seen.life(key);
        let other = life.container != before.container;
        other && life.image.starts_with(prefix) && seen.is_ready(key)
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
    world.check_not_rolled(&rest, since)?;
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
        cost: cost(&writes, &world.dips(since), &moving)?,
        writes,
        after,
    })
}

/// Waits until each of them is, so that whatever is not later is for the move.
async fn all_ready(world: &World) -> Result<()> {
    let all = agents(world);
    let ready = world.eye.until("all of them Ready", PATIENCE, |seen| {
        all.keys().all(|it| seen.is_ready(it))
    });
    ready.await.map(drop)
}

/// How many of them were down at the same moment after the mark of the watch. Those in a dip were not.
fn down_at_once(world: &World, moving: &Lives, since: usize) -> usize {
    world.eye.now(|seen| {
        let (mut down, mut most) = (BTreeSet::new(), 0);
        for (number, sight) in seen.sights().iter().enumerate() {
            if sight.kind == Kind::Pod && moving.contains_key(&sight.key) {
                let is_up = sight.life.ready && !sight.gone || sight.dip.is_some();
                if is_up {
                    down.remove(&sight.key);
                } else {
                    down.insert(&sight.key);
                }
            }
            if number >= since {
                most = most.max(down.len());
            }
        }
        most
    })
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

/// Each takes one write of its Pod, and none of its status says that it is blocked: whoever may be
/// stays. Returns how many the one took that took the most, those for dips left out.
fn cost(writes: &[Event], dips: &Dips, moving: &Lives) -> Result<usize> {
    let mut most = 0;
    for key in moving.keys() {
        let is_own = |it: &&Event| {
            let resources = ["pods", "workspaces"];
            let name = format!("{}/{}", it.namespace, it.name);
            resources.contains(&it.resource.as_str()) && *key == name
        };
        let own: Vec<_> = writes.iter().filter(is_own).cloned().collect();
        let told: Vec<_> = own.iter().map(what_was_written).collect();
        let is_blocked = own.iter().any(|it| state(it) == "RolloutBlocked");
        ensure!(!is_blocked, "{key} was blocked: {told:#?}");
        let own = dips.leave_out(own).into_iter();
        let (pods, statuses): (Vec<_>, Vec<_>) = own.partition(|it| it.resource == "pods");
        ensure!(
            pods.len() == 1 && pods[0].succeeded(),
            "the Pod of {key} was to be written once, and the operator wrote {told:#?}"
        );
        let count = statuses.len();
        ensure!(
            count <= STATUSES_AT_MOST,
            "the status of {key} was written {count} times, dips left out: {told:#?}"
        );
        most = most.max(pods.len() + count);
    }
    Ok(most)
}

fn state(event: &Event) -> &str {
    let object = event.request_object.as_ref();
    object.map_or("", |it| text(it, "/status/state"))
}

fn what_was_written(event: &Event) -> String {
    let Event {
        timestamp,
        verb,
        resource,
        code,
        ..
    } = event;
    let object = event.request_object.as_ref().unwrap_or(&Value::Null);
    let message = &condition(object, "Ready")["message"];
    let state = state(event);
    format!("{timestamp} {verb} {resource} {code} {state} {message}")
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
