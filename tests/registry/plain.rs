//! Plain http: on this machine, and where it was allowed.

use bytes::Bytes;
use http::Request;
use workspace_operator::registry::{Client, Kind, Options};

use crate::front::{Front, http, status};
use crate::images::push;
use crate::registries::{Registry, certificates, client, login, look_up, options, reference};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_host_is_asked_in_plain_http_only_where_that_is_allowed() {
    let open = Registry::open().await;
    push(&open, "a/x", Some("v1"), "amd64", "a").await;
    let registry = open.at("127.0.0.2").await;
    let image = registry.reference("a/x:v1");
    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("it is not allowed");
    assert_eq!(refusal.kind, Kind::Unreachable);
    assert_eq!(refusal.words, "does not speak TLS");
    assert!(
        !registry.log().contains("manifests"),
        "it was asked: {}",
        registry.log()
    );

    let allowing = |host: &str| {
        let options = Options {
            plain_http: vec![host.to_owned()],
            ..options()
        };
        Client::new(&options).expect("a client")
    };
    let other = allowing("127.0.0.3:5000");
    look_up(&other, &image, &[])
        .await
        .expect_err("another one is allowed");
    look_up(&allowing(&registry.host), &image, &[])
        .await
        .expect("it is there");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn credentials_go_to_no_token_server_in_plain_http() {
    // An address that is this machine's, and which nobody allowed.
    let token = |_: &Request<Bytes>| status(200, &[], r#"{"token": "t"}"#);
    let server = Front::alone_at("127.0.0.2", token).await;
    let reached = http().get(format!("http://{}/token", server.host)).send();
    assert!(
        reached.await.is_ok_and(|it| it.status() == 200),
        "whoever asks it is answered"
    );
    for scheme in ["http", "ftp"] {
        let realm = format!("{scheme}://{}/token", server.host);
        let challenge = format!("Bearer realm=\"{realm}\"");
        let challenge: &'static str = challenge.leak();
        let front =
            Front::alone(move |_| status(401, &[("www-authenticate", challenge)], "")).await;
        let image = reference(&front.host, "a/x:v1");
        let logins = [login("alice", "secret")];
        let refusal = look_up(&client(), &image, &logins)
            .await
            .expect_err("it is refused");
        assert_eq!(refusal.kind, Kind::Denied);
        assert!(refusal.words.contains("in plain http"), "{}", refusal.words);
    }
    assert_eq!(server.seen().len(), 1, "{:?}", server.seen());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_registry_elsewhere_names_no_token_server_of_this_machine() {
    let server = Front::alone(|_| status(200, &[], r#"{"token": "t"}"#)).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", server.host);
    let challenge: &'static str = challenge.leak();
    let folder = tempfile::TempDir::new().expect("a folder");
    let (certificate, key, authority) = certificates(folder.path());
    let front = Front::with_tls("127.0.0.2", &server.host, (&certificate, &key), move |_| {
        status(401, &[("www-authenticate", challenge)], "")
    })
    .await;
    let trusting = Options {
        authorities: Some(authority),
        ..options()
    };
    let trusting = Client::new(&trusting).expect("a client");
    let image = reference(&front.host, "a/x:v1");
    let refusal = look_up(&trusting, &image, &[login("alice", "secret")]).await;
    let refusal = refusal.expect_err("it is refused");
    assert_eq!(refusal.kind, Kind::Denied);
    assert!(refusal.words.contains("in plain http"), "{}", refusal.words);
    assert!(server.seen().is_empty());
}
