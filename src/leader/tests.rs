mod world;

use std::time::Duration;

use tokio::time::Instant;

use super::candidate::{Candidate, Claim, LEASE, Next, RENEWAL, Record, TERM};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A Lease in this version, held by this one.
fn held(place: u64, holder: &str) -> Record {
    Record {
        version: place.to_string(),
        place,
        holder: holder.into(),
        lasts: Some(LEASE),
        transitions: 7,
        times: [None, Some(format!("renewed-{place}"))],
    }
}

fn claim(place: u64, transitions: Option<i32>) -> Next {
    let version = place.to_string();
    Next::Claim(Claim {
        version,
        transitions,
    })
}

/// One that has just taken a free Lease.
fn leader(now: Instant) -> Candidate {
    let mut leader = Candidate::new("me".into(), now);
    leader.saw(Some(held(1, "")), now);
    let Next::Claim(claim) = leader.next(now) else {
        panic!("it is free");
    };
    leader.claimed(&claim, held(2, "me"), now, now);
    leader
}

#[test]
fn a_free_lease_is_taken_at_once_and_renewed_in_time() {
    let now = Instant::now();
    let mut candidate = Candidate::new("me".into(), now);
    assert_eq!(candidate.next(now), Next::Read, "it is not known yet");
    candidate.saw(Some(held(1, "")), now);
    assert_eq!(candidate.next(now), claim(1, Some(8)));
    let mut leader = leader(now);
    assert_eq!(leader.next(now), Next::Wait(now + RENEWAL));
    assert_eq!(leader.next(now + RENEWAL), claim(2, None));
    let (sent, answered) = (now + RENEWAL, now + RENEWAL + ms(400));
    let Next::Claim(renewal) = leader.next(sent) else {
        panic!("it is due");
    };
    leader.claimed(&renewal, held(3, "me"), sent, answered);
    assert_eq!(
        leader.term().until(),
        Some(sent + TERM),
        "since it was sent"
    );
    assert_eq!(leader.next(answered), Next::Wait(sent + RENEWAL));
}

#[test]
fn a_lease_is_taken_over_when_it_was_seen_unchanged_for_as_long_as_its_holder_asks_for() {
    let now = Instant::now();
    let mut candidate = Candidate::new("me".into(), now);
    // Its times are those of long ago, or of a clock that is wrong.
    candidate.saw(Some(held(5, "other")), now);
    assert_eq!(candidate.next(now), Next::Wait(now + LEASE));
    candidate.saw(Some(held(6, "other")), now + ms(1000));
    let expiry = now + ms(1000) + LEASE;
    assert_eq!(candidate.next(now + LEASE), Next::Wait(expiry));
    assert_eq!(candidate.next(expiry), claim(6, Some(8)));

    let longer = Record {
        lasts: Some(ms(15_000)),
        ..held(7, "other")
    };
    candidate.saw(Some(longer), expiry);
    assert_eq!(candidate.next(expiry), Next::Wait(expiry + ms(15_000)));
}

#[test]
fn what_others_do_to_the_lease_keeps_no_dead_holder_alive() {
    let now = Instant::now();
    let mut candidate = Candidate::new("me".into(), now);
    candidate.saw(Some(held(5, "other")), now);
    let annotated = Record {
        version: "6".into(),
        place: 6,
        ..held(5, "other")
    };
    candidate.saw(Some(annotated), now + ms(3000));
    assert_eq!(candidate.next(now + LEASE), claim(6, Some(8)));
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let now = Instant::now();
    let mut candidate = Candidate::new("me".into(), now);
    candidate.saw(Some(held(5, "other")), now);
    candidate.saw(Some(held(6, "")), now + ms(10));
    assert_eq!(candidate.next(now + ms(10)), claim(6, Some(8)));
}

#[test]
fn a_term_ends_before_the_lease_does_and_the_next_one_is_another() {
    let now = Instant::now();
    let mut leader = leader(now);
    let first = leader.term().at(now);
    assert!(first.is_some());
    assert_eq!(leader.term().at(now + TERM - ms(1)), first);
    assert_eq!(leader.term().at(now + TERM), None);
    let late = now + TERM + ms(500);
    let Next::Claim(renewal) = leader.next(late) else {
        panic!("it is still on record as the holder");
    };
    assert_eq!(renewal.transitions, None);
    leader.claimed(&renewal, held(3, "me"), late, late);
    assert_ne!(leader.term().at(late), first);
    assert!(leader.term().at(late).is_some());
}

#[test]
fn a_renewal_wakes_nobody_and_another_term_and_the_end_of_one_do() {
    let now = Instant::now();
    let mut leader = leader(now);
    let first = leader.term();
    assert!(first.is_news_after(Candidate::new("me".into(), now).term()));
    for (sent, is_news) in [(now + RENEWAL, false), (now + RENEWAL + TERM, true)] {
        let Next::Claim(renewal) = leader.next(sent) else {
            panic!("it is due");
        };
        let place = if is_news { 4 } else { 3 };
        leader.claimed(&renewal, held(place, "me"), sent, sent);
        assert_eq!(leader.term().is_news_after(first), is_news);
    }
    let second = leader.term();
    leader.saw(Some(held(5, "other")), now + RENEWAL + TERM);
    assert!(leader.term().is_news_after(second));
}

#[test]
fn who_leads_is_known_until_the_lease_runs_out() {
    let now = Instant::now();
    assert_eq!(leader(now).term().until(), Some(now + TERM));
    assert_eq!(leader(now).led_until(), Some(now + TERM), "not longer");
    let mut candidate = Candidate::new("me".into(), now);
    assert_eq!(candidate.led_until(), None, "it has not seen the Lease");
    candidate.saw(Some(held(5, "other")), now);
    candidate.saw(Some(held(6, "other")), now + ms(1000));
    let until = Some(now + ms(1000) + LEASE);
    assert_eq!(candidate.led_until(), until);
    candidate.failed(false, now + ms(1500));
    assert_eq!(candidate.led_until(), until, "what was seen was seen");
    candidate.saw(Some(held(7, "")), now + ms(2000));
    assert_eq!(candidate.led_until(), None, "it was released");
    candidate.saw(Some(held(8, "other")), now + ms(2000));
    candidate.saw(None, now + ms(2000));
    assert_eq!(candidate.led_until(), None, "there is no Lease");
}

#[test]
fn what_changed_nothing_is_no_renewal() {
    let now = Instant::now();
    let mut leader = leader(now);
    let due = now + RENEWAL;
    let Next::Claim(renewal) = leader.next(due) else {
        panic!("it is due");
    };
    leader.claimed(&renewal, held(2, "me"), due, due);
    assert_eq!(leader.term().until(), Some(now + TERM));
}

#[test]
fn a_lease_that_another_holds_ends_the_term_at_once() {
    let now = Instant::now();
    let mut one = leader(now);
    one.saw(Some(held(1, "other")), now);
    assert!(one.term().at(now).is_some(), "that was before");
    one.saw(Some(held(3, "other")), now);
    assert_eq!(one.term().at(now), None);
    let mut gone = leader(now);
    gone.saw(None, now);
    assert_eq!(gone.term().at(now), None);
    assert_eq!(gone.next(now + ms(500)), Next::Read, "it goes on looking");
}

#[test]
fn a_conflict_is_looked_into_at_once_and_other_trouble_after_a_pause() {
    let now = Instant::now();
    let mut leader = leader(now);
    let due = now + RENEWAL;
    leader.failed(true, due);
    assert_eq!(leader.next(due), Next::Read);
    assert!(
        leader.read(Some(held(3, "me")), due),
        "not shown by the watch"
    );
    assert_eq!(leader.next(due), claim(3, None));
    leader.failed(true, due);
    assert_eq!(leader.next(due), Next::Wait(due + ms(500)));
    leader.failed(false, due);
    assert_eq!(leader.next(due), Next::Wait(due + ms(500)));
    assert_eq!(leader.next(due + ms(500)), Next::Read);
    assert!(!leader.read(Some(held(3, "me")), due + ms(500)));
    assert_eq!(leader.term().until(), Some(now + TERM), "not renewed");
}

/// Found by review: with an API server that took longer than a request may, the Lease was renewed by
/// one that never knew, and nobody led.
#[test]
fn a_claim_that_was_not_heard_of_counts_from_when_it_was_sent_once_the_lease_shows_it() {
    let now = Instant::now();
    let mut one = Candidate::new("me".into(), now);
    one.saw(Some(held(1, "")), now);
    one.not_heard("renewed-2".into(), now);
    one.failed(false, now + ms(2000));
    assert_eq!(one.term().at(now + ms(2000)), None, "it may be lost");
    one.read(Some(held(2, "me")), now + ms(2500));
    assert_eq!(one.term().until(), Some(now + TERM));
    assert_eq!(one.next(now + ms(2500)), claim(2, None), "a renewal is due");
}

#[test]
fn a_claim_of_another_time_or_holder_is_not_the_one_that_was_not_heard_of() {
    let now = Instant::now();
    for record in [held(2, "other"), held(3, "me")] {
        let mut one = Candidate::new("me".into(), now);
        one.saw(Some(held(1, "")), now);
        one.not_heard("renewed-2".into(), now);
        one.failed(false, now + ms(2000));
        one.read(Some(record), now + ms(2500));
        assert_eq!(one.term().at(now + ms(2500)), None);
    }
}

#[test]
fn a_claim_that_shows_after_its_term_is_no_term() {
    let now = Instant::now();
    let mut one = Candidate::new("me".into(), now);
    one.saw(Some(held(1, "")), now);
    one.not_heard("renewed-2".into(), now);
    let late = now + TERM;
    one.saw(Some(held(2, "me")), late);
    assert_eq!(one.term().at(late), None);
}
