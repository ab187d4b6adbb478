//! The provider's limits, kept on our side.

use std::{sync::Arc, time::Duration};

use crate::{call::Target, triage::Class};

/// The limit cannot be met within the time the call has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("weir holds this call back: {} of `{}` would be exceeded", class, target.upstream.name)]
pub struct Refused {
    pub target: Arc<Target>,
    /// `rate_limited_*`, or `request_too_large_for_limit`, which no waiting cures.
    pub class: Class,
    /// When it would fit; `None`: never.
    pub retry_after: Option<Duration>,
}

// === impl Refused ===

impl Refused {
    /// For `x-weir-advice`.
    pub fn advice(&self) -> &'static str {
        match self.retry_after {
            Some(_) => "weir's own limit for this upstream is reached; come back after the told time, or raise the limit in [[upstream]] limits.",
            None => "This request alone is larger than the configured limit; shrink it or raise the limit in [[upstream]] limits.",
        }
    }
}

#[derive(Debug, Default)] pub struct Limits;
#[derive(Clone, Debug)] pub struct LimitLayer; impl LimitLayer { pub fn new(_: Arc<Limits>) -> Self { Self } }
impl<S> tower::Layer<S> for LimitLayer { type Service = S; fn layer(&self, s: S) -> S { s } }
