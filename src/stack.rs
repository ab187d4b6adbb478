//! THE chain: every layer in the order in which a request meets it.
//!
//! It is built once per worker and configuration. What the layers share over all workers is in
//! [`Parts`]; the pool is the worker's own.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    app::Parts,
    call::ReplyBody,
    stage::{
        admit::AdmitLayer, breaker::BreakerLayer, cache::CacheLayer, dispatch::Dispatch,
        ingress::IngressLayer, limit::LimitLayer, quota::QuotaLayer, record::RecordLayer,
        retry::RetryLayer, route::RouteLayer,
    },
    upstream::Pool,
};

/// The whole chain.
pub type Stack = BoxCloneSyncService<Request<Incoming>, Response<ReplyBody>, Infallible>;

/// The chain over `parts`, calling out through `pool`.
pub fn stack(parts: &Parts, pool: Pool) -> Stack {
    ServiceBuilder::new()
        // The two seams keep type names short; nothing else is boxed but futures.
        .layer(BoxCloneSyncService::layer())
        // http::Request → Inbound. One decode; bounds; every reply and error is encoded here.
        .layer(IngressLayer::new(
            parts.ingress.clone(),
            parts.gate.clone(),
            parts.recorder.clone(),
        ))
        // Inbound → Call. Cheap, and nothing shared is touched for a stranger.
        .layer(AdmitLayer::new(parts.admit.clone()))
        // Sees every outcome, hits and refusals too.
        .layer(RecordLayer::new(parts.recorder.clone()))
        // A hit costs no upstream, no attempt and none of the app's allowance.
        .option_layer(
            parts
                .cache
                .clone()
                .map(|(store, params)| CacheLayer::new(store, params)),
        )
        // Refuse before any work is queued.
        .layer(QuotaLayer::new(parts.quotas.clone()))
        // Call → Plan: at least one target.
        .layer(RouteLayer::new(parts.router.clone()))
        // Plan → Attempt × n. The one loop: same target again, next target, or stop.
        .layer(RetryLayer::new(parts.retry.clone()))
        .layer(BoxCloneSyncService::layer())
        // An open circuit costs no upstream call.
        .layer(BreakerLayer::new(parts.circuits.clone()))
        // Waits for the provider's limits. Inside the breaker: who is refused there must not wait here.
        .layer(LimitLayer::new(parts.limits.clone()))
        // Attempt → Reply. The leaf.
        .service(Dispatch::new(&parts.config, pool, parts.witness.clone()))
}
