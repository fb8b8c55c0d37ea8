//! The workspace operator.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The usual one keeps for good what a start or an outage took.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    workspace_operator::cli::main()
}
