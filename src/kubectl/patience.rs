//! For how long a command waits.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tokio::time::Instant;

/// How long to wait.
#[derive(Debug, Args)]
pub(super) struct Patience {
    /// How long to wait at most, as in 90s, 10m or 1h30m; 0s is for ever
    #[arg(long, default_value = "15m", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
}

impl Patience {
    /// From now on.
    pub(super) fn deadline(&self) -> Deadline {
        let wanted = Some(self.timeout).filter(|it| !it.is_zero());
        // What no clock can tell is for ever.
        Deadline(wanted.and_then(|it| Instant::now().checked_add(it)))
    }
}

/// Until when to wait, if not for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for this, but not for longer; `None` = it has not come about in time.
    ///
    /// # Errors
    /// Those of what is waited for.
    pub(super) async fn within<T>(
        self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        let Some(at) = self.0 else {
            return work.await.map(Some);
        };
        tokio::time::timeout_at(at, work).await.ok().transpose()
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| {
        "write a number and a unit, as in 90s, 10m or 1h30m; 0s is for ever".to_owned()
    })?;
    let duration = Duration::try_from(duration);
    duration.map_err(|_| "it cannot be less than nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let timeout = duration("9223372036854775807s").expect("it is a duration");
        assert!(
            Patience { timeout }.deadline().0.is_none(),
            "it is for ever"
        );
        for text in ["", "s", "10", "-1s", "m10", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
