//! The app's own allowance: requests and tokens per minute, tokens per day, concurrent calls.
//!
//! Inside `cache` (a hit costs nothing of it), outside `route` (what is refused here has cost nobody any work). A call that
//! exceeds what its app's owner gave it waits for its turn, in the order of arrival and interactive before batch, as long as
//! `[retry] max_wait` and its deadline allow; where that is in vain, or the app's `on_limit` is `reject`, it is refused at
//! once and told when to come back.
//!
//! Tokens are reserved by estimate (input and declared output) and settled at the end of the body: less is given back, more
//! is paid back before the next call. A call that was not answered costs no tokens; of one that the caller left, what the
//! provider had answered by then, else the estimate. A place among the concurrent calls is held to the end of the body.
//!
//! Apps without a quota cost nothing.
//!
//! | file | holds |
//! | --- | --- |
//! | `window` | a minute, exact whatever its offset |
//! | `day` | a calendar day in UTC |
//! | `pace` | how fast requests may follow each other |
//! | `books` | one app's numbers, what is used of them, and what stands in a call's way |
//! | `allowance` | the same shared by all workers, and the line of those who wait |
//! | `quotas` | those of all apps |
//! | `layer` | the tower plumbing |
//! | `view`, `saved` | for people; for the next run |

mod allowance;
mod books;
mod clock;
mod day;
mod layer;
mod pace;
mod quotas;
mod saved;
mod view;
mod window;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub use self::{
    layer::{Quota, QuotaLayer},
    quotas::{Quotas, WaitHook},
    saved::{SavedQuota, SavedQuotas},
    view::{AllowanceView, QuotaView},
};

/// The app has used up its allowance. Nobody was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the app `{app}` has reached its own quota in weir ({kind}: {limit}{}); this is not a limit of the provider's",
    more(*asked, *retry_after)
)]
pub struct Exceeded {
    pub app: Arc<str>,
    pub kind: Kind,
    pub limit: u64,
    /// Tokens of a request that is larger than the allowance itself.
    pub asked: Option<u64>,
    /// When a place is free; `None` for concurrency, which nobody can know, and for a request that never fits.
    pub retry_after: Option<Duration>,
}

/// Which allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    RequestsPerMinute,
    TokensPerMinute,
    TokensPerDay,
    Concurrency,
}

// === impl Exceeded ===

impl Exceeded {
    /// The error code.
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::RequestsPerMinute => "app_quota_requests",
            Kind::TokensPerMinute => "app_quota_tokens",
            Kind::TokensPerDay => "app_quota_tokens_day",
            Kind::Concurrency => "app_quota_concurrency",
        }
    }

    /// For `x-weir-advice`.
    pub fn advice(&self) -> &'static str {
        match (self.kind, self.asked) {
            (Kind::Concurrency, _) => {
                "Let a running call of this app end first, or raise concurrency of its [[app]]."
            }
            (Kind::RequestsPerMinute, _) => {
                "Come back after the told time, or raise requests_per_minute of its [[app]]."
            }
            (Kind::TokensPerMinute, None) => {
                "Come back after the told time, or raise tokens_per_minute of its [[app]]."
            }
            (Kind::TokensPerMinute, Some(_)) => {
                "This request alone is larger than the app's tokens_per_minute; shrink it or raise it in its [[app]]."
            }
            (Kind::TokensPerDay, None) => {
                "The app's day ends at midnight UTC; come back then, or raise tokens_per_day of its [[app]]."
            }
            (Kind::TokensPerDay, Some(_)) => {
                "This request alone is larger than the app's tokens_per_day; shrink it or raise it in its [[app]]."
            }
        }
    }
}

/// What else there is to say.
fn more(asked: Option<u64>, retry_after: Option<Duration>) -> String {
    let wait = retry_after.map(|wait| wait.as_secs()).unwrap_or_default();
    match (asked, wait) {
        (Some(asked), _) => format!(", and this request alone counts {asked}"),
        // A short time is in the headers.
        (None, ..=60) => String::new(),
        (None, 61..3_600) => format!(", room in {} min", wait.div_ceil(60)),
        (None, _) => format!(", room in {} h {} min", wait / 3_600, wait % 3_600 / 60),
    }
}

// === impl Kind ===

impl Kind {
    /// The word in configuration and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::TokensPerDay => "tokens_per_day",
            Self::Concurrency => "concurrency",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestsPerMinute => "requests per minute",
            Self::TokensPerMinute => "tokens per minute",
            Self::TokensPerDay => "tokens per day",
            Self::Concurrency => "concurrent calls",
        })
    }
}
