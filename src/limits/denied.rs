//! Why a call cannot go, and when it could.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Cost, Kind,
    pool::Pool,
    queue::{AppRef, Lane},
};
use crate::triage::Class;

/// Why a call cannot go within the time it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Denied {
    /// `rate_limited_*`, or `request_too_large_for_limit`, which no waiting cures.
    pub class: Class,
    /// When it would fit; `None`: never.
    pub retry_after: Option<Duration>,
    /// The limit that binds.
    pub kind: Kind,
    /// Its capacity, where it is known.
    pub limit: Option<u64>,
    /// The number is set in the configuration; else it was learnt.
    pub set: bool,
    /// What the call was expected to take of it.
    pub asked: u64,
}

// === impl Denied ===

impl Denied {
    pub(super) fn at_least(self, least: Duration) -> Self {
        Self {
            retry_after: self.retry_after.map(|wait| wait.max(least)),
            ..self
        }
    }

    /// A pool in which somebody waits is not forgotten; should it be, the call may come again.
    pub(super) fn lost() -> Self {
        Self {
            class: Class::RateLimitedRequests,
            retry_after: Some(Duration::from_millis(100)),
            kind: Kind::Requests,
            limit: None,
            set: false,
            asked: 1,
        }
    }
}

/// What a call would be told that comes now and cannot wait.
pub(super) fn expected(
    pool: &Pool,
    places: Option<u32>,
    (app, lane): (AppRef, Lane),
    cost: &Cost,
    now: Instant,
) -> Denied {
    if let Some((kind, limit)) = pool.too_large(cost) {
        return never(pool, cost, kind, limit);
    }
    let standing = pool.queue.standing(app, lane, now);
    let ahead = pool.queue.ahead(app, lane, pool.units(cost), now);
    let (wait, kind) = match pool.expected(&ahead, cost, standing, now) {
        Ok(found) => found,
        Err((kind, limit)) => return never(pool, cost, kind, limit),
    };
    let own = pool.places(now);
    let places = match (places, own) {
        (Some(all), Some(own)) => Some(all.min(own)),
        (all, own) => all.or(own),
    };
    match places {
        Some(limit) if wait.is_zero() => Denied {
            class: Class::RateLimitedConcurrency,
            retry_after: Some(pool.place_free(limit, ahead.requests as usize)),
            kind: Kind::Concurrency,
            limit: Some(limit.into()),
            set: own.is_none_or(|own| own > limit),
            asked: 1,
        },
        _ => later(pool, cost, kind, wait),
    }
}

pub(super) fn never(pool: &Pool, cost: &Cost, kind: Kind, limit: u64) -> Denied {
    Denied {
        class: Class::RequestTooLargeForLimit,
        retry_after: None,
        kind,
        limit: Some(limit),
        set: pool.is_set(kind, limit),
        asked: cost.of(kind),
    }
}

pub(super) fn later(pool: &Pool, cost: &Cost, kind: Kind, wait: Duration) -> Denied {
    let limit = pool.limit_of(kind);
    Denied {
        class: match kind {
            _ if kind.is_long() => Class::RateLimitedDay,
            Kind::Images => Class::RateLimitedImages,
            // Held back because nothing has been heard of the provider yet.
            Kind::Concurrency => Class::RateLimitedRamp,
            _ if kind.counts_tokens() => Class::RateLimitedTokens,
            _ => Class::RateLimitedRequests,
        },
        retry_after: Some(wait),
        kind,
        limit,
        set: limit.is_some_and(|limit| pool.is_set(kind, limit)),
        asked: cost.of(kind),
    }
}
