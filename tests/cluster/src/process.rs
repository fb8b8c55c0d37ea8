//! A program under test: its output is kept, and it never outlives its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::watchdog::Watchdog;

pub use nix::sys::signal::Signal;

/// A running program whose lines are captured. Dropping it kills it, and so does the end
/// of the process that holds it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Each ends with the stream that it captures.
    captures: Vec<JoinHandle<()>>,
    watchdog: Watchdog,
}

/// A program that has ended may have left another one that still has its output.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Process {
    /// Starts a command; its standard output and error are captured together.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let watchdog = Watchdog::start(None)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = watchdog
            .spawn(command)
            .with_context(|| format!("starting {command:?}"))?;
        let lines = Arc::default();
        let stdout = child.stdout.take().map(|it| capture(it, &lines));
        let stderr = child.stderr.take().map(|it| capture(it, &lines));
        Ok(Self {
            child,
            lines,
            captures: stdout.into_iter().chain(stderr).collect(),
            watchdog,
        })
    }

    /// Every line so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that contains the text, also among those already said.
    ///
    /// # Errors
    /// When none comes in time, or the program ends without it; with its last lines.
    pub async fn wait_for_line(&self, text: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            if Instant::now() > deadline {
                let last = &lines[lines.len().saturating_sub(20)..];
                bail!(
                    "no line with {text:?} in {timeout:?}; the last ones:\n{}",
                    last.join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `Signal::SIGTERM`, `Signal::SIGKILL`, …
    ///
    /// # Errors
    /// When the program has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once reaped, the number may be someone else's.
        if let Some(status) = self.child.try_wait()? {
            bail!("the program has ended already: {status}");
        }
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        Ok(())
    }

    /// How it ended, when it has.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end; then [`Process::lines`] has all that it said.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub async fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited()? {
                let until = Instant::now() + LAST_WORDS;
                while !self.captures.iter().all(JoinHandle::is_finished) && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the program has not ended in {timeout:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watchdog.close(std::slice::from_mut(&mut self.child));
    }
}

fn capture(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    })
}
