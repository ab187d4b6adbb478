//! The provider's limits, kept on our side. What is known of them, and who waits for them, is [`crate::limits`]'s; here it
//! meets the attempts.
//!
//! Inside `breaker` (who is refused there must not wait here), outside `dispatch`. Waiting beats refusing, but only
//! in fair order, never past the attempt's `max_wait` or the call's deadline, and never in vain: a call that
//! cannot be served in time is refused at once with the true time, and one that is larger than the whole limit
//! without any. All buckets are taken or none, so that a refusal costs nobody anything.
//!
//! What was taken, and a place among concurrent calls, is held to the end of the body: only there it is known what a stream
//! has used.

mod layer;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use self::layer::{LimitLayer, Limiter};
pub use crate::limits::{Limits, WaitHook};
use crate::{
    call::Target,
    limits::{Denied, Kind},
    triage::Class,
};

/// The limit cannot be met within the time the call has.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct Refused {
    pub target: Arc<Target>,
    /// `rate_limited_*`, or `request_too_large_for_limit`, which no waiting cures.
    pub class: Class,
    /// When it would fit; `None`: never.
    pub retry_after: Option<Duration>,
    /// Which limit binds, where that is known.
    pub binds: Option<Binds>,
    /// For `x-weir-advice`.
    pub advice: Arc<str>,
}

/// The limit that holds a call back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binds {
    pub kind: Kind,
    /// Its capacity, where it is known.
    pub limit: Option<u64>,
    /// Set in the configuration; else learnt.
    pub set: bool,
    /// What the call was expected to take of it.
    pub asked: u64,
}

// === impl Refused ===

impl Refused {
    /// `denied` at `target`.
    pub fn new(target: Arc<Target>, denied: Denied) -> Self {
        let binds = Binds {
            kind: denied.kind,
            limit: denied.limit,
            set: denied.set,
            asked: denied.asked,
        };
        Self {
            advice: advice(&binds, denied.retry_after).into(),
            target,
            class: denied.class,
            retry_after: denied.retry_after,
            binds: Some(binds),
        }
    }

    /// A refusal of which no more is known than its class.
    pub fn bare(target: Arc<Target>, class: Class) -> Self {
        Self {
            target,
            class,
            retry_after: None,
            binds: None,
            advice: "".into(),
        }
    }

    /// For `x-weir-advice`.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    fn message(&self) -> String {
        let upstream = &self.target.upstream.name;
        let what = match self.binds {
            Some(Binds {
                kind: Kind::Concurrency,
                limit: None,
                ..
            }) => "nothing has been heard of it yet, and many calls are on their way".to_owned(),
            Some(binds) => format!("{binds} would be exceeded"),
            None => format!("{} would be exceeded", self.class),
        };
        format!(
            "weir holds this call back for the limits of the provider `{upstream}` ({}): {what}",
            self.class
        )
    }
}

fn advice(binds: &Binds, retry_after: Option<Duration>) -> String {
    let raise = match binds.set {
        true => format!(
            "raise {} in the upstream's limits in weir's configuration",
            binds.kind
        ),
        false => "ask the provider for a higher limit, or add a fallback target".to_owned(),
    };
    match retry_after {
        Some(_) => format!("Reached for now: {binds}. Come back after the told time, or {raise}."),
        None => format!(
            "This request alone is estimated at {}, which is more than {binds}: waiting never helps. Shrink the \
             request (input, or the declared maximum of the answer), or {raise}.",
            binds.asked
        ),
    }
}

impl std::fmt::Display for Binds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = if self.set { "set" } else { "learnt" };
        match self.limit {
            Some(limit) => write!(f, "the {known} limit of {limit} {}", self.kind.words()),
            None => write!(f, "the {known} limit of {}", self.kind.words()),
        }
    }
}
