//! The workspace operator.

use std::process::ExitCode;

fn main() -> ExitCode {
    workspace_operator::cli::main()
}
