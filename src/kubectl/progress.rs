//! How far something has come: a bar on a terminal, a line for each change elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output;

const TICK: Duration = Duration::from_millis(120);

/// How far something has come, told beside the answer.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    said: String,
}

impl Progress {
    /// Of something that has so many parts.
    pub(super) fn new(parts: usize) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(parts));
        Self {
            bar,
            said: String::new(),
        }
    }

    /// So many parts are done; the text says it in words.
    pub(super) fn set(&mut self, done: usize, text: &str) {
        if self.said == text {
            return;
        }
        text.clone_into(&mut self.said);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(self.said.clone());
            }
            None => output::say(text),
        }
    }

    /// Says something that stays.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::say(text)),
            None => output::say(text),
        }
    }
}

impl Drop for Progress {
    /// Leaves the terminal as it was, also when it ends by Ctrl-C.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            if !self.said.is_empty() {
                output::say(&self.said);
            }
        }
    }
}

fn bar(parts: usize) -> ProgressBar {
    let bar = ProgressBar::new(parts as u64);
    let template = if parts > 0 {
        "{spinner} {bar:32} {msg}"
    } else {
        "{spinner} {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
