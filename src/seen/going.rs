//! A Pod that answers still, and was told to go.

use jiff::{SignedDuration, Timestamp};

use super::{Memory, Pod, Version, later};

/// For so long a step of which nothing is heard or seen may be done.
const UNHEARD: SignedDuration = SignedDuration::from_mins(1);
/// After so long it is tried again.
const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// A step that stops a Pod, or has another container take the place of the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToldToGo {
    /// The `metadata.resourceVersion` of the Pod: one that is shown in another has been told, or was
    /// not.
    version: String,
    /// When it was told first.
    at: Timestamp,
    /// Whether the API server said that it is done.
    done: bool,
}

/// What is to be expected of a Pod that was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goes {
    /// It may stop at any moment.
    Soon,
    /// It was told again and again, and nothing came of it.
    InVain,
}

impl Memory {
    /// A step is sent that stops this Pod.
    pub fn tell_to_go(&mut self, pod: &Version, now: Timestamp) {
        let earlier = self.told_to_go.take();
        let earlier = earlier.filter(|it| {
            it.version == pod.resource_version && it.at <= now && now < later(it.at, AGAIN)
        });
        let told = earlier.unwrap_or_else(|| {
            Box::new(ToldToGo {
                version: pod.resource_version.clone(),
                at: now,
                done: false,
            })
        });
        self.told_to_go = Some(told);
    }

    /// The API server said that it is done.
    pub fn was_told_to_go(&mut self) {
        if let Some(told) = &mut self.told_to_go {
            told.done = true;
        }
    }

    /// What is to be expected of a Pod, and until when at most.
    #[must_use]
    pub fn goes(&self, pod: &Pod, now: Timestamp) -> Option<(Goes, Option<Timestamp>)> {
        let told = self.told_to_go.as_deref()?;
        if told.version != pod.version.resource_version {
            return None;
        }
        if told.done {
            return Some((Goes::Soon, None));
        }
        let until = [(Goes::Soon, UNHEARD), (Goes::InVain, AGAIN)];
        let until = until.map(|(goes, time)| (goes, later(told.at, time)));
        let found = until.into_iter().find(|(_, until)| now < *until);
        let found = found.filter(|_| told.at <= now);
        found.map(|(goes, until)| (goes, Some(until)))
    }
}
