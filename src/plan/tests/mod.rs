//! Scenarios for `plan`, told against a small world that does what its steps say.

mod changed;
mod moving;
mod odd;
mod properties;
mod put_back;
mod refusals;
mod rollout;
mod settings;
mod status;
mod stock;
mod storage_kept;
mod world;
