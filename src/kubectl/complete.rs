//! Completion of a line, as kubectl asks a plugin for it: by a program of another name, with the
//! words typed so far, whose last is the one to complete.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::engine;

use super::{PLUGIN, output};

/// kubectl's sign that what is no candidate is not to be completed with the names of files.
const NO_FILES: &str = ":4";

/// Prints the candidates, one a line with their help, and kubectl's sign.
pub(super) fn complete<T: CommandFactory>(words: Vec<OsString>) -> ExitCode {
    let mut args = vec![OsString::from(PLUGIN)];
    args.extend(words);
    let last = args.len() - 1;
    // What cannot be completed has no candidates.
    let found = engine::complete(&mut T::command(), args, last, None).unwrap_or_default();
    let mut lines = String::new();
    for candidate in found.iter().filter(|it| !it.is_hide_set()) {
        lines.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            lines.push('\t');
            lines.push_str(help.lines().next().unwrap_or_default());
        }
        lines.push('\n');
    }
    match output::print(&format!("{lines}{NO_FILES}\n")) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
