//! The machine: what it is, how busy it is, and with whose work.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// The kernel's unit of CPU time for programs.
const TICK: Duration = Duration::from_millis(10);
/// More than this share of the machine's CPU in other hands, and a run is not worth anything.
pub const FOREIGN_AT_MOST: f64 = 0.05;

/// What the machine is.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub load_at_start: String,
    /// What was measured on it.
    pub commit: String,
}

impl Machine {
    pub fn look() -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find(|it| it.starts_with("model name"));
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib = memory.split_whitespace().nth(1).context("MemTotal")?;
        Ok(Self {
            cpu: model
                .and_then(|it| it.split(": ").nth(1))
                .unwrap_or("unknown")
                .trim()
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kib.parse::<u64>()?.div_ceil(1 << 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            load_at_start: load()?,
            commit: commit(),
        })
    }
}

/// The commit of the folder in which it is run, and whether its files are those of it.
fn commit() -> String {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=7"])
        .output();
    let described = described.ok().filter(|it| it.status.success());
    let commit = described.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    commit.map_or_else(|| "no commit".to_owned(), |it| format!("commit {it}"))
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The CPU that a process has used, children that it waited for left out.
pub fn cpu_of(process: u32) -> Result<Duration> {
    Ok(stat(&process.to_string())?.own)
}

/// The resident memory of a process, in KiB.
pub fn resident_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|it| it.starts_with("VmRSS:"));
    let kib = line.and_then(|it| it.split_whitespace().nth(1));
    kib.context("VmRSS")?.parse().context("VmRSS")
}

struct Stat {
    parent: u32,
    own: Duration,
    with_children: Duration,
}

fn stat(process: &str) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("a stat line")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|it| it.parse().ok()).unwrap_or(0);
    let own = ticks(number(11) + number(12));
    Ok(Stat {
        parent: fields.get(1).context("the parent")?.parse()?,
        own,
        with_children: own + ticks(number(13) + number(14)),
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(10 * count)
}

/// The CPU that this process and all below it have used.
fn ours() -> Result<Duration> {
    let mut stats = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        if let Ok(stat) = stat(&id.to_string()) {
            stats.insert(id, stat);
        }
    }
    let mut family = HashSet::from([std::process::id()]);
    loop {
        let known = family.len();
        let is_child = |(_, stat): &(&u32, &Stat)| family.contains(&stat.parent);
        let children: Vec<u32> = stats.iter().filter(is_child).map(|(id, _)| *id).collect();
        family.extend(children);
        if family.len() == known {
            break;
        }
    }
    let members = stats.iter().filter(|(id, _)| family.contains(id));
    Ok(members.map(|(_, stat)| stat.with_children).sum())
}

/// The machine's CPU time at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    busy: Duration,
    stolen: Duration,
    total: Duration,
    ours: Duration,
}

impl Moment {
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text
            .lines()
            .next()
            .context("the first line of /proc/stat")?;
        let numbers = line.split_whitespace().skip(1).map(str::parse);
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
        let [user, nice, system, idle, wait, hard, soft, stolen, ..] = numbers[..] else {
            anyhow::bail!("/proc/stat has no eight numbers: {line}");
        };
        let busy = user + nice + system + hard + soft + stolen;
        Ok(Self {
            busy: ticks(busy),
            stolen: ticks(stolen),
            total: ticks(busy + idle + wait),
            ours: ours()?,
        })
    }

    /// The share of the machine that others have had since then.
    fn foreign_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let foreign = (now.busy - self.busy).saturating_sub(now.ours.saturating_sub(self.ours));
        let total = (now.total - self.total).max(TICK);
        Ok(foreign.as_secs_f64() / total.as_secs_f64())
    }

    /// The share of the machine that its host gave to others since then.
    fn stolen_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let total = (now.total - self.total).max(TICK);
        Ok((now.stolen - self.stolen).as_secs_f64() / total.as_secs_f64())
    }

    fn busy_since(&self) -> Result<f64> {
        let now = Self::now()?;
        let total = (now.total - self.total).max(TICK);
        Ok((now.busy - self.busy).as_secs_f64() / total.as_secs_f64())
    }
}

/// From a moment on, what others have of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Others {
    was_quiet: bool,
    since: Moment,
}

/// What others had of the machine while something was measured on it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Share {
    /// Whether the machine had been quiet before.
    pub was_quiet: bool,
    /// Percent of its CPU in others' hands.
    pub foreign: f64,
    /// Percent of its CPU that its host gave to others.
    pub stolen: f64,
}

impl Others {
    pub fn from_now_on(was_quiet: bool) -> Result<Self> {
        Ok(Self {
            was_quiet,
            since: Moment::now()?,
        })
    }

    pub fn so_far(&self) -> Result<Share> {
        Ok(Share {
            was_quiet: self.was_quiet,
            foreign: self.since.foreign_since()? * 100.0,
            stolen: self.since.stolen_since()? * 100.0,
        })
    }
}

impl Share {
    /// Whether what was measured tells of others as well.
    pub fn is_too_much(&self) -> bool {
        self.foreign > FOREIGN_AT_MOST * 100.0
    }
}

/// Waits until the machine, what we started included, does next to nothing.
///
/// Returns whether it came to that in time.
pub async fn quiet(patience: Duration) -> Result<bool> {
    const IDLE: f64 = 0.12;
    const LOOK: Duration = Duration::from_secs(2);
    let start = Instant::now();
    let mut told = false;
    loop {
        let moment = Moment::now()?;
        tokio::time::sleep(LOOK).await;
        let (busy, foreign) = (moment.busy_since()?, moment.foreign_since()?);
        if busy < IDLE && foreign < FOREIGN_AT_MOST {
            return Ok(true);
        }
        if start.elapsed() > patience {
            eprintln!("  not quiet in {patience:?}: going on, and the table tells");
            return Ok(false);
        }
        if !told && start.elapsed() > Duration::from_secs(20) {
            told = true;
            eprintln!(
                "  waiting for a quiet machine ({:.0} % busy, {:.0} % with others' work, load {})",
                busy * 100.0,
                foreign * 100.0,
                load()?
            );
        }
    }
}
