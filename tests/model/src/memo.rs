//! Which states are known to settle. Most states of a run settle by way of others.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::state::State;

const SHARDS: usize = 64;

/// The fingerprints of states, with the number of steps to the end.
pub struct Memo {
    shards: Vec<Mutex<HashMap<u64, u16>>>,
}

impl Default for Memo {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards }
    }
}

impl Memo {
    fn shard(&self, fingerprint: u64) -> MutexGuard<'_, HashMap<u64, u16>> {
        let at = usize::try_from(fingerprint % SHARDS as u64).unwrap_or_default();
        let shard = self.shards[at].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }

    /// How many steps it takes from this state, if that is known.
    pub fn get(&self, fingerprint: u64) -> Option<u16> {
        self.shard(fingerprint).get(&fingerprint).copied()
    }

    /// How many steps it takes at most from a state of which that is known.
    pub fn most(&self) -> u16 {
        let most = |shard| self.shard(shard).values().copied().max();
        let most = (0..SHARDS as u64).filter_map(most).max();
        most.unwrap_or_default()
    }

    /// It takes so many.
    pub fn set(&self, fingerprint: u64, steps: u16) {
        self.shard(fingerprint).insert(fingerprint, steps);
    }
}

/// The fingerprint of a state.
#[must_use]
pub fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
