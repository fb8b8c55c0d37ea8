//! What stands in front of a registry and can be told how it is to answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

type Body = BoxBody<Bytes, hyper::Error>;

/// How a registry answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As the registry behind it does.
    Itself,
    /// With this status.
    Status(u16),
    /// It asks for a token, and answers 403 to whoever asks for one.
    NoToken,
    /// Not at all; the connection stays open.
    Silence,
    /// Not at all; the connection is closed.
    Gone,
    /// As the registry behind it does, at that many bytes a second.
    Slowly(u64),
}

/// One front. It serves for as long as the process does.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

struct Shared {
    host: &'static str,
    behind: SocketAddr,
    client: Client<HttpConnector, Incoming>,
    told: Mutex<Told>,
}

struct Told {
    answer: Answer,
    /// For paths with such a text in them.
    exceptions: Vec<(String, Answer)>,
    requests: usize,
}

/// On the second of them, which is for TLS, it speaks none either.
const PORTS: [u16; 2] = [80, 443];

/// Where the front of a registry listens.
pub fn address(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, 1, last)
}

impl Front {
    /// Starts one that lets everything through.
    pub async fn start(host: &'static str, number: usize, behind: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared {
            host,
            behind,
            client: Client::builder(TokioExecutor::new()).build_http(),
            told: Mutex::new(Told {
                answer: Answer::Itself,
                exceptions: Vec::new(),
                requests: 0,
            }),
        });
        for port in PORTS {
            let listener = TcpListener::bind((address(number), port)).await;
            let listener = listener.with_context(|| format!("listening for {host}"))?;
            tokio::spawn(listen(listener, Arc::clone(&shared)));
        }
        Ok(Self { shared })
    }

    /// How it answers from now on, with no exceptions.
    pub fn answers(&self, answer: Answer) {
        let mut told = self.shared.told();
        told.answer = answer;
        told.exceptions.clear();
    }

    /// How it answers from now on where the path has this text in it.
    pub fn answers_for(&self, text: &str, answer: Answer) {
        let exceptions = &mut self.shared.told().exceptions;
        exceptions.push((text.to_owned(), answer));
    }

    /// How many requests have come so far.
    pub fn requests(&self) -> usize {
        self.shared.told().requests
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, and says how it is to be answered.
    fn ask(&self, path: &str) -> Answer {
        let mut told = self.told();
        told.requests += 1;
        let mut exceptions = told.exceptions.iter();
        let exception = exceptions.find(|(text, _)| path.contains(text.as_str()));
        exception.map_or(told.answer, |(_, answer)| *answer)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // A client that goes away is no error of the front's.
        tokio::spawn(async move { serve(stream, shared).await.ok() });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> Result<()> {
    stream.set_nodelay(true)?;
    let service = service_fn(|request| pass(Arc::clone(&shared), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    Ok(connection.await?)
}

/// One request. An error ends its connection without an answer.
async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>> {
    // A token is asked for with the name of the image in the query.
    let path = request.uri().to_string();
    match shared.ask(&path) {
        Answer::Itself => forward(&shared, request).await,
        Answer::Slowly(rate) => {
            let (parts, body) = forward(&shared, request).await?.into_parts();
            Ok(Response::from_parts(parts, slowed(body, rate)))
        }
        Answer::Status(code) => refusal(code),
        Answer::NoToken if path.starts_with("/token") => refusal(403),
        Answer::NoToken => challenge(shared.host),
        Answer::Silence => std::future::pending().await,
        Answer::Gone => bail!("the connection is closed"),
    }
}

async fn forward(shared: &Shared, request: Request<Incoming>) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(shared.behind.to_string())
        .path_and_query(path)
        .build()?;
    let response = shared
        .client
        .request(Request::from_parts(parts, body))
        .await?;
    Ok(response.map(BodyExt::boxed))
}

fn refusal(code: u16) -> Result<Response<Body>> {
    let status = StatusCode::from_u16(code)?;
    let reason = status.canonical_reason().unwrap_or_default();
    let name = reason.to_uppercase().replace(' ', "_");
    let body = json!({"errors": [{"code": name, "message": reason.to_lowercase()}]});
    answer(Response::builder().status(status), body.to_string())
}

fn challenge(host: &str) -> Result<Response<Body>> {
    let how = format!(r#"Bearer realm="http://{host}/token",service="{host}""#);
    let head = Response::builder().status(StatusCode::UNAUTHORIZED);
    answer(head.header(WWW_AUTHENTICATE, how), String::new())
}

fn answer(head: http::response::Builder, body: String) -> Result<Response<Body>> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    Ok(head
        .header(CONTENT_TYPE, "application/json")
        .body(body.boxed())?)
}

fn slowed(body: Body, rate: u64) -> Body {
    let frames = BodyStream::new(body).then(move |frame| async move {
        let bytes = frame.as_ref().ok().and_then(|it| it.data_ref());
        let bytes = u32::try_from(bytes.map_or(0, Bytes::len)).unwrap_or(u32::MAX);
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        tokio::time::sleep(Duration::from_secs_f64(f64::from(bytes) / f64::from(rate))).await;
        frame
    });
    BodyExt::boxed(StreamBody::new(frames))
}
