//! Redirects: they are followed, and credentials are not taken along.

use bytes::Bytes;
use http::{Method, Request};
use workspace_operator::registry::{Client, Kind, Options};

use crate::front::{Fate, Front, status};
use crate::images::push;
use crate::registries::{Registry, certificates, client, login, look_up, options, reference};

const NAME: &str = "private/x";

/// Leads what is asked for to another host.
fn lead(request: &Request<Bytes>, part: &str, to: &str) -> Fate {
    let path = request.uri().path();
    if path.contains(part) {
        let place = format!("{to}{path}");
        return status(307, &[("location", &place)], "");
    }
    Fate::Pass
}

#[tokio::test]
async fn a_blob_is_fetched_from_elsewhere_without_credentials() {
    let open = Registry::open().await;
    let pushed = push(&open, NAME, Some("v1"), "arm64", "a").await;
    let registry = open.with_password().await;
    // As registries do that keep blobs in another store.
    let store = Front::of(&open.host, |_| Fate::Pass).await;
    let to = format!("http://{}", store.host);
    let front = Front::of(&registry.host, move |it| lead(it, "/blobs/", &to)).await;
    let image = reference(&front.host, "private/x:v1");
    let found = look_up(&client(), &image, &[login("alice", "secret")]).await;
    let found = found.expect("it is there");
    assert_eq!(found.digest, pushed.digest);
    let platform = found.images[0].platform.as_ref().map(ToString::to_string);
    assert_eq!(
        platform.as_deref(),
        Some("linux/arm64"),
        "the blob was read"
    );
    let asked = store.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].credentials(), None);
    assert!(!asked[0].headers.contains_key("referer"));
    let with_password = front
        .seen()
        .into_iter()
        .filter(|it| it.credentials().is_some());
    assert!(
        with_password.count() > 1,
        "the registry itself is shown the password"
    );
}

#[tokio::test]
async fn whoever_is_elsewhere_gets_no_credentials_by_asking() {
    let trap = Front::alone(|_| status(200, &[], r#"{"token": "t"}"#)).await;
    let bearer = format!("Bearer realm=\"http://{}/token\"", trap.host);
    for challenge in ["Basic realm=\"x\"".to_owned(), bearer] {
        let challenge: &'static str = challenge.leak();
        let headers = [("www-authenticate", challenge)];
        let thief = Front::alone(move |_| status(401, &headers, "")).await;
        let to = format!("http://{}", thief.host);
        let front = Front::alone(move |it| lead(it, "/manifests/", &to)).await;
        let image = reference(&front.host, "private/x:v1");
        let refusal = look_up(&client(), &image, &[login("alice", "secret")]).await;
        let refusal = refusal.expect_err("there is nothing");
        assert_eq!(refusal.kind, Kind::Denied);
        let who = format!("sends to {}, which answered 401 Unauthorized", thief.host);
        assert_eq!(refusal.words, who);
        assert!(!thief.seen().is_empty());
        let mut seen = thief.seen().into_iter().chain(front.seen());
        assert!(seen.all(|it| it.credentials().is_none()));
    }
    assert!(trap.seen().is_empty(), "{:?}", trap.seen());
}

#[tokio::test]
async fn a_token_server_leads_nowhere() {
    let thief = Front::alone(|_| status(200, &[], r#"{"token": "t"}"#)).await;
    let to = format!("http://{}/token", thief.host);
    let server = Front::alone(move |_| status(307, &[("location", &to)], "")).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", server.host);
    let challenge: &'static str = challenge.leak();
    let front = Front::alone(move |_| status(401, &[("www-authenticate", challenge)], "")).await;
    let image = reference(&front.host, "private/x:v1");
    for logins in [
        vec![login("alice", "secret")],
        vec![workspace_operator::credentials::Login::Identity(
            "secret".into(),
        )],
    ] {
        let refusal = look_up(&client(), &image, &logins)
            .await
            .expect_err("it leads nowhere");
        assert_eq!(refusal.kind, Kind::Unreachable);
    }
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn nobody_is_led_out_of_tls_or_in_circles() {
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let (certificate, key, authority) = certificates(folder.path());
    let trusting = Options {
        authorities: Some(authority),
        ..options()
    };
    let trusting = Client::new(&trusting).expect("a client");
    let plain = Front::of(&open.host, |_| Fate::Pass).await;
    let to = format!("http://{}", plain.host);
    let out = Front::with_tls("127.0.0.1", &open.host, (&certificate, &key), move |it| {
        lead(it, "/manifests/", &to)
    })
    .await;
    let around = Front::alone(|request| {
        let path = request.uri().path().to_owned();
        status(302, &[("location", &path)], "")
    })
    .await;
    for (front, words) in [
        (&out, "from https to plain http"),
        (&around, "too many in a row"),
    ] {
        let image = reference(&front.host, "private/x:v1");
        let refusal = look_up(&trusting, &image, &[])
            .await
            .expect_err("it is not followed");
        assert_eq!(refusal.kind, Kind::Unreachable);
        let told = format!("redirects in a way that is not followed: {words}");
        assert_eq!(refusal.words, told);
        assert!(!refusal.is_of_registry(), "another image may be elsewhere");
    }
    assert!(plain.seen().is_empty());
    assert!(around.seen_with(Method::HEAD.as_str()).len() < 10);
}
