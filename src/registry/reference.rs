//! What an image is called.

use std::fmt;
use std::str::FromStr;

use container_image_dist_ref::ImgRef;

const DOCKER_HUB: &str = "docker.io";
/// Where that one is asked.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A name with a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    version: String,
}

/// Not the reference of an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoReference(String);

impl fmt::Display for NoReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "{text:?} is not an image's registry, name and tag or digest"
        )
    }
}

impl std::error::Error for NoReference {}

impl Reference {
    /// The registry, as it is written.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name within the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag or the digest.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it names its content, and not only a place for it.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        self.version.contains(':')
    }

    /// Registry and name: what credentials are looked up by.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// The same name with this digest.
    #[must_use]
    pub fn at(&self, digest: &str) -> Self {
        Self {
            version: digest.to_owned(),
            ..self.clone()
        }
    }

    /// Where the registry is asked.
    pub(super) fn authority(&self) -> &str {
        match self.host.as_str() {
            DOCKER_HUB => DOCKER_HUB_API,
            host => host,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_digest() { '@' } else { ':' };
        write!(f, "{}{mark}{}", self.name(), self.version)
    }
}

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let wrong = || NoReference(text.to_owned());
        let parsed = ImgRef::new(text).map_err(|_| wrong())?;
        let host = parsed.domain().map(|it| it.to_str()).ok_or_else(wrong)?;
        let rest = text
            .strip_prefix(host)
            .and_then(|it| it.strip_prefix('/'))
            .ok_or_else(wrong)?;
        let (named, digest) = match rest.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match named.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (named, None),
        };
        let repository = match (host, repository.contains('/')) {
            (DOCKER_HUB, false) => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        Ok(Self {
            host: host.to_owned(),
            repository,
            version: digest.or(tag).ok_or_else(wrong)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_three_parts() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, host, repository, version) in [
            ("ghcr.io/a/b:v1", "ghcr.io", "a/b", "v1"),
            ("localhost:5000/b:v1", "localhost:5000", "b", "v1"),
            (
                &format!("127.0.0.1:5000/a/b@{digest}"),
                "127.0.0.1:5000",
                "a/b",
                &digest,
            ),
            (
                &format!("ghcr.io/a/b:v1@{digest}"),
                "ghcr.io",
                "a/b",
                &digest,
            ),
            ("docker.io/b:v1", "docker.io", "library/b", "v1"),
        ] {
            let reference: Reference = text.parse().expect(text);
            let parts = (
                reference.host(),
                reference.repository(),
                reference.version(),
            );
            assert_eq!(parts, (host, repository, version));
        }
        let hub: Reference = "docker.io/a/b:v1".parse().expect("a reference");
        assert_eq!(hub.authority(), "registry-1.docker.io");
        assert_eq!(
            hub.at(&digest).to_string(),
            format!("docker.io/a/b@{digest}")
        );
    }

    #[test]
    fn what_names_no_registry_or_no_version_is_none() {
        for text in [
            "",
            "ghcr.io/a/b",
            "b:v1",
            "ghcr.io/A:v1",
            "https://ghcr.io/a:v1",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
