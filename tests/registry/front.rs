//! What stands in front of a registry, and makes what can go wrong there go wrong.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Body = BoxBody<Bytes, Infallible>;

/// A change of an answer.
pub type Change = fn(Response<Bytes>) -> Response<Bytes>;

/// What becomes of a request.
pub enum Fate {
    /// The registry answers.
    Pass,
    /// The registry answers, and its answer is changed.
    Change(Change),
    /// This is the answer.
    Answer(Response<Bytes>),
    /// There is none.
    Hang,
    /// There is one, byte by byte and without an end.
    Drip,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// What it showed of the one who asked.
    pub fn credentials(&self) -> Option<&str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()
    }
}

type Rule = dyn Fn(&Request<Bytes>) -> Fate + Send + Sync;

/// A server.
pub struct Front {
    pub host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    behind: Option<String>,
    rule: Box<Rule>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Front {
    /// In front of a registry.
    pub async fn of(
        behind: &str,
        rule: impl Fn(&Request<Bytes>) -> Fate + Send + Sync + 'static,
    ) -> Self {
        Self::start("127.0.0.1", Some(behind.to_owned()), None, Box::new(rule)).await
    }

    /// In front of nothing.
    pub async fn alone(rule: impl Fn(&Request<Bytes>) -> Fate + Send + Sync + 'static) -> Self {
        Self::alone_at("127.0.0.1", rule).await
    }

    /// In front of nothing, at an address of this machine.
    pub async fn alone_at(
        address: &str,
        rule: impl Fn(&Request<Bytes>) -> Fate + Send + Sync + 'static,
    ) -> Self {
        Self::start(address, None, None, Box::new(rule)).await
    }

    /// In front of a registry, at an address of this machine, speaking TLS with a certificate and its
    /// key.
    pub async fn with_tls(
        address: &str,
        behind: &str,
        (certificate, key): (&Path, &Path),
        rule: impl Fn(&Request<Bytes>) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate");
        let chain: Result<Vec<_>, _> = chain.collect();
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("certificates"), key)
            .expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(
            address,
            Some(behind.to_owned()),
            Some(acceptor),
            Box::new(rule),
        )
        .await
    }

    async fn start(
        address: &str,
        behind: Option<String>,
        tls: Option<TlsAcceptor>,
        rule: Box<Rule>,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("it listens");
        let address: SocketAddr = listener.local_addr().expect("an address");
        let seen = Arc::default();
        let shared = Arc::new(Shared {
            behind,
            rule,
            seen: Arc::clone(&seen),
        });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            host: address.to_string(),
            seen,
            task,
        }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// Those whose first line has this in it.
    pub fn seen_with(&self, text: &str) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|it| it.line.contains(text));
        seen
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // A client that does not like the certificate goes away.
    let _ = match tls {
        None => {
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
        }
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => {
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            }
            Err(_) => return,
        },
    };
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    shared.seen.lock().expect("no panic").push(Seen {
        line: format!("{} {}", parts.method, parts.uri),
        headers: parts.headers.clone(),
    });
    let request = Request::from_parts(parts, body);
    match (shared.rule)(&request) {
        Fate::Pass => whole(pass(shared, &request).await),
        Fate::Change(change) => whole(change(pass(shared, &request).await)),
        Fate::Answer(answer) => whole(answer),
        Fate::Hang => std::future::pending().await,
        Fate::Drip => Response::new(drip()),
    }
}

/// A client of the tests' own, whichever test comes first.
pub fn http() -> reqwest::Client {
    // Where one is there already, it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Asks the registry behind.
async fn pass(shared: &Shared, request: &Request<Bytes>) -> Response<Bytes> {
    let behind = shared.behind.as_ref().expect("there is a registry behind");
    let url = format!("http://{behind}{}", request.uri());
    let asked = http().request(request.method().clone(), url);
    let asked = asked.headers(request.headers().clone());
    let answer = asked.send().await.expect("an answer");
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await.expect("a body");
    response
}

fn whole(mut response: Response<Bytes>) -> Response<Body> {
    // What was changed may have another length.
    if !response.body().is_empty() {
        response.headers_mut().remove("content-length");
    }
    response.map(|body| Full::new(body).boxed())
}

fn drip() -> Body {
    let stream = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
    });
    BodyExt::boxed(StreamBody::new(stream))
}

/// An answer of this status, with headers and a text.
pub fn status(code: u16, headers: &[(&str, &str)], text: &str) -> Fate {
    let mut response = Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = Bytes::from(text.to_owned());
    Fate::Answer(response.body(body).expect("an answer"))
}
