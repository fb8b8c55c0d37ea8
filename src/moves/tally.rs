//! What there is to say of the move of a fleet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far a fleet has come.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// How many have what the settings in force give.
    pub moved: usize,
    /// How many of them are not Ready again yet, or not for long enough.
    pub moving: usize,
    /// How many are still to be moved, those included that follow.
    pub to_move: usize,
    /// How many of them are not stopped for an image that their node cannot pull, by why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub blocked: BTreeMap<String, usize>,
    /// How many of them wait for the time that their user named.
    pub deferred: usize,
    /// How many run something else, and are not moved, as their users asked.
    pub opted_out: usize,
    /// How many were moved and are not Ready again in their time, or crash.
    #[serde(skip_serializing_if = "is_none")]
    pub failed: usize,
    /// How many were put back on what they ran, for they were not Ready in their time.
    #[serde(skip_serializing_if = "is_none")]
    pub put_back: usize,
    /// How many may have failed, those included that were put back.
    #[serde(skip_serializing_if = "is_none")]
    pub max_failed: usize,
    /// How many are not Ready, for whatever reason.
    pub unavailable: usize,
    /// How many may be.
    pub max_unavailable: usize,
    /// Whether it is held where it is.
    pub paused: bool,
    /// Why it does not go on, and how it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Why nothing is moved for now though it is neither paused nor halted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// When all that may be moved will be, at the pace of the last minutes (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_end: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "it is called by what serde derives"
)]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Tally {
    /// Whether people want to hear of it: not where all have been moved and are well.
    #[must_use]
    pub fn is_worth_a_word(&self) -> bool {
        self.is_under_way() || self.failed + self.put_back > 0
    }

    /// Whether there is anything left to do for it.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.to_move + self.moving > 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_hear_of_what_is_left_to_do_and_of_what_has_failed() {
        for (to_move, moving, failed, put_back, is_under_way, is_worth_a_word) in [
            (0, 0, 0, 0, false, false),
            (1, 0, 0, 0, true, true),
            (0, 1, 0, 0, true, true),
            (1, 1, 0, 0, true, true),
            (0, 0, 1, 0, false, true),
            (0, 0, 0, 1, false, true),
            (0, 0, 1, 1, false, true),
        ] {
            let tally = Tally {
                moved: 1,
                to_move,
                moving,
                failed,
                put_back,
                ..Tally::default()
            };
            assert_eq!(tally.is_under_way(), is_under_way, "{tally:?}");
            assert_eq!(tally.is_worth_a_word(), is_worth_a_word, "{tally:?}");
        }
    }

    #[test]
    fn of_what_has_failed_only_what_there_is_is_on_record() {
        let tally = Tally {
            put_back: 2,
            ..Tally::default()
        };
        let record = serde_json::to_value(&tally).expect("an object");
        let counts = ["failed", "putBack", "maxFailed"].map(|it| record.get(it));
        assert_eq!(counts, [None, Some(&json!(2)), None]);
        assert_eq!(record.get("moved"), Some(&json!(0)));
        let read = serde_json::from_value::<Tally>(record);
        assert_eq!(read.expect("a tally"), tally);
    }
}
