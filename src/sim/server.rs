//! The accept loop, and the handle of a simulator that runs.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{Extension, Router, body::Body};
use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, service_fn as tower_service_fn};

use super::{
    Settings,
    account::Account,
    conn::{Conn, Tap},
    control::Control,
    fault::Faults,
    http_control,
    journal::Journal,
    serve,
    world::World,
};

/// The simulated provider.
#[derive(Debug)]
pub struct Simulator;

/// A simulator that runs; dropped, it stops.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    control: Control,
    stop: CancellationToken,
    acceptor: Option<JoinHandle<()>>,
    connections: TaskTracker,
}

// === impl Simulator ===

impl Simulator {
    /// Binds and serves on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound, or the scenario holds a fault that cannot be (`InvalidInput`).
    #[expect(
        clippy::unused_async,
        reason = "must be called inside a runtime; async makes that plain"
    )]
    pub async fn start(settings: Settings) -> io::Result<Running> {
        let socket = if settings.listen.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(settings.listen)?;
        // Hundreds of clients may connect in the same millisecond.
        let listener = socket.listen(4096)?;
        let addr = listener.local_addr()?;
        let world = Arc::new(World {
            seed: settings.seed,
            name: settings.name,
            any_model: settings.any_model,
            extra_models: settings.models,
            enforce_context: settings.enforce_context,
            account: Arc::new(Account::new(
                settings.keys,
                settings.limits,
                settings.balance_usd,
                settings.seed,
            )),
            spending: settings.spending,
            faults: Faults::new(settings.seed),
            journal: Journal::new(settings.log_capacity),
            stores: super::api::Stores::default(),
        });
        let control = Control::new(Arc::clone(&world));
        if let Some(scenario) = &settings.scenario {
            control
                .play(scenario)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let acceptor = tokio::spawn(accept(listener, world, stop.clone(), connections.clone()));
        Ok(Running {
            addr,
            control,
            stop,
            acceptor: Some(acceptor),
            connections,
        })
    }
}

// === impl Running ===

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What goes into `OPENAI_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The handle for faults, account, log and counters.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops listening, ends every connection, and waits until they are gone.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(acceptor) = self.acceptor.take() {
            // A panic in the loop is of no interest to one who ends it.
            let _ = acceptor.await;
        }
        self.connections.close();
        self.connections.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    world: Arc<World>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let fallback_world = Arc::clone(&world);
    let api = tower_service_fn(move |mut request: Request<Body>| {
        let world = Arc::clone(&fallback_world);
        let conn = request
            .extensions_mut()
            .remove::<Conn>()
            .unwrap_or_default();
        async move { Ok::<_, Infallible>(serve::handle(world, conn, request).await) }
    });
    let router: Router = http_control::routes()
        .layer(Extension(Arc::clone(&world)))
        .fallback_service(api);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(
                    stream,
                    router.clone(),
                    Arc::clone(&world),
                    stop.clone(),
                ));
            }
            // Out of descriptors, or a peer gone before it was accepted: neither ends the server.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

async fn connection(stream: TcpStream, router: Router, world: Arc<World>, stop: CancellationToken) {
    world.journal.connections.fetch_add(1, Relaxed);
    world.journal.open_connections.fetch_add(1, Relaxed);
    // Events are small and must leave at once.
    let _ = stream.set_nodelay(true);
    let conn = Conn::default();
    let name = HeaderValue::from_str(&world.name).ok();
    let handle = conn.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut router, conn, name) = (router.clone(), handle.clone(), name.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(conn.clone());
            let mut response: Response<Body> = match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if conn.is_doomed() {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            if let Some(name) = name {
                response.headers_mut().insert("x-sim-name", name);
            }
            Ok(response)
        }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).pipeline_flush(true);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(10_000);
    let io = TokioIo::new(Tap::new(stream, conn));
    tokio::select! {
        // However a connection ends, the journal knows it from the guards of its calls.
        _ = server.serve_connection_with_upgrades(io, service) => {}
        () = stop.cancelled() => {}
    }
    world.journal.open_connections.fetch_sub(1, Relaxed);
}
