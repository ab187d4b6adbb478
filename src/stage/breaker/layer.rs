//! The layer: asks the circuits, and tells them how it went.

use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready as ready_or_pending},
};

use futures_util::future::Either;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{Circuits, permit::Permit};
use crate::{
    call::{Attempt, Reply},
    error::Error,
};

/// Makes [`Breaker`]s over the circuits of the process.
#[derive(Clone, Debug)]
pub struct BreakerLayer(Arc<Circuits>);

/// One attempt in, one answer or failure out; refused while a circuit is open.
#[derive(Clone, Debug)]
pub struct Breaker<S> {
    inner: S,
    circuits: Arc<Circuits>,
}

pin_project! {
    /// An attempt under way. Dropped, it gives its permit back.
    #[derive(Debug)]
    pub struct Judged<F> {
        #[pin]
        inner: F,
        permit: Option<Permit>,
    }
}

// === impl BreakerLayer ===

impl BreakerLayer {
    /// Over `circuits`, which all workers share.
    pub fn new(circuits: Arc<Circuits>) -> Self {
        Self(circuits)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker {
            inner,
            circuits: Arc::clone(&self.0),
        }
    }
}

// === impl Breaker ===

impl<S> Service<Attempt> for Breaker<S>
where
    S: Service<Attempt, Response = Reply, Error = Error>,
{
    type Response = Reply;
    type Error = Error;
    type Future = Either<Ready<Result<Reply, Error>>, Judged<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        // Not in `poll_ready`: the target is unknown there, and who is ready may never call, with a probe in hand.
        match self.circuits.admit(&attempt) {
            Err(open) => Either::Left(ready(Err(open.into()))),
            Ok(permit) => Either::Right(Judged {
                inner: self.inner.call(attempt),
                permit: Some(permit),
            }),
        }
    }
}

// === impl Judged ===

impl<F> Future for Judged<F>
where
    F: Future<Output = Result<Reply, Error>>,
{
    type Output = Result<Reply, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready_or_pending!(this.inner.poll(cx));
        if let Some(permit) = this.permit.take() {
            match &mut answer {
                Ok(reply) => permit.answered(reply),
                Err(error) => permit.failed(error),
            }
        }
        Poll::Ready(answer)
    }
}
