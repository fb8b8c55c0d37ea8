//! Stands between a client and the API server, and makes what can go wrong there go wrong.
//!
//! It ends TLS with the server's own certificate and passes every request on with the client's own
//! credentials. As it sees whole requests and answers, it can do what no network fault injector
//! can: cut a connection *after* a write was committed, hold back the events of one watch, or stop
//! the world between two writes.

mod answer;
mod gate;
mod rules;
mod server;
mod watch;

pub use gate::Moment;
pub use rules::{Ask, Fault, Rule};
pub use server::Proxy;

use std::time::Instant;

/// A request that came to the proxy.
#[derive(Clone, Debug)]
pub struct Request {
    /// What was asked.
    pub ask: Ask,
    /// When it came.
    pub came: Instant,
    /// What became of it, when that is known already.
    pub fate: Option<Fate>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The API server answered so, and the client was told.
    Passed(u16),
    /// The proxy answered so, and the API server never saw the request.
    Faked(u16),
    /// The API server answered so, and the client was not told.
    Unheard(u16),
    /// Neither was the API server asked nor the client told.
    Dropped,
    /// The API server could not be reached.
    Unreachable,
}

impl Request {
    /// Whether the API server did what was asked, whoever was told.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        matches!(self.fate, Some(Fate::Passed(code) | Fate::Unheard(code)) if code < 300)
    }

    /// Whether the proxy answered in place of the API server, or let no answer through.
    #[must_use]
    pub fn was_harmed(&self) -> bool {
        matches!(
            self.fate,
            Some(Fate::Faked(_) | Fate::Unheard(_) | Fate::Dropped)
        )
    }
}
