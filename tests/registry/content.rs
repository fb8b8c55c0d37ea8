//! What is there: its digests, its platforms, its size; and whether that is true.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::json;
use workspace_operator::registry::{Kind, Platform};

use crate::front::{Change, Fate, Front, status};
use crate::images::{DOCKER_LIST, INDEX, delete, push, push_index};
use crate::registries::{Registry, client, look_up, reference};

const NAME: &str = "agents/workspace-template-codex";

fn amd64(platform: &Platform) -> bool {
    platform.architecture == "amd64"
}

#[tokio::test]
async fn a_single_manifest_is_found_with_its_platform_and_size() {
    let registry = Registry::open().await;
    let pushed = push(&registry, NAME, Some("v1"), "arm64", "a").await;
    let image = registry.reference(&format!("{NAME}:v1"));
    let found = look_up(&client(), &image, &[]).await.expect("it is there");
    assert_eq!(found.digest, pushed.digest);
    let [image] = found.images.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(image.digest, pushed.digest);
    let platform = image.platform.as_ref().map(ToString::to_string);
    assert_eq!(platform.as_deref(), Some("linux/arm64"));
    let content = image
        .content
        .clone()
        .expect("it was looked at")
        .expect("it is there");
    assert_eq!((content.config, content.size), (pushed.config, pushed.size));
}

#[tokio::test]
async fn an_index_is_found_with_what_is_in_it_for_the_platforms_asked_for() {
    let registry = Registry::open().await;
    let amd = push(&registry, NAME, None, "amd64", "a").await;
    let arm = push(&registry, NAME, None, "arm64", "b").await;
    let about = push(&registry, NAME, None, "unknown", "an attestation").await;
    let about = json!({
        "mediaType": crate::images::MANIFEST, "digest": about.digest, "size": 1,
        "platform": {"os": "unknown", "architecture": "unknown"},
    });
    for (tag, kind) in [("oci", INDEX), ("docker", DOCKER_LIST)] {
        let more = [about.clone()];
        let digest = push_index(&registry, NAME, tag, kind, &[&amd, &arm], &more).await;
        let image = registry.reference(&format!("{NAME}:{tag}"));
        let found = client()
            .look_up(&image, &[], &amd64)
            .await
            .expect("it is there");
        assert_eq!(found.digest, digest);
        let seen: Vec<_> = found
            .images
            .iter()
            .map(|it| (it.digest.as_str(), it.content.is_some()))
            .collect();
        assert_eq!(
            seen,
            [(amd.digest.as_str(), true), (arm.digest.as_str(), false)]
        );
        let content = found.images[0]
            .content
            .clone()
            .expect("asked for")
            .expect("there");
        assert_eq!(
            (content.config, content.size),
            (amd.config.clone(), amd.size)
        );
    }
}

#[tokio::test]
async fn an_index_without_one_of_its_images_is_told() {
    let registry = Registry::open().await;
    let amd = push(&registry, NAME, None, "amd64", "a").await;
    push_index(&registry, NAME, "v1", INDEX, &[&amd], &[]).await;
    delete(&registry, NAME, &amd.digest).await;
    let image = registry.reference(&format!("{NAME}:v1"));
    let found = look_up(&client(), &image, &[])
        .await
        .expect("the index is there");
    let refusal = found.images[0]
        .content
        .clone()
        .expect("asked for")
        .expect_err("it is gone");
    assert_eq!(refusal.kind, Kind::Missing);
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    let registry = Registry::open().await;
    push(&registry, NAME, Some("v1"), "amd64", "a").await;
    let digest = format!("sha256:{}", "0".repeat(64));
    for rest in [
        format!("{NAME}:v2"),
        "other/x:v1".into(),
        format!("{NAME}@{digest}"),
    ] {
        let refusal = look_up(&client(), &registry.reference(&rest), &[]).await;
        let refusal = refusal.expect_err("it is not there");
        assert_eq!(refusal.kind, Kind::Missing, "{rest}");
        assert_eq!(refusal.words, "answered 404 Not Found", "{rest}");
    }
}

/// Changes the header with the digest.
fn lies(mut answer: Response<Bytes>) -> Response<Bytes> {
    let lie = format!("sha256:{}", "0".repeat(64));
    let lie = lie.parse().expect("a value");
    answer.headers_mut().insert("docker-content-digest", lie);
    answer
}

/// Changes the bytes, and nothing that is told of them.
fn forges(mut answer: Response<Bytes>) -> Response<Bytes> {
    let mut body = answer.body().to_vec();
    body.push(b' ');
    *answer.body_mut() = body.into();
    answer
}

fn forget(mut answer: Response<Bytes>) -> Response<Bytes> {
    answer.headers_mut().remove("docker-content-digest");
    forges(answer)
}

#[tokio::test]
async fn a_registry_that_lies_about_a_digest_is_found_out() {
    let registry = Registry::open().await;
    let pushed = push(&registry, NAME, Some("v1"), "amd64", "a").await;
    let by_digest = format!("{NAME}@{}", pushed.digest);
    let tag = format!("{NAME}:v1");
    let cases: [(Change, &str, &str); 4] = [
        (lies, "/manifests/", &tag),
        (forges, "/manifests/", &tag),
        // Without the header there is only what was asked for to compare with.
        (forget, "/manifests/", &by_digest),
        (forges, "/blobs/", &tag),
    ];
    for (change, place, rest) in cases {
        let front = Front::of(&registry.host, move |request| {
            let is_there = request.uri().path().contains(place);
            if is_there && request.method() == Method::GET {
                Fate::Change(change)
            } else {
                Fate::Pass
            }
        })
        .await;
        let image = reference(&front.host, rest);
        let refusal = look_up(&client(), &image, &[]).await.expect_err("it lies");
        assert_eq!(refusal.kind, Kind::Unusable, "{place} {rest}");
        assert!(
            refusal.words.contains("and sends other bytes"),
            "{}",
            refusal.words
        );
    }
}

#[tokio::test]
async fn a_registry_that_names_no_digest_or_knows_no_head_is_asked_all_the_same() {
    fn silent(mut answer: Response<Bytes>) -> Response<Bytes> {
        answer.headers_mut().remove("docker-content-digest");
        answer
    }
    let registry = Registry::open().await;
    let pushed = push(&registry, NAME, Some("v1"), "amd64", "a").await;
    let front = Front::of(&registry.host, |request| match *request.method() {
        Method::HEAD => status(405, &[], ""),
        _ => Fate::Change(silent),
    })
    .await;
    let image = reference(&front.host, &format!("{NAME}:v1"));
    let found = look_up(&client(), &image, &[]).await.expect("it is there");
    assert_eq!(found.digest, pushed.digest);
}

#[tokio::test]
async fn what_is_no_manifest_is_told() {
    for (body, words) in [
        ("<html>", "sends a manifest that is none"),
        ("{}", "sends a manifest that is none"),
        (
            r#"{"schemaVersion": 1, "fsLayers": []}"#,
            "has it in a format that nodes no longer read (schema 1)",
        ),
    ] {
        let front = Front::alone(move |_| status(200, &[], body)).await;
        let image = reference(&front.host, &format!("{NAME}:v1"));
        let refusal = look_up(&client(), &image, &[])
            .await
            .expect_err("it is none");
        assert_eq!(
            (refusal.kind, refusal.words.as_str()),
            (Kind::Unusable, words)
        );
    }
}
