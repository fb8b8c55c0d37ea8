//! A person at a terminal: a program on a pseudo terminal, what it shows, and the keys pressed.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Pty, open};

use crate::fixture::PATIENCE;

/// A program on a pseudo terminal, which is its controlling one. Dropping it kills it.
pub struct Terminal {
    child: std::process::Child,
    keyboard: Arc<Pty>,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Reads until nothing more can come.
    reads: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a program with the arguments and the environment of this command.
    pub fn start(command: &Command) -> Self {
        let (pty, pts) = open().expect("a pseudo terminal");
        pty.resize(Size::new(50, 160)).expect("it has a size");
        let mut on_terminal = pty_process::blocking::Command::new(command.get_program())
            .args(command.get_args())
            .env("TERM", "xterm-256color");
        for (name, value) in command.get_envs() {
            on_terminal = match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        let child = on_terminal.spawn(pts).expect("it starts");
        let (keyboard, screen) = (Arc::new(pty), Arc::new(Mutex::new(Vec::new())));
        let (reader, seen) = (Arc::clone(&keyboard), Arc::clone(&screen));
        let reads = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The terminal's end is an error once the program has ended.
            while let Ok(count @ 1..) = (&*reader).read(&mut bytes) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            child,
            keyboard,
            screen,
            reads: Some(reads),
        }
    }

    /// All that was shown so far.
    pub fn text(&self) -> String {
        let seen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until this is shown.
    pub async fn shows(&self, text: &str) {
        let start = Instant::now();
        while !self.text().contains(text) {
            assert!(
                start.elapsed() < PATIENCE,
                "{text:?} is not shown:\n{}",
                self.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&*self.keyboard)
            .write_all(keys.as_bytes())
            .expect("the terminal takes it");
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.press("\x03");
    }

    /// Waits for the program's end, and until all that it has shown is seen. Returns its exit code.
    pub async fn ends(&mut self) -> i32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                if let Some(reads) = self.reads.take() {
                    reads.join().expect("it only reads");
                }
                return status.code().unwrap_or(-1);
            }
            assert!(start.elapsed() < PATIENCE, "it goes on:\n{}", self.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
