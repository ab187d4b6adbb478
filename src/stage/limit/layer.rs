//! The layer: waits for the limits, then goes on.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tower::{Layer, Service};

use super::{
    Limits, Refused,
    line::{Ask, Denied},
};
use crate::{
    call::{Attempt, End, Reply, Watch},
    config,
    error::Error,
    stage::Answering,
};

/// Makes [`Limiter`]s over the limits of the process.
#[derive(Clone, Debug)]
pub struct LimitLayer(Arc<Limits>);

/// Holds attempts back until their target's limits have room.
#[derive(Clone, Debug)]
pub struct Limiter<S> {
    inner: S,
    limits: Arc<Limits>,
}

/// A place among the upstream's calls, until the end of the body.
struct Held {
    permit: Option<OwnedSemaphorePermit>,
}

// === impl LimitLayer ===

impl LimitLayer {
    /// Over `limits`, which all workers share.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self(limits)
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limiter<S>;

    fn layer(&self, inner: S) -> Limiter<S> {
        Limiter {
            inner,
            limits: Arc::clone(&self.0),
        }
    }
}

// === impl Limiter ===

impl<S> Service<Attempt> for Limiter<S>
where
    S: Service<Attempt, Response = Reply, Error = Error, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
{
    type Response = Reply;
    type Error = Error;
    type Future = Either<S::Future, Answering>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        if attempt.target.upstream.limits == config::Limits::default() {
            return Either::Left(self.inner.call(attempt));
        }
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let limits = Arc::clone(&self.limits);
        Either::Right(Box::pin(async move {
            let permit = pass(&limits, &attempt).await?;
            let mut reply = inner.call(attempt).await?;
            if permit.is_some() {
                reply.body.on_end(Held { permit }, None);
            }
            Ok(reply)
        }))
    }
}

async fn pass(limits: &Limits, attempt: &Attempt) -> Result<Option<OwnedSemaphorePermit>, Refused> {
    let (call, target) = (&attempt.call, &attempt.target);
    let began = Instant::now();
    let until = began + attempt.max_wait.min(call.deadline.left(began));
    let ask = Ask {
        tokens: call.envelope.estimate_tokens(),
        until,
    };
    let (line, places) = (limits.line(target), limits.places(target));
    let passed = match (&line, &places) {
        (Some(line), places) => line.pass(ask, places.as_deref()).await,
        (None, Some(places)) => places.take(until).await.map(Some),
        (None, None) => Ok(None),
    };
    let waited = began.elapsed();
    if !waited.is_zero() {
        call.meter.wait(waited);
        limits.waited(target, waited);
    }
    passed.map_err(|Denied { class, retry_after }| Refused {
        target: Arc::clone(target),
        class,
        retry_after,
    })
}

// === impl Held ===

impl Watch for Held {
    fn end(&mut self, _: &End) {
        self.permit = None;
    }
}
