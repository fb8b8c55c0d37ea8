//! Trouble with a watch, told once and in one sentence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Error;
use kube::runtime::watcher;
use tokio::time::Instant;
use tracing::{info, warn};

/// The same trouble is logged again after this long.
const REPEAT_TROUBLE: Duration = Duration::from_secs(60);

/// The HTTP status of an error, where the API server answered at all.
pub(crate) fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(Error::Api(status))
        | watcher::Error::WatchStartFailed(Error::Api(status))
        | watcher::Error::WatchFailed(Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// The class of what was told last, and when.
type Told = Option<(String, Instant)>;

/// Tells of trouble with a watch once, not at every retry, and of trouble with the API server
/// itself once for all watches.
pub(super) struct Trouble {
    what: String,
    told: Told,
    /// Whether the trouble is one of all watches.
    shared: bool,
    common: Common,
}

/// What concerns all watches.
#[derive(Clone, Default)]
pub(super) struct Common {
    told: Arc<Mutex<Told>>,
    lists_in_pages: Arc<Mutex<bool>>,
}

impl Trouble {
    pub(super) fn new(what: impl Into<String>, common: &Common) -> Self {
        Self {
            what: what.into(),
            told: None,
            shared: false,
            common: common.clone(),
        }
    }

    pub(super) fn tell(&mut self, error: &watcher::Error) {
        match code(error) {
            // The end of a watch's history is part of its normal life.
            Some(410) => {}
            None => {
                self.shared = true;
                // By its class: an API server that goes away is refused, reset and cut in turn.
                let class = "the API server cannot be reached";
                let sentence = format!("{class} ({})", cause(error));
                tell_once(class, &sentence, &mut lock(&self.common.told));
            }
            Some(401) => {
                self.shared = true;
                let sentence = "the API server does not accept the operator's credentials";
                tell_once(sentence, sentence, &mut lock(&self.common.told));
            }
            Some(code) => {
                let sentence = sentence(&self.what, code);
                tell_once(&sentence, &sentence, &mut self.told);
            }
        }
    }

    pub(super) fn no_streaming_lists(&self) {
        if !std::mem::replace(&mut *lock(&self.common.lists_in_pages), true) {
            info!("the API server offers no streaming lists; listing in pages instead");
        }
    }

    pub(super) fn over<K>(&mut self, change: &watcher::Event<K>) {
        if !matches!(change, watcher::Event::InitDone | watcher::Event::Apply(_)) {
            return;
        }
        if self.told.take().is_some() {
            info!("watching {} again", self.what);
        }
        if std::mem::take(&mut self.shared) && lock(&self.common.told).take().is_some() {
            info!("the API server answers again");
        }
    }
}

/// The last of an error's causes: the one that says what to do.
fn cause(error: &watcher::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_once(class: &str, sentence: &str, last: &mut Told) {
    let now = Instant::now();
    let repeated = last
        .as_ref()
        .is_some_and(|(told, at)| *told == class && now.duration_since(*at) < REPEAT_TROUBLE);
    if !repeated {
        warn!("{sentence}; trying again");
        *last = Some((class.to_owned(), now));
    }
}

fn sentence(what: &str, code: u16) -> String {
    match code {
        404 if what == "workspaces" => "the CustomResourceDefinition workspaces.molecule.ai \
             is not installed: kubectl apply -f crds/workspace.yaml"
            .into(),
        403 => format!(
            "the operator may not watch {what}: grant its ServiceAccount list and watch \
             (deploy/base/rbac.yaml)"
        ),
        0 => format!("{what} cannot be watched: what the API server sends does not decode"),
        code => format!("{what} cannot be watched: the API server answers {code}"),
    }
}
