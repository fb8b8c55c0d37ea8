//! What is pulled before anybody waits for it: the images that will be needed after a switch, on the
//! nodes where they will be needed.
//!
//! Such a probe stays for as long as it may be needed, so that its node keeps the image. It is a proof
//! for as long as any other, and is sent anew once somebody waits for it: a node that has the image
//! then only asks its registry whether it may be used.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Proofs;
use crate::proof::Want;
use crate::seen::Key;

/// A node that is short of disk gets nothing in stock for so long.
pub(super) const FULL_FOR: SignedDuration = SignedDuration::from_mins(30);

/// How far the stock is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// How many images are wanted, counted on each node.
    pub wanted: usize,
    /// How many of them are there.
    pub pulled: usize,
    /// How many of the others cannot be pulled as it seems, by the reason.
    pub failed: BTreeMap<String, usize>,
}

impl Proofs {
    /// A Workspace may want this later. Returns whether anything has changed.
    pub fn stock(&mut self, key: &Key, want: Option<Want>) -> bool {
        if self.stock.get(key) == want.as_ref() {
            return false;
        }
        if let Some(earlier) = self.stock.remove(key)
            && let Some(track) = self.questions.get_mut(&earlier.question)
        {
            track.stocked_for.remove(key);
        }
        if let Some(want) = want {
            let track = self.questions.entry(want.question.clone()).or_default();
            let account = want.service_account.clone();
            track.stocked_for.insert(key.clone(), account);
            self.stock.insert(key.clone(), want);
        }
        true
    }

    /// Nobody wants anything in stock any more.
    pub fn clear_stock(&mut self) {
        self.stock.clear();
        self.full.clear();
        for track in self.questions.values_mut() {
            track.stocked_for.clear();
        }
    }

    /// How far the stock is.
    #[must_use]
    pub fn stocked(&self, now: Timestamp) -> Stock {
        let mut stock = Stock::default();
        for (question, track) in self.questions.iter().filter(|(_, it)| it.is_stocked()) {
            stock.wanted += 1;
            let mut probes = track.probes.iter().filter_map(|key| self.probes.get(key));
            if probes.any(|it| it.is_kept()) {
                stock.pulled += 1;
            } else if let Some(why) = self.proof(question, now).why_not() {
                *stock.failed.entry(why).or_default() += 1;
            }
        }
        stock
    }
}
