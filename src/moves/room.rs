//! How many more may be stopped, and proved ahead.

/// Besides those that could be moved at once, so many are proved ahead.
pub(super) const AHEAD: usize = 16;

/// What a move would take from a Workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its agent answers.
    Serves,
    /// It does not, and may again by itself: it misses a probe or two, or was moved in vain.
    Misses,
    /// Nothing more.
    Down,
}

/// The places that are left.
pub(super) struct Room {
    /// For those that serve.
    free: usize,
    /// For those that do not and may again. They are not Ready already, and still no more of them are
    /// stopped at once than of the others: what they miss may be their node's doing.
    again: usize,
    ahead: usize,
    /// As many as may be are not Ready, and none of them for the move: nothing that serves follows soon.
    is_shut: bool,
    /// Whether one is moved, or about to be, of those that do not serve.
    pub(super) mends: bool,
}

impl Room {
    /// Where so many may not be Ready at once, so many places are taken, and so many of them by the move.
    pub(super) fn of(most: usize, taken: usize, moving: usize) -> Self {
        let free = most.saturating_sub(taken);
        Self {
            free,
            again: most.saturating_sub(moving),
            ahead: most.saturating_mul(2).saturating_add(AHEAD),
            is_shut: free == 0 && moving == 0,
            mends: false,
        }
    }

    /// Whether nothing that serves is moved until somebody mends what is down.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_shut && !self.mends
    }

    pub(super) fn is_full(&self, standing: Standing) -> bool {
        match standing {
            Standing::Serves => self.is_shut || self.free + self.ahead == 0,
            Standing::Misses => self.again + self.ahead == 0,
            Standing::Down => false,
        }
    }

    /// What is down already takes no place that it does not have.
    pub(super) fn take(&mut self, standing: Standing) -> bool {
        let places = match standing {
            Standing::Serves => &mut self.free,
            Standing::Misses => &mut self.again,
            Standing::Down => return true,
        };
        let is_free = *places > 0;
        *places = places.saturating_sub(1);
        is_free
    }

    /// Whether it may be proved ahead.
    pub(super) fn prove(&mut self, standing: Standing) -> bool {
        let may = self.ahead > 0 && (standing != Standing::Serves || !self.is_shut);
        self.ahead -= usize::from(may);
        may
    }
}
