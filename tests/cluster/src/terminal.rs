//! How a story looks that is told with kubectl: plain where it is piped, with a little colour on a
//! terminal.

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

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// Colours are for a terminal whose owner did not set `NO_COLOR`.
    #[must_use]
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

    /// A line or more, as they are.
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

    /// How it ended, when it did not end well.
    pub fn failed(self, who: &str, text: &str) {
        let word = self.paint(RED, &format!("{who} failed:"));
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

/// A command as a shell takes it.
#[must_use]
pub fn typed(program: &str, args: &[&str]) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./=:,".contains(it);
    let word = |arg: &&str| {
        if arg.chars().all(plain) {
            (*arg).to_owned()
        } else {
            format!("'{arg}'")
        }
    };
    let words: Vec<String> = args.iter().map(word).collect();
    format!("{program} {}", words.join(" "))
}
