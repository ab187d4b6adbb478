//! One worker's kept connections.
//!
//! A pool belongs to a worker thread, so its lock is never contended and a connection's task runs
//! where its calls run: no wake-up crosses a core. HTTP/1.1 connections are used last in, first out
//! (the warmest first); HTTP/2 keeps one connection per origin and opens streams on it, and makes another when
//! that has as many as the peer takes.

use std::{
    collections::HashMap,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, Uri, uri::Authority};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::{
    body::{RequestBody, ResponseBody},
    connect::{Causes, Connector},
};
use crate::call::Upload;

/// Kept no longer than this when idle. Below the 60 s after which common balancers hang up.
const IDLE: Duration = Duration::from_secs(55);
/// A connection that died idle says so within a round trip. A later end is that of a call which the provider has worked
/// on, and billed perhaps: whether to repeat that is not decided here.
const SOON: Duration = Duration::from_secs(1);
/// Kept at most, per origin and worker; a burst beyond closes the surplus afterwards.
const MAX_IDLE: usize = 512;

/// The connections of one worker.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    connector: Connector,
    origins: Mutex<HashMap<Origin, Kept>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    https: bool,
    authority: Authority,
}

#[derive(Default)]
struct Kept {
    /// Newest last.
    h1: Vec<(Instant, http1::SendRequest<RequestBody>)>,
    /// Oldest first; one, unless more streams are open than one connection takes.
    h2: Vec<Multiplexed>,
}

/// An HTTP/2 connection and how full it is. A stream beyond what the peer takes would wait in it, unseen, for another
/// to end.
#[derive(Clone)]
struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    load: Arc<Load>,
}

struct Load {
    open: AtomicUsize,
    /// The peer's latest word.
    most: AtomicUsize,
}

/// A place on an HTTP/2 connection, until its response has been read or dropped.
pub(super) struct StreamPlace(Arc<Load>);

/// Why a request got no response head.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: refused, unreachable, unresolvable, TLS.
    #[error("could not connect: {0}")]
    Connect(#[source] io::Error),
    /// No connection in time.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection ended before a response head.
    #[error("the connection ended before an answer: {0}")]
    Closed(String),
}

/// A response head, and whether a kept connection had to be replaced to get it.
#[derive(Debug)]
pub struct Sent {
    pub response: Response<ResponseBody>,
}

/// A lent HTTP/1.1 connection, returned when its response has been read.
pub(super) struct Lease {
    pool: Pool,
    origin: Origin,
    sender: http1::SendRequest<RequestBody>,
    /// Its request's upload, which an early answer may have overtaken.
    upload: Option<Upload>,
}

enum Sender {
    H1 {
        sender: http1::SendRequest<RequestBody>,
        kept: bool,
    },
    H2 {
        sender: http2::SendRequest<RequestBody>,
        place: StreamPlace,
        kept: bool,
    },
}

// === impl Pool ===

impl Pool {
    /// An empty pool.
    pub fn new(connector: Connector) -> Self {
        Self(Arc::new(Shared {
            connector,
            origins: Mutex::new(HashMap::new()),
        }))
    }

    /// Sends one request to the origin of `base` and waits for the response's head.
    ///
    /// `build` makes the request; it is called again when a kept connection turns out to have died
    /// idle, as long as `repeatable` says that the body can be sent twice. `build` is told whether the
    /// connection speaks HTTP/2. With `upgrade` it does not: a WebSocket needs a connection of its own.
    ///
    /// # Errors
    /// See [`SendError`]. There is no deadline on the answer here: the caller has it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the upstream call: HTTP/1.1 by closing the connection, HTTP/2 by a reset.
    pub async fn send(
        &self,
        base: &Uri,
        connect_timeout: Duration,
        upgrade: bool,
        repeatable: impl Fn() -> bool + Send,
        build: impl Fn(bool) -> Request<RequestBody> + Send,
    ) -> Result<Sent, SendError> {
        let origin = Origin::of(base)?;
        let mut fresh = false;
        loop {
            let sender = match if fresh {
                None
            } else {
                self.take(&origin, upgrade)
            } {
                Some(sender) => sender,
                // Rare and large: the future of every call need not hold it.
                None => Box::pin(self.connect(&origin, base, upgrade, connect_timeout)).await?,
            };
            let (kept, began) = (sender.kept(), Instant::now());
            match self.send_on(sender, &origin, &build).await {
                Ok(response) => return Ok(Sent { response }),
                // Died idle: the peer closed it while we were writing, or before. Nothing of an answer
                // was seen on a connection that had worked before; a new one tells the truth.
                Err(error)
                    if kept && repeatable() && began.elapsed() < SOON && died_idle(&error) =>
                {
                    fresh = true;
                }
                Err(error) => return Err(SendError::Closed(Causes(&error).to_string())),
            }
        }
    }

    async fn send_on(
        &self,
        sender: Sender,
        origin: &Origin,
        build: &(impl Fn(bool) -> Request<RequestBody> + Send),
    ) -> Result<Response<ResponseBody>, hyper::Error> {
        match sender {
            Sender::H1 { mut sender, .. } => {
                sender.ready().await?;
                let request = build(false);
                let upload = request.body().as_upload();
                let response = sender.send_request(request).await?;
                let upgraded = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
                let lease = (!upgraded).then(|| Lease {
                    pool: self.clone(),
                    origin: origin.clone(),
                    sender,
                    upload,
                });
                Ok(response.map(|incoming| ResponseBody::new(incoming, lease)))
            }
            Sender::H2 {
                mut sender, place, ..
            } => {
                sender.ready().await?;
                let response = sender.send_request(build(true)).await?;
                Ok(response.map(|incoming| ResponseBody::multiplexed(incoming, place)))
            }
        }
    }

    fn take(&self, origin: &Origin, upgrade: bool) -> Option<Sender> {
        let mut origins = self.origins();
        let kept = origins.get_mut(origin)?;
        if !upgrade {
            kept.h2.retain(|h2| !h2.sender.is_closed());
            if let Some(h2) = kept.h2.iter().find(|h2| h2.load.has_room()) {
                return Some(h2.take(true));
            }
        }
        let now = Instant::now();
        while let Some((since, sender)) = kept.h1.pop() {
            if now.duration_since(since) > IDLE {
                // Older ones lie below.
                kept.h1.clear();
                return None;
            }
            if !sender.is_closed() {
                return Some(Sender::H1 { sender, kept: true });
            }
        }
        None
    }

    async fn connect(
        &self,
        origin: &Origin,
        base: &Uri,
        upgrade: bool,
        timeout: Duration,
    ) -> Result<Sender, SendError> {
        let connecting = async {
            let (io, h2) = self
                .0
                .connector
                .connect(base.clone(), upgrade)
                .await
                .map_err(SendError::Connect)?;
            self.handshake(origin, io, h2).await
        };
        tokio::time::timeout(timeout, connecting)
            .await
            .unwrap_or(Err(SendError::ConnectTimeout(timeout)))
    }

    async fn handshake(
        &self,
        origin: &Origin,
        io: super::connect::Io,
        h2: bool,
    ) -> Result<Sender, SendError> {
        let failed =
            |error: hyper::Error| SendError::Connect(io::Error::other(Causes(&error).to_string()));
        if h2 {
            let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .adaptive_window(true)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .handshake(io)
                .await
                .map_err(failed)?;
            let load = Arc::new(Load {
                open: AtomicUsize::new(0),
                most: AtomicUsize::new(connection.current_max_send_streams()),
            });
            let told = Arc::clone(&load);
            // Its end shows on the calls that ran on it.
            tokio::spawn(std::future::poll_fn(move |cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                if ended.is_pending() {
                    let most = connection.current_max_send_streams();
                    told.most.store(most, Ordering::Relaxed);
                }
                ended.map(drop)
            }));
            let made = Multiplexed { sender, load };
            let taken = made.take(false);
            let mut origins = self.origins();
            origins.entry(origin.clone()).or_default().h2.push(made);
            return Ok(taken);
        }
        let (sender, connection) = http1::Builder::new().handshake(io).await.map_err(failed)?;
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(Sender::H1 {
            sender,
            kept: false,
        })
    }

    /// Drops connections that were idle too long. Called now and then by the worker.
    pub fn purge(&self) {
        let now = Instant::now();
        self.origins().retain(|_, kept| {
            kept.h1.retain(|(since, sender)| {
                now.duration_since(*since) <= IDLE && !sender.is_closed()
            });
            // Those beyond the first were for a burst.
            let mut first = true;
            kept.h2.retain(|h2| {
                let used = h2.load.open.load(Ordering::Relaxed) > 0;
                !h2.sender.is_closed() && (std::mem::take(&mut first) || used)
            });
            !kept.h2.is_empty() || !kept.h1.is_empty()
        });
    }

    /// Kept connections, of all origins.
    pub fn idle(&self) -> usize {
        self.origins().values().map(|kept| kept.h1.len()).sum()
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Origin, Kept>> {
        self.0
            .origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn died_idle(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let mut cause = std::error::Error::source(error);
        loop {
            let Some(error) = cause else { break false };
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                break is_unprocessed(error);
            }
            if let Some(io) = error.downcast_ref::<io::Error>() {
                break is_hang_up(io);
            }
            cause = error.source();
        }
    }
}

/// The peer says that it has not begun the stream (RFC 9113 §8.7), or is gone.
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let leaving = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    (error.is_remote() && (refused || leaving)) || error.get_io().is_some_and(is_hang_up)
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &self.idle()).finish()
    }
}

// === impl Origin ===

impl Origin {
    fn of(uri: &Uri) -> Result<Self, SendError> {
        let authority = uri.authority().cloned();
        let authority = authority
            .ok_or_else(|| SendError::Connect(io::Error::other("the base URL has no host")))?;
        Ok(Self {
            https: uri.scheme() == Some(&http::uri::Scheme::HTTPS),
            authority,
        })
    }
}

// === impl Sender ===

impl Sender {
    fn kept(&self) -> bool {
        match self {
            Self::H1 { kept, .. } | Self::H2 { kept, .. } => *kept,
        }
    }
}

// === impl Multiplexed ===

impl Multiplexed {
    /// A stream on it.
    fn take(&self, kept: bool) -> Sender {
        self.load.open.fetch_add(1, Ordering::Relaxed);
        Sender::H2 {
            sender: self.sender.clone(),
            place: StreamPlace(Arc::clone(&self.load)),
            kept,
        }
    }
}

impl Load {
    fn has_room(&self) -> bool {
        self.open.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for StreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamPlace")
    }
}

// === impl Lease ===

impl Lease {
    /// The response has been read: the connection may serve another call.
    pub(super) fn give_back(self) {
        // The next call would wait behind the rest of an upload.
        if self.sender.is_closed() || self.upload.as_ref().is_some_and(|u| !u.ended()) {
            return;
        }
        let mut origins = self.pool.origins();
        let kept = &mut origins.entry(self.origin.clone()).or_default().h1;
        if kept.len() < MAX_IDLE {
            kept.push((Instant::now(), self.sender));
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}
