//! What goes wrong, with which requests. It can be changed at any time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use tokio::sync::watch;

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The path, as in `/api/v1/namespaces/default/pods/alice`.
    pub path: String,
    /// The query; empty when there is none.
    pub query: String,
}

impl Ask {
    /// Whether it could change what is stored.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && !self.query.contains("dryRun=")
    }

    /// Whether it could change anything but who leads: a write, and not one of a Lease.
    #[must_use]
    pub fn is_work(&self) -> bool {
        self.is_write() && !self.about("leases")
    }

    /// Whether it is a watch.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.query.split('&').any(|part| part == "watch=true")
    }

    /// Whether it reads everything anew: a list, or a watch that begins with one.
    #[must_use]
    pub fn is_list(&self) -> bool {
        let all = !self.is_watch() || self.query.contains("sendInitialEvents=true");
        self.method == Method::GET && all && self.about(self.path.rsplit('/').next().unwrap_or(""))
    }

    /// Whether it is about this resource: `pods`, or `workspaces` with their statuses.
    #[must_use]
    pub fn about(&self, resource: &str) -> bool {
        let mut parts = self
            .path
            .split('/')
            .skip_while(|it| *it != "namespaces")
            .skip(2);
        parts.next() == Some(resource)
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The proxy answers so, and perhaps asks for a pause of that many seconds. As the API server
    /// does it: 429 in plain text with a header, everything else as a `Status`.
    Answer(u16, Option<u32>),
    /// The proxy answers so, though the API server does what was asked.
    AnswerAfter(u16),
    /// The connection is cut, and the API server never sees the request.
    CutBefore,
    /// The connection is cut when the API server has done what was asked.
    CutAfter,
    /// There is no answer, and the API server never sees the request.
    Silence,
    /// There is no answer, though the API server does what was asked.
    SilenceAfter,
    /// A watch begins well, and its first event says that its history is gone.
    Gone,
    /// The events of a watch are held back for as long as the rule holds.
    Hold,
    /// A watch has no bookmarks but the one that ends its list.
    NoBookmarks,
}

type Which = Box<dyn Fn(&Ask) -> bool + Send>;

/// The rules that hold now.
pub(crate) struct Rules {
    all: Mutex<Vec<(u64, Which, Fault)>>,
    /// Counts the changes, so that what waits for one can look again.
    changes: watch::Sender<u64>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

/// A rule that holds until this is dropped.
#[must_use]
pub struct Rule {
    rules: Arc<Rules>,
    id: u64,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.id)
    }
}

impl Rule {
    pub(crate) fn new(rules: &Arc<Rules>, which: Which, fault: Fault) -> Self {
        let id = rules.changed();
        rules.lock().push((id, which, fault));
        Self {
            rules: Arc::clone(rules),
            id,
        }
    }

    /// The fault is over.
    pub fn lift(self) {}
}

impl Drop for Rule {
    fn drop(&mut self) {
        self.rules.lock().retain(|(id, ..)| *id != self.id);
        self.rules.changed();
    }
}

impl Rules {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Which, Fault)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> u64 {
        self.changes.send_modify(|it| *it += 1);
        *self.changes.borrow()
    }

    /// What goes wrong with this request: the first rule that is about it and not about the events
    /// of a watch that goes on.
    pub(crate) fn fault(&self, ask: &Ask) -> Option<Fault> {
        let lasting = |fault: Fault| matches!(fault, Fault::Hold | Fault::NoBookmarks);
        let all = self.lock();
        let mut matching = all
            .iter()
            .filter(|(_, which, fault)| !lasting(*fault) && which(ask));
        matching.next().map(|(.., fault)| *fault)
    }

    /// Whether this fault befalls this request now.
    pub(crate) fn has(&self, ask: &Ask, fault: Fault) -> bool {
        self.lock()
            .iter()
            .any(|(_, which, it)| *it == fault && which(ask))
    }

    /// Tells of every later change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
