//! The story, step by step, and the sixty after it.

mod answers;
mod end;
mod hang;
mod install;
mod names;
mod operator;
mod outage;
mod pin;
mod private;
mod sixty;
mod switch;

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
/// The one that comes during the outage, and its runtime.
const NEWCOMER: (&str, &str) = ("newcomer", "claude-code");
/// How soon a status has to say what is wrong.
const TOLD_WITHIN: f64 = 5.0;
/// How soon after the edit the stuck have to run.
const HEALED_WITHIN: f64 = 1.0;

/// Tells it all; an error is a step that did not hold.
pub async fn tell() -> Result<()> {
    let terminal = Terminal::new();
    terminal.heading("Starting a node, its registries and a control plane on this machine.");
    let start = Instant::now();
    let bed = Bed::start().await?;
    terminal.say(&format!(
        "Kubernetes {} is up after {:.1} s, with one node: kubelet, containerd, runc, kube-proxy, \
         CoreDNS,\n\
         and four registries, each behind a front that can be told to fail. Nothing is played.",
        bed.cluster.kubernetes_version(),
        start.elapsed().as_secs_f32()
    ));
    let mut world = install::install(bed, start).await?;
    let mut failed = steps(&mut world).await;
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

const STEPS: [Step; 15] = [
    |world| Box::pin(install::nine(world)),
    |world| Box::pin(outage::suspend(world)),
    |world| Box::pin(outage::kill_a_process(world)),
    |world| Box::pin(outage::get_stuck(world)),
    |world| Box::pin(switch::to_the_mirror(world)),
    |world| Box::pin(operator::lose_it(world)),
    |world| Box::pin(switch::and_back(world)),
    |world| Box::pin(answers::answer_in_every_way(world)),
    |world| Box::pin(hang::hang(world)),
    |world| Box::pin(hang::patch_in_a_hung_pull(world)),
    |world| Box::pin(hang::patch_in_a_slow_pull(world)),
    |world| Box::pin(private::ask_for_secrets(world)),
    |world| Box::pin(pin::pin(world)),
    |world| Box::pin(names::resolve(world)),
    |world| Box::pin(sixty::sixty(world)),
];

/// All of them, as one that did not hold does not end the day. Returns how many did not.
async fn steps(world: &mut World) -> usize {
    let mut failed = 0;
    for step in STEPS {
        if let Err(error) = step(world).await {
            world.show_what_is_there().await;
            world.failed(&format!("{error:#}"));
            failed += 1;
        }
    }
    failed
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
    format!(
        "apiVersion: molecule.ai/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n\
         spec: {{{spec}}}\n"
    )
}

fn ensure_within(what: &str, took: f64, limit: f64) -> Result<()> {
    ensure!(
        took <= limit,
        "{what} took {took:.2} s, and at most {limit} s were promised"
    );
    Ok(())
}

/// Longer than a kubelet waits before it tries a pull for the third time.
const RETRY: Duration = Duration::from_secs(45);
