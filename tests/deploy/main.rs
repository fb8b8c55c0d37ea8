//! What lies in deploy/: rendered, installed and lived with, by the real tools, on a real API server.

mod alerts;
mod bed;
mod objects;

mod elsewhere;
mod guard;
mod helm;
mod image;
mod install;
mod managers;
mod owners;
mod people;
mod priority;
mod render;
mod rights;
mod upgrade;
mod values;
