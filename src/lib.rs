//! The workspace operator.
#![deny(missing_docs)]

pub mod workspace;
