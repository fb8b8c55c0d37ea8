//! Why an image cannot be pulled, in words that stay the same for as long as the cause does: said
//! to people in a status, and read back from there.

use crate::resolver;

/// The kubelet's reasons for a container that waits because of its image.
const FAILURES: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "ImageInspectError",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Why a pull failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What the registry does, to be read after its name.
    pub words: &'static str,
    /// Whether it is about the registry or the access to it, and not about one image.
    pub of_registry: bool,
}

const fn registry(words: &'static str) -> Cause {
    Cause {
        words,
        of_registry: true,
    }
}

const fn image(words: &'static str) -> Cause {
    Cause {
        words,
        of_registry: false,
    }
}

/// The sentences differ by the version of the container runtime, so only the status code and a few
/// fixed words are looked for, in this order.
const CAUSES: [(&str, Cause); 19] = [
    ("401 Unauthorized", registry("answered 401 Unauthorized")),
    ("403 Forbidden", registry("answered 403 Forbidden")),
    ("404 Not Found", image("answered 404 Not Found")),
    (
        "429 Too Many Requests",
        registry("answered 429 Too Many Requests"),
    ),
    (
        "500 Internal Server Error",
        registry("answered 500 Internal Server Error"),
    ),
    ("502 Bad Gateway", registry("answered 502 Bad Gateway")),
    (
        "503 Service Unavailable",
        registry("answered 503 Service Unavailable"),
    ),
    (
        "504 Gateway Timeout",
        registry("answered 504 Gateway Timeout"),
    ),
    ("insufficient_scope", registry("denies access to it")),
    ("denied", registry("denies access to it")),
    ("unauthorized", registry("answered 401 Unauthorized")),
    (
        "toomanyrequests",
        registry("answered 429 Too Many Requests"),
    ),
    ("not found", image("does not have it")),
    ("no such host", registry("does not resolve to an address")),
    ("connection refused", registry("refuses connections")),
    (
        "x509",
        registry("shows a certificate that the node does not trust"),
    ),
    ("timeout", registry("does not answer in time")),
    ("deadline exceeded", registry("does not answer in time")),
    (
        "no match for platform",
        image("has it for other platforms only"),
    ),
];
/// The node tells no cause.
pub const UNNAMED: Cause = image("fails for a reason that the node does not tell");
const INVALID_NAME: Cause = image("is not asked, for the node finds the name invalid");
const NEVER: Cause = image("is not asked, for the Pod was told never to pull");

/// Whether a container that waits for this reason of the kubelet's waits for its image in vain.
#[must_use]
pub fn is_failure(reason: &str) -> bool {
    FAILURES.contains(&reason)
}

/// The cause that the kubelet names; between two attempts some kubelets name none.
#[must_use]
pub fn cause(reason: &str, message: &str) -> Option<Cause> {
    match reason {
        "InvalidImageName" => return Some(INVALID_NAME),
        "ErrImageNeverPull" => return Some(NEVER),
        _ => {}
    }
    let message = message.to_lowercase();
    let named = |it: &&(&str, Cause)| message.contains(&it.0.to_lowercase());
    CAUSES.iter().find(named).map(|(_, cause)| *cause)
}

/// What people are told.
#[must_use]
pub fn sentence(image: &str, cause: Cause) -> String {
    let (host, words) = (resolver::registry_host(image), cause.words);
    format!("{}: {host} {words}", subject(image))
}

/// What people are told while the kubelet names no cause.
#[must_use]
pub fn sentence_without_cause(image: &str, reason: &str) -> String {
    format!("{}: {reason}", subject(image))
}

/// The sentence about this image, if a message has one.
#[must_use]
pub fn told<'a>(image: &str, message: &'a str) -> Option<&'a str> {
    Some(&message[message.find(&subject(image))?..])
}

/// The cause that a message names for this image.
#[must_use]
pub fn cause_told(image: &str, message: &str) -> Option<Cause> {
    let told = told(image, message)?;
    let causes = CAUSES.iter().map(|(_, cause)| *cause);
    let mut causes = causes.chain([INVALID_NAME, NEVER]);
    causes.find(|it| told == sentence(image, *it))
}

fn subject(image: &str) -> String {
    format!("{image} cannot be pulled")
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "registry.example.com/agents/workspace-template-codex:v1";

    #[test]
    fn each_cause_is_told_and_read_back() {
        let causes = CAUSES.iter().map(|(_, cause)| *cause);
        for cause in causes.chain([INVALID_NAME, NEVER]) {
            let told = sentence(IMAGE, cause);
            assert_eq!(cause_told(IMAGE, &told), Some(cause), "{told}");
            let stalled = format!("not Ready for 600 s: {told}");
            assert_eq!(cause_told(IMAGE, &stalled), Some(cause), "{stalled}");
        }
    }

    #[test]
    fn what_names_no_cause_or_another_image_is_not_read() {
        let without = sentence_without_cause(IMAGE, "ImagePullBackOff");
        assert_eq!(cause_told(IMAGE, &without), None);
        let other = sentence("other.example.com/x:v1", CAUSES[0].1);
        assert_eq!(cause_told(IMAGE, &other), None);
    }

    #[test]
    fn equal_words_mean_the_same_of_the_registry() {
        for (_, one) in CAUSES {
            for (_, other) in CAUSES {
                assert_eq!(one.words == other.words, one == other);
            }
        }
    }
}
