//! The layer: takes from the app's allowance, or refuses.

use std::{
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tower::{Layer, Service};

use super::{Quotas, quotas::Taken};
use crate::{
    call::{Call, End, Reply, Watch},
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

/// One of the app's concurrent calls, until the end of the body.
struct Held(Taken);

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

impl<S> Service<Arc<Call>> for Quota<S>
where
    S: Service<Arc<Call>, Response = Reply, Error = Error, Future: Send + 'static>,
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
        match allowance.take(call.envelope.estimate_tokens()) {
            Err(exceeded) => Either::Right(Box::pin(ready(Err(exceeded.into())))),
            Ok(None) => Either::Left(self.inner.call(call)),
            Ok(place) => {
                let answer = self.inner.call(call);
                // Dropped with the future or with the body, whichever comes last.
                let held = Held(place);
                Either::Right(Box::pin(async move {
                    let mut reply = answer.await?;
                    reply.body.on_end(held, None);
                    Ok(reply)
                }))
            }
        }
    }
}

// === impl Held ===

impl Watch for Held {
    fn end(&mut self, _: &End) {
        self.0 = None;
    }
}
