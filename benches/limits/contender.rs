//! Who is compared: the same chain, with another limiter (or none) between `retry` and the provider.

use std::sync::Arc;

use tower::{Layer, util::BoxCloneSyncService};
use weir::{
    call::{Plan, Reply},
    error::Error,
    stage::{
        breaker::Circuits,
        limit::{LimitLayer, Limits},
        retry::{RetryLayer, Shared},
    },
    telemetry::Metrics,
};

use crate::{baseline::Fixed, calls::Gateway, hidden::Hidden, world::World};

/// A call in, its answer out.
pub(crate) type Chain = BoxCloneSyncService<Plan, Reply, Error>;

/// What holds calls back.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Contender {
    /// Nothing: calls go out, refusals are repeated after the told wait
    None,
    /// The true limits, typed in
    Fixed,
    /// weir's own, with nothing configured
    Weir,
}

// === impl Contender ===

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Fixed, Self::Weir];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "no limiter",
            Self::Fixed => "fixed",
            Self::Weir => "weir",
        }
    }

    /// The chain from `retry` inwards. `limits` are weir's, whoever uses them.
    pub(crate) fn chain(
        self,
        gateway: &Gateway,
        world: &World,
        hidden: &Hidden,
        limits: &Arc<Limits>,
    ) -> Chain {
        let circuits = Arc::new(Circuits::new(gateway.config.breaker.clone()));
        let metrics = Arc::new(Metrics::new());
        let retry = Shared::new(
            gateway.config.retry.clone(),
            circuits,
            Arc::clone(limits),
            metrics,
        );
        let retry = RetryLayer::new(Arc::new(retry));
        match self {
            Self::None => Chain::new(retry.layer(world.clone())),
            Self::Fixed => Chain::new(retry.layer(Fixed::new(world.clone(), hidden))),
            Self::Weir => {
                let limit = LimitLayer::new(Arc::clone(limits));
                Chain::new(retry.layer(limit.layer(world.clone())))
            }
        }
    }
}
