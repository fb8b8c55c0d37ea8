//! The operator as a person runs it, against a real control plane.
//!
//! All tests share one cluster. Each has a namespace of its own, and in it an operator process of
//! its own, with its own settings and the rights of the shipped role and no others.

mod fixture;
mod guards;
mod link;
mod objects;
mod prometheus;
mod requests;
mod scrape;
mod waits;

mod apply;
mod basics;
mod changed;
mod crash;
mod dashboard;
mod events;
mod fleet;
mod gitops;
mod hostile;
mod kept;
mod lifecycle;
mod metrics;
mod mishaps;
mod moving;
mod outage;
mod overview;
mod proofs;
mod rollout;
mod service;
mod settings;
mod startup;
mod status;
mod storage;
mod undone;
