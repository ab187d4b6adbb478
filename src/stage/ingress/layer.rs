//! The outermost layer.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{Refused, body, path, tunnel};
use crate::{
    call::{Inbound, Reply, ReplyBody, RequestId, Upgrade, Watch},
    error::Error,
    redact,
    stage::record::Recorder,
};

/// Resolved from `[server]`.
#[derive(Clone, Debug)]
pub struct Params {
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    pub max_inflight: u32,
}

/// How many calls are in flight, over all workers and reloads.
#[derive(Debug, Default)]
pub struct Gate(AtomicU32);

/// A place in the gate.
#[derive(Debug)]
struct Place(Arc<Gate>);

#[derive(Clone, Debug)]
pub struct IngressLayer {
    params: Params,
    gate: Arc<Gate>,
    recorder: Arc<Recorder>,
}

#[derive(Clone, Debug)]
pub struct Ingress<S> {
    inner: S,
    layer: IngressLayer,
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>>;

// === impl Gate ===

impl Gate {
    /// Calls in flight now.
    pub fn inflight(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<Self>, limit: u32) -> Result<Place, Refused> {
        if self.0.fetch_add(1, Ordering::Relaxed) < limit {
            return Ok(Place(Arc::clone(self)));
        }
        self.0.fetch_sub(1, Ordering::Relaxed);
        Err(Refused::Full { limit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch for Option<Place> {
    fn end(&mut self, _: &crate::call::End) {
        *self = None;
    }
}

// === impl IngressLayer ===

impl IngressLayer {
    pub fn new(params: Params, gate: Arc<Gate>, recorder: Arc<Recorder>) -> Self {
        Self {
            params,
            gate,
            recorder,
        }
    }
}

impl<S> Layer<S> for IngressLayer {
    type Service = Ingress<S>;

    fn layer(&self, inner: S) -> Ingress<S> {
        Ingress {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl Ingress ===

impl<S> Service<Request<Incoming>> for Ingress<S>
where
    S: Service<Inbound, Response = Reply, Error = Error, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Responding {
        if request.uri().path() == "/healthz" {
            return Box::pin(std::future::ready(Ok(health())));
        }
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move { Ok(layer.answer(inner, request).await) })
    }
}

impl IngressLayer {
    async fn answer<S>(self, mut inner: S, request: Request<Incoming>) -> Response<ReplyBody>
    where
        S: Service<Inbound, Response = Reply, Error = Error, Future: Send>,
    {
        let id = RequestId::new();
        let refused = |error: Error| {
            self.recorder.refused(&error);
            let mut reply = error.reply();
            reply.headers.insert("x-weir-request-id", id.header());
            reply
                .headers
                .insert("x-weir-class", HeaderValue::from_static(error.class()));
            respond(reply, None)
        };
        let place = match self.gate.enter(self.params.max_inflight) {
            Ok(place) => place,
            Err(full) => return refused(full.into()),
        };
        let inbound = match self.inbound(id, request).await {
            Ok(inbound) => inbound,
            Err(error) => return refused(error.into()),
        };
        let upgrade = inbound.upgrade.clone();
        let answered = match std::future::poll_fn(|cx| inner.poll_ready(cx)).await {
            Ok(()) => inner.call(inbound).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(mut reply) => {
                reply.body.on_end(Some(place), None);
                respond(reply, upgrade)
            }
            Err(error) => refused(error),
        }
    }

    async fn inbound(
        &self,
        id: RequestId,
        mut request: Request<Incoming>,
    ) -> Result<Inbound, Refused> {
        let arrived = Instant::now();
        let path = request.uri().path_and_query().and_then(path::canonical);
        let path = path.ok_or_else(|| {
            Refused::NotFound(
                redact::name(request.uri().path())
                    .chars()
                    .take(200)
                    .collect(),
            )
        })?;
        let upgrade = wants_upgrade(request.headers())
            .then(|| Upgrade::new(hyper::upgrade::on(&mut request)));
        let (mut parts, body) = request.into_parts();
        let bounds = body::Bounds {
            max_bytes: self.params.max_body_bytes,
            timeout: self.params.body_timeout,
        };
        let payload = body::read(&mut parts.headers, body, bounds).await?;
        Ok(Inbound {
            id,
            arrived,
            ready: Instant::now(),
            method: parts.method,
            path,
            headers: parts.headers,
            payload,
            upgrade,
        })
    }
}

/// Whether a WebSocket is asked for. Other offers are ignored, as RFC 9110 allows: Java's own client offers `h2c` with
/// its first request to any plain http address.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, wanted: &[u8]| {
        headers.get_all(name).iter().any(|value| {
            value
                .as_bytes()
                .split(|b| *b == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(wanted))
        })
    };
    has(header::UPGRADE, b"websocket") && has(header::CONNECTION, b"upgrade")
}

fn respond(reply: Reply, caller: Option<Upgrade>) -> Response<ReplyBody> {
    let Reply {
        status,
        headers,
        body,
        upgrade,
        ..
    } = reply;
    if status == StatusCode::SWITCHING_PROTOCOLS
        && let (Some(provider), Some(caller)) = (upgrade, caller.and_then(|c| c.take()))
    {
        tokio::spawn(tunnel::join(caller, provider, body));
        return head(status, headers, ReplyBody::whole(bytes::Bytes::new()));
    }
    head(status, headers, body)
}

fn head(status: StatusCode, headers: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Alive: this worker answers. Readiness is the admin port's.
fn health() -> Response<ReplyBody> {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    head(
        StatusCode::OK,
        headers,
        ReplyBody::whole(&b"{\"status\":\"ok\"}"[..]),
    )
}
