//! The settings' parser and the plan on arbitrary objects: nothing that is typed or stored makes
//! the operator panic, and no image is written that an independent parser does not read as what
//! is meant (I8).
//!
//! `cargo test` tries as many cases as proptest does by itself; `make fuzz` a million and more,
//! by `PROPTEST_CASES`.

pub mod any;
pub mod image;
