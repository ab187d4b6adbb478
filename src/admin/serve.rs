//! The admin listener.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tower_http::{set_header::SetResponseHeaderLayer, timeout::TimeoutLayer};

use super::Status;
use crate::{
    app::{self, Gateway},
    config::Listen,
};

/// What the handlers see.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub(super) state: Arc<app::State>,
    pub(super) parts: tokio::sync::watch::Receiver<Arc<app::Parts>>,
}

/// A running admin listener; ends when dropped.
#[derive(Debug)]
pub struct AdminServer {
    address: Option<SocketAddr>,
    task: tokio::task::JoinHandle<()>,
}

// === impl AdminServer ===

impl AdminServer {
    /// Where it listens; `None` on a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the admin pages of `gateway` on `listen`. Must be called within a runtime.
///
/// # Errors
/// When it cannot bind.
pub async fn serve(gateway: &Gateway, listen: &Listen) -> io::Result<AdminServer> {
    let admin = Admin {
        state: Arc::clone(&gateway.state),
        parts: gateway.watch_parts(),
    };
    let app = router(admin);
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr().ok();
            let task = tokio::spawn(async move {
                let _ = axum::serve(listener, app).await;
            });
            Ok(AdminServer { address, task })
        }
        Listen::Unix(path) => {
            let listener = UnixListener::from_std(app::unix_listener(path)?)?;
            let task = tokio::spawn(async move {
                let _ = axum::serve(listener, app).await;
            });
            Ok(AdminServer {
                address: None,
                task,
            })
        }
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/limits", get(super::limits::limits))
        .route("/incident", get(super::incident::report))
        .route("/case", get(super::incident::case))
        .route("/explain", get(super::explain::explain))
        .route("/credit/topped-up", post(topped_up))
        .route("/", get(index))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(10),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        ))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    // What is a state and not an event is read when asked for.
    admin.state.circuits.refresh(tokio::time::Instant::now());
    admin.state.metrics.cache_bytes.set(
        admin
            .state
            .cache()
            .map_or(0, |c| i64::try_from(c.weighted_size()).unwrap_or(i64::MAX)),
    );
    let parts = Arc::clone(&admin.parts.borrow());
    let upstreams = parts.config.upstreams.iter().map(|u| &*u.name);
    let ongoing = admin.state.outages.ongoing();
    admin.state.metrics.outages(upstreams, &ongoing);
    let kind = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    ([kind], admin.state.metrics.text()).into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.state.is_draining() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "draining"})),
        )
            .into_response();
    }
    Json(json!({"status": "ready"})).into_response()
}

async fn status(State(admin): State<Admin>) -> Json<Status> {
    let parts = Arc::clone(&admin.parts.borrow());
    Json(Status::of(&admin.state, &parts))
}

#[derive(Debug, Deserialize)]
struct ToppedUp {
    upstream: Option<String>,
}

/// A page in a browser may post anywhere; it is told apart by its `Origin`.
async fn topped_up(
    State(admin): State<Admin>,
    Query(which): Query<ToppedUp>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::ORIGIN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let parts = Arc::clone(&admin.parts.borrow());
    if let Some(name) = which.upstream.as_deref()
        && let Err(unknown) = super::incident::has_upstream(&parts, name)
    {
        return (StatusCode::BAD_REQUEST, format!("{unknown}\n")).into_response();
    }
    let probing = admin.state.circuits.probe_now(which.upstream.as_deref());
    Json(json!({ "probing": probing })).into_response()
}

async fn index() -> Response {
    let page = "weir\n\n/status   upstreams, routes, circuits, outages, limits, quotas, failures, cache (JSON)\n/limits   what is known of the providers' limits, who waits, quotas (JSON)\n/explain  what went wrong in a call, and what to do (?id=wr_...&format=text)\n/incident report of recent failures (?since=2h&until=&upstream=&format=md|json)\n/case     one call that met failures, as noted (?id=)\n/metrics  Prometheus\n/readyz   503 while draining\n/healthz  200 while alive\n";
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], page).into_response()
}
