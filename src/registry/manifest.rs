//! What a registry stores about an image. Only the fields in use are read.

use std::fmt;

use serde::Deserialize;

use super::Content;

/// What is understood, the newer first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What an image is built for.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The processor.
    pub architecture: String,
    /// Which of its kind; mostly empty.
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// From an image's description.
    pub(super) fn read(config: &[u8]) -> Option<Self> {
        serde_json::from_slice(config).ok()
    }

    /// Without the variant, as nodes call themselves.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_str() {
            "" => Ok(()),
            variant => write!(f, "/{variant}"),
        }
    }
}

/// A manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Manifest {
    /// Of one image.
    Image(Content),
    /// Of one image for each of several platforms.
    Index(Vec<Entry>),
}

/// One of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) platform: Option<Platform>,
    pub(super) digest: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    schema_version: u32,
    manifests: Option<Vec<Child>>,
    config: Option<Blob>,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: serde_json::Map<String, serde_json::Value>,
}

/// Marks what is about an image, and is none.
const ABOUT: &str = "vnd.docker.reference.type";
const UNKNOWN: &str = "unknown";

impl Child {
    fn is_image(&self) -> bool {
        let unknown = |it: &Platform| it.os == UNKNOWN && it.architecture == UNKNOWN;
        !self.annotations.contains_key(ABOUT) && !self.platform.as_ref().is_some_and(unknown)
    }
}

impl Manifest {
    /// Reads one of either kind, or says in a few words why it is none.
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let stored: Stored =
            serde_json::from_slice(body).map_err(|_| "sends a manifest that is none")?;
        if stored.schema_version == 1 {
            return Err("has it in a format that nodes no longer read (schema 1)");
        }
        if let Some(children) = stored.manifests {
            let images = children.into_iter().filter(Child::is_image);
            let entry = |Child {
                             platform, digest, ..
                         }| Entry { platform, digest };
            return Ok(Manifest::Index(images.map(entry).collect()));
        }
        let config = stored.config.ok_or("sends a manifest that is none")?;
        let blobs = stored.layers.iter().map(|it| it.size);
        let size = blobs.fold(config.size, u64::saturating_add);
        let config = config.digest;
        Ok(Manifest::Image(Content { config, size }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Manifest, &'static str> {
        Manifest::read(value.to_string().as_bytes())
    }

    #[test]
    fn what_is_about_an_image_is_no_platform() {
        let index = read(json!({"schemaVersion": 2, "manifests": [
            {"digest": "sha256:a", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"digest": "sha256:b", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:c", "annotations": {"vnd.docker.reference.type": "x"}},
            {"digest": "sha256:d"},
        ]}));
        let Ok(Manifest::Index(entries)) = index else {
            panic!("{index:?}")
        };
        let digests: Vec<_> = entries.iter().map(|it| it.digest.as_str()).collect();
        assert_eq!(digests, ["sha256:a", "sha256:d"]);
        let platform = entries[0].platform.as_ref().expect("a platform");
        assert_eq!(platform.to_string(), "linux/arm64/v8");
        assert_eq!(platform.short(), "linux/arm64");
    }

    #[test]
    fn the_size_is_what_is_downloaded() {
        let image = read(json!({"schemaVersion": 2,
            "config": {"digest": "sha256:c", "size": 3},
            "layers": [{"digest": "sha256:l", "size": 40}, {"digest": "sha256:m", "size": 500}]}));
        let content = Content {
            config: "sha256:c".into(),
            size: 543,
        };
        assert_eq!(image, Ok(Manifest::Image(content)));
    }

    #[test]
    fn what_is_no_manifest_is_told() {
        let old = read(json!({"schemaVersion": 1, "fsLayers": []}));
        assert!(old.is_err_and(|it| it.contains("schema 1")));
        assert!(read(json!({"schemaVersion": 2})).is_err());
        assert!(Manifest::read(b"<html>").is_err());
    }
}
