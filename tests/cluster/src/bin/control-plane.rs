//! The control plane by itself: `control-plane build`, `control-plane up [CRD file …]`; and the tools
//! that deploy to it: `control-plane tool NAME` prints where one is.

use anyhow::{Context, Result};
use cluster::{Cluster, Options};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: control-plane build | tool NAME | up [CRD file …]";

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("build") => cluster::ensure().map(drop),
        Some("tool") => {
            let name = std::env::args().nth(2).context("which tool?")?;
            println!("{}", cluster::tool(&name)?.display());
            Ok(())
        }
        Some("up") => up().await,
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

async fn up() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut options = Options::default();
    for file in std::env::args().skip(2) {
        let crd = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        options.crds.push(crd);
    }
    let cluster = Cluster::start(options).await?;
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    cluster.stop();
    Ok(())
}
