//! How the story looks: plain where it is piped, with a little colour on a terminal.

use std::io::{self, IsTerminal, Write};

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

/// Where the story is told.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    colour: bool,
}

impl Terminal {
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self {
            colour: wanted && io::stdout().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// The sentence that a step begins with.
    pub fn heading(self, text: &str) {
        self.say(&format!("\n{}", self.paint(BOLD, text)));
    }

    pub fn say(self, text: &str) {
        // Whoever stops reading (`| head`) has seen enough; the checks go on.
        writeln!(io::stdout(), "{text}").ok();
    }

    /// A command as it is typed; its first line after the prompt.
    pub fn command(self, text: &str) {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        self.say(&format!("\n  $ {}", self.paint(CYAN, first)));
        for line in rest.lines() {
            self.say(&format!("  {}", self.paint(CYAN, line)));
        }
    }

    /// What a command answered.
    pub fn output(self, text: &str) {
        for line in text.lines() {
            self.say(format!("  {line}").trim_end());
        }
    }

    /// What was checked, after it held.
    pub fn holds(self, text: &str) {
        self.say(&format!("\n  {} {text}", self.paint(GREEN, "holds:")));
    }

    pub fn failed(self, text: &str) {
        let word = self.paint(RED, "demo failed:");
        writeln!(io::stderr(), "\n{word} {text}").ok();
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
