//! The proxy itself.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HOST};
use http::{Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use crate::answer;
use crate::gate::{Gate, Moment};
use crate::rules::{Ask, Fault, Rule, Rules};
use crate::{Fate, Request};

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;
type Upstream = Client<HttpsConnector<HttpConnector>, Incoming>;

/// A running proxy. Dropping it ends it, and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runs: oneshot::Sender<()>,
}

/// What the connections share.
pub(crate) struct Shared {
    upstream: Upstream,
    server: SocketAddr,
    pub(crate) rules: Arc<Rules>,
    gate: Gate,
    log: Mutex<Vec<Request>>,
    /// Counts how often every watch was told that its history is gone.
    pub(crate) expired: watch::Sender<u64>,
    /// Counts how often every connection was cut.
    cut: watch::Sender<u64>,
    /// Counts the bookmarks that were left out.
    pub(crate) left_out: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts one in front of an API server on this machine, whose `ca.crt`, `server.crt` and
    /// `server.key` are in the folder.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn start(server: SocketAddr, folder: &Path) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(folder)?));
        let shared = Arc::new(Shared {
            upstream: upstream(folder)?,
            server,
            rules: Arc::default(),
            gate: Gate::default(),
            log: Mutex::default(),
            expired: watch::Sender::new(0),
            cut: watch::Sender::new(0),
            left_out: AtomicU64::new(0),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (_runs, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kept = Arc::clone(&shared);
        // On a thread of its own: a test may block its own while the client goes on.
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = listen(listener, &acceptor, &kept) => result.expect("it listens"),
                    _ = ended => {}
                }
            });
        });
        Ok(Self {
            address,
            shared,
            _runs,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this goes wrong with the requests that match, until the rule is dropped. A
    /// watch that is under way is only touched by [`Fault::Hold`] and [`Fault::NoBookmarks`].
    pub fn fault(&self, fault: Fault, which: impl Fn(&Ask) -> bool + Send + 'static) -> Rule {
        Rule::new(&self.shared.rules, Box::new(which), fault)
    }

    /// Tells every watch that its history is gone.
    pub fn expire(&self) {
        self.shared.expired.send_modify(|it| *it += 1);
    }

    /// Cuts every connection. New ones work.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|it| *it += 1);
    }

    /// How many bookmarks were left out by [`Fault::NoBookmarks`].
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.shared.left_out.load(Ordering::Relaxed)
    }

    /// Lets this many writes through, and stops the world there: later ones come to nothing. Those
    /// of a Lease go through, and do not count: how many there are depends on the time.
    /// What is returned resolves when that is so. Every connection is cut before: what a client
    /// that was killed had sent must not count.
    pub fn trap(&self, last: u64, moment: Moment) -> oneshot::Receiver<()> {
        self.cut();
        self.shared.gate.set(last, moment)
    }

    /// Lets every write through again.
    pub fn open(&self) {
        self.shared.gate.open();
    }

    /// Every request so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().clone()
    }

    /// Those that could change what is stored, but who leads.
    #[must_use]
    pub fn writes(&self) -> Vec<Request> {
        let mut all = self.requests();
        all.retain(|it| it.ask.is_work());
        all
    }
}

impl Shared {
    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ask: &Ask) -> usize {
        let mut log = self.log();
        log.push(Request {
            ask: ask.clone(),
            came: Instant::now(),
            fate: None,
        });
        log.len() - 1
    }

    fn conclude(&self, number: usize, fate: Fate) {
        self.log()[number].fate = Some(fate);
    }
}

fn server_config(folder: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(folder.join("server.crt"))
        .context("reading server.crt")?
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).context("server.key")?;
    Ok(
        ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?,
    )
}

fn upstream(folder: &Path) -> Result<Upstream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.crt")).context("ca.crt")?)?;
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

async fn listen(
    listener: std::net::TcpListener,
    acceptor: &TlsAcceptor,
    shared: &Arc<Shared>,
) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(shared));
        // A client that goes away, or is killed, is no error of the proxy's.
        tokio::spawn(async move { serve(stream, acceptor, shared).await.ok() });
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) -> Result<()> {
    let mut cut = shared.cut.subscribe();
    let stream = acceptor.accept(stream).await?;
    let service = service_fn(|request| pass(Arc::clone(&shared), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        _ = cut.changed() => {}
        result = connection => result?,
    }
    Ok(())
}

/// One request. An error ends its connection without an answer.
async fn pass(shared: Arc<Shared>, request: http::Request<Incoming>) -> Result<Response<Body>> {
    let ask = Ask {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    };
    let number = shared.note(&ask);
    let fault = shared.rules.fault(&ask);
    match fault {
        Some(Fault::Answer(code, pause)) => {
            shared.conclude(number, Fate::Faked(code));
            return Ok(answer::answer(code, pause));
        }
        Some(Fault::Gone) => {
            shared.conclude(number, Fate::Faked(200));
            return Ok(answer::gone());
        }
        Some(Fault::CutBefore) => {
            shared.conclude(number, Fate::Dropped);
            return Err(anyhow!("cut"));
        }
        Some(Fault::Silence) => {
            shared.conclude(number, Fate::Dropped);
            pending::<()>().await;
        }
        _ => {}
    }
    let passing = if ask.is_work() {
        Some(shared.gate.enter().await)
    } else {
        None
    };
    let answered = forward(&shared, &ask, request).await;
    let Ok(response) = answered else {
        shared.conclude(number, Fate::Unreachable);
        return answered;
    };
    let code = response.status().as_u16();
    shared.conclude(number, Fate::Unheard(code));
    match fault {
        Some(Fault::AnswerAfter(code)) => return Ok(answer::answer(code, None)),
        Some(Fault::CutAfter) => return Err(anyhow!("cut")),
        Some(Fault::SilenceAfter) => pending().await,
        _ => {}
    }
    if let Some(passing) = passing {
        passing.leave().await;
    }
    shared.conclude(number, Fate::Passed(code));
    Ok(response)
}

/// Asks the API server. A write is answered in full before this returns.
async fn forward(
    shared: &Arc<Shared>,
    ask: &Ask,
    request: http::Request<Incoming>,
) -> Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    parts.uri = Uri::builder()
        .scheme("https")
        .authority(shared.server.to_string())
        .path_and_query(path)
        .build()?;
    parts.headers.remove(HOST);
    // The events of a watch are read.
    parts.headers.remove(ACCEPT_ENCODING);
    let request = http::Request::from_parts(parts, body);
    let (parts, body) = shared.upstream.request(request).await?.into_parts();
    let body = if ask.is_watch() && parts.status.is_success() {
        crate::watch::relay(shared, ask.clone(), body)
    } else if ask.is_write() {
        let whole = body.collect().await?.to_bytes();
        answer::full(String::from_utf8(whole.to_vec())?)
    } else {
        body.boxed()
    };
    Ok(Response::from_parts(parts, body))
}
