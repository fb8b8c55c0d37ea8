//! What a running cluster does. All tests share one, each has a namespace in it.

mod access;
mod bench;
mod nodes;
mod volumes;
