//! The registry prefix: the one value on which every image depends.
//!
//! It is stricter than the grammar of image references, since that grammar has an answer for
//! nearly everything and the answer is often another registry: `myorg/x` is `docker.io/myorg/x`,
//! `docker.io/x` is `docker.io/library/x`. A prefix is accepted only where every reader of a
//! reference reads it as what is written. The rules are spelt out here to say in one sentence
//! which one is broken; a reference parser has the last word on what passes them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use container_image_dist_ref::ImgRef;

use super::fault::{Fault, quote};
use super::values::{is_label, plain};
use super::{DEFAULT_REGISTRY, RUNTIMES};

/// What every repository's last component begins with; the runtime follows.
const REPOSITORY: &str = "workspace-template-";
/// The longest name of an image (registry and repository), in characters. Some readers count only
/// the repository; counting all satisfies every one.
const LONGEST_NAME: usize = 255;
/// The longest label of a DNS name, in characters.
const LONGEST_LABEL: usize = 63;

const DOCKER_HUB: &str = "docker.io";
/// An old name that readers rewrite to [`DOCKER_HUB`].
const DOCKER_HUB_LEGACY: &str = "index.docker.io";

const EXAMPLE: &str = "write host[:port]/path in lower case, as in \"ghcr.io/molecule-ai\"";

/// What stands before every image's name: `host[:port]` and a path, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// As it was written: no scheme, no slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry: the host, with its port where one is written.
    pub fn host(&self) -> &str {
        split(&self.0).0
    }

    /// The name of a runtime's image, without tag or digest. Nothing else joins a prefix.
    pub fn name(&self, runtime: &str) -> String {
        format!("{}/{REPOSITORY}{runtime}", self.0)
    }

    /// Whether the image of this runtime has a name that readers take for what is written.
    ///
    /// # Errors
    /// The name would be too long, or a reference parser reads something else from it.
    pub(super) fn fits(&self, runtime: &str) -> Result<(), Fault> {
        let name = self.name(runtime);
        let excess = name.len().saturating_sub(LONGEST_NAME);
        if excess > 0 {
            let most = self.0.len().saturating_sub(excess);
            return Err(Fault::new(
                format!(
                    "makes the image of {runtime} have a name of more than {LONGEST_NAME} characters"
                ),
                format!("write a prefix of at most {most} characters"),
            ));
        }
        let exact = ImgRef::new(&format!("{name}:latest")).is_ok_and(|reference| {
            let host = reference.domain().map_or("", |it| it.to_str());
            (host, reference.path().to_str()) == split(&name) && reference.tag() == Some("latest")
        });
        if exact {
            Ok(())
        } else {
            Err(Fault::new("does not begin an image's name", EXAMPLE))
        }
    }
}

impl Default for Prefix {
    /// [`DEFAULT_REGISTRY`].
    fn default() -> Self {
        Prefix(DEFAULT_REGISTRY.to_owned())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prefix {
    type Err = Fault;

    fn from_str(value: &str) -> Result<Self, Fault> {
        match check(value) {
            Ok(()) => Ok(Prefix(value.to_owned())),
            Err(fault) => Err(match meant(value) {
                Some(better) => Fault::new(fault.wrong, format!("write {}", quote(&better))),
                None => fault,
            }),
        }
    }
}

fn check(value: &str) -> Result<(), Fault> {
    plain(value)?;
    if value.contains("://") {
        return Err(Fault::new("has a scheme", EXAMPLE));
    }
    if value.contains('@') {
        return Err(Fault::new("has a digest or a user name (an @)", EXAMPLE));
    }
    let (authority, path) = split(value);
    check_authority(authority, value)?;
    if !path.is_empty() || value.ends_with('/') {
        check_path(path)?;
    }
    if authority == DOCKER_HUB && path.is_empty() {
        return Err(Fault::new(
            "stands for Docker Hub's own images (docker.io/library)",
            "add your organisation, as in \"docker.io/molecule-ai\"",
        ));
    }
    let longest = RUNTIMES.into_iter().max_by_key(|runtime| runtime.len());
    Prefix(value.to_owned()).fits(longest.unwrap_or_default())
}

/// `host[:port]` and what follows the first slash.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, ""))
}

fn check_authority(authority: &str, value: &str) -> Result<(), Fault> {
    let unzoned = authority.split('%').next().unwrap_or(authority);
    if authority.contains(['[', ']']) || unzoned.parse::<Ipv6Addr>().is_ok() {
        return Err(Fault::new(
            "has an IPv6 address, which common readers of image references refuse",
            "write a DNS name or an IPv4 address",
        ));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(Fault::new("has no host", EXAMPLE));
    }
    if let Some(port) = port
        && !is_port(port)
    {
        return Err(Fault::new(
            format!("has the port {}", quote(port)),
            "write a port from 1 to 65535 without leading zeros, or none (a tag has no place here)",
        ));
    }
    check_host(host)?;
    if port.is_none() && host != "localhost" && !host.contains('.') {
        return Err(Fault::new(
            "names no registry, so that nodes would pull from docker.io",
            format!(
                "put the registry first, as in {}",
                quote(&format!("ghcr.io/{value}"))
            ),
        ));
    }
    if authority == DOCKER_HUB_LEGACY {
        return Err(Fault::new("is an old name for docker.io", EXAMPLE));
    }
    Ok(())
}

/// Digits only: `u16` would also take `+5`. No leading zero: one registry, one spelling.
fn is_port(port: &str) -> bool {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    digits && !port.starts_with('0') && port.parse::<u16>().is_ok()
}

/// Hosts are lower-case here though DNS does not care: credentials and mirrors are looked up by
/// the bytes of the host, so that two spellings would be two registries.
fn check_host(host: &str) -> Result<(), Fault> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Fault::new("has upper-case letters in its host", EXAMPLE));
    }
    let mut labels = host.split('.');
    if let Some(label) = labels.find(|label| !is_label(label) || label.len() > LONGEST_LABEL) {
        return Err(Fault::new(
            format!("has {} in its host", quote(label)),
            "write a DNS name: letters, digits and inner dashes, with single dots between",
        ));
    }
    // Resolvers take a name that ends in a number for an address.
    let last = host.rsplit('.').next().unwrap_or(host);
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err(Fault::new(
            "has a host that is neither a DNS name nor an IPv4 address",
            EXAMPLE,
        ));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Fault> {
    if path.ends_with('/') || path.is_empty() {
        return Err(Fault::new("ends in a slash", EXAMPLE));
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Fault::new("has upper-case letters in its path", EXAMPLE));
    }
    let last = path.rsplit('/').next().unwrap_or(path);
    if last.contains(':') {
        return Err(Fault::new("has a tag", EXAMPLE));
    }
    match path.split('/').find(|component| !is_component(component)) {
        None => Ok(()),
        Some("") => Err(Fault::new("has an empty component (two slashes)", EXAMPLE)),
        Some(component) => Err(Fault::new(
            format!("has {} in its path", quote(component)),
            "write letters and digits, with one dot, one or two underscores or any dashes between",
        )),
    }
}

/// Runs of letters and digits with `.`, `_`, `__` or any number of dashes between them.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component
            .split(alphanumeric)
            .all(|separator| matches!(separator, "." | "_" | "__") || is_dashes(separator))
}

fn is_dashes(separator: &str) -> bool {
    separator.bytes().all(|b| b == b'-')
}

/// The prefix that someone who typed this most likely meant, when there is a valid one.
fn meant(value: &str) -> Option<String> {
    let bare = value.trim();
    let bare = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    let bare = bare.split_once('@').map_or(bare, |(name, _)| name);
    let lower = bare.to_ascii_lowercase();
    let mut components: Vec<&str> = lower.split('/').filter(|c| !c.is_empty()).collect();
    let in_path = components.len() > 1;
    if let Some(last) = components.last_mut()
        && let Some((before, after)) = last.split_once(':')
        && (in_path || !after.bytes().all(|b| b.is_ascii_digit()))
    {
        *last = before;
    }
    if components
        .last()
        .is_some_and(|last| last.starts_with(REPOSITORY))
    {
        components.pop();
    }
    if let Some(first) = components.first_mut()
        && *first == DOCKER_HUB_LEGACY
    {
        *first = DOCKER_HUB;
    }
    let better = components.join("/");
    check(&better).is_ok().then_some(better)
}

#[cfg(test)]
mod tests;
