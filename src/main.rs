//! The workspace operator.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The usual one keeps for good what a start or an outage took. How this one is set is in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    workspace_operator::cli::main()
}
