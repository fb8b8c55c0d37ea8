//! The move of the fleet: whose turn it is, worked out anew while something changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Controller, Item, pause};
use crate::moves::{Moves, moves};
use crate::seen::{Key, Turn};
use crate::settings::Policy;

/// All Workspaces are looked at for it, and no more often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is known of the move.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) moves: Moves,
    /// Whether the moment of the next look is in the queue.
    is_due: bool,
}

impl Fleet {
    pub(super) fn turn(&self, key: &Key) -> Turn {
        self.moves.turns.get(key).copied().unwrap_or_default()
    }
}

impl Controller {
    /// Something changed by which it may be the turn of others. Costs nothing where nothing moves.
    pub(super) fn turns_may_change(&mut self) {
        let settings = self.governor.in_force().settings.as_ref();
        let is_paced = settings.is_some_and(|it| it.rollout().policy == Policy::Paced);
        let was_paced = self.fleet.moves.tally.is_some();
        if self.leader.leads() && !self.fleet.is_due && (is_paced || was_paced) {
            self.fleet.is_due = true;
            let due = Instant::now() + LOOK_EVERY;
            self.queue.wake(Item::Moves, Some(due));
        }
    }

    /// After an edit nobody goes on by what was worked out before it.
    pub(super) fn turns_change(&mut self) {
        self.turns_may_change();
        if self.fleet.is_due {
            self.queue.add_urgent(Item::Moves);
        }
    }

    pub(super) fn moves_pass(&mut self) {
        self.fleet.is_due = false;
        self.work_out_turns();
        let wake = self.fleet.moves.wake;
        let wake = wake.map(|at| Instant::now() + pause(Timestamp::now(), at).max(LOOK_EVERY));
        self.queue.wake(Item::Moves, wake);
        self.queue.done(&Item::Moves);
    }

    fn work_out_turns(&mut self) {
        let earlier = std::mem::take(&mut self.fleet.moves);
        let settings = self.governor.in_force().settings.as_ref();
        let now = Timestamp::now();
        let proof = |question: &_| self.proofs.proof(question, now);
        let next = moves(self.index.all(), settings, &earlier.turns, proof, now);
        for key in changed(&earlier.turns, &next.turns) {
            self.queue.add(Item::Workspace(key));
        }
        if next.tally != earlier.tally {
            self.overview_may_change();
        }
        self.fleet.moves = next;
    }
}

/// Those whose turn is another one than before.
fn changed(before: &BTreeMap<Key, Turn>, after: &BTreeMap<Key, Turn>) -> Vec<Key> {
    let ended = before.keys().filter(|key| !after.contains_key(key));
    let other = after
        .iter()
        .filter(|(key, turn)| before.get(key) != Some(turn));
    let other = other.map(|(key, _)| key);
    ended.chain(other).cloned().collect()
}
