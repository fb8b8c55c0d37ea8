//! The workspace operator.

use std::process::ExitCode;

use tikv_jemalloc_ctl::{Access, AsName, Result};
use tikv_jemallocator::Jemalloc;

/// The usual one keeps for good what a start or an outage took. How this one is set is in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // One that cannot give memory back keeps it; nothing else depends on that.
    workspace_operator::cli::main(|| {
        let _ = give_back();
    })
}

/// Gives back what is free. The allocator does so by itself only while it is in use.
fn give_back() -> Result<()> {
    let cache = b"thread.tcache.enabled\0".name();
    cache.write(false)?;
    cache.write(true)?;
    let decay = b"arena.0.dirty_decay_ms\0".name();
    let usual: isize = decay.update(0)?;
    decay.write(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_can_be_given_back() {
        give_back().expect("the allocator knows these keys");
    }
}
