//! A registry that accepts and never answers, and what a change of the image does in mid-pull.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;

use super::failing::stuck;
use super::{MIRROR, PRIMARY, RETRY, TOLD_WITHIN, ensure_within, image, key, nine, yaml};
use crate::bed::{Answer, LARGE, NEXT};
use crate::eye::{Kind, Seen, Sight, text};
use crate::world::{SYSTEM, World, seconds};

/// The one that waits for the registry.
const PATIENT: &str = "patient";
/// The one that is suspended and resumed meanwhile.
const BUSY: &str = "autogen";
/// How soon the operator has to act on others meanwhile.
const RESPONSIVE: f64 = 1.0;
/// How soon a Workspace has to say that a registry does not answer: containerd waits for 30 s, and the
/// operator for 3 s more.
const GIVEN_UP_WITHIN: f64 = 40.0;
/// How long an image is pulled for before it is changed.
const MID_PULL: Duration = Duration::from_secs(3);
/// Bytes a second of a slow registry.
const SLOW: u64 = 2 << 20;

/// Step 8.
pub async fn hang(world: &mut World) -> Result<()> {
    world.step("8. The primary hangs: it accepts, and never answers.");
    let mut rest = world.lives(nine().iter().map(String::as_str));
    rest.remove(&key(BUSY));
    let (mark, since) = (world.mark()?, world.eye.mark());
    world.bed.registries.primary.answers(Answer::Silence);
    let typed = Timestamp::now();
    let spec = format!("runtime: codex, tag: {NEXT}");
    world.apply(&yaml(PATIENT, &spec), &[]).await?;
    let patient = key(PATIENT);
    let created = world
        .until("a Pod", |seen| !seen.pod(&patient).is_null())
        .await?;
    suspend_and_resume(world).await?;
    let told = world
        .until("what is known of the pull", |seen| {
            !seen.state(&patient).is_empty()
        })
        .await?;
    world.kubectl(&["get", "ws", PATIENT, "-o", "wide"]).await?;
    let first = world
        .eye
        .now(|seen| format!("{}: {}", seen.state(&patient), seen.message(&patient)));
    let pulled = image(PRIMARY, "codex", NEXT);
    let last = format!("{pulled} cannot be pulled: ghcr.io does not answer in time");
    let refused = stuck(world, PATIENT, &last).await?;
    world.kubectl(&["get", "ws", PATIENT, "-o", "wide"]).await?;
    world.check_not_rolled(&rest, since)?;
    // The operator tells of a pull after as long as containerd waits for an answer.
    let (pulls, failed) = (
        format!("Pulling: the node pulls {pulled}"),
        format!("ImagePullFailed: {last}"),
    );
    ensure!(
        [pulls, failed].contains(&first),
        "of a pull that hangs it first said {first:?}"
    );
    ensure_within(
        "from the node's word to that",
        refused.since_node,
        TOLD_WITHIN,
    )?;
    ensure_within("from the Pod to that", refused.since_pod, GIVEN_UP_WITHIN)?;
    let mut others = world.writes_but_of_dips(mark, since)?;
    others.retain(|it| it.namespace != SYSTEM);
    others.retain(|it| ![PATIENT, BUSY].contains(&it.name.as_str()));
    ensure!(others.is_empty(), "the operator wrote {others:?}");
    world.holds(&format!(
        "Its Pod was there after {:.2} s. It said \"{first}\" after {:.1} s, and \"{last}\" after \
         {:.1} s. No other Workspace was written to.",
        seconds(typed, created),
        seconds(typed, told),
        seconds(typed, created) + refused.since_pod
    ));
    free_it(world).await?;
    world.bed.registries.primary.answers(Answer::Itself);
    Ok(())
}

/// By an edit, once its node has given up.
async fn free_it(world: &mut World) -> Result<()> {
    let patient = key(PATIENT);
    let edited = world.edit("ghcr.io", "mirror.example.com").await?;
    let running = world
        .until("the one that waited, running", |seen| {
            seen.life(&patient).runs
        })
        .await?;
    world
        .until("it, Ready", |seen| seen.state(&patient) == "Ready")
        .await?;
    world.kubectl(&["get", "ws", PATIENT]).await?;
    let took = seconds(edited, running);
    ensure_within("from the edit until it ran", took, RETRY.as_secs_f64())?;
    world.holds(&format!(
        "The edit to the mirror frees it, {took:.1} s later."
    ));
    Ok(())
}

/// The operator answers others while one waits.
async fn suspend_and_resume(world: &mut World) -> Result<()> {
    let busy = key(BUSY);
    let typed = Timestamp::now();
    suspend(world, true).await?;
    let going = world
        .until("a Pod that is deleted", |seen| {
            let pod = seen.pod(&busy);
            pod.is_null() || !text(pod, "/metadata/deletionTimestamp").is_empty()
        })
        .await?;
    world
        .until("no Pod", |seen| seen.pod(&busy).is_null())
        .await?;
    let resumed = Timestamp::now();
    suspend(world, false).await?;
    let there = world
        .until("its Pod", |seen| !seen.pod(&busy).is_null())
        .await?;
    let ready = world
        .until("a Ready Workspace", |seen| seen.state(&busy) == "Ready")
        .await?;
    ensure_within("stopping another", seconds(typed, going), RESPONSIVE)?;
    ensure_within("starting another", seconds(resumed, there), RESPONSIVE)?;
    world.holds(&format!(
        "Meanwhile another one is suspended ({:.2} s until its Pod was told to end) and resumed \
         ({:.2} s until it had one, {:.1} s until it was Ready, from the image on the node).",
        seconds(typed, going),
        seconds(resumed, there),
        seconds(resumed, ready)
    ));
    Ok(())
}

/// Where it was left suspended.
pub async fn resume(world: &World) -> Result<()> {
    let busy = key(BUSY);
    let is_suspended = |seen: &Seen| seen.workspace(&busy)["spec"]["suspend"] == true;
    if world.eye.now(is_suspended) {
        suspend(world, false).await?;
    }
    Ok(())
}

async fn suspend(world: &World, is: bool) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"suspend":{is}}}}}"#);
    let args = ["patch", "ws", BUSY, "--type=merge", "-p", &patch];
    world.kubectl(&args).await.map(drop)
}

/// What a kubelet does, for DESIGN's rule: a Pod of nobody's is patched.
pub async fn patch_in_a_hung_pull(world: &mut World) -> Result<()> {
    world.step("   And a patch of the image, in a pull that hangs:");
    world.bed.registries.primary.answers(Answer::Silence);
    let (old, new) = (
        image(PRIMARY, "crewai", NEXT),
        image(MIRROR, "crewai", NEXT),
    );
    let seen = patched_in_mid_pull(world, "hung", &old, &new).await?;
    world.measured(&seen.words());
    // What a kubelet says for a tenth of a second only may be seen in its Events alone.
    let own = "involvedObject.name=hung,reason=Failed";
    let messages = "jsonpath={.items[*].message}";
    let get = ["get", "events", "--field-selector", own, "-o", messages];
    let gave_up = seen.when(FAILED).is_some() || world.quietly(&get).await?.contains(FAILED);
    ensure!(gave_up, "the node did not give up: {seen:?}");
    ensure!(!seen.old_ran(), "the old image ran: {seen:?}");
    world.bed.registries.primary.answers(Answer::Itself);
    Ok(())
}

/// The same in a pull that only takes its time.
pub async fn patch_in_a_slow_pull(world: &mut World) -> Result<()> {
    world.step("   And in a pull that is slow:");
    world.bed.registries.primary.answers(Answer::Slowly(SLOW));
    let (old, new) = (
        image(PRIMARY, "codex", LARGE.0),
        image(MIRROR, "codex", "latest"),
    );
    let seen = patched_in_mid_pull(world, "slow", &old, &new).await?;
    world.measured(&seen.words());
    ensure!(seen.old_ran(), "the old image did not run: {seen:?}");
    world.bed.registries.primary.answers(Answer::Itself);
    Ok(())
}

/// What a node says of a pull that it gives up.
const FAILED: &str = "ErrImagePull";
const RUNS_OLD: &str = "runs the OLD image";
const RUNS_NEW: &str = "runs the new image";

/// What was seen of a Pod whose image was changed, until it ran the new one, in seconds after the patch.
#[derive(Debug)]
struct Patched {
    seen: Vec<(f64, String)>,
    /// How many containers had run before.
    restarts: u64,
}

impl Patched {
    /// When this was seen first.
    fn when(&self, word: &str) -> Option<f64> {
        let found = self.seen.iter().find(|(_, it)| it == word);
        found.map(|(at, _)| *at)
    }

    /// Before the new one, which is seen last. A kubelet may tell of it only by the number of containers.
    fn old_ran(&self) -> bool {
        self.restarts > 0 || self.when(RUNS_OLD).is_some()
    }

    fn words(&self) -> String {
        let ran = self.when(RUNS_NEW).unwrap_or_default();
        let each = self
            .seen
            .iter()
            .map(|(at, it)| format!("{it} at {at:+.1} s"));
        let each: Vec<_> = each.collect();
        format!(
            "the new image runs {ran:.1} s after the patch; seen of the Pod, as counted from the patch: {}",
            each.join(", ")
        )
    }
}

/// Starts a Pod, changes its image while that is pulled, and looks until it runs the new one.
async fn patched_in_mid_pull(world: &World, name: &str, old: &str, new: &str) -> Result<Patched> {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
         spec: {{containers: [{{name: agent, image: '{old}'}}]}}\n"
    );
    let since = world.eye.mark();
    world.apply(&pod, &[]).await?;
    let seen = patch(world, name, old, new, since).await;
    // However it went: nobody else takes it away.
    let delete = ["delete", "pod", name, "--grace-period=1", "--wait=false"];
    let deleted = world.kubectl(&delete).await;
    let seen = seen?;
    deleted.map(|_| seen)
}

async fn patch(world: &World, name: &str, old: &str, new: &str, since: usize) -> Result<Patched> {
    let key = key(name);
    world
        .until("a Pod on its node", |seen| {
            !text(seen.pod(&key), "/status/hostIP").is_empty()
        })
        .await?;
    tokio::time::sleep(MID_PULL).await;
    let image = format!("agent={new}");
    let patched = Timestamp::now();
    world
        .kubectl(&["set", "image", &format!("pod/{name}"), &image])
        .await?;
    // Which of the repositories with that content a node names is its own choice: not the old one.
    let word = |sight: &Sight| {
        let image = text(&sight.object, "/status/containerStatuses/0/image");
        match (sight.life.runs, image == old) {
            (false, _) => sight.life.waits.clone(),
            (true, true) => RUNS_OLD.to_owned(),
            (true, false) => RUNS_NEW.to_owned(),
        }
    };
    let is_own = |it: &&Sight| it.kind == Kind::Pod && it.key == key;
    world
        .until("the new image, running", |seen| {
            let mut own = seen.sights()[since..].iter().filter(is_own);
            own.any(|it| word(it) == RUNS_NEW)
        })
        .await?;
    let (mut seen, mut restarts) = (Vec::<(f64, String)>::new(), 0);
    for sight in world.eye.since(since).iter().filter(is_own) {
        let word = word(sight);
        if !word.is_empty() && seen.last().is_none_or(|(_, it)| *it != word) {
            seen.push((seconds(patched, sight.at), word));
        }
        restarts = sight.life.restarts;
        if seen.last().is_some_and(|(_, it)| it == RUNS_NEW) {
            break;
        }
    }
    Ok(Patched { seen, restarts })
}
