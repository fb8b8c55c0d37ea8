//! The CustomResourceDefinition: as a file, and on a real API server.

mod bed;
mod edits;
mod file;
mod rules;
mod server;
mod upstream;
