//! The layer.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use super::{NoTarget, Router, router::Planned};
use crate::{
    call::{Call, Payload, Plan, Reply, Target},
    config::UpstreamKey,
    dialect::Endpoint,
    error::Error,
    stage::Answering,
};

#[derive(Clone, Debug)]
pub struct RouteLayer(Arc<Router>);

#[derive(Clone, Debug)]
pub struct Routing<S> {
    inner: S,
    router: Arc<Router>,
}

// === impl RouteLayer ===

impl RouteLayer {
    pub fn new(router: Arc<Router>) -> Self {
        Self(router)
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Routing<S>;

    fn layer(&self, inner: S) -> Routing<S> {
        Routing {
            inner,
            router: Arc::clone(&self.0),
        }
    }
}

// === impl Routing ===

impl<S> Service<Arc<Call>> for Routing<S>
where
    S: Service<Plan, Response = Reply, Error = Error, Future = Answering>,
{
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Arc<Call>) -> Answering {
        match plan(&self.router, call) {
            Ok(plan) => self.inner.call(plan),
            Err(none) => Box::pin(std::future::ready(Err(none.into()))),
        }
    }
}

fn plan(router: &Router, call: Arc<Call>) -> Result<Plan, NoTarget> {
    let model = call.envelope.model.as_deref().unwrap_or_default();
    let Planned { route, targets } = router.plan(model)?;
    let fits = |target: &Arc<Target>| may_serve(target, &call);
    let pinned = is_pinned(&call);
    let targets = if !pinned && targets.iter().all(fits) {
        targets
    } else {
        targets
            .iter()
            .filter(|target| fits(target))
            .take(if pinned { 1 } else { usize::MAX })
            .cloned()
            .collect()
    };
    let name = Arc::clone(&route.name);
    Plan::new(call, route, targets).ok_or_else(|| NoTarget::NotForStrangers {
        route: name.to_string(),
    })
}

/// Whether this caller's call may go there at all.
fn may_serve(target: &Target, call: &Call) -> bool {
    match target.upstream.key {
        UpstreamKey::Held(_) | UpstreamKey::None => call.credential.may_use_held,
        // An app's key of ours is no key for the provider.
        UpstreamKey::Passthrough => {
            call.credential.forward.is_some() || call.credential.may_use_held
        }
    }
}

/// Whether the call means something at its first target only: ids of one account, state kept there.
fn is_pinned(call: &Call) -> bool {
    let e = &call.envelope;
    call.directives.no_fallback
        || e.stateful
        || e.background
        || call.upgrade.is_some()
        || !(call.endpoint.has_model() || call.endpoint == Endpoint::Models)
        || matches!(&call.payload, Payload::Upload(upload) if upload.begun())
}
