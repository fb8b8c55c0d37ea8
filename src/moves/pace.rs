//! How fast a fleet moves, by what is on the Pods.

use jiff::{SignedDuration, Timestamp};

/// What was moved earlier says nothing of how fast it goes now.
const RECENT: SignedDuration = SignedDuration::from_mins(10);
const MINUTE: i64 = 60;

/// The moves of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    moves: i64,
    first: Option<Timestamp>,
}

impl Pace {
    /// One was moved then.
    pub(super) fn note(&mut self, at: Timestamp, now: Timestamp) {
        if at <= now && now.duration_since(at) <= RECENT {
            self.moves += 1;
            self.first = Some(self.first.map_or(at, |it| it.min(at)));
        }
    }

    /// When so many more are moved, to the minute: nobody needs it written anew each second.
    pub(super) fn end(&self, left: usize, now: Timestamp) -> Option<String> {
        let left = i64::try_from(left).ok().filter(|it| *it > 0)?;
        let took = now.duration_since(self.first?).as_secs().max(1);
        let seconds = took.checked_mul(left)? / self.moves;
        let at = now.as_second().checked_add(seconds)?;
        let minute = (at / MINUTE + 1) * MINUTE;
        let end = Timestamp::from_second(minute).ok()?;
        Some(end.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().expect("a time")
    }

    #[test]
    fn it_ends_at_the_pace_of_the_last_minutes() {
        let mut pace = Pace::default();
        let now = at("10:01:40");
        assert_eq!(pace.end(5, now), None, "nothing is known yet");
        pace.note(at("09:00:00"), now);
        pace.note(at("11:00:00"), now);
        assert_eq!(
            pace.end(5, now),
            None,
            "nor by what is long ago, or to come"
        );
        for time in ["10:00:00", "10:00:50", "10:01:30"] {
            pace.note(at(time), now);
        }
        // Three in 100 s.
        let end = Some("2026-03-01T10:12:00Z".to_owned());
        assert_eq!(pace.end(18, now), end, "in 10 min, to the minute");
        assert_eq!(pace.end(0, now), None, "there is nothing left");
    }
}
