//! The control plane by itself: `control-plane build`, `control-plane up`.

use anyhow::{Result, bail};
use cluster::{Cluster, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("build") => cluster::ensure().map(drop),
        Some("up") => up().await,
        _ => bail!("usage: control-plane build | up"),
    }
}

async fn up() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let cluster = Cluster::start(Options::default()).await?;
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    cluster.stop();
    Ok(())
}
