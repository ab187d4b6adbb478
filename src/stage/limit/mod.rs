//! The provider's limits, kept on our side: requests and tokens per minute of a target, concurrent calls of an upstream.
//!
//! Inside `breaker` (who is refused there must not wait here), outside `dispatch`. Waiting beats refusing, but only
//! in order of arrival, never past the attempt's `max_wait` or the call's deadline, and never in vain: a call that
//! cannot be served in time is refused at once with the true time, and one that is larger than the whole limit
//! without any. All buckets are taken or none, so that a refusal costs nobody anything.
//!
//! A place among concurrent calls is held to the end of the body. Limits that are `auto` cost nothing.
//!
//! | file | holds |
//! | --- | --- |
//! | `bucket` | one rate, which can be asked before it is taken from |
//! | `line` | the fair waiting line of a target |
//! | `places` | concurrent calls of an upstream |
//! | `limits` | those of all targets |
//! | `layer` | the tower plumbing |

mod bucket;
mod layer;
mod limits;
mod line;
mod places;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use self::{
    bucket::{Bucket, NeverFits},
    layer::{LimitLayer, Limiter},
    limits::{Limits, WaitHook},
};
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
            Some(_) => {
                "weir's own limit for this upstream is reached; come back after the told time, or raise the limit in [[upstream]] limits."
            }
            None => {
                "This request alone is larger than the configured limit; shrink it or raise the limit in [[upstream]] limits."
            }
        }
    }
}
