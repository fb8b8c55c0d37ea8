//! `kubectl workspace preflight`, `pin`, `unpin` and `pins`: a real control plane, real registries.
//!
//! All tests share one cluster. Each has a namespace of its own with its settings in it, and registries
//! of its own. Where no operator runs, the test tells what it would tell.

#[path = "../e2e/fixture.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "it serves the end-to-end tests too"
)]
mod fixture;
#[path = "../registry/front.rs"]
#[expect(dead_code, reason = "it serves the tests of the client too")]
mod front;
#[path = "../kubectl/granted.rs"]
mod granted;
#[path = "../registry/images.rs"]
#[expect(dead_code, reason = "it serves the tests of the client too")]
mod images;
#[path = "../e2e/link.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod link;
#[path = "../e2e/objects.rs"]
mod objects;
#[path = "../registry/registries.rs"]
#[expect(dead_code, reason = "it serves the tests of the client too")]
mod registries;
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

mod content;
mod credentials;
mod digests;
mod docker;
mod nodes;
mod pins;
mod preflight;
mod rights;
mod switch;
