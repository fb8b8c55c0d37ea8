//! What can go wrong between the operator and its API server, on a real one.
//!
//! Each test has a namespace of its own, and in it an operator that stands for election, as it does
//! in production, and reaches the API server over a proxy which makes the faults. They spare the
//! Lease where a test does not say otherwise: its own faults are those of `tests/leader`. Each ends in
//! the same way, see [`bed::Bed::settled`]: one Pod for each Workspace and never two, no other Pod
//! touched, all Ready, and then silence.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `FAULTS_LONG` | when set: every kill point, 30 s of silence in place of 10 s, and caches that are stale for longer than the operator waits for what it wrote |
//! | `FAULTS_SEED` | the number from which random choices follow; printed by each test that makes some |

#[path = "../e2e/fixture.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod fixture;
#[path = "../e2e/fleet.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod fleet;
#[path = "../e2e/link.rs"]
#[expect(dead_code, reason = "the proxy takes its place here")]
mod link;
#[path = "../e2e/objects.rs"]
mod objects;
#[path = "../e2e/requests.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod requests;
#[path = "../e2e/scrape.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod scrape;
#[path = "../e2e/waits.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod waits;

mod bed;
mod clock;
#[expect(dead_code, reason = "it serves the tests of the election too")]
mod pods;
mod random;

mod answers;
mod crash;
mod moves;
mod refusals;
mod servers;
mod settings;
mod watches;
