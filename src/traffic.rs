//! The requests to the API server: how many, and which watches are alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Uri};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The labels of one time series.
pub type Labels = Vec<(&'static str, String)>;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    verb: &'static str,
    resource: String,
    /// What a watch watches, if it is one that lasts as long as the operator.
    watch: Option<String>,
}

impl Ask {
    /// What a request asks for, in the words of the API server's audit log.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = |name: &str| {
            let parts = uri.query().unwrap_or_default().split('&');
            let mut parts = parts.filter_map(|it| it.split_once('='));
            parts.find(|it| it.0 == name).map(|it| it.1)
        };
        let mut path = uri.path().trim_matches('/').split('/');
        let version = if path.next() == Some("api") { 0 } else { 1 };
        let mut path = path.skip(version + 1).peekable();
        if path.next_if_eq(&"namespaces").is_some() {
            path.next();
        }
        let resource = path.next().unwrap_or_default().to_owned();
        let one = path.next().is_some();
        let watches = query("watch") == Some("true");
        let verb = match *method {
            Method::GET if watches => "watch",
            Method::GET if one => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        let selector = query("fieldSelector");
        // One object that got in the way is watched until it goes.
        let passing =
            ["pods", "persistentvolumeclaims"].contains(&&*resource) && selector.is_some();
        let watch = (watches && !passing).then(|| match selector {
            Some(selector) => format!("{resource} ({})", selector.replace("%3D", "=")),
            None => resource.clone(),
        });
        Self {
            verb,
            resource,
            watch,
        }
    }
}

/// What was asked of the API server so far.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    requests: Family<Labels, Counter>,
    /// Whether the last attempt to watch something succeeded.
    watches: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl Traffic {
    /// A request was answered with this code, or not at all.
    pub fn note(&self, ask: &Ask, code: Option<u16>) {
        let code_text = code.map_or_else(|| "error".to_owned(), |code| code.to_string());
        let labels = vec![
            ("verb", ask.verb.to_owned()),
            ("resource", ask.resource.clone()),
            ("code", code_text),
        ];
        self.requests.get_or_create(&labels).inc();
        if let Some(watch) = &ask.watch {
            let lives = code.is_some_and(|code| code < 300);
            let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            watches.insert(watch.clone(), lives);
        }
    }

    /// The requests by verb, resource and code.
    #[must_use]
    pub fn requests(&self) -> Family<Labels, Counter> {
        self.requests.clone()
    }

    /// What is not watched at present.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = watches.iter().filter(|(_, lives)| !**lives);
        lost.map(|(watch, _)| watch.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, uri: &str) -> (&'static str, String, Option<String>) {
        let Ask {
            verb,
            resource,
            watch,
        } = Ask::of(&method, &uri.parse().expect("it is one"));
        (verb, resource, watch)
    }

    #[test]
    fn requests_are_called_as_the_audit_log_calls_them() {
        for (method, uri, verb, resource) in [
            (Method::GET, "/api/v1/pods?limit=5", "list", "pods"),
            (Method::GET, "/api/v1/namespaces/a/pods", "list", "pods"),
            (Method::GET, "/api/v1/namespaces/a/pods/b", "get", "pods"),
            (
                Method::POST,
                "/api/v1/namespaces/a/pods?dryRun=All",
                "create",
                "pods",
            ),
            (
                Method::PATCH,
                "/apis/molecule.ai/v1alpha1/namespaces/a/workspaces/b/status",
                "patch",
                "workspaces",
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/namespaces/pods/b",
                "delete",
                "pods",
            ),
            (
                Method::GET,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                "get",
                "leases",
            ),
        ] {
            assert_eq!(ask(method, uri), (verb, resource.to_owned(), None), "{uri}");
        }
    }

    #[test]
    fn a_watch_is_alive_when_it_was_last_answered_well() {
        let of = |uri: &str| Ask::of(&Method::GET, &uri.parse().expect("it is one"));
        let all = of("/apis/molecule.ai/v1alpha1/workspaces?watch=true&resourceVersion=5");
        let one = of("/api/v1/namespaces/a/configmaps?&watch=true&fieldSelector=metadata.name%3Db");
        let passing = of("/api/v1/namespaces/a/pods?watch=true&fieldSelector=metadata.name%3Db");
        assert_eq!((all.verb, passing.verb), ("watch", "watch"));
        let traffic = Traffic::default();
        traffic.note(&all, Some(200));
        traffic.note(&one, Some(403));
        traffic.note(&passing, None);
        assert_eq!(traffic.lost(), ["configmaps (metadata.name=b)"]);
        traffic.note(&one, Some(200));
        traffic.note(&all, None);
        assert_eq!(traffic.lost(), ["workspaces"]);
    }
}
