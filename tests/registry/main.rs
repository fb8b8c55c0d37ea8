//! The client of image registries against real ones: distribution's registry, asked as anybody, with
//! a password, with tokens of a real token server, over TLS, and with what can go wrong in between.

mod access;
mod content;
mod digests;
mod faults;
mod front;
mod images;
mod plain;
mod redirects;
mod registries;
mod tokens;
