//! Random numbers that a printed seed brings back.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Random(u64);

impl Random {
    /// From the seed in `FAULTS_SEED`, else from one that is printed.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let given = std::env::var("FAULTS_SEED").ok();
        let seed = given.map_or_else(
            || u64::from(now.expect("it is later").subsec_nanos()),
            |it| it.parse().expect("FAULTS_SEED is a number"),
        );
        // A test that passes shows what it prints to nobody.
        let _ = writeln!(std::io::stderr(), "FAULTS_SEED={seed}");
        Self(seed)
    }

    /// A number below this one (SplitMix64).
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
