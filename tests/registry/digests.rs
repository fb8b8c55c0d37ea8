//! What a tag stands for, asked again and again.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::IF_NONE_MATCH;
use tempfile::TempDir;
use workspace_operator::registry::Kind;

use crate::front::{Fate, Front, status};
use crate::images::push;
use crate::registries::{PATIENCE, Registry, client, login, reference};
use crate::tokens::with_tokens;

const NAME: &str = "private/x";

#[tokio::test]
async fn what_is_known_need_not_be_told_again() {
    let open = Registry::open().await;
    let first = push(&open, NAME, Some("v1"), "amd64", "a").await;
    let front = Front::of(&open.host, |_| Fate::Pass).await;
    let image = reference(&front.host, "private/x:v1");
    let asked = client();
    let digest = asked.digest(&image, None, None).await.expect("it is there");
    assert_eq!(digest, first.digest);
    let known = Some(digest.as_str());
    let again = asked.digest(&image, None, known).await;
    assert_eq!(again.as_deref(), Ok(&*first.digest));
    let seen = front.seen();
    let conditions: Vec<_> = seen
        .iter()
        .map(|it| it.headers.get(IF_NONE_MATCH))
        .collect();
    let quoted = format!("\"{digest}\"");
    assert_eq!(conditions, [None, Some(&quoted.parse().expect("a value"))]);
    // It logs an answer when it has been sent.
    let begun = Instant::now();
    while !open.log().contains("HTTP/1.1\" 304 0") {
        assert!(begun.elapsed() < PATIENCE, "{}", open.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        front.seen_with("HEAD").len(),
        2,
        "and nothing else: {seen:?}"
    );

    let second = push(&open, NAME, Some("v1"), "amd64", "b").await;
    let moved = asked.digest(&image, None, known).await;
    assert_eq!(moved.as_deref(), Ok(&*second.digest));
}

#[tokio::test]
async fn a_registry_that_names_no_digest_is_asked_for_the_whole() {
    let open = Registry::open().await;
    let pushed = push(&open, NAME, Some("v1"), "amd64", "a").await;
    let rules: [fn(&Request<Bytes>) -> Fate; 3] = [
        |request| match request.method().as_str() {
            "HEAD" => status(405, &[], ""),
            _ => Fate::Pass,
        },
        |_| {
            Fate::Change(|mut answer| {
                answer.headers_mut().remove("docker-content-digest");
                answer
            })
        },
        |request| match request.method().as_str() {
            "HEAD" => Fate::Change(|mut answer| {
                let junk = "junk".parse().expect("a value");
                answer.headers_mut().insert("docker-content-digest", junk);
                answer
            }),
            _ => Fate::Pass,
        },
    ];
    for rule in rules {
        let front = Front::of(&open.host, rule).await;
        let image = reference(&front.host, "private/x:v1");
        let digest = client().digest(&image, None, None).await;
        assert_eq!(digest.as_deref(), Ok(&*pushed.digest));
    }
}

#[tokio::test]
async fn it_is_told_to_those_who_may_know_by_one_token_until_that_is_forgotten() {
    let folder = TempDir::new().expect("a folder");
    let open = Registry::open().await;
    let pushed = push(&open, NAME, Some("v1"), "amd64", "a").await;
    let (registry, server) = with_tokens(&open, folder.path()).await;
    let image = registry.reference("private/x:v1");
    let asked = client();
    let refusal = asked.digest(&image, None, None).await;
    assert_eq!(refusal.expect_err("not for everybody").kind, Kind::Denied);
    let alice = login("alice", "secret");
    let shown = || {
        let seen = server.seen().into_iter();
        seen.filter(|it| it.credentials().is_some()).count()
    };
    for (forgets, tokens) in [(false, 1), (false, 1), (true, 2)] {
        if forgets {
            asked.forget();
        }
        let digest = asked.digest(&image, Some(&alice), None).await;
        assert_eq!(digest.as_deref(), Ok(&*pushed.digest));
        assert_eq!(shown(), tokens);
    }
}

#[tokio::test]
async fn why_it_is_not_told_is_told_in_full() {
    let folder = TempDir::new().expect("a folder");
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let (registry, server) = with_tokens(&open, folder.path()).await;
    let image = registry.reference("private/x:v1");
    let wrong = login("alice", "wrong");
    let refusal = client().digest(&image, Some(&wrong), None).await;
    let refusal = refusal.expect_err("that is not it");
    let who = format!(
        "sends to the token server {}, which answered 401 Unauthorized",
        server.host
    );
    assert_eq!(
        refusal.words,
        format!("{who} (UNAUTHORIZED: wrong password)")
    );
    assert_eq!(refusal.in_short(), who);
}
