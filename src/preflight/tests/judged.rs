//! What is found of an image, as the registry tells it.

use std::time::Duration;

use super::*;
use crate::registry::{Content as Stored, Found, Image, Kind, Platform, Refusal};

fn refusal(kind: Kind) -> Refusal {
    Refusal {
        kind,
        words: "answered 401 Unauthorized".into(),
        status: None,
        retry_after: Some(Duration::from_secs(30)),
    }
}

#[test]
fn a_refusal_is_a_no_unless_the_nodes_may_know_better() {
    let ghcr = need("ghcr.io/a/codex:latest");
    let ecr = need("1234.dkr.ecr.eu-central-1.amazonaws.com/a/codex:latest");
    let nodes = BTreeSet::new();
    for (need, logins, on_nodes, kind, finding) in [
        (&ghcr, 0, false, Kind::Denied, Finding::Denied),
        (&ghcr, 1, false, Kind::Denied, Finding::Denied),
        (&ghcr, 0, true, Kind::Denied, Finding::CannotTell),
        (&ghcr, 1, true, Kind::Denied, Finding::CannotTell),
        (&ecr, 0, false, Kind::Denied, Finding::CannotTell),
        (&ecr, 1, false, Kind::Denied, Finding::Denied),
        (&ecr, 0, false, Kind::Missing, Finding::Missing),
        (&ghcr, 0, true, Kind::Missing, Finding::Missing),
        (&ghcr, 0, false, Kind::Unreachable, Finding::Unreachable),
        (&ghcr, 0, false, Kind::Unusable, Finding::Unusable),
    ] {
        let asked = Asked {
            need,
            users: &[],
            nodes: &nodes,
            logins,
            credentials_on_nodes: on_nodes,
        };
        let row = judge::refused(&asked, &refusal(kind));
        assert_eq!(
            row.finding, finding,
            "{} {logins} {on_nodes} {kind:?}",
            need.image
        );
        assert!(row.because.contains("answered 401"), "{}", row.because);
        let is_without = row.because.contains("and no pull secret is for it");
        assert_eq!(is_without, logins == 0 && finding == Finding::Denied);
        assert_eq!(row.retry_after_seconds, Some(30));
    }
}

fn image(architecture: &str, content: Option<Result<Stored, Refusal>>) -> Image {
    Image {
        platform: Some(Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: String::new(),
        }),
        digest: digest('1'),
        content,
    }
}

fn stored(size: u64) -> Option<Result<Stored, Refusal>> {
    let config = digest('2');
    Some(Ok(Stored { config, size }))
}

fn judged(images: Vec<Image>, nodes: &[&str], content: Option<Content>) -> Row {
    let need = need("ghcr.io/a/codex:latest");
    let nodes = nodes.iter().map(|it| (*it).to_owned()).collect();
    let digest = digest('0');
    judge::found(&asked(&need, &nodes), &Found { digest, images }, content)
}

#[test]
fn an_image_has_to_be_there_for_what_the_nodes_are() {
    let both = || vec![image("amd64", stored(5)), image("arm64", stored(7))];
    let row = judged(both(), &["linux/amd64", "linux/arm64"], None);
    assert_eq!((row.finding, row.size), (Finding::Present, Some(7)));
    assert_eq!(row.platforms, ["linux/amd64", "linux/arm64"]);
    let row = judged(both(), &["linux/amd64"], Some(Content::Same));
    assert_eq!((row.finding, row.size), (Finding::Present, Some(5)));
    assert_eq!(
        (row.digest, row.content),
        (Some(digest('0')), Some(Content::Same))
    );
    assert!(row.lacking.is_empty());
    let row = judged(both(), &["linux/amd64", "linux/s390x"], None);
    assert_eq!(row.finding, Finding::Present);
    assert_eq!(row.lacking, ["linux/s390x"]);
    let row = judged(both(), &["linux/s390x"], None);
    assert_eq!(row.finding, Finding::Unusable);
    let because = "it is built for linux/amd64, linux/arm64, and its nodes are linux/s390x";
    assert_eq!(row.because, because);
    assert_eq!(judged(both(), &[], None).finding, Finding::Present);
    let row = judged(vec![], &["linux/amd64"], None);
    let empty = (Finding::Unusable, "it is an index without images");
    assert_eq!((row.finding, row.because.as_str()), empty);
    let row = judged(both(), &["linux/amd64"], Some(Content::Different));
    assert_eq!(row.finding, Finding::Different);
}

/// A Workspace whose Pod can be on these nodes.
fn on(name: &str, nodes: &[&str]) -> User {
    let known = known(name, json!({"runtime": "codex"}));
    let nodes = nodes.iter().map(|it| (*it).to_owned());
    let known = Known {
        platforms: nodes.collect(),
        ..known
    };
    let needs = needs(&[known], &Settings::default(), false);
    needs.images[0].users[0].clone()
}

#[test]
fn an_image_has_to_be_there_for_a_node_of_everybody() {
    let need = need("ghcr.io/a/codex:latest");
    let nodes = BTreeSet::from(["linux/amd64".to_owned(), "linux/arm64".to_owned()]);
    let amd64 = Found {
        digest: digest('0'),
        images: vec![image("amd64", stored(5))],
    };
    for (users, finding, because) in [
        (
            vec![("any", vec!["linux/amd64", "linux/arm64"])],
            Finding::Present,
            "",
        ),
        (vec![("unknown", vec![])], Finding::Present, ""),
        (
            vec![
                ("any", vec!["linux/amd64", "linux/arm64"]),
                ("arm", vec!["linux/arm64"]),
                ("amd", vec!["linux/amd64"]),
            ],
            Finding::Unusable,
            "it is built for linux/amd64, and only on nodes of linux/arm64 can these be: team/arm",
        ),
    ] {
        let users: Vec<_> = users.iter().map(|(name, nodes)| on(name, nodes)).collect();
        let asked = Asked {
            need: &need,
            users: &users.iter().collect::<Vec<_>>(),
            nodes: &nodes,
            logins: 0,
            credentials_on_nodes: false,
        };
        let row = judge::found(&asked, &amd64, None);
        assert_eq!((row.finding, row.because.as_str()), (finding, because));
        assert_eq!(row.lacking, ["linux/arm64"]);
    }
}

#[test]
fn who_may_get_on_a_node_that_cannot_run_it_is_warned_of_and_who_gets_on_none() {
    let lacking = Row {
        lacking: vec!["linux/arm64".into()],
        ..row(Finding::Present, None)
    };
    let mut seen = cluster(None, Some(A));
    seen.workspaces = vec![known("lost", json!({}))];
    let settings = settings(&[("MOLECULE_IMAGE_REGISTRY", B)]);
    let report = judge::report(&seen, &settings, Vec::new(), vec![lacking], &request(false));
    assert_eq!(report.verdict(), Verdict::Yes);
    let told = report.warnings.join("\n");
    let words = "may get on nodes of linux/arm64, for which they are not built: codex.";
    assert!(told.contains(words), "{told}");
    let words = "No node takes these, so it is not known for which platforms their image has to be: \
                 team/lost.";
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_part_that_is_missing_counts_where_a_node_needs_it() {
    let part = |kind| {
        vec![
            image("amd64", Some(Err(refusal(kind)))),
            image("arm64", stored(1)),
        ]
    };
    let row = judged(part(Kind::Missing), &["linux/amd64"], None);
    assert_eq!(row.finding, Finding::Unusable);
    let because = "of its part for linux/amd64, ghcr.io answered 401 Unauthorized";
    assert_eq!(row.because, because);
    let row = judged(part(Kind::Unreachable), &["linux/amd64"], None);
    assert_eq!(row.finding, Finding::Unreachable);
    let row = judged(part(Kind::Missing), &["linux/arm64"], None);
    assert_eq!(row.finding, Finding::Present);
}
