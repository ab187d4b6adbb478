//! The layer: waits for the limits, then goes on; what the answer tells goes back to them.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower::{Layer, Service};

use super::{Limits, Refused};
use crate::{
    call::{Attempt, Reply},
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
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let limits = Arc::clone(&self.limits);
        Box::pin(async move {
            let (call, target) = (&attempt.call, &attempt.target);
            let now = Instant::now();
            let until = now + attempt.max_wait.min(call.deadline.left(now));
            let reservation = limits
                .admit(call, target, until, attempt.last)
                .await
                .map_err(|denied| Refused::new(Arc::clone(target), denied))?;
            match inner.call(attempt).await {
                Ok(mut reply) => {
                    reservation.answered(&mut reply);
                    Ok(reply)
                }
                Err(error) => {
                    reservation.failed(&error);
                    Err(error)
                }
            }
        })
    }
}
