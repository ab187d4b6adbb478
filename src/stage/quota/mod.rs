//! The app's own allowance: requests and tokens per minute, concurrent calls.
//!
//! Inside `cache` (a hit costs nothing of it), outside `route` (what is refused here has cost nobody any work). It never
//! waits: an app that exceeds what its owner gave it is told at once, and when to come back. A place among its concurrent
//! calls is held to the end of the body. Apps without a quota cost nothing.

mod layer;
mod quotas;
mod view;

#[cfg(test)]
mod tests;

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

pub use self::{
    layer::{Quota, QuotaLayer},
    quotas::Quotas,
    view::{AllowanceView, QuotaView},
};

/// The app has used up its allowance. Nobody was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the app `{app}` has reached its own quota in weir ({kind}: {limit}); this is not a limit of the provider's"
)]
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

// === impl Exceeded ===

impl Exceeded {
    /// The error code.
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::RequestsPerMinute => "app_quota_requests",
            Kind::TokensPerMinute => "app_quota_tokens",
            Kind::Concurrency => "app_quota_concurrency",
        }
    }

    /// For `x-weir-advice`.
    pub fn advice(&self) -> &'static str {
        match (self.kind, self.retry_after) {
            (Kind::Concurrency, _) => {
                "Let a running call of this app end first, or raise concurrency of its [[app]]."
            }
            (Kind::RequestsPerMinute, _) => {
                "Come back after the told time, or raise requests_per_minute of its [[app]]."
            }
            (Kind::TokensPerMinute, Some(_)) => {
                "Come back after the told time, or raise tokens_per_minute of its [[app]]."
            }
            (Kind::TokensPerMinute, None) => {
                "This request alone is larger than the app's tokens_per_minute; shrink it or raise it in its [[app]]."
            }
        }
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestsPerMinute => "requests per minute",
            Self::TokensPerMinute => "tokens per minute",
            Self::Concurrency => "concurrent calls",
        })
    }
}
