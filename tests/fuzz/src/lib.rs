//! The settings' parser and the plan on arbitrary objects: nothing that is typed or stored makes
//! the operator panic or harms another Workspace, and no image is written but the one that an
//! independent reading of both gives, and that an independent parser reads as what it says (I8).
//!
//! All begins with JSON as the API server sends it, in lists and in the lines of watches, and goes
//! the way of production: `wire` decodes it, `index` joins it, `plan` decides on it. What cannot be
//! decided on is among it: a Workspace of which only the metadata make sense, and objects of an API
//! server that is newer than the operator. Of Pods, claims and Services the API server stores no
//! field of another type than it should be, so that is no case.
//!
//! `cargo test` tries as many cases as proptest does by itself; `make fuzz` a million and more,
//! by `PROPTEST_CASES`.

pub mod any;
pub mod image;
