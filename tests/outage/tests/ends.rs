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

/// Some of what a node with a Pod on it runs; the last two have no word of its folder.
const NODE: [&str; 6] = [
    "kubelet",
    "containerd",
    "kube-proxy",
    "kube-apiserver",
    "containerd-shim",
    "agent",
];

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_its_owner_is_killed() -> Result<()> {
    ends(&["up"], Some((Signal::SIGKILL, "is Ready"))).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_ctrl_c() -> Result<()> {
    ends(&["up"], Some((Signal::SIGINT, "is Ready"))).await
}

/// Nine agents run, and kubectl and the watches are under way.
#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_ctrl_c_in_the_middle_of_the_story() -> Result<()> {
    let suspended = "The primary is suspended";
    ends(&["story", "2"], Some((Signal::SIGINT, suspended))).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_a_panic() -> Result<()> {
    ends(&["panic"], None).await
}

/// With a signal once it has printed these words.
async fn ends(task: &[&str], signal: Option<(Signal, &str)>) -> Result<()> {
    let before = machine()?;
    let place = tempfile::Builder::new().prefix("o-").tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_outage"));
    let mut owner = Process::spawn(command.args(task).env("TMPDIR", place.path()))?;
    let mut names = vec![place.path().display().to_string()];
    if let Some((signal, words)) = signal {
        owner.wait_for_line(words, BUILT).await?;
        names.push(run_in(place.path())?);
        let there = programs(&names)?;
        for program in NODE {
            ensure!(there.contains(program), "{program} is none of {there:?}");
        }
        owner.signal(signal)?;
    }
    let patience = if signal.is_some() {
        Duration::from_secs(15)
    } else {
        BUILT
    };
    let status = owner.wait(patience).await?;
    match signal.map(|(signal, _)| signal) {
        Some(Signal::SIGINT) => ensure!(status.code() == Some(130), "{status}"),
        Some(_) => {}
        None => {
            let panicked = owner.lines().iter().any(|it| it.contains("panicked"));
            ensure!(panicked, "it ended otherwise: {:?}", owner.lines());
            ensure!(status.code() == Some(1), "{status}");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let (left, now) = (traces(place.path(), &names)?, machine()?);
        if left.is_empty() && now == before {
            return Ok(());
        }
        let differs: Vec<_> = now.symmetric_difference(&before).collect();
        ensure!(Instant::now() < deadline, "left: {left:?}; {differs:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The name of the run's own folder and cgroup.
fn run_in(place: &Path) -> Result<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        found.push(entry?.file_name().to_string_lossy().into_owned());
    }
    found.retain(|it| it.starts_with("outage-"));
    ensure!(found.len() == 1, "one run, and not {found:?}");
    Ok(found.remove(0))
}

/// The files, mounts and processes that there are of the run in this folder.
fn traces(place: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut found: Vec<_> = programs(names)?.into_iter().collect();
    for entry in fs::read_dir(place)? {
        found.push(entry?.path().display().to_string());
    }
    let mounts = fs::read_to_string("/proc/mounts")?;
    let of_run = |it: &&str| names.iter().any(|name| it.contains(name.as_str()));
    found.extend(mounts.lines().filter(of_run).map(str::to_owned));
    Ok(found)
}

/// The programs that run with one of these names in their command line, their environment or the name
/// of their cgroup: what runs in containers has the last only.
fn programs(names: &[String]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        // Whatever is no process, or ends meanwhile, has nothing to read.
        let read = |file: &str| {
            let bytes = fs::read(process.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let all = ["cmdline", "environ", "cgroup"].map(read).concat();
        if names.iter().any(|name| all.contains(name.as_str())) {
            found.insert(read("comm").trim().to_owned());
        }
    }
    Ok(found)
}

/// What a node could leave on the machine: cgroups, networks, settings of the kernel.
fn machine() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in [
        "find /sys/fs/cgroup -maxdepth 2 -type d -name outage-*",
        "ip -brief link",
        "ip netns list",
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
