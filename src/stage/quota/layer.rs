//! The layer: takes from the app's allowance, waits for it, or refuses.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service};

use super::{
    Exceeded, Quotas,
    allowance::{Place, Taken, Turn},
    books::Ask,
};
use crate::{
    call::{Call, End, Reply, Watch},
    config::{OnLimit, Priority},
    error::Error,
    stage::Answering,
};

/// Makes [`Quota`]s over the allowances of one configuration.
#[derive(Clone, Debug)]
pub struct QuotaLayer(Arc<Quotas>);

/// Lets an app's calls through as far as its allowance goes.
#[derive(Clone, Debug)]
pub struct Quota<S> {
    inner: S,
    quotas: Arc<Quotas>,
}

/// What a call under way has taken. Dropped (the caller left before the answer's head), it is kept as it was reserved if a
/// provider was asked, and given back if none was.
struct Flight {
    taken: Option<Taken>,
    call: Arc<Call>,
}

/// What it has taken, until the end of the body.
struct Held(Option<Taken>);

/// A call's time in the line; booked whatever ends it.
struct Waiting<'a> {
    began: Instant,
    call: &'a Call,
    quotas: &'a Quotas,
}

// === impl QuotaLayer ===

impl QuotaLayer {
    /// Over `quotas`, which all workers share.
    pub fn new(quotas: Arc<Quotas>) -> Self {
        Self(quotas)
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = Quota<S>;

    fn layer(&self, inner: S) -> Quota<S> {
        Quota {
            inner,
            quotas: Arc::clone(&self.0),
        }
    }
}

// === impl Quota ===

#[cfg(test)]
impl<S> Quota<S> {
    pub(super) fn quotas(&self) -> &Quotas {
        &self.quotas
    }
}

impl<S> Service<Arc<Call>> for Quota<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future: Send + 'static>
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

    fn call(&mut self, call: Arc<Call>) -> Self::Future {
        let Some(allowance) = self.quotas.of(&call.app) else {
            return Either::Left(self.inner.call(call));
        };
        let ask = Ask {
            tokens: call.envelope.estimate_tokens(),
            batch: call.priority() == Priority::Batch,
        };
        let entered = match call.app.on_limit {
            OnLimit::Reject => allowance.take(&call.app, ask).map(Ok),
            OnLimit::Wait => allowance.enter(&call.app, ask, patience(&call, &self.quotas)),
        };
        match entered {
            Err(exceeded) => Either::Right(Box::pin(ready(Err(exceeded.into())))),
            Ok(Ok(taken)) => {
                let flight = Flight::new(taken, &call);
                let answer = self.inner.call(call);
                Either::Right(Box::pin(async move { flight.lands(answer.await) }))
            }
            Ok(Err(place)) => {
                let clone = self.inner.clone();
                let mut inner = std::mem::replace(&mut self.inner, clone);
                let quotas = Arc::clone(&self.quotas);
                Either::Right(Box::pin(async move {
                    let taken = wait(place, &call, &quotas).await?;
                    let flight = Flight::new(taken, &call);
                    flight.lands(inner.call(call).await)
                }))
            }
        }
    }
}

/// How long a call may wait still.
fn patience(call: &Call, quotas: &Quotas) -> Duration {
    let left = quotas.max_wait.saturating_sub(call.meter.waited());
    left.min(call.deadline.left(Instant::now()))
}

/// Waits for the call's turn.
///
/// # Cancel safety
/// Dropped before it is done, it has taken nothing and its place in the line is gone.
async fn wait(place: Place, call: &Call, quotas: &Quotas) -> Result<Taken, Exceeded> {
    let waiting = Waiting {
        began: Instant::now(),
        call,
        quotas,
    };
    let until = waiting.began + patience(call, quotas);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match place.turn(&call.app, left)? {
            Turn::Taken(taken) => return Ok(taken),
            Turn::Wait(time) => {
                let time = time.map_or(left, |time| time.min(left));
                let _ = timeout(time, place.wake.notified()).await;
            }
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.began.elapsed();
        if !waited.is_zero() {
            self.call.meter.wait(waited);
            self.quotas.waited(&self.call.app, waited);
        }
    }
}

// === impl Flight ===

impl Flight {
    fn new(taken: Taken, call: &Arc<Call>) -> Self {
        Self {
            taken: Some(taken),
            call: Arc::clone(call),
        }
    }

    fn lands(mut self, answer: Result<Reply, Error>) -> Result<Reply, Error> {
        let taken = self.taken.take();
        match answer {
            Ok(mut reply) => {
                let usage = reply.learnt.usage;
                reply.body.on_end(Held(taken), usage);
                Ok(reply)
            }
            Err(error) => {
                if let Some(taken) = taken {
                    taken.refund();
                }
                Err(error)
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take()
            && self.call.meter.attempts() == 0
        {
            taken.refund();
        }
    }
}

// === impl Held ===

impl Watch for Held {
    fn end(&mut self, end: &End) {
        if let Some(taken) = self.0.take()
            && let Some(usage) = end.usage
        {
            taken.settle(usage.total());
        }
    }
}
