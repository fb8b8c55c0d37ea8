//! How an answer looks: a table for people, JSON or YAML for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How to print an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// Prints an answer: `table` is what people see of it. Returns whether anybody still listens.
///
/// # Errors
/// When it cannot be written.
pub(super) fn answer(
    format: Format,
    answer: &impl Serialize,
    table: impl FnOnce() -> String,
) -> anyhow::Result<bool> {
    print(&match format {
        Format::Table => table(),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(answer)?),
        Format::Yaml => serde_saphyr::to_string(answer)?,
    })
}

/// Prints a text. A closed pipe (`| head`) is not an error. Returns whether anybody still listens.
///
/// # Errors
/// When it cannot be written.
pub(super) fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Says something beside the answer.
pub(super) fn say(text: &str) {
    // Whoever closed that has heard enough.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Columns as kubectl aligns them; the first row is the heading.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|it| it.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells.map(|(it, &width)| format!("{it:width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A little colour, on a terminal where it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// For the standard output.
    pub(super) fn new() -> Self {
        Self::on(&io::stdout())
    }

    /// For what is said beside the answer.
    pub(super) fn beside() -> Self {
        Self::on(&io::stderr())
    }

    fn on(stream: &impl IsTerminal) -> Self {
        let unset = |name: &str| std::env::var_os(name).is_none_or(|it| it.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        Self(stream.is_terminal() && unset("NO_COLOR") && !dumb)
    }

    /// What is wrong.
    pub(super) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What is as it should be.
    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What may become wrong.
    pub(super) fn odd(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_spaces_at_its_ends() {
        let rows = [
            row(["NAME", "STATE"]),
            row(["a", "Ready"]),
            row(["long-name", ""]),
        ];
        assert_eq!(
            table(&rows),
            "NAME        STATE\na           Ready\nlong-name\n"
        );
    }
}
