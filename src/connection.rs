//! The connection to the API server: who asks, how long an answer may take, and the pause that an
//! overloaded server asks for.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::{Body, ClientBuilder, DynBody};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Service, layer::layer_fn};

use crate::traffic::{Ask, Traffic};

/// A list or a watch that has not begun to be answered after this long is begun anew. Without a
/// limit, a connection that was lost at the wrong moment would blind the operator for good.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Connects as KUBECONFIG says, or as inside a cluster. Every request is counted.
///
/// # Errors
/// When neither says how.
pub async fn connect(traffic: &Traffic) -> anyhow::Result<Client> {
    let mut config = Config::infer().await.map_err(|error| {
        anyhow::anyhow!(
            "no cluster to connect to: set KUBECONFIG, or run inside a cluster ({error})"
        )
    })?;
    // A create that is repeated behind our back would be a second create.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    let builder = ClientBuilder::try_from(config)?;
    let courteous = |service| Courteous {
        service,
        traffic: traffic.clone(),
    };
    Ok(builder.with_layer(&layer_fn(courteous)).build())
}

type Answer = Response<Box<DynBody>>;

/// Keeps the pauses that the API server asks for. Its own limit of requests asks in a header, with
/// a body in plain text, and the client library reads neither.
struct Courteous<S> {
    service: S,
    traffic: Traffic,
}

impl<S> Service<Request<Body>> for Courteous<S>
where
    S: Service<Request<Body>, Response = Answer, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = request.method() == Method::GET;
        let (traffic, ask) = (
            self.traffic.clone(),
            Ask::of(request.method(), request.uri()),
        );
        let answer = self.service.call(request);
        async move {
            if !reads {
                let answer = answer.await;
                traffic.note(&ask, code(&answer));
                return with_pause(answer?).await;
            }
            let answer = timeout(READ_DEADLINE, answer).await;
            let answer = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            traffic.note(&ask, code(&answer));
            let answer = answer?;
            // Those who watch have a back-off of their own, which knows nothing of the server's.
            sleep(pause(&answer).unwrap_or_default()).await;
            Ok(answer)
        }
        .boxed()
    }
}

fn code(answer: &Result<Answer, BoxError>) -> Option<u16> {
    answer.as_ref().ok().map(|it| it.status().as_u16())
}

/// The pause that an error asks for.
fn pause(answer: &Answer) -> Option<Duration> {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Puts the pause where a reader of the error finds it: into its `Status`.
async fn with_pause(answer: Answer) -> Result<Answer, BoxError> {
    let Some(pause) = pause(&answer) else {
        return Ok(answer);
    };
    let (parts, body) = answer.into_parts();
    let text = body.collect().await?.to_bytes();
    let status = status(&text, parts.status.as_u16(), pause);
    let body = Full::from(status.to_string()).map_err(BoxError::from);
    let mut answer = Response::new(Box::new(body) as Box<DynBody>);
    *answer.status_mut() = parts.status;
    Ok(answer)
}

fn status(text: &[u8], code: u16, pause: Duration) -> Value {
    let told = serde_json::from_slice::<Value>(text).ok();
    let mut status = told.filter(|it| it["kind"] == "Status").unwrap_or_else(|| {
        let message = String::from_utf8_lossy(text);
        json!({"status": "Failure", "message": message.trim(), "code": code})
    });
    let asked = &mut status["details"]["retryAfterSeconds"];
    if asked.as_u64().unwrap_or_default() == 0 {
        *asked = json!(u32::try_from(pause.as_secs()).unwrap_or(u32::MAX));
    }
    status
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn retry_after(text: &str) -> (Status, u32) {
        let status = status(text.as_bytes(), 429, Duration::from_secs(7));
        let status: Status = serde_json::from_value(status).expect("it is one");
        let pause = status.details.as_ref().map(|it| it.retry_after_seconds);
        (status, pause.expect("there are details"))
    }

    #[test]
    fn the_pause_of_the_header_is_found_in_the_status() {
        let (status, pause) = retry_after("Too many requests, please try again later.\n");
        assert_eq!((status.code, pause), (429, 7));
        assert_eq!(status.message, "Too many requests, please try again later.");
    }

    #[test]
    fn what_a_status_says_itself_stays() {
        let own = r#"{"kind": "Status", "status": "Failure", "message": "m", "reason": "r",
                      "code": 503, "details": {"kind": "pods", "retryAfterSeconds": 3}}"#;
        let (status, pause) = retry_after(own);
        assert_eq!((status.code, status.reason.as_str(), pause), (503, "r", 3));
        assert_eq!(
            retry_after(&own.replace(", \"retryAfterSeconds\": 3", "")).1,
            7
        );
        assert_eq!(retry_after(r#"{"kind": "Status", "code": 500}"#).1, 7);
    }
}
