//! However a node ends, nothing is left of it. As these need root and Debian's packages, they are
//! ignored unless they are asked for; `make outage` says whether a machine has what they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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
    ends(&["up"], Some((Blow::ToOwner(Signal::SIGKILL), "is Ready"))).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_ctrl_c() -> Result<()> {
    ends(&["up"], Some((Blow::ToOwner(Signal::SIGINT), "is Ready"))).await
}

/// Nine agents run, and kubectl and the watches are under way.
#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_ctrl_c_in_the_middle_of_the_story() -> Result<()> {
    let suspended = "The primary is suspended";
    ends(
        &["story", "2"],
        Some((Blow::ToOwner(Signal::SIGINT), suspended)),
    )
    .await
}

/// What is to see to it that nothing is left is killed itself.
#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_its_keeper_is_killed() -> Result<()> {
    ends(&["up"], Some((Blow::ToKeeper, "is Ready"))).await
}

#[tokio::test]
#[ignore = "needs root, runc and network plugins"]
async fn nothing_is_left_after_a_panic() -> Result<()> {
    ends(&["panic"], None).await
}

/// What befalls a run.
#[derive(Clone, Copy)]
enum Blow {
    ToOwner(Signal),
    /// The process that made the namespaces is killed.
    ToKeeper,
}

impl Blow {
    fn strike(self, owner: &mut Process) -> Result<()> {
        match self {
            Self::ToOwner(signal) => owner.signal(signal),
            Self::ToKeeper => {
                let keeper = child_of(owner.id())?;
                let status = Command::new("kill").args(["-KILL", &keeper]).status()?;
                ensure!(status.success(), "kill {keeper}: {status}");
                Ok(())
            }
        }
    }

    /// What its owner ends with; a killed one with none.
    fn code(self) -> Option<i32> {
        match self {
            Self::ToOwner(Signal::SIGINT) => Some(130),
            Self::ToOwner(_) => None,
            Self::ToKeeper => Some(1),
        }
    }
}

/// Its only child.
fn child_of(process: u32) -> Result<String> {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(children)?;
    let mut found = children.split_whitespace();
    let child = found.next().context("a keeper")?;
    ensure!(found.next().is_none(), "one keeper, and not {children:?}");
    Ok(child.to_owned())
}

/// With a blow once it has printed these words.
async fn ends(task: &[&str], blow: Option<(Blow, &str)>) -> Result<()> {
    let before = machine()?;
    let place = tempfile::Builder::new().prefix("o-").tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_outage"));
    let mut owner = Process::spawn(command.args(task).env("TMPDIR", place.path()))?;
    let mut names = vec![place.path().display().to_string()];
    if let Some((blow, words)) = blow {
        owner.wait_for_line(words, BUILT).await?;
        names.push(run_in(place.path())?);
        let there = programs(&names)?;
        for program in NODE {
            ensure!(there.contains(program), "{program} is none of {there:?}");
        }
        blow.strike(&mut owner)?;
    }
    let patience = if blow.is_some() {
        Duration::from_secs(15)
    } else {
        BUILT
    };
    let status = owner.wait(patience).await?;
    let code = blow.map_or(Some(1), |(blow, _)| blow.code());
    ensure!(status.code() == code, "{status}");
    if blow.is_none() {
        let panicked = owner.lines().iter().any(|it| it.contains("panicked"));
        ensure!(panicked, "it ended otherwise: {:?}", owner.lines());
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

/// What a node could leave on the machine: cgroups, folders of its programs, networks, settings of the
/// kernel.
fn machine() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in [
        "find /sys/fs/cgroup -maxdepth 2 -type d -name outage-*",
        "find /opt /usr/libexec -type d",
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
