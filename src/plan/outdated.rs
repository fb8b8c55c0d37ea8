//! What runs as its user asked, with other settings than those in force, and when it may be moved to
//! them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::retry_at;
use crate::proof::Want;
use crate::seen::{Key, Pod, Seen};
use crate::settings::Settings;
use crate::workspace::{Policy, Rollout, Window, WorkspaceSpec};

/// How a Pod gets to other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Only its image differs: the Pod stays, and its container is replaced.
    InPlace,
    /// What else comes from the settings differs: another Pod takes its place.
    Anew,
}

impl How {
    /// What has to be proved before this Pod is stopped for this image; nothing where it has no node.
    #[must_use]
    pub fn want(
        self,
        key: &Key,
        spec: &WorkspaceSpec,
        settings: &Settings,
        pod: &Pod,
        image: &str,
    ) -> Option<Want> {
        match self {
            Self::InPlace => Want::in_place(key, spec, pod, image),
            Self::Anew => Want::anew(key, spec, settings, pod, image),
        }
    }
}

/// How a Pod would get to this image and the settings of this hash; nothing when it has them.
///
/// Of a Pod that has lost the hash it is not known: a policy may have taken it off, and from another
/// Pod as well.
#[must_use]
pub fn how(pod: &Pod, image: &str, settings: &str) -> Option<How> {
    if pod
        .told
        .settings
        .as_deref()
        .is_some_and(|it| it != settings)
    {
        return Some(How::Anew);
    }
    (pod.told.image.as_deref() != Some(image)).then_some(How::InPlace)
}

/// When a Workspace may be moved, by what its user says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Not while it runs.
    Never,
    /// Not before.
    From(Timestamp),
    /// Now.
    Now,
}

/// Whether its time is over.
#[must_use]
pub fn is_over(expires: Option<&Time>, now: Timestamp) -> bool {
    expires.is_some_and(|it| it.0 <= now)
}

/// When it may be moved.
#[must_use]
pub fn when(rollout: Option<&Rollout>, now: Timestamp) -> When {
    let Some(rollout) = rollout else {
        return When::Now;
    };
    if rollout.policy == Policy::OnRestart {
        return When::Never;
    }
    match &rollout.not_before {
        Some(at) if now < at.0 => When::From(at.0),
        _ => rollout
            .window
            .as_ref()
            .map_or(When::Now, |it| within(it, now)),
    }
}

const MINUTES: i64 = 24 * 60;

/// One whose times came past the schema, and cannot be read, never opens.
fn within(window: &Window, now: Timestamp) -> When {
    let Some((start, end)) = minute(&window.start).zip(minute(&window.end)) else {
        return When::Never;
    };
    let minutes = now.as_second().div_euclid(60);
    let is = minutes.rem_euclid(MINUTES);
    let open = if start < end {
        (start..end).contains(&is)
    } else {
        is >= start || is < end
    };
    if open {
        return When::Now;
    }
    let opens = minutes + (start - is).rem_euclid(MINUTES);
    When::From(Timestamp::from_second(opens * 60).unwrap_or(Timestamp::MAX))
}

/// The minute of the day.
fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, most: i64| {
        let plain = text.len() == 2 && text.bytes().all(|it| it.is_ascii_digit());
        let number = plain.then(|| text.parse::<i64>().ok()).flatten();
        number.filter(|it| *it < most)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

/// Until when it is too early to try again, where the API server refused this image for a Workspace,
/// or the end of its Pod.
#[must_use]
pub fn refused_until(seen: &Seen<'_>, image: &str, now: Timestamp) -> Option<Timestamp> {
    let memory = seen.memory;
    let uid = seen.pod.map(|it| &it.version.uid);
    let of_end = memory.delete_refusal.as_deref();
    let of_end = of_end.filter(|it| Some(&it.what) == uid);
    let of_pod = memory.pod_refusal.as_deref();
    let of_pod = of_pod.filter(|it| it.what.image == image);
    let of_end = of_end.and_then(|it| retry_at(it, now));
    let of_pod = of_pod.and_then(|it| retry_at(it, now));
    of_end.max(of_pod)
}

/// Until when it is too early to try again, where the Pod was given this image and somebody may have
/// undone it.
#[must_use]
pub fn undone_until(seen: &Seen<'_>, image: &str, now: Timestamp) -> Option<Timestamp> {
    let healed = seen.memory.healed.as_deref();
    retry_at(healed.filter(|it| it.what.image == image)?, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::{Ask, Memory, Refusal, Service, Turn};

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn window(start: &str, end: &str) -> Rollout {
        Rollout {
            window: Some(Window {
                start: start.into(),
                end: end.into(),
            }),
            ..Rollout::default()
        }
    }

    #[test]
    fn a_window_opens_and_closes_each_day() {
        let day = window("09:30", "17:00");
        let when = |time: &str| when(Some(&day), at(time));
        assert_eq!(when("2026-03-01T09:30:00Z"), When::Now);
        assert_eq!(when("2026-03-01T16:59:59Z"), When::Now);
        let next = When::From(at("2026-03-02T09:30:00Z"));
        assert_eq!(when("2026-03-01T17:00:00Z"), next);
        let today = When::From(at("2026-03-01T09:30:00Z"));
        assert_eq!(when("2026-03-01T09:29:59.5Z"), today);
    }

    #[test]
    fn a_window_may_end_on_the_next_day() {
        let night = window("22:00", "06:00");
        let when = |time: &str| when(Some(&night), at(time));
        assert_eq!(when("2026-03-01T23:00:00Z"), When::Now);
        assert_eq!(when("2026-03-02T05:59:00Z"), When::Now);
        let tonight = When::From(at("2026-03-02T22:00:00Z"));
        assert_eq!(when("2026-03-02T06:00:00Z"), tonight);
    }

    /// As only an older schema lets it be stored.
    #[test]
    fn a_window_that_ends_when_it_starts_is_the_whole_day() {
        let day = window("09:30", "09:30");
        for time in ["2026-03-01T00:00:00Z", "2026-03-01T09:30:00Z"] {
            assert_eq!(when(Some(&day), at(time)), When::Now, "{time}");
        }
    }

    #[test]
    fn a_window_that_cannot_be_read_never_opens() {
        for bad in ["", "24:00", "9:00", "09:60", "+9:00", "09-00"] {
            let window = window(bad, "06:00");
            assert_eq!(when(Some(&window), at("2026-03-01T00:00:00Z")), When::Never);
        }
    }

    #[test]
    fn a_user_may_put_it_off_or_refuse_it() {
        let now = at("2026-03-01T00:00:00Z");
        assert_eq!(when(None, now), When::Now);
        assert_eq!(when(Some(&Rollout::default()), now), When::Now);
        let never = Rollout {
            policy: Policy::OnRestart,
            ..Rollout::default()
        };
        assert_eq!(when(Some(&never), now), When::Never);
        let later = at("2026-03-01T08:00:00Z");
        let deferred = Rollout {
            not_before: Some(Time(later)),
            ..window("09:30", "17:00")
        };
        assert_eq!(when(Some(&deferred), now), When::From(later));
        let opens = When::From(at("2026-03-01T09:30:00Z"));
        assert_eq!(when(Some(&deferred), later), opens);
    }

    /// The Pod was given this image: who may have undone it is given it again at growing pauses.
    #[test]
    fn what_was_given_in_vain_is_not_given_again_at_once() {
        let now = at("2026-03-01T00:00:00Z");
        let ask = Ask {
            revision: String::new(),
            image: "mirror/a:1".into(),
            settings: String::new(),
        };
        let memory = Memory {
            healed: Some(Refusal::after(None, ask, String::new(), now).into()),
            ..Memory::default()
        };
        let seen = Seen {
            key: &Key::new("ns", "w"),
            workspace: None,
            pod: None,
            claim: None,
            service: Service::Ours,
            memory: &memory,
            proof: None,
            turn: Turn::Moves,
        };
        assert!(undone_until(&seen, "mirror/a:1", now).is_some_and(|it| it > now));
        assert_eq!(undone_until(&seen, "mirror/a:2", now), None);
    }
}
