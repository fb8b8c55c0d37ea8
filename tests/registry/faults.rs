//! What can go wrong: refusals, silence, and floods.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use workspace_operator::registry::{Client, Kind, Options};

use crate::front::{Fate, Front, status};
use crate::registries::{certificates, client, look_up, options, reference};

fn impatient() -> Client {
    let options = Options {
        deadline: Duration::from_secs(1),
        ..options()
    };
    Client::new(&options).expect("a client")
}

#[tokio::test]
async fn every_refusal_is_told_with_the_pause_that_is_asked_for() {
    let own = r#"{"errors":[{"code":"DENIED","message":"the organisation is suspended"}]}"#;
    for (code, kind, words) in [
        (
            401,
            Kind::Denied,
            "answered 401 Unauthorized (DENIED: the organisation is suspended)",
        ),
        (
            403,
            Kind::Denied,
            "answered 403 Forbidden (DENIED: the organisation is suspended)",
        ),
        (404, Kind::Missing, "answered 404 Not Found"),
        (429, Kind::Unreachable, "answered 429 Too Many Requests"),
        (500, Kind::Unreachable, "answered 500 Internal Server Error"),
        (503, Kind::Unreachable, "answered 503 Service Unavailable"),
    ] {
        let text = if code < 404 { own } else { "" };
        let pause = [("retry-after", "30")];
        let front = Front::alone(move |_| status(code, &pause, text)).await;
        let image = reference(&front.host, "a/x:v1");
        let refusal = look_up(&client(), &image, &[])
            .await
            .expect_err("it is refused");
        assert_eq!((refusal.kind, refusal.words.as_str()), (kind, words));
        assert_eq!(refusal.status.map(|it| it.as_u16()), Some(code));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(30)));
    }
}

#[tokio::test]
async fn what_a_token_server_does_is_told_of_it() {
    for (code, kind) in [
        (403, Kind::Denied),
        (404, Kind::Unreachable),
        (429, Kind::Unreachable),
    ] {
        let server = Front::alone(move |_| status(code, &[("retry-after", "7")], "")).await;
        let challenge = format!("Bearer realm=\"http://{}/token\"", server.host);
        let challenge: &'static str = challenge.leak();
        let front =
            Front::alone(move |_| status(401, &[("www-authenticate", challenge)], "")).await;
        let image = reference(&front.host, "a/x:v1");
        let refusal = look_up(&client(), &image, &[])
            .await
            .expect_err("it is refused");
        assert_eq!(refusal.kind, kind, "{code}");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        let told = format!(
            "sends to the token server {}, which answered {code}",
            server.host
        );
        assert!(refusal.words.starts_with(&told), "{}", refusal.words);
    }
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let hole_host = hole.local_addr().expect("an address").to_string();
    let hangs = Front::alone(|_| Fate::Hang).await;
    let drips = Front::alone(|_| Fate::Drip).await;
    // Both hang up on TLS at once, and answer plain http; the hole does neither.
    for host in [&hole_host, &hangs.host, &drips.host] {
        let begun = Instant::now();
        let image = reference(host, "a/x:v1");
        let refusal = look_up(&impatient(), &image, &[])
            .await
            .expect_err("there is no answer");
        assert_eq!(refusal.kind, Kind::Unreachable);
        assert_eq!(refusal.words, "does not answer in time");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn where_nobody_listens_and_what_is_no_name_is_told() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let host = gone.local_addr().expect("an address").to_string();
    drop(gone);
    for (host, words) in [
        (host.as_str(), "refuses connections"),
        ("registry.invalid", "does not resolve to an address"),
    ] {
        let image = reference(host, "a/x:v1");
        let refusal = look_up(&client(), &image, &[])
            .await
            .expect_err("there is nobody");
        assert_eq!(
            (refusal.kind, refusal.words.as_str()),
            (Kind::Unreachable, words)
        );
        assert!(refusal.is_of_registry());
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let flood: &'static str = "x".repeat(5 << 20).leak();
    let front = Front::alone(move |request| match request.method().as_str() {
        "HEAD" => status(200, &[], ""),
        _ => status(200, &[], flood),
    })
    .await;
    let image = reference(&front.host, "a/x:v1");
    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("it is too much");
    assert_eq!(refusal.kind, Kind::Unusable);
    assert!(
        refusal.words.starts_with("sends more than 4194304 bytes"),
        "{}",
        refusal.words
    );
}

#[tokio::test]
async fn a_token_that_is_none_is_told() {
    let server = Front::alone(|_| status(200, &[], "{}")).await;
    let challenge = format!("Bearer realm=\"http://{}/token\"", server.host);
    let challenge: &'static str = challenge.leak();
    let front = Front::alone(move |_| status(401, &[("www-authenticate", challenge)], "")).await;
    let image = reference(&front.host, "a/x:v1");
    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("there is no token");
    assert_eq!(refusal.kind, Kind::Unreachable);
    assert!(
        refusal.words.ends_with("which gives no token"),
        "{}",
        refusal.words
    );
}

#[tokio::test]
async fn a_token_server_that_is_none_says_nothing_of_other_images() {
    let challenge = [("www-authenticate", "Bearer realm=\"nowhere\"")];
    let front = Front::alone(move |_| status(401, &challenge, "")).await;
    let image = reference(&front.host, "a/x:v1");
    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("it is no URL");
    assert_eq!(refusal.kind, Kind::Unreachable);
    assert_eq!(refusal.words, "names a token server that is no URL");
    assert!(!refusal.is_of_registry());
}

/// What a registry shows to whoever only asks whether it is there.
#[tokio::test]
async fn any_answer_shows_that_a_registry_is_there_and_silence_does_not() {
    let knock = async |host: &str| impatient().knock(&reference(host, "a/x:v1")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key, authority) = certificates(folder.path());
    let options = Options {
        authorities: Some(authority),
        ..options()
    };
    let trusting = Client::new(&options).expect("a client");
    for code in [200, 401, 404, 503] {
        let tls = (certificate.as_path(), key.as_path());
        let front = Front::with_tls("127.0.0.1", "", tls, move |_| status(code, &[], "")).await;
        assert_eq!(
            knock(&front.host).await,
            Ok(()),
            "it is not trusted, and there"
        );
        assert!(front.seen().is_empty());
        let image = reference(&front.host, "a/x:v1");
        assert_eq!(trusting.knock(&image).await, Ok(()), "{code}");
        assert_eq!(front.seen().len(), 1);
    }
    let plain = Front::alone(|_| status(200, &[], "")).await;
    assert_eq!(knock(&plain.host).await, Ok(()), "one that speaks no TLS");

    let hole = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let hole_host = hole.local_addr().expect("an address").to_string();
    let begun = Instant::now();
    let refusal = knock(&hole_host).await.expect_err("it is silent");
    assert_eq!(refusal.words, "does not answer in time");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    drop(hole);
    let refusal = knock(&hole_host).await.expect_err("nobody is there");
    assert_eq!(refusal.words, "refuses connections");
    assert!(!refusal.is_of_name());

    let refusal = knock("no-such.invalid")
        .await
        .expect_err("there is no such name");
    assert!(refusal.is_of_name(), "{}", refusal.words);
}
