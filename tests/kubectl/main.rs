//! The kubectl plugin as a person uses it: the real kubectl finds it on its PATH, against a real
//! control plane with a real operator.
//!
//! All tests share one cluster. Each has a namespace of its own with an operator, its settings and
//! their record in it.

#[path = "../e2e/fixture.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "it serves the end-to-end tests too"
)]
mod fixture;
#[path = "../e2e/link.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod link;
#[path = "../e2e/objects.rs"]
mod objects;
#[path = "../e2e/waits.rs"]
#[expect(dead_code, reason = "it serves the end-to-end tests too")]
mod waits;

mod bed;
mod granted;
mod terminal;

mod act;
mod connection;
mod help;
mod krew;
mod people;
mod refusals;
mod status;
mod switch;
mod tty;
