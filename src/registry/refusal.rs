//! Why a registry has not given what it was asked for, in words to be read after its name.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is not there.
    Missing,
    /// The login is not let in, or nobody is.
    Denied,
    /// There was no answer, or none to the question.
    Unreachable,
    /// What is there cannot be used.
    Unusable,
}

/// Why a registry has not given what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub kind: Kind,
    /// What the registry did, to be read after its name.
    pub words: String,
    /// Its status, if it answered.
    pub status: Option<StatusCode>,
    /// How long it asks not to be asked.
    pub retry_after: Option<Duration>,
}

/// Longer words of a registry's own are cut, in characters.
const LONGEST_WORDS: usize = 160;
const SILENT: &str = "does not answer in time";
const NO_ADDRESS: &str = "does not resolve to an address";

impl Refusal {
    fn new(kind: Kind, words: impl Into<String>) -> Self {
        Self {
            kind,
            words: words.into(),
            status: None,
            retry_after: None,
        }
    }

    pub(super) fn unusable(words: impl Into<String>) -> Self {
        Self::new(Kind::Unusable, words)
    }

    pub(super) fn denied(words: impl Into<String>) -> Self {
        Self::new(Kind::Denied, words)
    }

    pub(super) fn unreachable(words: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, words)
    }

    pub(super) fn no_address() -> Self {
        Self::unreachable(NO_ADDRESS)
    }

    /// Whether the registry cannot be asked from here, for its name has no address here.
    #[must_use]
    pub fn is_of_name(&self) -> bool {
        self.words == NO_ADDRESS
    }

    /// Whether there was nothing at all in time.
    pub(super) fn is_silence(&self) -> bool {
        self.words == SILENT
    }

    /// There was nobody to ask as.
    #[must_use]
    pub fn nobody() -> Self {
        Self::denied("was not asked")
    }

    /// Whether another login may be answered otherwise.
    #[must_use]
    pub fn depends_on_login(&self) -> bool {
        matches!(self.kind, Kind::Missing | Kind::Denied)
    }

    /// Whether it says something of the registry, whatever it is asked for: it gives no answer, or
    /// asks for a pause.
    #[must_use]
    pub fn is_of_registry(&self) -> bool {
        let answers = self
            .status
            .is_some_and(|it| it != StatusCode::TOO_MANY_REQUESTS);
        self.kind == Kind::Unreachable && !answers
    }

    /// The same in words that stay as they are while the cause does: without what others said in
    /// words of their own.
    #[must_use]
    pub fn in_short(&self) -> &str {
        let end = self.words.find(" (").or_else(|| self.words.find(": "));
        end.map_or(&*self.words, |end| &self.words[..end])
    }

    /// An answer that is no success. `who` answered, where it is not the registry itself.
    pub(super) fn of_status(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        who: Option<&str>,
    ) -> Self {
        let kind = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Kind::Missing,
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
                Kind::Denied
            }
            _ => Kind::Unreachable,
        };
        // A token server that knows of nothing says nothing of the image.
        let kind = match (kind, who) {
            (Kind::Missing, Some(_)) => Kind::Unreachable,
            (kind, _) => kind,
        };
        let reason = status.canonical_reason().unwrap_or_default();
        let mut words = match who {
            Some(who) => format!("sends to {who}, which answered {}", status.as_u16()),
            None => format!("answered {}", status.as_u16()),
        };
        for (before, text, after) in [(" ", reason.to_owned(), ""), (" (", own_words(body), ")")] {
            if !text.is_empty() {
                words.push_str(before);
                words.push_str(&text);
                words.push_str(after);
            }
        }
        Self {
            kind,
            words,
            status: Some(status),
            retry_after: retry_after(headers, Timestamp::now()),
        }
    }

    /// Whether it may be the fault of one connection, and that of no deadline.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        self.kind == Kind::Unreachable && self.status.is_none() && !self.words.ends_with(SILENT)
    }

    /// The answer to this one question, and so nothing that is said of the registry.
    pub(super) fn answered(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// No answer at all, or one that leads where nobody follows.
    pub(super) fn of_error(error: &reqwest::Error) -> Self {
        let refusal = Self::unreachable(cause(error));
        if error.is_redirect() {
            // Which redirect it was, is not told.
            return refusal.answered(StatusCode::FOUND);
        }
        refusal
    }
}

/// The pause that is asked for, in seconds or until a time.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = rfc2822::parse(text).ok()?.timestamp();
    let seconds = then.as_second().saturating_sub(now.as_second());
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Told>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    code: String,
    message: String,
}

/// The registry's own words, on one line and without anything that a terminal would obey.
fn own_words(body: &[u8]) -> String {
    let told = serde_json::from_slice::<Errors>(body).ok();
    let told = told.and_then(|it| it.errors.into_iter().next());
    let Told { code, message } = told.unwrap_or_default();
    let text = match (code.is_empty(), message.is_empty()) {
        (false, false) => format!("{code}: {message}"),
        _ => format!("{code}{message}"),
    };
    let plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
    text.chars().filter(plain).take(LONGEST_WORDS).collect()
}

/// Why there was no answer.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return SILENT.into();
    }
    if error.is_redirect() {
        return format!("redirects in a way that is not followed: {}", last(error));
    }
    for source in sources(error) {
        if let Some(error) = source.downcast_ref::<rustls::Error>() {
            return tls(error);
        }
        if let Some(error) = source.downcast_ref::<io::Error>()
            && let Some(words) = connection(error.kind())
        {
            return words.into();
        }
        // The resolver's error has no type that can be told from others.
        if source.to_string().contains("dns error") {
            return NO_ADDRESS.into();
        }
    }
    format!("gives no answer: {}", last(error))
}

fn tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            format!("shows a certificate that is not trusted here ({error})")
        }
        rustls::Error::InvalidMessage(_) => "does not speak TLS".into(),
        _ => format!("does not agree on TLS ({error})"),
    }
}

fn connection(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::ConnectionRefused => "refuses connections",
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "breaks connections off",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "cannot be reached",
        io::ErrorKind::TimedOut => SILENT,
        _ => return None,
    })
}

/// Whether it is about TLS, and so the other side is there.
pub(super) fn is_of_tls(error: &reqwest::Error) -> bool {
    sources(error).any(|it| it.is::<rustls::Error>())
}

/// Whether the other side does not speak TLS.
pub(super) fn speaks_no_tls(error: &reqwest::Error) -> bool {
    sources(error).any(|it| {
        let error = it.downcast_ref::<rustls::Error>();
        matches!(error, Some(rustls::Error::InvalidMessage(_)))
    })
}

/// What an error is caused by, from the outside in. An I/O error hides its own cause one level
/// deeper than others do.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let hidden = error.downcast_ref::<io::Error>();
    match hidden.and_then(io::Error::get_ref) {
        Some(hidden) => Some(hidden),
        None => error.source(),
    }
}

fn last(error: &reqwest::Error) -> String {
    sources(error)
        .last()
        .map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_time() {
        let now: Timestamp = "2026-11-27T21:00:00Z".parse().expect("a time");
        for (text, seconds) in [
            ("30", Some(30)),
            ("Fri, 27 Nov 2026 21:01:30 GMT", Some(90)),
            ("Fri, 27 Nov 2026 20:00:00 GMT", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        }
    }

    #[test]
    fn in_short_there_is_nothing_in_it_that_changes_by_itself() {
        for (words, short) in [
            (
                "answered 403 Forbidden (DENIED: request 7 of eve)",
                "answered 403 Forbidden",
            ),
            ("gives no answer: error 17", "gives no answer"),
            ("refuses connections", "refuses connections"),
        ] {
            assert_eq!(Refusal::unreachable(words).in_short(), short);
        }
    }

    #[test]
    fn a_registry_has_its_own_words_and_no_say_over_the_terminal() {
        let body = br#"{"errors": [{"code": "DENIED", "message": "suspended\u001b[2J\nby us"}]}"#;
        assert_eq!(own_words(body), "DENIED: suspended[2Jby us");
        assert_eq!(own_words(b"<html>"), "");
        let long = format!(r#"{{"errors": [{{"message": "{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(own_words(long.as_bytes()).len(), LONGEST_WORDS);
    }
}
