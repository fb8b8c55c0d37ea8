//! How many may be unavailable at once; pure.

use std::str::FromStr;

/// How many may be unavailable at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    /// So many.
    Number(usize),
    /// So many of a hundred; at least one.
    Percent(usize),
}

impl Budget {
    /// Of so many.
    pub(super) fn of(self, all: usize) -> usize {
        match self {
            Budget::Number(number) => number,
            Budget::Percent(percent) => (all * percent / 100).max(1),
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a number from 1, or per cent as in 25%".to_owned();
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let digits = number.bytes().all(|it| it.is_ascii_digit());
        let number: usize = number.parse().map_err(|_| wrong())?;
        match (digits && number > 0, percent) {
            (true, true) if number <= 100 => Ok(Budget::Percent(number)),
            (true, false) => Ok(Budget::Number(number)),
            _ => Err(wrong()),
        }
    }
}

/// How far one has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was done yet.
    Waits,
    /// It was asked for, and is not over yet.
    UnderWay,
    /// It is over.
    Done,
}

/// One of those that are to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) stage: Stage,
    /// Whether it is there for its users.
    pub(super) available: bool,
}

/// Which are to be moved now, by their place, so that no more than `most` are unavailable at once.
/// One that is unavailable already loses nothing by it.
pub(super) fn next(targets: &[Target], most: usize) -> Vec<usize> {
    let is_down = |it: &Target| it.stage == Stage::UnderWay || !it.available;
    let down = targets.iter().filter(|it| is_down(it)).count();
    let waiting = |available: bool| {
        let waits = move |it: &Target| it.stage == Stage::Waits && it.available == available;
        targets
            .iter()
            .enumerate()
            .filter(move |(_, it)| waits(it))
            .map(|(place, _)| place)
    };
    let room = most.saturating_sub(down);
    waiting(false).chain(waiting(true).take(room)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn target(stage: Stage, available: bool) -> Target {
        Target { stage, available }
    }

    #[test]
    fn a_budget_is_a_number_or_per_cent() {
        for (text, all, expected) in [
            ("1", 10, 1),
            ("12", 10, 12),
            ("25%", 10, 2),
            ("1%", 10, 1),
            ("100%", 10, 10),
            ("50%", 0, 1),
        ] {
            let budget: Budget = text.parse().expect(text);
            assert_eq!(budget.of(all), expected, "{text} of {all}");
        }
        for text in ["", "0", "0%", "%", "101%", "-1", "+1", "1.5", "a", "1 %"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_down_already_goes_first_and_counts() {
        let (waits, down) = (target(Stage::Waits, true), target(Stage::Waits, false));
        assert_eq!(next(&[waits, waits, down], 1), [2]);
        assert_eq!(next(&[waits, waits, down], 2), [2, 0]);
        let under_way = target(Stage::UnderWay, true);
        assert_eq!(next(&[under_way, waits], 1), [0; 0]);
        assert_eq!(next(&[under_way, waits], 2), [1]);
        let lost = target(Stage::Done, false);
        assert_eq!(
            next(&[lost, waits], 1),
            [0; 0],
            "one that went down again counts"
        );
        assert_eq!(next(&[target(Stage::Done, true), waits], 1), [1]);
    }

    fn any_target() -> impl Strategy<Value = Target> {
        let stage = prop_oneof![Just(Stage::Waits), Just(Stage::UnderWay), Just(Stage::Done)];
        (stage, any::<bool>()).prop_map(|(stage, available)| Target { stage, available })
    }

    proptest! {
        #[test]
        fn no_more_go_down_than_may(
            targets in prop::collection::vec(any_target(), 0..12), most in 1_usize..6,
        ) {
            let next = next(&targets, most);
            let is_down = |it: &Target| it.stage == Stage::UnderWay || !it.available;
            let down = targets.iter().filter(|it| is_down(it)).count();
            let goes_down = next.iter().filter(|it| targets[**it].available).count();
            prop_assert!(goes_down == 0 || down + goes_down <= most);
            prop_assert!(next.iter().all(|it| targets[*it].stage == Stage::Waits));
            let waits = targets.iter().any(|it| it.stage == Stage::Waits);
            prop_assert!(!(waits && down < most && next.is_empty()), "it would never end");
        }
    }
}
