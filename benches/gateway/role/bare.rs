//! The bare proxy: what any gateway built on hyper has to spend, and nothing more.
//!
//! One current-thread runtime per core, each with its own `SO_REUSEPORT` listener and its own
//! pool of upstream connections. It changes the target and drops `connection`; there is no
//! routing, no timeout, no retry, no metric, no log. `/healthz` it answers itself.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::serve;
use crate::Result;

/// Where it listens and what it stands before.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Spec {
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

/// One worker's upstream and its idle connections.
struct Pool {
    upstream: SocketAddr,
    host: HeaderValue,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

/// The upstream's body; gives its connection back when it has been read to its end.
struct Proxied {
    /// Nothing for a reply of the proxy's own.
    inner: Option<Incoming>,
    lent: Option<(SendRequest<Incoming>, Rc<Pool>)>,
}

/// Serves until standard input closes.
pub(crate) fn run(spec: &Spec) -> Result<()> {
    serve::exit_with_parent();
    let cores = std::thread::available_parallelism()?.get();
    let workers: Vec<_> = (0..cores)
        .map(|_| {
            let (listen, upstream) = (spec.listen, spec.upstream);
            std::thread::spawn(move || worker(listen, upstream))
        })
        .collect();
    for worker in workers {
        worker
            .join()
            .map_err(|_| "a worker of the bare proxy panicked")??;
    }
    Ok(())
}

fn worker(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let pool = Rc::new(Pool {
        upstream,
        host: HeaderValue::try_from(upstream.to_string())?,
        idle: RefCell::default(),
    });
    tokio::task::LocalSet::new().block_on(&runtime, async {
        serve::accept(serve::listen(listen)?, |stream| {
            let pool = Rc::clone(&pool);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| forward(request, &pool));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        })
        .await;
        Ok(())
    })
}

async fn forward(mut request: Request<Incoming>, pool: &Rc<Pool>) -> Result<Response<Proxied>> {
    if request.uri().path() == "/healthz" {
        return Ok(Response::new(Proxied {
            inner: None,
            lent: None,
        }));
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().insert(HOST, pool.host.clone());
    let mut sender = pool.take().await?;
    match sender.send_request(request).await {
        Ok(response) => Ok(response.map(|inner| Proxied {
            inner: Some(inner),
            lent: Some((sender, Rc::clone(pool))),
        })),
        Err(_) => {
            let mut response = Response::new(Proxied {
                inner: None,
                lent: None,
            });
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(response)
        }
    }
}

// === impl Pool ===

impl Pool {
    async fn take(&self) -> Result<SendRequest<Incoming>> {
        loop {
            // Apart from the `await`: the pool is not to stay borrowed over it.
            let idle = self.idle.borrow_mut().pop();
            let Some(mut sender) = idle else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }
}

// === impl Proxied ===

impl Proxied {
    fn give_back(&mut self) {
        if let Some((sender, pool)) = self.lent.take() {
            pool.idle.borrow_mut().push(sender);
        }
    }
}

impl Body for Proxied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        if frame.is_none() {
            this.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        // hyper does not ask a body of known length for its end. One dropped half read takes
        // its connection along: what is left on it is of no use to the next call.
        if self.is_end_stream() {
            self.give_back();
        }
    }
}
