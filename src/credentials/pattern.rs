//! Which images an entry of a pull secret is for.

use wildmatch::WildMatch;

const DOCKER_HUB: &str = "index.docker.io";

/// Registries for which kubelets commonly have credentials of their own, by the cloud that they run
/// in.
const OF_CLOUDS: [&str; 7] = [
    "*.dkr.ecr.*.amazonaws.com",
    "*.dkr.ecr.*.amazonaws.com.cn",
    "*.azurecr.io",
    "*.azurecr.cn",
    "gcr.io",
    "*.gcr.io",
    "*.pkg.dev",
];

/// Whether nodes commonly have credentials of their own for this registry.
#[must_use]
pub fn gives_nodes_credentials(host: &str) -> bool {
    OF_CLOUDS
        .iter()
        .any(|glob| Pattern::new(glob).matches(host))
}

/// The key of an entry: a host, whose parts may have wildcards, and the beginning of a path. The
/// greater of two is the more specific one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// A key as it stands in a secret. The scheme means nothing, nor does the version of the protocol.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let bare = key
            .strip_prefix("https://")
            .or_else(|| key.strip_prefix("http://"))
            .unwrap_or(key);
        let bare = bare.split(['?', '#']).next().unwrap_or(bare);
        let (host, path) = split(bare);
        let path = match path {
            "/" => "",
            path if path.starts_with("/v1/") || path.starts_with("/v2/") => &path[3..],
            path => path,
        };
        let path = if path == "/" { "" } else { path };
        Self(format!("{host}{path}"))
    }

    /// Whether it is for the image of this name.
    ///
    /// Each part of the host is matched on its own, so `*.example.com` is not for
    /// `a.b.example.com`; a port has to be the same; and the path is a beginning, which need not end
    /// at a slash.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let ((glob, path), (host, target)) = (split(&self.0), split(name));
        let ((glob, port), (host, target_port)) = (port(glob), port(host));
        let parts = |host: &str| host.split('.').count();
        let mut pairs = glob.split('.').zip(host.split('.'));
        port == target_port
            && parts(glob) == parts(host)
            && target.starts_with(path)
            && pairs.all(|(glob, part)| WildMatch::new(glob).matches(part))
    }

    pub(super) fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }
}

/// Whether this is an image of the one registry that has several names.
pub(super) fn is_docker_hub(name: &str) -> bool {
    matches!(split(name).0, "docker.io" | DOCKER_HUB)
}

/// The host, and the path with its slash.
fn split(name: &str) -> (&str, &str) {
    name.split_at(name.find('/').unwrap_or(name.len()))
}

/// The host, and the port where there is one.
fn port(host: &str) -> (&str, &str) {
    host.rsplit_once(':').unwrap_or((host, ""))
}
