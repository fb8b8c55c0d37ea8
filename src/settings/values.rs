//! The grammar of each kind of value, but the prefix.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use super::fault::{Fault, quote};

/// The longest runtime, in characters: `molecule.ai/runtime` is a label (63), and the image's name
/// (255) must leave room for a registry.
const LONGEST_RUNTIME: usize = 40;
/// The longest name of a Kubernetes object that is a DNS subdomain, in characters.
const LONGEST_SUBDOMAIN: usize = 253;
/// The longest time, in seconds: a day.
const LONGEST_TIME: u32 = 86_400;
/// Registries are asked no more often than every so many seconds.
const SHORTEST_PAUSE: u32 = 10;
/// The most Workspaces that a setting may name: more than there are.
const MOST_WORKSPACES: u32 = 999_999;

const DIGEST_ALGORITHM: &str = "sha256:";
const DIGEST_HEX: usize = 64;

/// The digest of an image: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// With the algorithm, as it stands in a reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Fault;

    fn from_str(value: &str) -> Result<Self, Fault> {
        if is_digest(value) {
            return Ok(Digest(value.to_owned()));
        }
        let wrong = format!("is not {DIGEST_ALGORITHM} and {DIGEST_HEX} lower-case hex digits");
        Err(Fault::new(wrong, digest_remedy(value)))
    }
}

fn is_digest(value: &str) -> bool {
    value.strip_prefix(DIGEST_ALGORITHM).is_some_and(|hex| {
        hex.len() == DIGEST_HEX && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// People paste a whole reference, bare digits, upper case: say what they meant.
fn digest_remedy(value: &str) -> String {
    let last = value.rsplit('@').next().unwrap_or(value).trim();
    let lower = last.to_ascii_lowercase();
    let hex = lower.strip_prefix(DIGEST_ALGORITHM).unwrap_or(&lower);
    let better = format!("{DIGEST_ALGORITHM}{hex}");
    if is_digest(&better) {
        format!("write {}", quote(&better))
    } else {
        "write the image's digest, as `docker buildx imagetools inspect` prints it".to_owned()
    }
}

/// Refuses what no setting can have: line ends, spaces, control characters, anything beyond ASCII.
pub(super) fn plain(value: &str) -> Result<(), Fault> {
    const LINE_ENDS: [char; 2] = ['\n', '\r'];
    let fault = if value.trim().is_empty() {
        Fault::new("is only spaces", "remove it for the default")
    } else if value.trim_end().contains(LINE_ENDS) {
        Fault::new("has a newline", "write it on one line")
    } else if value.contains(LINE_ENDS) {
        Fault::new(
            "ends in a newline (as a YAML block `|` does)",
            "remove the newline",
        )
    } else if value.contains([' ', '\t']) {
        Fault::new("has a space", "remove the space")
    } else if let Some(odd) = value.chars().find(|c| !c.is_ascii_graphic()) {
        let wrong = format!("has the character U+{:04X}", u32::from(odd));
        Fault::new(wrong, "write visible ASCII characters only")
    } else {
        return Ok(());
    };
    Err(fault)
}

/// Lower-case letters, digits and dashes, no dash at either end, not empty: a label of a DNS name,
/// whose length is for the caller to bound.
pub(super) fn is_label(value: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !value.is_empty()
        && value.bytes().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-')
}

/// The name of a runtime: a part of an image's name and the value of a label.
pub(super) fn runtime(value: &str) -> Result<String, Fault> {
    plain(value)?;
    if value.len() > LONGEST_RUNTIME {
        let wrong = format!("is longer than {LONGEST_RUNTIME} characters");
        return Err(Fault::new(wrong, "give the runtime a shorter name"));
    }
    if !is_label(value) {
        return Err(Fault::new(
            "is not a runtime's name",
            "write lower-case letters, digits and inner dashes, as in \"claude-code\"",
        ));
    }
    Ok(value.to_owned())
}

/// The name of a Secret.
pub(super) fn secret(value: &str) -> Result<String, Fault> {
    plain(value)?;
    if value.len() > LONGEST_SUBDOMAIN || !value.split('.').all(is_label) {
        return Err(Fault::new(
            "cannot be the name of a Secret",
            "write lower-case letters, digits, inner dashes and dots, as in \"mirror-pull\"",
        ));
    }
    Ok(value.to_owned())
}

/// A URL that an agent can call, kept as it was written.
pub(super) fn url(value: &str) -> Result<String, Fault> {
    const EXAMPLE: &str = "write one as in \"https://platform.example.com\"";
    plain(value)?;
    let uri: Uri = value
        .parse()
        .map_err(|_| Fault::new("is not a URL", EXAMPLE))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Fault::new(
            "does not begin with http:// or https://",
            EXAMPLE,
        ));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(Fault::new(
            "has credentials in it, for every agent to read",
            "write the URL without them",
        ));
    }
    let host = uri.host().unwrap_or("");
    // The parser lets "host:" and "host:99999" pass and then knows of no port.
    let whole = match uri.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if host.is_empty() || uri.port_u16() == Some(0) || whole != authority {
        return Err(Fault::new("has no usable host and port", EXAMPLE));
    }
    Ok(value.to_owned())
}

/// So many Workspaces, or a part of them, as Kubernetes' `IntOrString` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Int(u32),
    /// So many in a hundred, 100 at most.
    Percent(u8),
}

impl IntOrPercent {
    /// How many of so many; a part is rounded down.
    #[must_use]
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Int(count) => count.try_into().unwrap_or(usize::MAX),
            Self::Percent(percent) => all.saturating_mul(percent.into()) / 100,
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// How many may be down at once.
pub(super) fn max_unavailable(value: &str) -> Result<IntOrPercent, Fault> {
    let hint = "as in \"5%\"; to hold a move, set ROLLOUT_PAUSED to \"true\"";
    int_or_percent(value, 1, hint)
}

/// How many may fail.
pub(super) fn max_failed(value: &str) -> Result<IntOrPercent, Fault> {
    int_or_percent(value, 0, "as in \"5%\"")
}

/// Written in one way only, so that a guard can be as strict.
fn int_or_percent(value: &str, least: u32, hint: &str) -> Result<IntOrPercent, Fault> {
    plain(value)?;
    let number = |text: &str, most: u32| {
        let has_digits = text.bytes().all(|b| b.is_ascii_digit());
        let is_plain = has_digits && (text == "0" || !text.starts_with('0'));
        let number = is_plain.then(|| text.parse::<u32>().ok()).flatten();
        number.filter(|it| (least..=most).contains(it))
    };
    let parsed = match value.strip_suffix('%') {
        Some(percent) => number(percent, 100)
            .and_then(|it| u8::try_from(it).ok())
            .map(IntOrPercent::Percent),
        None => number(value, MOST_WORKSPACES).map(IntOrPercent::Int),
    };
    parsed.ok_or_else(|| {
        Fault::new(
            "is neither a number of Workspaces nor a part of them",
            format!(
                "write a whole number from {least} to {MOST_WORKSPACES}, or from {least} to 100 and \
                 a per cent sign, {hint}"
            ),
        )
    })
}

/// Yes or no.
pub(super) fn boolean(value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::new(
            "is neither true nor false",
            "write \"true\" or \"false\"",
        )),
    }
}

/// The provision timeout, in seconds.
pub(super) fn timeout(value: &str) -> Result<u32, Fault> {
    seconds(value, 1, "as in \"600\"")
}

/// How long a Workspace is to be Ready, in seconds.
pub(super) fn min_ready(value: &str) -> Result<u32, Fault> {
    seconds(value, 0, "as in \"10\"")
}

/// How often registries are asked, in seconds.
pub(super) fn pause(value: &str) -> Result<u32, Fault> {
    let hint = "as in \"300\", or remove the key to ask nothing";
    seconds(value, SHORTEST_PAUSE, hint)
}

fn seconds(value: &str, least: u32, hint: &str) -> Result<u32, Fault> {
    plain(value)?;
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(seconds) if digits && (least..=LONGEST_TIME).contains(&seconds) => Ok(seconds),
        _ => Err(Fault::new(
            "is not a number of seconds",
            format!("write a whole number from {least} to {LONGEST_TIME}, {hint}"),
        )),
    }
}
