//! Whether what is there is what runs; pure.

use std::collections::BTreeSet;

use super::report::Content;
use crate::registry::{Found, Image, Platform};

/// Whether a node that says it runs this digest runs what was found.
#[must_use]
pub(super) fn names(found: &Found, digest: &str) -> bool {
    found.digests().any(|it| it == digest)
}

/// Compares two images by what the nodes would run of them: for each platform, and its variants
/// together, as nodes do not tell theirs.
#[must_use]
pub(super) fn compare(one: &Found, other: &Found, nodes: &BTreeSet<String>) -> Content {
    if one.digest == other.digest {
        return Content::Same;
    }
    let one: Vec<_> = one.images.iter().filter(|it| runs(it, nodes)).collect();
    let other: Vec<_> = other.images.iter().filter(|it| runs(it, nodes)).collect();
    let mut all = one.iter().chain(&other);
    if all.any(|it| it.platform.is_none()) {
        // What differs may be for another platform.
        return match of_one_platform(&one, &other) {
            Some(Content::Same) => Content::Same,
            _ => Content::CannotTell,
        };
    }
    let short = |it: &Image| it.platform.as_ref().map(Platform::short);
    let platforms: BTreeSet<_> = one.iter().map(|it| short(it)).collect();
    let compared = platforms.iter().filter_map(|platform| {
        let mut pair = (one.clone(), other.clone());
        pair.0.retain(|it| short(it) == *platform);
        pair.1.retain(|it| short(it) == *platform);
        of_one_platform(&pair.0, &pair.1)
    });
    compared.max().unwrap_or(Content::CannotTell)
}

/// Whether one of these is one of those; nothing where there are none to compare.
fn of_one_platform(these: &[&Image], those: &[&Image]) -> Option<Content> {
    let mut pairs = these
        .iter()
        .flat_map(|it| those.iter().map(move |other| (*it, *other)))
        .peekable();
    pairs.peek()?;
    let compared = pairs.map(|(it, other)| match (content(it), content(other)) {
        _ if it.digest == other.digest => Content::Same,
        (Some((one, _)), Some((other, _))) if one == other => Content::Same,
        (Some(_), Some(_)) => Content::Different,
        _ => Content::CannotTell,
    });
    compared.min()
}

/// Whether some node would run this one.
pub(super) fn runs(image: &Image, nodes: &BTreeSet<String>) -> bool {
    let platform = image.platform.as_ref();
    nodes.is_empty() || platform.is_none_or(|it| nodes.contains(&it.short()))
}

/// The description's digest and the size.
pub(super) fn content(image: &Image) -> Option<(&str, u64)> {
    let content = image.content.as_ref()?.as_ref().ok()?;
    Some((content.config.as_str(), content.size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Content as Stored;

    fn image(architecture: &str, digest: &str, config: &str) -> Image {
        Image {
            platform: Some(Platform {
                os: "linux".into(),
                architecture: architecture.into(),
                variant: String::new(),
            }),
            digest: digest.into(),
            content: Some(Ok(Stored {
                config: config.into(),
                size: 1,
            })),
        }
    }

    fn found(digest: &str, images: &[Image]) -> Found {
        Found {
            digest: digest.into(),
            images: images.to_vec(),
        }
    }

    fn nodes(architectures: &[&str]) -> BTreeSet<String> {
        architectures
            .iter()
            .map(|it| format!("linux/{it}"))
            .collect()
    }

    #[test]
    fn a_node_names_the_index_the_manifest_or_the_description() {
        let found = found("index", &[image("amd64", "child", "config")]);
        for digest in ["index", "child", "config"] {
            assert!(names(&found, digest), "{digest}");
        }
        assert!(!names(&found, "other"));
    }

    #[test]
    fn what_the_nodes_run_is_compared() {
        let one = found("1", &[image("amd64", "a", "c"), image("arm64", "b", "d")]);
        // A mirror that took one platform only.
        let part = found("a", &[image("amd64", "a", "c")]);
        // Packed anew, so that the manifest is another one.
        let repacked = found("2", &[image("amd64", "x", "c"), image("arm64", "y", "d")]);
        let arm_changed = found("3", &[image("amd64", "a", "c"), image("arm64", "z", "z")]);
        let other = found("4", &[image("amd64", "p", "q")]);
        let elsewhere = found("5", &[image("s390x", "p", "q")]);
        let (amd, both) = (nodes(&["amd64"]), nodes(&["amd64", "arm64"]));
        for (there, nodes, expected) in [
            (&one, &both, Content::Same),
            (&part, &both, Content::Same),
            (&repacked, &both, Content::Same),
            (&arm_changed, &amd, Content::Same),
            (&arm_changed, &both, Content::Different),
            (&arm_changed, &nodes(&[]), Content::Different),
            (&other, &amd, Content::Different),
            (&elsewhere, &amd, Content::CannotTell),
        ] {
            assert_eq!(compare(&one, there, nodes), expected, "{there:?} {nodes:?}");
        }
    }

    #[test]
    fn what_was_not_looked_into_cannot_be_compared() {
        let one = found("1", &[image("amd64", "a", "c")]);
        let mut unread = image("amd64", "x", "");
        unread.content = None;
        let unread = std::slice::from_ref(&unread);
        let (other, again) = (found("2", unread), found("3", unread));
        let amd = nodes(&["amd64"]);
        assert_eq!(compare(&one, &other, &amd), Content::CannotTell);
        assert_eq!(compare(&other, &again, &amd), Content::Same, "one digest");
    }

    #[test]
    fn a_variant_or_a_platform_that_is_not_told_makes_no_difference() {
        let told = |variant: Option<&str>, digest: &str, config: &str| {
            let mut image = image("arm64", digest, config);
            image.platform = variant.and_then(|variant| {
                let platform = image.platform.take()?;
                let variant = variant.to_owned();
                Some(Platform {
                    variant,
                    ..platform
                })
            });
            image
        };
        let arm = nodes(&["arm64"]);
        let one = found("1", &[told(Some(""), "a", "c")]);
        for (variant, config, expected) in [
            (Some("v8"), "c", Content::Same),
            (Some("v8"), "d", Content::Different),
            (None, "c", Content::Same),
            (None, "d", Content::CannotTell),
        ] {
            let other = found("2", &[told(variant, "x", config)]);
            assert_eq!(
                compare(&one, &other, &arm),
                expected,
                "{variant:?} {config}"
            );
            assert_eq!(
                compare(&other, &one, &arm),
                expected,
                "{variant:?} {config}"
            );
        }
    }
}
