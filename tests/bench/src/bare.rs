//! The bare client: the floor that the operator is measured against. It is a process of its own,
//! so that its CPU is known, on one thread, with the operator's identity, library and
//! connection settings; it decides nothing and remembers next to nothing.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::core::WatchEvent;
use tokio::io::AsyncBufReadExt;

use crate::bodies::{self, PodTemplate, UP};
use crate::machine;
use crate::wire::{self, Object, PODS, WORKSPACES, Watch};

/// How often it renews the Lease: CPU is counted in hundredths of a second, and one takes less.
pub const RENEWALS: u32 = 96;

/// What a bare client is told.
#[derive(Debug, clap::Args)]
pub struct Task {
    #[arg(long, value_enum)]
    work: Work,
    #[arg(long)]
    concurrency: usize,
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Milliseconds from one renewal of the Lease to the next
    #[arg(long)]
    every: Option<u64>,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// F1: a Pod for each Workspace.
    Create,
    /// F2: a Pod for each Workspace, and its status once it is Ready.
    CreateAndTell,
    /// A patch of each Pod.
    Heal,
    /// A patch of each Pod, and the status of its Workspace once it is Ready.
    HealAndTell,
    /// A patch of the Lease as often as the operator's own.
    Renew,
}

impl Work {
    /// Whether it writes statuses as well.
    pub fn tells(self) -> bool {
        matches!(self, Self::CreateAndTell | Self::HealAndTell)
    }
}

/// Prepares, says `ready`, waits for a line, works, and prints the milliseconds of CPU of
/// the whole process.
pub async fn run(task: &Task) -> Result<()> {
    let client = cluster::client_for(&task.kubeconfig).await?;
    let (work, concurrency) = (task.work, task.concurrency);
    if work == Work::Renew {
        let every = task.every.context("--every is missing")?;
        return renew(&client, Duration::from_millis(every)).await;
    }
    let is_create = matches!(work, Work::Create | Work::CreateAndTell);
    let targets = wire::list(&client, if is_create { WORKSPACES } else { PODS }).await?;
    let template = PodTemplate::new(UP)?;
    ready().await?;

    if is_create {
        create_services(&client, &targets).await?;
    }
    let writes = targets.into_iter().map(|target| {
        let client = client.clone();
        let body = if is_create {
            let meta = &target.metadata;
            template.fill(&meta.namespace, &meta.name, &meta.uid)
        } else {
            bodies::heal(&target.metadata.uid, &bodies::image(UP))
        };
        write(client, is_create, target, body).boxed()
    });
    if work.tells() {
        write_and_tell(&client, writes, concurrency).await?;
    } else {
        let mut done = futures::stream::iter(writes).buffer_unordered(concurrency);
        while let Some(done) = done.next().await {
            done?;
        }
    }
    // From the start of the process, as the operator's is counted.
    let spent = machine::cpu_of(std::process::id())?;
    println!("{}", spent.as_millis());
    Ok(())
}

async fn ready() -> Result<()> {
    println!("ready");
    let mut line = String::new();
    let mut input = tokio::io::BufReader::new(tokio::io::stdin());
    input.read_line(&mut line).await?;
    Ok(())
}

/// Prints the milliseconds of CPU of the renewals alone.
async fn renew(client: &Client, every: Duration) -> Result<()> {
    let again = async |number: u32| {
        let body = bodies::renewal(number.into());
        wire::merge_patch(client, wire::LEASE, body).await
    };
    again(0).await?;
    ready().await?;
    let before = machine::cpu_of(std::process::id())?;
    let mut renewals = tokio::time::interval(every);
    for number in 1..=RENEWALS {
        renewals.tick().await;
        again(number).await?;
    }
    let spent = machine::cpu_of(std::process::id())? - before;
    println!("{}", spent.as_millis());
    Ok(())
}

async fn create_services(client: &Client, targets: &[Object]) -> Result<()> {
    let namespaces: HashSet<&str> = targets
        .iter()
        .map(|it| it.metadata.namespace.as_str())
        .collect();
    for namespace in namespaces {
        let uri = format!("/api/v1/namespaces/{namespace}/services");
        wire::post(client, &uri, bodies::service()?).await?;
    }
    Ok(())
}

async fn write(client: Client, is_create: bool, target: Object, body: String) -> Result<()> {
    let pods = wire::pods_in(&target.metadata.namespace);
    if is_create {
        return wire::post(&client, &pods, body).await;
    }
    let uri = format!("{pods}/{}", target.metadata.name);
    wire::strategic_patch(&client, &uri, body).await
}

/// Statuses go before Pods: each is written as soon as it can be.
async fn write_and_tell(
    client: &Client,
    writes: impl ExactSizeIterator<Item = BoxFuture<'static, Result<()>>>,
    concurrency: usize,
) -> Result<()> {
    let mut left = writes.len();
    let mut writes = writes.fuse();
    let mut watch = Watch::of(client, PODS);
    let mut to_tell = VecDeque::new();
    let mut told = HashSet::new();
    let mut under_way = FuturesUnordered::<BoxFuture<'static, Result<bool>>>::new();
    let image = bodies::image(UP);
    while left > 0 {
        while under_way.len() < concurrency {
            if let Some((namespace, name)) = to_tell.pop_front() {
                under_way.push(tell(client.clone(), namespace, name, image.clone()).boxed());
            } else if let Some(write) = writes.next() {
                under_way.push(write.map(|done| done.map(|()| false)).boxed());
            } else {
                break;
            }
        }
        tokio::select! {
            Some(done) = under_way.next() => left -= usize::from(done?),
            event = watch.next() => match event? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod)
                    if pod.is_ready() && told.insert(pod.metadata.uid.clone()) =>
                {
                    to_tell.push_back((pod.metadata.namespace, pod.metadata.name));
                }
                WatchEvent::Error(error) => bail!("the watch: {error}"),
                _ => {}
            }
        }
    }
    Ok(())
}

async fn tell(client: Client, namespace: String, name: String, image: String) -> Result<bool> {
    let uri = format!("{}/{name}/status", wire::workspaces_in(&namespace));
    let body = bodies::status(&namespace, &name, &image);
    wire::merge_patch(&client, &uri, body).await.map(|()| true)
}
