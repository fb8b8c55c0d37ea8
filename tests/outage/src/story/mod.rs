//! The story, step by step, and the sixty after it.

mod answers;
mod ask;
mod end;
mod fading;
mod failing;
mod hang;
mod install;
mod list;
mod moving;
mod names;
mod operator;
mod outage;
mod pin;
mod prepared;
mod private;
mod settings;
mod sixty;
mod switch;
mod wish;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::Terminal;
use workspace_operator::settings::RUNTIMES;

use crate::bed::Bed;
use crate::world::World;

/// What the settings name at first.
const PRIMARY: &str = "ghcr.io/molecule-ai";
const MIRROR: &str = "mirror.example.com/molecule-ai";
const PRIVATE: &str = "private.example.com/molecule-ai";
/// The one with storage, whose Pod is lost.
const LOST: &str = "hermes";
/// How soon a status has to say what is wrong.
const TOLD_WITHIN: f64 = 5.0;
/// How soon after the edit the stuck have to run.
const HEALED_WITHIN: f64 = 1.0;

/// Tells it all, or the chosen steps; an error is a step that did not hold.
pub async fn tell(chosen: &[String]) -> Result<()> {
    let terminal = Terminal::new();
    terminal.heading("Starting a node, its registries and a control plane on this machine.");
    let start = Instant::now();
    let bed = Bed::start().await?;
    terminal.say(&format!(
        "Kubernetes {} is up after {:.1} s, with one node: kubelet, containerd, runc, kube-proxy, \
         CoreDNS,\n\
         and four registries, three of them behind fronts that can be told to fail. Nothing is played.",
        bed.cluster.kubernetes_version(),
        start.elapsed().as_secs_f32()
    ));
    let mut world = install::install(bed, start).await?;
    let mut failed = steps(&mut world, chosen).await;
    if let Err(error) = end::delete_everything(&mut world).await {
        world.failed(&format!("{error:#}"));
        failed += 1;
    }
    terminal.heading("The timeline, in seconds since the start");
    terminal.output(&world.timeline());
    ensure!(failed == 0, "{failed} steps did not hold");
    terminal.say(&format!(
        "\nEvery step held. It took {:.0} s.",
        start.elapsed().as_secs_f32()
    ));
    Ok(())
}

type Step = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// In their order, with the names by which one is asked for and the registry that the settings name after
/// them. The first is always told, and so is the end. The eleventh, that storage stays, is told where it
/// could be lost: in 5, in 7 and at the end.
const STEPS: [(&str, Step, &str); 19] = [
    ("1", |world| Box::pin(install::nine(world)), PRIMARY),
    ("2", |world| Box::pin(outage::suspend(world)), PRIMARY),
    (
        "3",
        |world| Box::pin(outage::kill_processes(world)),
        PRIMARY,
    ),
    ("4", |world| Box::pin(outage::get_stuck(world)), PRIMARY),
    ("5", |world| Box::pin(switch::to_the_mirror(world)), MIRROR),
    ("6", |world| Box::pin(operator::lose_it(world)), MIRROR),
    ("7", |world| Box::pin(switch::and_back(world)), PRIMARY),
    (
        "answers",
        |world| Box::pin(answers::answer_in_every_way(world)),
        PRIMARY,
    ),
    ("8", |world| Box::pin(hang::hang(world)), MIRROR),
    (
        "hung",
        |world| Box::pin(hang::patch_in_a_hung_pull(world)),
        MIRROR,
    ),
    (
        "slow",
        |world| Box::pin(hang::patch_in_a_slow_pull(world)),
        MIRROR,
    ),
    (
        "9",
        |world| Box::pin(private::ask_for_secrets(world)),
        MIRROR,
    ),
    ("10", |world| Box::pin(pin::pin(world)), MIRROR),
    ("12", |world| Box::pin(names::resolve(world)), MIRROR),
    (
        "wish",
        |world| Box::pin(wish::what_cannot_be_had(world)),
        MIRROR,
    ),
    ("14", |world| Box::pin(moving::what_runs(world)), MIRROR),
    ("15", |world| Box::pin(prepared::what_comes(world)), MIRROR),
    (
        "16",
        |world| Box::pin(fading::images_that_fade(world)),
        MIRROR,
    ),
    ("sixty", |world| Box::pin(sixty::sixty(world)), PRIMARY),
];

/// What the steps are called.
pub fn names() -> [&'static str; STEPS.len()] {
    STEPS.map(|(name, ..)| name)
}

/// Those that were chosen, or all of them; one that did not hold does not end the day. Returns how
/// many did not.
async fn steps(world: &mut World, chosen: &[String]) -> usize {
    let mut failed = 0;
    for (number, (name, step, prefix)) in STEPS.into_iter().enumerate() {
        if number > 0 && !chosen.is_empty() && !chosen.iter().any(|it| it == name) {
            continue;
        }
        let since = world.eye.mark();
        let told = step(world).await;
        world.tell_of_dips(since);
        if let Err(error) = told {
            world.show_what_is_there().await;
            world.failed(&format!("{error:#}"));
            failed += 1;
            if let Err(error) = put_back(world, prefix).await {
                world.failed(&format!("what it changed could not be put back: {error:#}"));
            }
        }
    }
    failed
}

/// The next step is not to fail for what this one left.
async fn put_back(world: &World, prefix: &str) -> Result<()> {
    world.bed.registries.answer_themselves();
    let plain = settings::plain(world, prefix).await;
    let resumed = hang::resume(world).await;
    plain.and(resumed)
}

/// The keys of the nine Workspaces, which are called as their runtimes.
fn nine() -> Vec<String> {
    RUNTIMES.map(key).to_vec()
}

/// Of a Workspace and its Pod in the namespace of the story.
fn key(name: &str) -> String {
    format!("default/{name}")
}

fn image(prefix: &str, runtime: &str, tag: &str) -> String {
    format!("{prefix}/workspace-template-{runtime}:{tag}")
}

/// A Workspace as it is written by hand.
fn yaml(name: &str, spec: &str) -> String {
    manifest(&format!("name: {name}"), spec)
}

/// The same, in a namespace.
fn yaml_in(namespace: &str, name: &str, spec: &str) -> String {
    manifest(&format!("namespace: {namespace}, name: {name}"), spec)
}

fn manifest(metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: molecule.ai/v1alpha1\nkind: Workspace\nmetadata: {{{metadata}}}\n\
         spec: {{{spec}}}\n"
    )
}

fn ensure_within(what: &str, took: f64, limit: f64) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    ensure!(
        took <= limit,
        "{what} took {took:.2} s, and at most {limit} s were promised; the machine's load is {load}"
    );
    Ok(())
}

/// Longer than the operator takes to look at a Pod that has changed, and to tell of it.
const LOOKED_AT: Duration = Duration::from_secs(5);
/// Longer than a kubelet waits before it tries a pull for the third time.
const RETRY: Duration = Duration::from_secs(45);
