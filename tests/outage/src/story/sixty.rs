//! Sixty Workspaces on the node, half of them lost at once, and one edit: how long that takes, beside
//! a kubelet that is simply given thirty Pods.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::Event;
use serde_json::{Value, json};
use workspace_operator::settings::RUNTIMES;

use super::settings::plain;
use super::{LOOKED_AT, MIRROR, PRIMARY, image, yaml_in};
use crate::bed::Answer;
use crate::eye::{Kind, Life, Seen, text};
use crate::world::{OVERVIEW_ON_RECORD, World, but_for_outrun, seconds};

const NAMESPACE: &str = "sixty";
const BARE: &str = "bare";
const ALL: usize = 60;
const LOST: usize = 30;
/// On two processors, with all that is started.
const PATIENCE: Duration = Duration::from_secs(180);

/// The second scenario.
pub async fn sixty(world: &mut World) -> Result<()> {
    world.step(
        "Sixty Workspaces on the node; thirty are lost at once while the mirror is suspended.",
    );
    plain(world, MIRROR).await?;
    let names: Vec<_> = (1..=ALL).map(|it| format!("w{it:02}")).collect();
    start(world, &names).await?;
    let (lost, rest) = names.split_at(LOST);
    // As if their Pods were to start on another node.
    let of = |prefix: &'static str| RUNTIMES.map(|it| image(prefix, it, "latest"));
    let images = [PRIMARY, MIRROR].map(of).concat();
    world.bed.forget_images(&images)?;
    let rest: Vec<_> = rest.iter().map(|it| key(it)).collect();
    let rest = world.lives(rest.iter().map(String::as_str));
    let since = world.eye.mark();
    world.bed.registries.primary.answers(Answer::Itself);
    world.bed.registries.mirror.answers(Answer::Status(401));
    let mut delete = vec!["delete", "pods", "-n", NAMESPACE, "--wait=false"];
    delete.extend(lost.iter().map(String::as_str));
    world.kubectl(&delete).await?;
    let keys: Vec<_> = lost.iter().map(|it| key(it)).collect();
    world
        .eye
        .until("thirty that say what is wrong", PATIENCE, |seen| {
            keys.iter().all(|it| seen.state(it) == "ImagePullFailed")
        })
        .await?;
    world.kubectl(&OVERVIEW_ON_RECORD).await?;
    let before = world.lives(keys.iter().map(String::as_str));
    let (mark, healing) = (world.mark()?, world.eye.mark());
    let edited = world.edit("mirror.example.com", "ghcr.io").await?;
    let ready = world
        .eye
        .until("thirty Ready ones", PATIENCE, |seen| all_ready(seen, &keys))
        .await?;
    let after = world.lives(keys.iter().map(String::as_str));
    for key in &keys {
        ensure!(after[key].uid == before[key].uid, "{key} has another Pod");
    }
    tokio::time::sleep(LOOKED_AT).await;
    // On a node that starts thirty at once a kubelet calls one or another not ready for a moment.
    world.check_not_rolled(&rest, since)?;
    let writes = but_for_outrun(world.writes(mark)?.of("pods"));
    let key_of = |it: &Event| format!("{}/{}", it.namespace, it.name);
    let mut written: Vec<_> = writes.iter().map(key_of).collect();
    written.sort();
    ensure!(
        written == keys,
        "of the Pods, those of {keys:?} were to be written, once each, and not {written:?}"
    );
    let took = seconds(edited, ready);
    let put_off = put_off(world, healing, NAMESPACE);
    let (bare, bare_put_off) = bare(world).await?;
    world.holds(&format!(
        "{took:.1} s from the edit to the last of the thirty Ready, in the same Pods, at one write \
         each; a kubelet that is given thirty such Pods takes {bare:.1} s: {:.2} x. More pulls than \
         a kubelet begins at once: it put {put_off} of the thirty off, and {bare_put_off} of the others.",
        took / bare
    ));
    Ok(())
}

/// How many Pods waited for their kubelet's next try, as it begins ten pulls at once and then five a
/// second (`registryPullQPS`, `registryBurst`).
fn put_off(world: &World, since: usize, namespace: &str) -> usize {
    let message = "/status/containerStatuses/0/state/waiting/message";
    let sights = world.eye.since(since);
    let put_off: BTreeSet<_> = sights
        .iter()
        .filter(|it| it.kind == Kind::Pod && it.key.starts_with(&format!("{namespace}/")))
        .filter(|it| text(&it.object, message).contains("pull QPS exceeded"))
        .map(|it| it.key.as_str())
        .collect();
    put_off.len()
}

async fn start(world: &World, names: &[String]) -> Result<()> {
    world.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let all: Vec<_> = names
        .iter()
        .zip(RUNTIMES.iter().cycle())
        .map(|(name, runtime)| yaml_in(NAMESPACE, name, &format!("runtime: {runtime}")))
        .collect();
    world.apply(&all[0], &all[1..]).await?;
    let keys: Vec<_> = names.iter().map(|it| key(it)).collect();
    let is = |seen: &Seen| all_ready(seen, &keys);
    world
        .eye
        .until("sixty Ready Workspaces", PATIENCE, is)
        .await?;
    Ok(())
}

/// Thirty Pods as the operator makes them, with nobody behind them. Returns the seconds from the
/// first of them to the last one Ready, as what the command itself takes is nobody's, and how many of
/// them were put off.
async fn bare(world: &World) -> Result<(f64, usize)> {
    world.kubectl(&["create", "namespace", BARE]).await?;
    let since = world.eye.mark();
    let took = start_thirty(world).await;
    // However it went: nobody else takes them away.
    let delete = ["delete", "namespace", BARE, "--wait=false"];
    let deleted = world.kubectl(&delete).await;
    let took = took?;
    deleted.map(|_| (took, put_off(world, since, BARE)))
}

async fn start_thirty(world: &World) -> Result<f64> {
    let images = RUNTIMES.map(|it| image(PRIMARY, it, "latest"));
    world.bed.forget_images(&images)?;
    let pods: Vec<Value> = world.eye.now(|seen| {
        let of = |(name, pod): (&str, &Value)| bare_pod(name, pod);
        seen.pods(NAMESPACE).take(LOST).map(of).collect()
    });
    ensure!(pods.len() == LOST, "{} Pods to copy", pods.len());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string();
    let file = world.bed.folder().join("thirty.json");
    fs::write(&file, list)?;
    let file = file.display().to_string();
    let apply = ["apply", "-f", &file];
    let (applied, created) = tokio::join!(
        world.kubectl(&apply),
        world
            .eye
            .until("the first of nobody's Pods", PATIENCE, |seen| {
                seen.pods(BARE).next().is_some()
            })
    );
    applied?;
    let ready = world
        .eye
        .until("thirty Pods of nobody's", PATIENCE, |seen| {
            let ready = seen.pods(BARE).filter(|(_, pod)| Life::of(pod).ready);
            ready.count() == LOST
        })
        .await?;
    Ok(seconds(created?, ready))
}

/// What was asked of a Pod, without what the server and the scheduler added.
fn bare_pod(name: &str, pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("nodeName");
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": BARE},
        "spec": spec,
    })
}

fn all_ready(seen: &Seen, keys: &[String]) -> bool {
    keys.iter().all(|it| seen.is_ready(it))
}

fn key(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}
