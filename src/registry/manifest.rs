//! What a registry stores about an image. Only the fields in use are read.

use std::fmt;

use serde::Deserialize;

use super::Content;
use crate::settings::Digest;

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

/// A longer name of a system or processor is none, in characters.
const LONGEST_NAME: usize = 64;
const NO_PLATFORM: &str = "names a platform that is none";

impl Platform {
    /// From an image's description, if it tells; or says in a few words why that is none.
    pub(super) fn read(config: &[u8]) -> Result<Option<Self>, &'static str> {
        match serde_json::from_slice::<Self>(config).ok() {
            Some(platform) if !platform.is_plain() => Err(NO_PLATFORM),
            platform => Ok(platform),
        }
    }

    /// Whether it can be shown: a terminal would obey what a registry writes into it.
    fn is_plain(&self) -> bool {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let short = |it: &String| it.len() <= LONGEST_NAME && it.bytes().all(plain);
        !self.os.is_empty()
            && !self.architecture.is_empty()
            && [&self.os, &self.architecture, &self.variant]
                .into_iter()
                .all(short)
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

    fn entry(self) -> Result<Entry, &'static str> {
        if self.platform.as_ref().is_some_and(|it| !it.is_plain()) {
            return Err(NO_PLATFORM);
        }
        Ok(Entry {
            platform: self.platform,
            digest: digest(self.digest)?,
        })
    }
}

/// By nothing else can what is asked for next be verified.
fn digest(text: String) -> Result<String, &'static str> {
    match text.parse::<Digest>() {
        Ok(_) => Ok(text),
        Err(_) if text.starts_with("sha512:") => Err("uses digests other than sha256"),
        Err(_) => Err("names a digest that is none"),
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
            return images
                .map(Child::entry)
                .collect::<Result<_, _>>()
                .map(Manifest::Index);
        }
        let config = stored.config.ok_or("sends a manifest that is none")?;
        let blobs = stored.layers.iter().map(|it| it.size);
        let size = blobs.fold(config.size, u64::saturating_add);
        let config = digest(config.digest)?;
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

    fn sha256(c: char) -> String {
        format!("sha256:{}", c.to_string().repeat(64))
    }

    #[test]
    fn what_is_about_an_image_is_no_platform() {
        let arm = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
        let index = read(json!({"schemaVersion": 2, "manifests": [
            {"digest": sha256('a'), "platform": arm},
            {"digest": "sha256:b", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:c", "annotations": {"vnd.docker.reference.type": "x"}},
            {"digest": sha256('d')},
        ]}));
        let Ok(Manifest::Index(entries)) = index else {
            panic!("{index:?}")
        };
        let digests: Vec<_> = entries.iter().map(|it| it.digest.as_str()).collect();
        assert_eq!(digests, [sha256('a'), sha256('d')]);
        let platform = entries[0].platform.as_ref().expect("a platform");
        assert_eq!(platform.to_string(), "linux/arm64/v8");
        assert_eq!(platform.short(), "linux/arm64");
    }

    #[test]
    fn the_size_is_what_is_downloaded() {
        let image = read(json!({"schemaVersion": 2,
            "config": {"digest": sha256('c'), "size": 3},
            "layers": [{"digest": "sha256:l", "size": 40}, {"digest": "sha256:m", "size": 500}]}));
        let content = Content {
            config: sha256('c'),
            size: 543,
        };
        assert_eq!(image, Ok(Manifest::Image(content)));
    }

    #[test]
    fn sizes_that_cannot_be_are_no_fault_of_ours() {
        let huge = |size: u64| json!({"digest": "sha256:l", "size": size});
        let image = read(json!({"schemaVersion": 2,
            "config": {"digest": sha256('c'), "size": 3},
            "layers": [huge(u64::MAX), huge(u64::MAX)]}));
        let content = Content {
            config: sha256('c'),
            size: u64::MAX,
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

    #[test]
    fn a_platform_is_plain_names() {
        let index = |platform: &serde_json::Value| {
            read(json!({"schemaVersion": 2, "manifests": [
                {"digest": sha256('a'), "platform": platform},
            ]}))
        };
        let of = |os: &str, architecture: &str, variant: &str| json!({"os": os, "architecture": architecture, "variant": variant});
        let long = "x".repeat(65);
        for platform in [
            of("linux\u{1b}[2J", "amd64", ""),
            of("linux", "amd64\nYes: all are there.", ""),
            of("linux", "arm64", "v8\u{202e}"),
            of("linux", &long, ""),
            of("", "amd64", ""),
        ] {
            assert_eq!(index(&platform), Err(NO_PLATFORM), "{platform}");
            let read = Platform::read(platform.to_string().as_bytes());
            assert_eq!(read, Err(NO_PLATFORM), "{platform}");
        }
        let plain = of("linux", "arm64", "v8");
        assert!(index(&plain).is_ok());
        let read = Platform::read(plain.to_string().as_bytes()).expect("it is plain");
        assert_eq!(read.expect("it is told").to_string(), "linux/arm64/v8");
        assert_eq!(Platform::read(b"{}"), Ok(None));
    }

    #[test]
    fn what_is_asked_for_next_is_named_by_its_digest() {
        for (digest, words) in [
            ("latest", "names a digest that is none"),
            ("../../x", "names a digest that is none"),
            ("sha256:a", "names a digest that is none"),
            ("sha512:a", "uses digests other than sha256"),
        ] {
            let index = json!({"schemaVersion": 2, "manifests": [{"digest": digest}]});
            assert_eq!(read(index), Err(words), "{digest}");
            let config = json!({"digest": digest, "size": 3});
            let image = json!({"schemaVersion": 2, "config": config});
            assert_eq!(read(image), Err(words), "{digest}");
        }
    }
}
