//! The app's own allowance.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The app has used up its allowance. Nobody was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the app `{app}` has reached its own quota in weir ({kind}: {limit}); this is not a limit of the provider's")]
pub struct Exceeded {
    pub app: Arc<str>,
    pub kind: Kind,
    pub limit: NonZeroU32,
    /// When a place is free; `None` for concurrency, which nobody can know, and for a request that never fits.
    pub retry_after: Option<Duration>,
}

/// Which allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    RequestsPerMinute,
    TokensPerMinute,
    Concurrency,
}

impl std::fmt::Display for Kind { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("x") } }
impl Exceeded { pub fn code(&self) -> &'static str {"x"} pub fn advice(&self) -> &'static str {"x"} }
#[derive(Debug, Default)] pub struct Quotas;
impl Quotas { pub fn new(_: &[Arc<crate::config::App>]) -> Self { Self } }
#[derive(Clone, Debug)] pub struct QuotaLayer; impl QuotaLayer { pub fn new(_: Arc<Quotas>) -> Self { Self } }
impl<S> tower::Layer<S> for QuotaLayer { type Service = S; fn layer(&self, s: S) -> S { s } }
