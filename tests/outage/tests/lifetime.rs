//! However a node ends, nothing is left of it. As these need root and Debian's packages, they are
//! ignored unless they are asked for; `make outage` says whether a machine has what they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{Process, Signal};

/// The first start builds what a node is made of.
const BUILT: Duration = Duration::from_secs(900);
/// Files of the kernel that a kubelet sets where they are not as it wants them.
const TUNED: [&str; 4] = [
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
];

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_its_owner_is_killed() -> Result<()> {
    ends("up", Some(Signal::SIGKILL)).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_ctrl_c() -> Result<()> {
    ends("up", Some(Signal::SIGINT)).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_a_panic() -> Result<()> {
    ends("panic", None).await
}

async fn ends(task: &str, signal: Option<Signal>) -> Result<()> {
    let before = machine()?;
    let place = tempfile::Builder::new().prefix("o-").tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_outage"));
    let mut owner = Process::spawn(command.arg(task).env("TMPDIR", place.path()))?;
    if let Some(signal) = signal {
        owner.wait_for_line("is Ready", BUILT).await?;
        ensure!(traces(place.path())? > 10, "a node has more to it");
        owner.signal(signal)?;
    }
    let patience = if signal.is_some() {
        Duration::from_secs(15)
    } else {
        BUILT
    };
    owner.wait(patience).await?;
    if signal.is_none() {
        let panicked = owner.lines().iter().any(|it| it.contains("panicked"));
        ensure!(panicked, "it ended otherwise: {:?}", owner.lines());
    }
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let (left, now) = (traces(place.path())?, machine()?);
        if left == 0 && now == before {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{left} traces; {:?}",
            now.symmetric_difference(&before)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many files, processes, mounts and cgroups there are of the runs in this folder.
fn traces(place: &Path) -> Result<usize> {
    let files = fs::read_dir(place)?.count();
    let folder = place.display().to_string();
    let processes = Command::new("ps").args(["-eo", "stat=,args="]).output()?;
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    let alive = |it: &&str| !it.starts_with('Z') && it.contains(&folder);
    let mounts = fs::read_to_string("/proc/mounts")?;
    let mounts = mounts.lines().filter(|it| it.contains(&folder));
    Ok(files + processes.lines().filter(alive).count() + mounts.count())
}

/// What a node could leave on the machine: cgroups, networks, settings of the kernel.
fn machine() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in [
        "find /sys/fs/cgroup -maxdepth 2 -type d -name outage-*",
        "ip -brief link",
        "nft list ruleset",
    ] {
        let mut words = line.split(' ');
        let output = Command::new(words.next().unwrap_or_default())
            .args(words)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        found.extend(text.lines().map(str::to_owned));
    }
    for file in TUNED {
        found.insert(format!("{file} {}", fs::read_to_string(file)?));
    }
    Ok(found)
}
