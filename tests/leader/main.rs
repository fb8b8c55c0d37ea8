//! Two operators, of which one writes: who it is, how quickly that passes from one to the other,
//! and what the one whose time is over may not do any more.
//!
//! Each test has a namespace of its own, and in it two operators, each with a ServiceAccount of its
//! own, by which the audit log tells them apart, and each behind a proxy of its own.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `LEADER_LONG` | when set: 100 hand-overs, take-overs and overlaps in place of 10 |

#[path = "../faults/clock.rs"]
mod clock;
#[path = "../e2e/fixture.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod fixture;
#[path = "../e2e/fleet.rs"]
mod fleet;
#[path = "../e2e/link.rs"]
#[expect(dead_code, reason = "the proxy takes its place here")]
mod link;
#[path = "../e2e/objects.rs"]
mod objects;
#[path = "../faults/pods.rs"]
#[expect(dead_code, reason = "it serves the tests of faults too")]
mod pods;
#[path = "../e2e/prometheus.rs"]
mod prometheus;
#[path = "../e2e/requests.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod requests;
#[path = "../e2e/scrape.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod scrape;
#[path = "../e2e/waits.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod waits;

mod member;
mod pair;

mod alerts;
mod lease;
mod moves;
mod overlaps;
mod takes;
