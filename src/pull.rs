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
    /// What it is about.
    pub about: About,
}

/// What the failure of a pull is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// One image, or the node that is to pull it.
    Image,
    /// One image or one Workspace's pull secrets, as long as it befalls one Workspace only.
    Unclear,
    /// The registry, or the way to it.
    Registry,
}

const fn registry(words: &'static str) -> Cause {
    let about = About::Registry;
    Cause { words, about }
}

const fn unclear(words: &'static str) -> Cause {
    let about = About::Unclear;
    Cause { words, about }
}

const fn image(words: &'static str) -> Cause {
    let about = About::Image;
    Cause { words, about }
}

/// The sentences differ by the version of the container runtime, so only the status code and a few
/// fixed words are looked for, in this order and in lower case.
const CAUSES: [(&str, Cause); 27] = [
    ("401 unauthorized", unclear("answered 401 Unauthorized")),
    (
        "402 payment required",
        unclear("answered 402 Payment Required"),
    ),
    ("403 forbidden", unclear("answered 403 Forbidden")),
    ("404 not found", image("answered 404 Not Found")),
    (
        "429 too many requests",
        registry("answered 429 Too Many Requests"),
    ),
    (
        "500 internal server error",
        registry("answered 500 Internal Server Error"),
    ),
    ("502 bad gateway", registry("answered 502 Bad Gateway")),
    (
        "503 service unavailable",
        registry("answered 503 Service Unavailable"),
    ),
    (
        "504 gateway timeout",
        registry("answered 504 Gateway Timeout"),
    ),
    ("insufficient_scope", unclear("denies access to it")),
    ("denied", unclear("denies access to it")),
    ("unauthorized", unclear("answered 401 Unauthorized")),
    (
        "toomanyrequests",
        registry("answered 429 Too Many Requests"),
    ),
    ("not found", image("does not have it")),
    ("manifest unknown", image("does not have it")),
    ("name unknown", image("does not have it")),
    ("no such host", registry("does not resolve to an address")),
    ("connection refused", registry("refuses connections")),
    ("connection reset", registry("breaks connections off")),
    (" eof", registry("breaks connections off")),
    ("no route to host", registry("cannot be reached")),
    ("network is unreachable", registry("cannot be reached")),
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
    (
        "pull qps exceeded",
        image("is not asked yet, for the node limits how often it pulls"),
    ),
];
/// The node tells no cause that is known here.
pub const UNNAMED: Cause = unclear("fails for another reason");
/// The node tells nothing at all, and goes on pulling.
pub const SILENT: Cause = unclear("has not delivered it in time");
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
    // The image and its addresses bear names that users chose, such as a tag `denied`.
    let words = message.split_whitespace().filter(|it| !it.contains('/'));
    let message = words.collect::<Vec<_>>().join(" ").to_lowercase();
    let named = |it: &&(&str, Cause)| message.contains(it.0);
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
    let told = told(image, message)?.strip_prefix(&subject(image))?;
    let told = told.strip_prefix(": ")?;
    let words = told.strip_prefix(resolver::registry_host(image))?;
    let words = words.strip_prefix(' ')?;
    let causes = CAUSES.iter().map(|(_, cause)| *cause);
    let mut causes = causes.chain([INVALID_NAME, NEVER]);
    causes.find(|it| it.words == words)
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
    fn a_name_that_a_user_chose_is_no_cause() {
        let message = "failed to resolve \"r.example.com/timeout/denied:x509\": \
                       https://r.example.com/v2/timeout/denied/manifests/x509: not found";
        let cause = cause("ErrImagePull", message).expect("a cause");
        assert_eq!(cause.words, "does not have it");
    }

    #[test]
    fn the_way_to_the_registry_counts_as_the_registry() {
        for (message, words) in [
            (
                "dial tcp 192.0.2.1:443: connect: no route to host",
                "cannot be reached",
            ),
            (
                "dial tcp: lookup r.example.com: no such host",
                "does not resolve to an address",
            ),
            (
                "read tcp 192.0.2.1:443: read: connection reset by peer",
                "breaks connections off",
            ),
            (
                "Head \"https://r.example.com/v2/x\": EOF",
                "breaks connections off",
            ),
            (
                "Head \"https://r.example.com/v2/x\": dial tcp 192.0.2.1:443: i/o timeout",
                "does not answer in time",
            ),
        ] {
            let cause = cause("ErrImagePull", message).expect("a cause");
            assert_eq!(
                (cause.words, cause.about),
                (words, About::Registry),
                "{message}"
            );
        }
    }

    #[test]
    fn some_reasons_are_causes_whatever_is_said_with_them() {
        let message = "401 Unauthorized";
        assert_eq!(cause("InvalidImageName", message), Some(INVALID_NAME));
        assert_eq!(cause("ErrImageNeverPull", message), Some(NEVER));
        let words = cause("ErrImagePull", message).map(|it| it.words);
        assert_eq!(words, Some("answered 401 Unauthorized"));
        assert_eq!(cause("ImagePullBackOff", "Back-off pulling image"), None);
    }

    #[test]
    fn only_a_wait_for_the_image_is_a_failure_to_pull() {
        for reason in FAILURES {
            assert!(is_failure(reason), "{reason}");
        }
        for reason in ["ContainerCreating", "CrashLoopBackOff", ""] {
            assert!(!is_failure(reason), "{reason}");
        }
    }

    /// A kubelet that is given many Pods at once says so of most of them.
    #[test]
    fn the_limit_of_a_node_is_no_failure_of_the_registry() {
        let message =
            format!("Back-off pulling image \"{IMAGE}\": ErrImagePull: pull QPS exceeded");
        for (reason, message) in [
            ("ErrImagePull", "pull QPS exceeded"),
            ("ImagePullBackOff", message.as_str()),
        ] {
            let cause = cause(reason, message).expect("a cause");
            assert_eq!(cause.about, About::Image, "{message}");
            assert!(cause.words.starts_with("is not asked yet"), "{message}");
        }
    }

    #[test]
    fn what_names_no_cause_or_another_image_is_not_read() {
        let without = sentence_without_cause(IMAGE, "ImagePullBackOff");
        let said = format!("{IMAGE} cannot be pulled: ImagePullBackOff");
        assert_eq!(without, said);
        assert_eq!(told(IMAGE, &format!("x: {said}")), Some(&*said));
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
