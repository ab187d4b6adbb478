//! One core: a current-thread runtime, a listener, a pool, and the connections it accepted.
//!
//! A connection's task, its calls and their upstream connections all run on this thread: no wake-up
//! crosses a core, which is a third of what a call costs.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::{
    Parts, Phase,
    listen::{Shared, Source, Stream},
};
use crate::{
    call::ReplyBody,
    config,
    stack::{Stack, stack},
    stage::ingress::Gate,
    upstream::{Connector, Pool},
};

/// How often idle upstream connections are looked through.
const PURGE: Duration = Duration::from_secs(15);
/// Pause after a failed accept (usually: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Streams of one HTTP/2 client connection.
const H2_STREAMS: u32 = 1000;

/// What a worker thread is started with.
pub(super) struct Worker {
    pub(super) source: Source,
    pub(super) connector: Connector,
    pub(super) parts: watch::Receiver<Arc<Parts>>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) gate: Arc<Gate>,
}

/// What a worker's connections share.
#[derive(Clone)]
struct Serving {
    /// Replaced at a reload; read at the start of each request.
    stack: Arc<ArcSwap<Stack>>,
    http: auto::Builder<TokioExecutor>,
    tracker: TaskTracker,
    phase: watch::Receiver<Phase>,
    connections: Arc<Semaphore>,
}

/// hyper's view of the stack.
#[derive(Clone)]
struct Entrance(Arc<ArcSwap<Stack>>);

// === impl Worker ===

impl Worker {
    /// Serves until told to stop.
    pub(super) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => tracing::error!(%error, "A worker has no runtime; it serves nothing."),
        }
    }

    async fn serve(mut self) {
        let pool = Pool::new(self.connector.clone());
        let parts = Arc::clone(&self.parts.borrow_and_update());
        let serving = Serving {
            stack: Arc::new(ArcSwap::from_pointee(stack(&parts, pool.clone()))),
            http: http(&parts.config.server),
            tracker: TaskTracker::new(),
            phase: self.phase.clone(),
            connections: Arc::clone(&self.connections),
        };
        drop(parts);
        let housekeeping = tokio::spawn(housekeeping(
            self.parts.clone(),
            pool,
            Arc::clone(&serving.stack),
        ));
        accept(self.source, &serving).await;
        serving.tracker.close();
        let finished = async {
            serving.tracker.wait().await;
            // Upgraded connections have left their HTTP connection; they hold a place each.
            while self.gate.inflight() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = finished => {}
            _ = self.phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
        housekeeping.abort();
    }
}

/// New configurations and old connections.
async fn housekeeping(
    mut parts: watch::Receiver<Arc<Parts>>,
    pool: Pool,
    cell: Arc<ArcSwap<Stack>>,
) {
    let mut purge = tokio::time::interval(PURGE);
    purge.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = purge.tick() => pool.purge(),
            changed = parts.changed() => {
                if changed.is_err() {
                    return;
                }
                let new = Arc::clone(&parts.borrow_and_update());
                cell.store(Arc::new(stack(&new, pool.clone())));
            }
        }
    }
}

fn http(server: &config::Server) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(server.header_timeout)
        .max_buf_size(server.max_header_bytes.max(8 * 1024));
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(server.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(H2_STREAMS)
        .adaptive_window(true)
        .keep_alive_interval(Duration::from_secs(30));
    http
}

/// Accepts until the draining begins.
async fn accept(source: Source, serving: &Serving) {
    match source {
        Source::Own(listener) => match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => own(&listener, serving).await,
            Err(error) => tracing::error!(%error, "A worker's listener cannot be served."),
        },
        Source::Receives(from) => receive(from, serving).await,
        Source::Accepts { listener, to, from } => {
            let mut phase = serving.phase.clone();
            let handing = async {
                if let Err(error) = hand_out(listener, &to).await {
                    tracing::error!(%error, "The listener cannot be served.");
                }
            };
            tokio::select! {
                () = handing => {}
                () = receive(from, serving) => {}
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
            }
        }
    }
}

async fn own(listener: &tokio::net::TcpListener, serving: &Serving) {
    let mut phase = serving.phase.clone();
    let mut ended = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
    loop {
        let permit = tokio::select! {
            permit = serving.place() => permit,
            _ = &mut ended => break,
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serving.tcp(stream, permit),
                Err(error) => failed(&error).await,
            },
            _ = &mut ended => break,
        }
    }
    // Connections that the kernel has taken for us are ours to serve.
    while let Some(Ok((stream, _))) = futures_util::FutureExt::now_or_never(listener.accept()) {
        let Some(permit) = futures_util::FutureExt::now_or_never(serving.place()) else {
            return;
        };
        serving.tcp(stream, permit);
    }
}

async fn receive(mut from: mpsc::Receiver<Stream>, serving: &Serving) {
    let mut phase = serving.phase.clone();
    let mut ended = pin!(phase.wait_for(|phase| *phase != Phase::Serving));
    loop {
        let stream = tokio::select! {
            stream = from.recv() => stream,
            _ = &mut ended => return,
        };
        let Some(stream) = stream else { return };
        let permit = serving.place().await;
        let taken = match stream {
            Stream::Tcp(stream) => {
                tokio::net::TcpStream::from_std(stream).map(|s| serving.tcp(s, permit))
            }
            Stream::Unix(stream) => {
                tokio::net::UnixStream::from_std(stream).map(|s| serving.spawn(s, permit))
            }
        };
        if let Err(error) = taken {
            tracing::debug!(%error, "A connection was lost on its way to a worker.");
        }
    }
}

/// Hands connections out in turn.
async fn hand_out(listener: Shared, to: &[mpsc::Sender<Stream>]) -> io::Result<()> {
    let mut turn = to.iter().cycle();
    match listener {
        Shared::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => hand(&mut turn, Stream::Tcp(stream.into_std()?)).await,
                    Err(error) => failed(&error).await,
                }
            }
        }
        Shared::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => hand(&mut turn, Stream::Unix(stream.into_std()?)).await,
                    Err(error) => failed(&error).await,
                }
            }
        }
    }
}

async fn hand<'a>(turn: &mut impl Iterator<Item = &'a mpsc::Sender<Stream>>, stream: Stream) {
    if let Some(worker) = turn.next() {
        // The worker has ended: so does the process.
        let _ = worker.send(stream).await;
    }
}

async fn failed(error: &io::Error) {
    // The client went away in between: nothing is wrong here.
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return;
    }
    tracing::warn!(%error, "Accepting a connection failed; are there enough file descriptors (ulimit -n)?");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

// === impl Serving ===

impl Serving {
    async fn place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.connections)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    fn tcp(&self, stream: tokio::net::TcpStream, permit: OwnedSemaphorePermit) {
        // Not an error worth a connection.
        let _ = stream.set_nodelay(true);
        self.spawn(stream, permit);
    }

    fn spawn<I>(&self, io: I, permit: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let http = self.http.clone();
        let entrance = Entrance(Arc::clone(&self.stack));
        let mut phase = self.phase.clone();
        self.tracker.spawn(async move {
            let _permit = permit;
            let mut connection =
                pin!(http.serve_connection_with_upgrades(TokioIo::new(io), entrance));
            let ended = tokio::select! {
                ended = connection.as_mut() => Some(ended),
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => None,
            };
            let ended = match ended {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::trace!(%error, "A client connection ended.");
            }
        });
    }
}

// === impl Entrance ===

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Ingress is always ready; what is not waits or refuses further in.
        let mut stack = Stack::clone(&self.0.load());
        stack.call(request)
    }
}
