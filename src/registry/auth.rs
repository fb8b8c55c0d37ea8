//! How one gets in: a name and a password for the registry, or for a token server that it names.

use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_auth::parser::ChallengeParser;
use reqwest::Url;
use serde::Deserialize;

use super::transport::{Transport, host, no_success, place, read};
use super::{Reference, Refusal};
use crate::credentials::Login;

/// A token with all its claims is at most so large, in bytes.
const LARGEST_TOKEN: usize = 1 << 20;
/// What we are called where a token is asked for.
const CLIENT: &str = "workspace-operator";

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token of a server.
    Bearer {
        /// The server.
        realm: String,
        /// What the server calls the registry.
        service: Option<String>,
    },
}

/// What is asked for, a token rather than a password.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let headers = headers.get_all(WWW_AUTHENTICATE).iter();
    let mut found = None;
    for text in headers.filter_map(|it| it.to_str().ok()) {
        for challenge in ChallengeParser::new(text).filter_map(Result::ok) {
            let param = |name: &str| {
                let mut params = challenge.params.iter();
                let named = params.find(|(it, _)| it.eq_ignore_ascii_case(name));
                named.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm")
            {
                let service = param("service");
                return Some(Challenge::Bearer { realm, service });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

/// What lets this login in; `None` = nothing that it has.
pub(super) async fn pass(
    transport: &Transport,
    reference: &Reference,
    challenge: &Challenge,
    login: Option<&Login>,
) -> Result<Option<HeaderValue>, Refusal> {
    let login = login.filter(|it| !is_nobody(it));
    let text = match (challenge, login) {
        (Challenge::Basic, Some(Login::Password { username, password })) => {
            basic(username, password)
        }
        (Challenge::Basic, _) => return Ok(None),
        (Challenge::Bearer { realm, service }, login) => {
            let service = service.as_deref();
            let token = token(transport, reference, (realm, service), login).await?;
            format!("Bearer {token}")
        }
    };
    let mut pass = HeaderValue::try_from(text)
        .map_err(|_| Refusal::unreachable("is given a token that no request can carry"))?;
    pass.set_sensitive(true);
    Ok(Some(pass))
}

/// An empty entry stands for anybody.
fn is_nobody(login: &Login) -> bool {
    matches!(login, Login::Password { username, password }
        if username.is_empty() && password.is_empty())
}

fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{username}:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    token: String,
    access_token: String,
}

async fn token(
    transport: &Transport,
    reference: &Reference,
    (realm, service): (&str, Option<&str>),
    login: Option<&Login>,
) -> Result<String, Refusal> {
    let url = server(transport, reference, realm)?;
    let who = format!("the token server {}", place(&url));
    let scope = format!("repository:{}:pull", reference.repository());
    let mut asked = vec![("scope", scope.as_str())];
    asked.extend(service.map(|service| ("service", service)));
    let answer = transport
        .ask_token(|client| match login {
            Some(Login::Identity(token)) => {
                let exchange = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", CLIENT),
                ];
                client.post(url).form(&[&asked, &exchange[..]].concat())
            }
            Some(Login::Password { username, password }) => client
                .get(with_query(url, &asked))
                .basic_auth(username, Some(password)),
            None => client.get(with_query(url, &asked)),
        })
        .await
        .map_err(|refusal| Refusal {
            words: format!("sends to {who}, which {}", refusal.words),
            ..refusal
        })?;
    if !answer.status().is_success() {
        return Err(no_success(answer, Some(&who)).await);
    }
    let body = read(answer, LARGEST_TOKEN).await?;
    let Answer {
        token,
        access_token,
    } = serde_json::from_slice(&body).unwrap_or_default();
    match (token.is_empty(), access_token.is_empty()) {
        (false, _) => Ok(token),
        (_, false) => Ok(access_token),
        _ => Err(Refusal::unreachable(format!(
            "sends to {who}, which gives no token"
        ))),
    }
}

fn with_query(mut url: Url, asked: &[(&str, &str)]) -> Url {
    url.query_pairs_mut().extend_pairs(asked);
    url
}

/// The token server. Credentials go there, so it has to be one that TLS tells from others; only a
/// registry that may be asked in plain http may name another.
fn server(transport: &Transport, reference: &Reference, realm: &str) -> Result<Url, Refusal> {
    let url: Url = realm.parse().map_err(|_| {
        Refusal::unreachable("names a token server that is no URL")
            .answered(StatusCode::UNAUTHORIZED)
    })?;
    let registry = reference.authority();
    let plain = || {
        let here = place(&url);
        let same_host = host(&here) == host(registry);
        transport.may_be_plain(registry) && (same_host || transport.may_be_plain(&here))
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if plain() => Ok(url),
        _ => Err(Refusal::denied(format!(
            "names the token server {}, which would get the credentials in plain http",
            place(&url)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Challenge> {
        let values = values
            .iter()
            .map(|it| (WWW_AUTHENTICATE, it.parse().expect("a value")));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        challenge(&headers)
    }

    #[test]
    fn a_token_is_rather_asked_for_than_a_password_shown() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.example.com/token".into(),
            service: Some("registry, the".into()),
        };
        let text = "Bearer realm=\"https://auth.example.com/token\",service=\"registry, the\",\
                    scope=\"repository:a/b:pull\"";
        assert_eq!(of(&[text]), Some(bearer.clone()));
        assert_eq!(of(&["Basic realm=\"x\"", text]), Some(bearer.clone()));
        assert_eq!(of(&[&format!("Basic realm=\"x\", {text}")]), Some(bearer));
        assert_eq!(of(&["bAsIc realm=\"x\""]), Some(Challenge::Basic));
    }

    #[test]
    fn what_is_not_understood_is_no_challenge() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["Negotiate"]), None);
        assert_eq!(of(&["Bearer error=\"invalid_token\""]), None);
        assert_eq!(of(&["Bearer realm", ",,="]), None);
    }
}
