//! Who is let in: anybody, a name with a password, whoever a token server knows.

use tempfile::TempDir;
use workspace_operator::credentials::Login;
use workspace_operator::registry::{Client, Kind, Options};

use crate::front::{Fate, Front};
use crate::images::push;
use crate::registries::{Registry, client, login, look_up, options, reference};
use crate::tokens::{IDENTITY, with_tokens};

const NAME: &str = "private/x";

#[tokio::test]
async fn a_password_lets_in_who_has_it() {
    let open = Registry::open().await;
    let pushed = push(&open, NAME, Some("v1"), "amd64", "a").await;
    let registry = open.with_password().await;
    let image = registry.reference("private/x:v1");
    let alice = login("alice", "secret");
    let found = look_up(&client(), &image, std::slice::from_ref(&alice)).await;
    assert_eq!(found.expect("she is let in").digest, pushed.digest);
    for logins in [
        vec![],
        vec![login("alice", "wrong")],
        vec![login("", "")],
        vec![Login::Identity("alice".into())],
    ] {
        let refusal = look_up(&client(), &image, &logins)
            .await
            .expect_err("not let in");
        assert_eq!(refusal.kind, Kind::Denied, "{logins:?}");
        let status = refusal.status.map(|it| it.as_u16());
        assert_eq!(status, Some(401), "{logins:?}");
        assert!(
            refusal.words.starts_with("answered 401 Unauthorized"),
            "{}",
            refusal.words
        );
        assert!(!refusal.words.contains("wrong"), "{}", refusal.words);
    }
}

#[tokio::test]
async fn a_wrong_password_is_shown_once_each_time_that_an_image_is_looked_up() {
    let folder = TempDir::new().expect("a folder");
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let wrong = [login("alice", "wrong")];
    let shown = |front: &Front| {
        let seen = front.seen().into_iter();
        seen.filter(|it| it.credentials().is_some()).count()
    };

    let registry = open.with_password().await;
    let front = Front::of(&registry.host, |_| Fate::Pass).await;
    let image = reference(&front.host, "private/x:v1");
    let asked = client();
    for times in 1..3 {
        let refusal = look_up(&asked, &image, &wrong).await;
        assert_eq!(refusal.expect_err("not let in").kind, Kind::Denied);
        assert_eq!(shown(&front), times);
    }
    look_up(&asked, &image, &[login("alice", "secret")])
        .await
        .expect("whom it knows it lets in");

    let (registry, server) = with_tokens(&open, folder.path()).await;
    let image = registry.reference("private/x:v1");
    let asked = client();
    for times in 1..3 {
        let refusal = look_up(&asked, &image, &wrong).await;
        assert_eq!(refusal.expect_err("not let in").kind, Kind::Denied);
        assert_eq!(shown(&server), times);
    }
}

#[tokio::test]
async fn of_several_passwords_the_first_that_lets_in_counts() {
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let registry = open.with_password().await;
    let image = registry.reference("private/x:v1");
    let logins = [login("alice", "old"), login("alice", "secret")];
    look_up(&client(), &image, &logins)
        .await
        .expect("she is let in");
}

#[tokio::test]
async fn a_token_server_is_asked_for_what_is_to_be_pulled() {
    let folder = TempDir::new().expect("a folder");
    let open = Registry::open().await;
    let pushed = push(&open, NAME, Some("v1"), "amd64", "a").await;
    push(&open, "public/x", Some("v1"), "amd64", "a").await;
    let (registry, server) = with_tokens(&open, folder.path()).await;

    // As anybody.
    let public = registry.reference("public/x:v1");
    look_up(&client(), &public, &[])
        .await
        .expect("it is for everybody");
    assert_eq!(
        server.seen_with("public%2Fx%3Apull").len(),
        1,
        "{:?}",
        server.seen()
    );
    assert!(server.seen().iter().all(|it| it.credentials().is_none()));

    // As alice: one token serves all the questions about one name.
    let image = registry.reference("private/x:v1");
    let asked = client();
    let found = look_up(&asked, &image, &[login("alice", "secret")]).await;
    assert_eq!(found.expect("she is let in").digest, pushed.digest);
    look_up(&asked, &image, &[login("alice", "secret")])
        .await
        .expect("and again");
    assert_eq!(server.seen_with("private%2Fx%3Apull").len(), 1);

    // By what stands for her password.
    let identity = Login::Identity(IDENTITY.into());
    look_up(&client(), &image, &[identity])
        .await
        .expect("she is let in");
    assert_eq!(server.seen_with("POST /token").len(), 1);
}

#[tokio::test]
async fn whom_a_token_server_does_not_know_is_denied() {
    let folder = TempDir::new().expect("a folder");
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let (registry, server) = with_tokens(&open, folder.path()).await;
    let image = registry.reference("private/x:v1");

    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("it is not for everybody");
    assert_eq!(refusal.kind, Kind::Denied);
    assert!(
        refusal.words.starts_with("answered 401 Unauthorized"),
        "{}",
        refusal.words
    );

    let wrong = [login("alice", "wrong")];
    let refusal = look_up(&client(), &image, &wrong)
        .await
        .expect_err("that is not it");
    assert_eq!(refusal.kind, Kind::Denied);
    let who = &server.host;
    assert_eq!(
        refusal.words,
        format!(
            "sends to the token server {who}, which answered 401 Unauthorized \
             (UNAUTHORIZED: wrong password)"
        )
    );
}

#[tokio::test]
async fn an_authority_is_trusted_where_it_is_named() {
    let open = Registry::open().await;
    push(&open, NAME, Some("v1"), "amd64", "a").await;
    let (registry, authority) = open.with_tls().await;
    let image = registry.reference("private/x:v1");
    let refusal = look_up(&client(), &image, &[])
        .await
        .expect_err("a stranger");
    assert_eq!(refusal.kind, Kind::Unreachable);
    assert!(
        refusal
            .words
            .starts_with("shows a certificate that is not trusted here"),
        "{}",
        refusal.words
    );
    let trusting = Options {
        authorities: Some(authority),
        ..options()
    };
    let trusting = Client::new(&trusting).expect("a client");
    look_up(&trusting, &image, &[]).await.expect("it is there");
}

#[test]
fn a_file_without_authorities_is_told() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("ca.pem");
    let of = |path: &std::path::Path| {
        let options = Options {
            authorities: Some(path.to_owned()),
            ..options()
        };
        format!("{:#}", Client::new(&options).expect_err("it has none"))
    };
    assert!(of(&path).contains("cannot be read"), "{}", of(&path));
    std::fs::write(&path, "nothing").expect("it is written");
    assert!(
        of(&path).contains("has no certificate in it"),
        "{}",
        of(&path)
    );
}
