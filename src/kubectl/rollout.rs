//! How far the move of those that run has come, in words.

use super::output::Paint;
use crate::moves::Tally;
use crate::overview::Prepull;

/// A bar has so many parts.
const PARTS: usize = 30;

/// As the operator has recorded it.
pub(super) fn text(rollout: &Tally, paint: Paint) -> String {
    let Tally {
        moved,
        moving,
        to_move,
        unavailable,
        max_unavailable,
        ..
    } = rollout;
    let done = moved.saturating_sub(moving + rollout.failed);
    let all = moved + to_move + rollout.put_back;
    let mut text = format!(
        "{} {done} of {all} have what the settings give; moving: {moving}; not Ready: \
         {unavailable}, at most {max_unavailable} for the next to move",
        bar(done, all)
    );
    for (what, count) in [
        ("deferred", rollout.deferred),
        ("opted out", rollout.opted_out),
        ("failed", rollout.failed),
        ("put back", rollout.put_back),
    ] {
        if count > 0 {
            text.push_str(&format!("; {what}: {count}"));
        }
    }
    if let Some(end) = &rollout.estimated_end {
        text.push_str(&format!("; done by {end} at this pace"));
    }
    text.push('\n');
    for (why, count) in &rollout.blocked {
        let line = format!("run on as they are: {count}, because {why}");
        text.push_str(&format!("{}\n", paint.odd(&line)));
    }
    if let Some(why) = &rollout.halted {
        let line = format!("The move has halted: {why}.");
        text.push_str(&format!("{}\n", paint.bad(&line)));
    } else if let Some(why) = &rollout.waits {
        let line = format!("The move waits: {why}.");
        text.push_str(&format!("{}\n", paint.odd(&line)));
    } else if rollout.paused && *to_move > 0 {
        text.push_str(&format!("{}\n", paint.odd("The move is paused.")));
    }
    text
}

/// How far the switch is prepared.
pub(super) fn prepared(prepull: &Prepull, paint: Paint) -> String {
    let Prepull {
        registry,
        images,
        pulled,
        failed,
    } = prepull;
    let bar = bar(*pulled, *images);
    let images_are = if *images == 1 {
        "image is"
    } else {
        "images are"
    };
    let mut text = format!("{bar} {pulled} of {images} {images_are} pulled for {registry}\n");
    for (why, count) in failed {
        let line = format!("not pulled yet: {count}, because {why}");
        text.push_str(&format!("{}\n", paint.odd(&line)));
    }
    text
}

/// Full only when all is done.
fn bar(done: usize, all: usize) -> String {
    let full = (done * PARTS).checked_div(all).unwrap_or(PARTS);
    format!("[{}{}]", "#".repeat(full), "-".repeat(PARTS - full))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_tells_how_far_a_switch_is_prepared() {
        let why = "mirror.example.com does not have it".to_owned();
        let prepull = Prepull {
            registry: "mirror.example.com/agents".into(),
            images: 3,
            pulled: 2,
            failed: BTreeMap::from([(why, 1)]),
        };
        let text = prepared(&prepull, Paint::new());
        let (bar, why) = text.split_once('\n').expect("two lines");
        assert!(
            bar.ends_with("2 of 3 images are pulled for mirror.example.com/agents"),
            "{bar}"
        );
        assert!(
            why.contains("1, because mirror.example.com does not have it"),
            "{why}"
        );
    }

    #[test]
    fn it_tells_how_far_it_has_come_and_what_is_in_its_way() {
        let tally = Tally {
            moved: 12,
            moving: 2,
            to_move: 8,
            blocked: BTreeMap::from([("b.example.com answered 404 Not Found".into(), 3)]),
            unavailable: 2,
            max_unavailable: 2,
            put_back: 1,
            estimated_end: Some("2026-03-01T10:12:00Z".into()),
            ..Tally::default()
        };
        let told = text(&tally, Paint::new());
        let bar = format!("[{}{}]", "#".repeat(14), "-".repeat(16));
        assert!(told.starts_with(&format!("{bar} 10 of 21 have")), "{told}");
        assert!(
            told.contains("run on as they are: 3, because b.example.com"),
            "{told}"
        );
        let end = "; put back: 1; done by 2026-03-01T10:12:00Z at this pace\n";
        assert!(told.contains(end), "{told}");
        assert!(
            !told.contains("halted") && !told.contains("deferred"),
            "{told}"
        );
    }

    #[test]
    fn it_tells_that_it_has_halted_or_is_paused() {
        let tally = Tally {
            to_move: 1,
            paused: true,
            deferred: 1,
            ..Tally::default()
        };
        let told = text(&tally, Paint::new());
        assert!(
            told.contains("; deferred: 1\nThe move is paused.\n"),
            "{told}"
        );
        let waits = Some("three are down".to_owned());
        let (halted, paused) = (None, false);
        let told = Tally {
            halted,
            waits,
            paused,
            ..tally.clone()
        };
        let told = text(&told, Paint::new());
        assert!(told.contains("The move waits: three are down.\n"), "{told}");
        let halted = Some("two are down".to_owned());
        let told = text(&Tally { halted, ..tally }, Paint::new());
        assert!(
            told.contains("The move has halted: two are down.\n"),
            "{told}"
        );
        assert!(!told.contains("paused"), "{told}");
    }
}
