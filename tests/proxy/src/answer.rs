//! Answers that the proxy makes up, in the API server's own form.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::server::Body;

pub(crate) fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}

/// An answer with this code. A 429 is written as the API server's own limit of requests writes it:
/// in plain text, the pause in a header only.
pub(crate) fn answer(code: u16, pause: Option<u32>) -> Response<Body> {
    let plain = code == 429;
    let text = if plain {
        "Too many requests, please try again later.\n".to_owned()
    } else {
        status(code, "made up by the test").to_string()
    };
    let mut response = Response::new(full(text));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if plain {
        "text/plain; charset=utf-8"
    } else {
        "application/json"
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind.parse().expect("it is one"));
    if let Some(seconds) = pause {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// A watch whose history is gone.
pub(crate) fn gone() -> Response<Body> {
    let mut response = Response::new(full(gone_event()));
    let kind = "application/json".parse().expect("it is one");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The event that says so.
pub(crate) fn gone_event() -> String {
    let status = status(410, "too old resource version");
    format!("{}\n", json!({"type": "ERROR", "object": status}))
}

fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        410 => "Expired",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}
