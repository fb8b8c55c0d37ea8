//! Ends a group of processes when their owner is gone, however it went.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `read` returns when the pipe's other end is closed, which the kernel does for us
/// even after a SIGKILL. There is nothing to save in a test cluster, so the group is
/// killed outright; the wait keeps a dying process from writing into the folder while
/// it is removed, and is bounded because where nobody reaps orphans they stay visible.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r _
kill -s KILL -- "-$1" 2>/dev/null
tries=0
while kill -s 0 -- "-$1" 2>/dev/null && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
[ -z "$2" ] || rm -rf -- "$2"
"#;

/// A process group that ends with this value, or with the process that holds it.
///
/// The group is not the terminal's: a Ctrl-C there reaches the owner alone, and the
/// group ends because the owner does.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Keeps the group's number from being given to anyone else while it may be killed.
    leader: Child,
    script: Child,
}

impl Watchdog {
    /// Starts an empty group; `folder` is removed after its last process.
    pub(crate) fn start(folder: Option<&Path>) -> Result<Self> {
        // The leader waits on a pipe of its own, so that it ends with its owner even
        // when that is killed before the next line.
        let leader = quiet(&mut Command::new("cat"))
            .spawn()
            .context("starting the group's leader")?;
        let script = quiet(Command::new("sh").args(["-c", SCRIPT, "watchdog"]))
            .arg(leader.id().to_string())
            .arg(folder.unwrap_or(Path::new("")))
            .spawn()
            .context("starting the watchdog")?;
        Ok(Self { leader, script })
    }

    /// Starts a command in the group.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command
            .process_group(self.leader.id().cast_signed())
            .spawn()
    }

    /// Ends the group, reaps its members and waits until the folder is gone.
    pub(crate) fn close(&mut self, members: &mut [Child]) {
        drop(self.script.stdin.take());
        for member in members {
            member.wait().ok();
        }
        drop(self.leader.stdin.take());
        self.leader.wait().ok();
        self.script.wait().ok();
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.close(&mut []);
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
}
