//! Metrics and health over HTTP. Every answer is the loop's own, so that one that hangs is told.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::metrics::Format;

/// What the loop is asked.
#[derive(Debug)]
pub enum Question {
    /// Whether it turns.
    Alive(oneshot::Sender<()>),
    /// Whether it knows all that it needs to know; else what is missing.
    Ready(oneshot::Sender<Result<String, String>>),
    /// Its metrics.
    Metrics(Format, oneshot::Sender<String>),
}

/// A loop that has not answered after this long is stuck: its longest pass takes milliseconds. Whoever
/// asks has to wait for longer, or may not hear so.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Who connects says at once what it wants.
const HEADERS: Duration = Duration::from_secs(2);
/// Nor does one that reads its answer slowly stay for longer.
const CONVERSATION: Duration = Duration::from_secs(10);
/// So many are served at once. The next one takes the place of the oldest that has said nothing, so
/// that those who connect and say nothing, however many, keep nobody out.
const CONNECTIONS: usize = 32;

type Answer = (StatusCode, &'static str, String);

/// Serves on this address for as long as the process lives. Returns what is asked.
///
/// # Errors
/// When the address cannot be used.
pub async fn serve(address: SocketAddr) -> anyhow::Result<mpsc::Receiver<Question>> {
    let bound = match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(address) => TcpListener::bind(address).await,
            None => Err(error),
        },
        bound => bound,
    };
    let listener =
        bound.with_context(|| format!("metrics and health cannot be served on {address}"))?;
    info!(address = %listener.local_addr()?, "serving metrics and health");
    let (sender, questions) = mpsc::channel(CONNECTIONS);
    tokio::spawn(listen(listener, sender));
    Ok(questions)
}

/// Where to listen instead, on a machine whose kernel knows no IPv6. Elsewhere `[::]` answers both.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let every = address.ip() == Ipv6Addr::UNSPECIFIED;
    let taken = matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
    );
    (every && !taken).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

async fn listen(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let mut guests = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, for example: at once it would fail again.
                warn!("a connection to metrics and health failed: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        make_room(&mut guests);
        let (questions, spoke) = (questions.clone(), Arc::new(AtomicBool::new(false)));
        let heard = Arc::clone(&spoke);
        let task = tokio::spawn(async move {
            // Whoever asked has gone, or was too slow; that is their business.
            let _ = timeout(CONVERSATION, converse(stream, &questions, &heard)).await;
        });
        let task = task.abort_handle();
        guests.push_back(Guest { task, spoke });
        // It is heard before others that came at the same moment can take its place.
        yield_now().await;
    }
}

/// One that is connected.
struct Guest {
    task: AbortHandle,
    spoke: Arc<AtomicBool>,
}

/// Makes a place where there is none.
fn make_room(guests: &mut VecDeque<Guest>) {
    guests.retain(|it| !it.task.is_finished());
    if guests.len() < CONNECTIONS {
        return;
    }
    let silent = guests
        .iter()
        .position(|it| !it.spoke.load(Ordering::Relaxed));
    if let Some(guest) = guests.remove(silent.unwrap_or_default()) {
        guest.task.abort();
    }
}

async fn converse(stream: TcpStream, questions: &mpsc::Sender<Question>, spoke: &AtomicBool) {
    let respond = async |request: Request<Incoming>| {
        spoke.store(true, Ordering::Relaxed);
        let (status, kind, text) = answer(&request, questions).await;
        let mut response = Response::new(text);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        Ok::<_, std::convert::Infallible>(response)
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    let _ = served.await;
}

async fn answer(request: &Request<Incoming>, questions: &mpsc::Sender<Question>) -> Answer {
    const PLAIN: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET {
        let text = "only GET is served\n".to_owned();
        return (StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
    }
    match request.uri().path() {
        "/healthz" => match ask(questions, Question::Alive).await {
            Ok(()) => (StatusCode::OK, PLAIN, "ok\n".into()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        "/readyz" => match ask(questions, Question::Ready).await.and_then(|it| it) {
            Ok(how) => (StatusCode::OK, PLAIN, format!("ok: {how}\n")),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
        },
        "/metrics" => {
            let format = format(request.headers());
            match ask(questions, |it| Question::Metrics(format, it)).await {
                Ok(text) => (StatusCode::OK, format.content_type(), text),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
            }
        }
        _ => {
            let text = "there are /metrics, /healthz and /readyz\n".to_owned();
            (StatusCode::NOT_FOUND, PLAIN, text)
        }
    }
}

async fn ask<T>(
    questions: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Result<T, String> {
    let (sender, receiver) = oneshot::channel();
    let answered = async {
        questions.send(question(sender)).await.ok()?;
        receiver.await.ok()
    };
    match timeout(PATIENCE, answered).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err("the operator is stopping".into()),
        Err(_) => Err(format!("the loop has not answered for {PATIENCE:?}")),
    }
}

/// OpenMetrics for those that ask for it, as Prometheus does; else what tools of old read.
fn format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(ACCEPT).iter();
    let accepted = accepted.filter_map(|it| it.to_str().ok());
    if accepted
        .into_iter()
        .any(|it| it.contains("application/openmetrics-text"))
    {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_hangs_and_one_that_ends_are_told_from_one_that_turns() {
        let (sender, mut questions) = mpsc::channel(1);
        let hangs = ask(&sender, Question::Alive);
        let (hangs, held) = tokio::join!(hangs, questions.recv());
        assert_eq!(hangs, Err("the loop has not answered for 5s".into()));
        drop(held);
        let turns = ask(&sender, Question::Alive);
        let answer = async {
            if let Some(Question::Alive(asker)) = questions.recv().await {
                let _ = asker.send(());
            }
        };
        assert_eq!(tokio::join!(turns, answer).0, Ok(()));
        drop(questions);
        let ended = ask(&sender, Question::Alive).await;
        assert_eq!(ended, Err("the operator is stopping".into()));
    }

    #[test]
    fn what_listens_everywhere_does_so_without_ipv6_too() {
        let instead = |address: &str, error| {
            let address = address.parse().expect("an address");
            without_ipv6(address, &io::Error::from(error)).map(|it| it.to_string())
        };
        let none = ErrorKind::Unsupported;
        assert_eq!(instead("[::]:8080", none).as_deref(), Some("0.0.0.0:8080"));
        assert_eq!(instead("[::1]:8080", none), None);
        assert_eq!(instead("[::]:8080", ErrorKind::AddrInUse), None);
    }

    #[test]
    fn who_asks_for_open_metrics_among_others_gets_it() {
        let format = |accept: &'static str| {
            let headers = [(ACCEPT, HeaderValue::from_static(accept))];
            super::format(&headers.into_iter().collect())
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(format(prometheus), Format::OpenMetrics);
        assert_eq!(format("*/*"), Format::Text);
    }
}
