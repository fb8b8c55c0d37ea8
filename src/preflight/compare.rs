//! Whether what is there is what runs; pure.

use std::collections::BTreeSet;

use super::report::Content;
use crate::registry::{Found, Image};

/// Whether a node that says it runs this digest runs what was found. Nodes name the index, the
/// manifest of their platform, or its description, whichever their container runtime goes by.
#[must_use]
pub(super) fn names(found: &Found, digest: &str) -> bool {
    let of_image = |it: &Image| {
        let config = content(it).map(|it| it.0);
        it.digest == digest || config == Some(digest)
    };
    found.digest == digest || found.images.iter().any(of_image)
}

/// Compares two images by what the nodes would run of them.
#[must_use]
pub(super) fn compare(one: &Found, other: &Found, nodes: &BTreeSet<String>) -> Content {
    if one.digest == other.digest {
        return Content::Same;
    }
    let mut same = false;
    for image in one.images.iter().filter(|it| runs(it, nodes)) {
        let twin = |it: &&Image| it.platform == image.platform;
        let Some(twin) = other.images.iter().find(twin) else {
            continue;
        };
        match (content(image), content(twin)) {
            _ if image.digest == twin.digest => same = true,
            (Some(one), Some(other)) if one.0 == other.0 => same = true,
            (Some(_), Some(_)) => return Content::Different,
            _ => return Content::CannotTell,
        }
    }
    if same {
        Content::Same
    } else {
        Content::Different
    }
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
    use crate::registry::{Content as Stored, Platform};

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
            (&elsewhere, &amd, Content::Different),
        ] {
            assert_eq!(compare(&one, there, nodes), expected, "{there:?} {nodes:?}");
        }
    }

    #[test]
    fn what_was_not_looked_into_cannot_be_compared() {
        let one = found("1", &[image("amd64", "a", "c")]);
        let mut unread = image("amd64", "x", "");
        unread.content = None;
        let other = found("2", &[unread]);
        assert_eq!(
            compare(&one, &other, &nodes(&["amd64"])),
            Content::CannotTell
        );
    }
}
