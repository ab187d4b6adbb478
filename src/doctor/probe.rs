//! One request, step by step: name, connection, TLS, answer, each timed and each with its deadline.
//!
//! A connection of its own for each, and not the gateway's pool: the pool hides what is looked for here. Nothing is
//! repeated and no redirect is followed.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    handshake::{self, Witness},
    tls::{TlsFacts, TlsTrouble},
};
use crate::{triage::NetworkKind, upstream::Causes};

/// No answer that is wanted here is larger.
const MAX_BODY: usize = 8 << 20;
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// What is sent.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How far it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    pub(super) resolve: Option<Duration>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) connect: Option<Duration>,
    pub(super) tls: Option<TlsFacts>,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: http::Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// This machine's clock when the head came.
    pub(super) received: SystemTime,
    /// From sending to the head.
    pub(super) took: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The name leads nowhere.
    Name(String),
    /// No address took the connection.
    Connect(NetworkKind, String),
    Tls(TlsTrouble),
    /// The connection ended before a whole answer.
    Broken(String),
    /// A step took longer than it may.
    Late(&'static str, Duration),
}

/// What one request brought to light.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) wire: Wire,
    pub(super) outcome: Result<Answer, Trouble>,
}

/// Makes requests; the trusted roots are read once.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    roots: Arc<RootCertStore>,
    step: Duration,
}

// === impl Prober ===

impl Prober {
    /// Trusts what the gateway trusts. `step`: the deadline of each step.
    pub(super) fn new(step: Duration) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self {
            roots: Arc::new(roots),
            step,
        }
    }

    /// Roots that this machine has.
    pub(super) fn roots(&self) -> usize {
        self.roots.len()
    }

    /// Asks. What was learnt on the way to a failure is kept.
    pub(super) async fn ask(&self, ask: &Ask) -> Exchange {
        let mut wire = Wire::default();
        let outcome = Box::pin(self.exchange(ask, &mut wire)).await;
        Exchange { wire, outcome }
    }

    async fn exchange(&self, ask: &Ask, wire: &mut Wire) -> Result<Answer, Trouble> {
        let https = ask.uri.scheme_str() != Some("http");
        let host = ask
            .uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let port = ask.uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let began = Instant::now();
        wire.addresses = self
            .within(
                "resolving the name",
                tokio::net::lookup_host((&*host, port)),
            )
            .await?
            .map_err(|error| Trouble::Name(error.to_string()))?
            .take(MAX_ADDRESSES)
            .collect();
        wire.resolve = Some(began.elapsed());
        let began = Instant::now();
        let stream = self.connect(&wire.addresses).await?;
        wire.connect = Some(began.elapsed());
        wire.peer = stream.peer_addr().ok();
        let _ = stream.set_nodelay(true);
        if !https {
            return Box::pin(self.http(ask, stream, false)).await;
        }
        let began = Instant::now();
        let witness = Witness::new(Arc::clone(&self.roots)).map_err(Trouble::Tls)?;
        let shaken = self
            .within(
                "the TLS handshake",
                handshake::handshake(stream, &host, &witness),
            )
            .await?;
        let stream = shaken.map_err(Trouble::Tls)?;
        let facts = handshake::facts(&stream, &witness, began.elapsed());
        let h2 = facts.h2;
        wire.tls = Some(facts);
        Box::pin(self.http(ask, stream, h2)).await
    }

    async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, Trouble> {
        timeout(self.step, work)
            .await
            .map_err(|_| Trouble::Late(step, self.step))
    }

    /// The first address that answers, in the resolver's order; all of them within one step.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Trouble> {
        let mut last = Trouble::Name("it has no address".to_owned());
        let share = self.step / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            last = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => {
                    let kind = match error.kind() {
                        std::io::ErrorKind::ConnectionRefused => NetworkKind::Refused,
                        std::io::ErrorKind::ConnectionReset => NetworkKind::Reset,
                        _ => NetworkKind::Other,
                    };
                    Trouble::Connect(kind, format!("{address}: {error}"))
                }
                Err(_) => Trouble::Late("connecting", share),
            };
        }
        Err(last)
    }

    async fn http<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        ask: &Ask,
        io: I,
        h2: bool,
    ) -> Result<Answer, Trouble> {
        let request = request(ask, h2);
        let began = Instant::now();
        let io = TokioIo::new(io);
        let sent = async {
            if h2 {
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                let guard =
                    Guard(tokio::spawn(async move { drop(connection.await) }).abort_handle());
                sender.ready().await?;
                Ok((sender.send_request(request).await?, guard))
            } else {
                let (mut sender, connection) = http1::handshake(io).await?;
                let guard =
                    Guard(tokio::spawn(async move { drop(connection.await) }).abort_handle());
                sender.ready().await?;
                Ok((sender.send_request(request).await?, guard))
            }
        };
        let broken = |error: hyper::Error| Trouble::Broken(Causes(&error).to_string());
        let (response, _guard) = self.within("the answer", sent).await?.map_err(broken)?;
        let (received, took) = (SystemTime::now(), began.elapsed());
        let (parts, body) = response.into_parts();
        let body = self
            .within("reading the answer", Limited::new(body, MAX_BODY).collect())
            .await?
            .map_err(|error| Trouble::Broken(error.to_string()))?
            .to_bytes();
        let encoding = parts
            .headers
            .get(header::CONTENT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        // Not asked for; what cannot be undone is judged as it came.
        let body = crate::codec::decode_all(encoding, body.clone(), MAX_BODY).unwrap_or(body);
        Ok(Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body,
            received,
            took,
        })
    }
}

/// Ends a connection's task with the request that needed it.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(ask: &Ask, h2: bool) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    let headers = request.headers_mut();
    headers.extend(ask.headers.clone());
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("weir-doctor/", env!("CARGO_PKG_VERSION"))),
    );
    if !ask.body.is_empty() {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
    }
    if h2 {
        *request.uri_mut() = ask.uri.clone();
        return request;
    }
    if let Some(host) = ask.uri.authority()
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let path = ask.uri.path_and_query().cloned();
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
    request
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers hold the key.
        write!(f, "{} {}", self.method, self.uri)
    }
}
