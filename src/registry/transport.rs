//! The requests: their deadlines and bounds, where they may be sent, and what they show of us.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Response, Url};
use tokio::time::timeout;

use super::refusal::{is_of_tls, speaks_no_tls};
use super::{Options, Reference, Refusal, auth};
use crate::credentials::Login;

/// A chain of redirects has at most so many.
const MOST_REDIRECTS: usize = 5;
/// Of an error so much is read, in bytes.
const LARGEST_ERROR: usize = 64 << 10;
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a name may take to become an address.
const RESOLVE: Duration = Duration::from_secs(2);

const DIGEST: &str = "docker-content-digest";

/// One question.
pub(super) struct Ask {
    pub(super) method: Method,
    /// What follows the name.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// The digest that need not be told again.
    pub(super) unless: Option<String>,
    /// So large may the answer be, in bytes.
    pub(super) most: usize,
}

/// What a registry answered, in full and with success.
#[derive(Debug)]
pub(super) struct Answer {
    /// The digest that it names; where it need not be told again, that one.
    pub(super) digest: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What was learnt of registries.
#[derive(Debug, Default)]
struct Learnt {
    /// Those that speak plain http.
    plain: HashMap<String, bool>,
    /// What lets in.
    passes: HashMap<Place, HeaderValue>,
    /// Who was not let in with a password just now, and what the token server said of it.
    denied: HashMap<Place, Option<Refusal>>,
}

/// A registry with a name, and a login.
type Place = (String, Option<Login>);

/// Sends the requests.
#[derive(Debug)]
pub(super) struct Transport {
    /// Follows redirects, and shows credentials to nobody there.
    http: reqwest::Client,
    /// Follows none: what it shows is for one server only.
    tokens: reqwest::Client,
    plain_http: Vec<String>,
    learnt: Mutex<Learnt>,
}

impl Transport {
    pub(super) fn new(options: &Options) -> anyhow::Result<Self> {
        // Where one is there already, it is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = authorities(options)?;
        let client = |redirects: Policy| {
            reqwest::Client::builder()
                .user_agent(concat!(
                    env!("CARGO_PKG_NAME"),
                    "/",
                    env!("CARGO_PKG_VERSION")
                ))
                .connect_timeout(CONNECT.min(options.deadline))
                .timeout(options.deadline)
                .referer(false)
                .redirect(redirects)
                .tls_certs_merge(authorities.clone())
                .build()
                .context("no TLS on this machine")
        };
        Ok(Self {
            http: client(Policy::custom(follow))?,
            tokens: client(Policy::none())?,
            plain_http: options.plain_http.clone(),
            learnt: Mutex::default(),
        })
    }

    /// Asks as this login, or as anybody.
    pub(super) async fn ask(
        &self,
        reference: &Reference,
        login: Option<&Login>,
        ask: &Ask,
    ) -> Result<Answer, Refusal> {
        let place = (reference.name(), login.cloned());
        let known = self.learnt(|it| it.passes.get(&place).cloned());
        let answer = self.send(reference, ask, known.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return received(reference, answer, ask).await;
        }
        // Whoever a redirect leads to has no claim to credentials.
        if is_elsewhere(reference, answer.url()) {
            return Err(refused(reference, answer).await);
        }
        let Some(challenge) = auth::challenge(answer.headers()) else {
            return Err(refused(reference, answer).await);
        };
        // Some registries lock out whoever shows a wrong password several times. It is asked again
        // for what the whole answer says.
        match self.learnt(|it| it.denied.remove(&place)) {
            Some(Some(refusal)) => return Err(refusal),
            Some(None) => return Err(refused(reference, answer).await),
            None => {}
        }
        let pass = match auth::pass(self, reference, &challenge, login).await {
            Ok(Some(pass)) => pass,
            Ok(None) => return Err(refused(reference, answer).await),
            Err(refusal) => {
                if refusal.status == Some(StatusCode::UNAUTHORIZED) {
                    self.learnt(|it| it.denied.insert(place, Some(refusal.clone())));
                }
                return Err(refusal);
            }
        };
        if known.as_ref() == Some(&pass) {
            self.learnt(|it| it.passes.remove(&place));
            return Err(refused(reference, answer).await);
        }
        let answer = self.send(reference, ask, Some(pass.clone())).await?;
        let is_basic = challenge == auth::Challenge::Basic;
        self.learnt(|it| match answer.status() {
            StatusCode::UNAUTHORIZED if is_basic => drop(it.denied.insert(place, None)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {}
            _ => drop(it.passes.insert(place, pass)),
        });
        received(reference, answer, ask).await
    }

    /// Any answer will do, and any word of TLS.
    pub(super) async fn knock(&self, reference: &Reference) -> Result<(), Refusal> {
        let authority = reference.authority();
        let url = format!("https://{authority}/v2/");
        let url: Url = url
            .parse()
            .map_err(|_| Refusal::unreachable("has an address that is none"))?;
        let error = match self.tokens.get(url).send().await {
            Err(error) if !is_of_tls(&error) => error,
            _ => return Ok(()),
        };
        let refusal = Refusal::of_error(&error);
        if refusal.is_silence() && !has_address(authority).await {
            return Err(Refusal::no_address());
        }
        Err(refusal)
    }

    /// Sends a request for a token.
    pub(super) async fn ask_token(
        &self,
        request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<Response, Refusal> {
        let answer = request(&self.tokens).send().await;
        answer.map_err(|error| Refusal::of_error(&error))
    }

    async fn send(
        &self,
        reference: &Reference,
        ask: &Ask,
        pass: Option<HeaderValue>,
    ) -> Result<Response, Refusal> {
        let authority = reference.authority();
        let plain = self.learnt(|it| it.plain.get(authority).copied());
        let may_be_plain = self.may_be_plain(authority);
        let first = plain.unwrap_or(false);
        let error = match self.send_by(first, reference, ask, pass.clone()).await? {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if first || plain.is_some() || !may_be_plain || !speaks_no_tls(&error) {
            return Err(Refusal::of_error(&error));
        }
        self.learnt(|it| it.plain.insert(authority.to_owned(), true));
        let answer = self.send_by(true, reference, ask, pass).await?;
        answer.map_err(|error| Refusal::of_error(&error))
    }

    async fn send_by(
        &self,
        plain: bool,
        reference: &Reference,
        ask: &Ask,
        pass: Option<HeaderValue>,
    ) -> Result<Result<Response, reqwest::Error>, Refusal> {
        let scheme = if plain { "http" } else { "https" };
        let (authority, name) = (reference.authority(), reference.repository());
        let url = format!("{scheme}://{authority}/v2/{name}/{}", ask.path);
        let url: Url = url
            .parse()
            .map_err(|_| Refusal::unreachable("has an address that is none"))?;
        let mut request = self.http.request(ask.method.clone(), url);
        request = request.header(ACCEPT, ask.accept);
        if let Some(known) = &ask.unless {
            request = request.header(IF_NONE_MATCH, format!("\"{known}\""));
        }
        if let Some(pass) = pass {
            request = request.header(AUTHORIZATION, pass);
        }
        Ok(request.send().await)
    }

    /// Whether plain http may be spoken with a registry: with those of this machine, and those that
    /// were named.
    pub(super) fn may_be_plain(&self, authority: &str) -> bool {
        let is_here = matches!(host(authority), "localhost" | "127.0.0.1" | "[::1]");
        is_here || self.plain_http.iter().any(|it| it == authority)
    }

    /// Forgets what lets in, and who was not let in.
    pub(super) fn forget(&self) {
        self.learnt(|it| {
            it.passes.clear();
            it.denied.clear();
        });
    }

    fn learnt<T>(&self, look: impl FnOnce(&mut Learnt) -> T) -> T {
        look(&mut self.learnt.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn authorities(options: &Options) -> anyhow::Result<Vec<Certificate>> {
    let Some(path) = &options.authorities else {
        return Ok(Vec::new());
    };
    let file = || path.display().to_string();
    let pem = std::fs::read(path)
        .with_context(|| format!("the certificate authorities in {} cannot be read", file()))?;
    let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    anyhow::ensure!(
        !authorities.is_empty(),
        "{} has no certificate in it: give a file in PEM format",
        file()
    );
    Ok(authorities)
}

/// To anywhere, but not out of TLS; the library takes the credentials off on the way to another
/// host, port or scheme.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let left_tls = attempt
        .previous()
        .last()
        .is_some_and(|it| it.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("too many in a row");
    }
    if left_tls && attempt.url().scheme() != "https" {
        return attempt.error("from https to plain http");
    }
    attempt.follow()
}

/// Whether the name of a registry has an address here; a resolver that is silent knows of none.
async fn has_address(authority: &str) -> bool {
    let usual = format!("{authority}:443");
    let place = if host(authority) == authority {
        usual.as_str()
    } else {
        authority
    };
    let found = timeout(RESOLVE, tokio::net::lookup_host(place)).await;
    found.is_ok_and(|it| it.is_ok())
}

/// A host and port without the port.
pub(super) fn host(authority: &str) -> &str {
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

/// The host of a URL, and its port where one is written.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether someone else than the registry answered.
fn is_elsewhere(reference: &Reference, url: &Url) -> bool {
    let registry = format!("{}://{}", url.scheme(), reference.authority());
    registry.parse::<Url>().map(|it| it.origin()) != Ok(url.origin())
}

async fn received(reference: &Reference, answer: Response, ask: &Ask) -> Result<Answer, Refusal> {
    if answer.status() == StatusCode::NOT_MODIFIED && ask.unless.is_some() {
        return Ok(Answer {
            digest: ask.unless.clone(),
            body: Vec::new(),
        });
    }
    if !answer.status().is_success() {
        return Err(refused(reference, answer).await);
    }
    let digest = answer.headers().get(DIGEST);
    let digest = digest.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let body = read(answer, ask.most).await?;
    Ok(Answer { digest, body })
}

async fn refused(reference: &Reference, answer: Response) -> Refusal {
    let elsewhere = is_elsewhere(reference, answer.url());
    let who = elsewhere.then(|| place(answer.url()));
    no_success(answer, who.as_deref()).await
}

/// What an answer that is no success says. `who` gave it, where it was not the registry.
pub(super) async fn no_success(answer: Response, who: Option<&str>) -> Refusal {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = read(answer, LARGEST_ERROR).await.unwrap_or_default();
    Refusal::of_status(status, &headers, &body, who)
}

/// A body up to a bound.
pub(super) async fn read(mut answer: Response, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Refusal::of_error(&error))?
    {
        if body.len() + chunk.len() > most {
            return Err(Refusal::unusable(format!(
                "sends more than {most} bytes where less is meant"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
