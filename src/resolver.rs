//! From settings, a runtime and a version to the one image there is for them.

use std::fmt;

use crate::settings::{Digest, EXTRA_RUNTIMES_KEY, Prefix, Settings};

/// The tag of a runtime that is neither pinned nor given a version.
pub const DEFAULT_TAG: &str = "latest";

/// Which image of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'a> {
    /// The runtime's pin, else `latest`.
    Default,
    /// A tag.
    Tag(&'a str),
    /// A digest, with its algorithm.
    Digest(&'a str),
}

impl<'a> Version<'a> {
    /// Of a Workspace that asks for these; a digest comes before a tag.
    #[must_use]
    pub fn of(digest: Option<&'a str>, tag: Option<&'a str>) -> Self {
        match (digest, tag) {
            (Some(digest), _) => Self::Digest(digest),
            (None, Some(tag)) => Self::Tag(tag),
            (None, None) => Self::Default,
        }
    }
}

/// A runtime that is none of the known ones: it has no image, and never a wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRuntime {
    /// The runtime asked for.
    pub runtime: String,
    /// Those that have an image, in alphabetical order.
    pub known: Vec<String>,
}

impl fmt::Display for UnknownRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The runtime {:?} is none of the known ones ({}): \
             change it, or add it to {EXTRA_RUNTIMES_KEY} in the settings.",
            self.runtime,
            self.known.join(", "),
        )
    }
}

impl std::error::Error for UnknownRuntime {}

/// The reference of an image. The version is taken as it is: the schema of Workspace has checked it.
///
/// # Errors
/// The settings do not know the runtime.
pub fn image(
    settings: &Settings,
    runtime: &str,
    version: Version<'_>,
) -> Result<String, UnknownRuntime> {
    if !settings.knows(runtime) {
        return Err(UnknownRuntime {
            runtime: runtime.to_owned(),
            known: settings.known_runtimes().map(str::to_owned).collect(),
        });
    }
    Ok(reference(settings, runtime, version))
}

/// Every known runtime with the reference of its default image, in alphabetical order.
pub fn images(settings: &Settings) -> Vec<(String, String)> {
    let reference_of = |runtime: &str| reference(settings, runtime, Version::Default);
    let runtimes = settings.known_runtimes();
    runtimes
        .map(|runtime| (runtime.to_owned(), reference_of(runtime)))
        .collect()
}

/// Whether settings could have given this image of a runtime: what is read back from an object may be
/// anybody's.
#[must_use]
pub fn is_image(image: &str, runtime: &str) -> bool {
    let Some((prefix, rest)) = image.rsplit_once("/workspace-template-") else {
        return false;
    };
    let version = rest.strip_prefix(runtime).unwrap_or_default();
    let is_version = match (version.strip_prefix(':'), version.strip_prefix('@')) {
        (Some(tag), _) => is_tag(tag),
        (_, Some(digest)) => digest.parse::<Digest>().is_ok(),
        (None, None) => false,
    };
    is_version && prefix.parse::<Prefix>().is_ok()
}

/// Whether this is a tag, by the grammar of the OCI distribution specification.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let inner = |b: u8| first(b) || matches!(b, b'.' | b'-');
    tag.len() <= 128 && tag.bytes().next().is_some_and(first) && tag.bytes().all(inner)
}

/// The registry of a reference: what stands before the first `/`.
pub fn registry_host(reference: &str) -> &str {
    reference.split('/').next().unwrap_or(reference)
}

fn reference(settings: &Settings, runtime: &str, version: Version<'_>) -> String {
    let name = settings.registry().name(runtime);
    match (version, settings.pin(runtime)) {
        (Version::Tag(tag), _) => format!("{name}:{tag}"),
        (Version::Digest(digest), _) => format!("{name}@{digest}"),
        (Version::Default, Some(pin)) => format!("{name}@{pin}"),
        (Version::Default, None) => format!("{name}:{DEFAULT_TAG}"),
    }
}

#[cfg(test)]
mod tests;
