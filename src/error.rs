//! Why a call was not answered: one variant per stage, and the questions every error answers.
//!
//! Clone is cheap: callers that share one upstream call share its error.

mod failure;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub use self::failure::{Answer, Failure, status_of};
use crate::{
    call::{Learnt, Reply, ReplyBody, Target},
    stage::{admit, breaker, cache, dispatch, ingress, limit, quota, retry, route},
    triage::{CircuitEffect, Class},
};

/// Longer than this nobody is asked to wait: the official SDKs would sleep through it, or give up. A minute, and what an exact
/// window of a minute takes beyond it.
pub const LONGEST_INVITATION: Duration = Duration::from_secs(61);

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Ingress(#[from] ingress::Refused),
    #[error(transparent)]
    Admit(#[from] admit::Refused),
    #[error(transparent)]
    Cache(#[from] cache::Unanswered),
    #[error(transparent)]
    Quota(#[from] quota::Exceeded),
    #[error(transparent)]
    Route(#[from] route::NoTarget),
    #[error(transparent)]
    CircuitOpen(#[from] breaker::CircuitOpen),
    #[error(transparent)]
    Limit(#[from] limit::Refused),
    /// One attempt failed at the provider, or on the way to it.
    #[error(transparent)]
    Upstream(#[from] Arc<Failure>),
    #[error(transparent)]
    Deadline(#[from] dispatch::DeadlinePassed),
    /// The loop ended without an answer.
    #[error(transparent)]
    Retry(#[from] Arc<retry::GaveUp>),
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    Gateway,
    Upstream,
}

// === impl Error ===

impl Error {
    /// Whose doing it is.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Cache(cache::Unanswered::TimedOut | cache::Unanswered::Lost) => Origin::Gateway,
            Self::Ingress(_) | Self::Admit(_) | Self::Cache(_) | Self::Route(_) => Origin::Client,
            Self::Quota(_) | Self::Limit(_) | Self::CircuitOpen(_) | Self::Deadline(_) => {
                Origin::Gateway
            }
            Self::Upstream(_) => Origin::Upstream,
            Self::Retry(gave_up) => gave_up.last.origin(),
        }
    }

    /// The `code`, the metrics label, and `x-weir-class`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Ingress(e) => e.code(),
            Self::Admit(e) => e.code(),
            Self::Cache(e) => e.code(),
            Self::Quota(e) => e.code(),
            Self::Route(e) => e.code(),
            Self::CircuitOpen(e) => e.class.as_str(),
            Self::Limit(e) => e.class.as_str(),
            Self::Upstream(e) => e.verdict.class.as_str(),
            Self::Deadline(_) => "deadline_exceeded",
            Self::Retry(e) => e.last.class(),
        }
    }

    /// The failure class, when a provider's failure (now or earlier) is the cause.
    pub fn failure_class(&self) -> Option<Class> {
        match self {
            Self::CircuitOpen(e) => Some(e.class),
            Self::Limit(e) => Some(e.class),
            Self::Upstream(e) => Some(e.verdict.class),
            Self::Retry(e) => e.last.failure_class(),
            Self::Ingress(_)
            | Self::Admit(_)
            | Self::Cache(_)
            | Self::Quota(_)
            | Self::Route(_)
            | Self::Deadline(_) => None,
        }
    }

    /// The status the caller gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Ingress(e) => e.status(),
            Self::Admit(e) => e.status(),
            Self::Cache(cache::Unanswered::Lost) => StatusCode::BAD_GATEWAY,
            Self::Cache(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Quota(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Route(e) => e.status(),
            Self::CircuitOpen(e) => e
                .last
                .as_ref()
                .map_or_else(|| status_of(e.class), |f| f.status()),
            Self::Limit(e) => status_of(e.class),
            Self::Upstream(e) => e.status(),
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Retry(e) => e.last.status(),
        }
    }

    /// What to do about it, in a sentence or two.
    pub fn advice(&self) -> Option<&str> {
        match self {
            Self::CircuitOpen(e) => e.last.as_ref().map(|f| &*f.verdict.advice),
            Self::Upstream(e) => Some(&e.verdict.advice),
            Self::Retry(e) => e.last.advice(),
            Self::Quota(e) => Some(e.advice()),
            Self::Limit(e) => Some(e.advice()),
            Self::Ingress(_)
            | Self::Admit(_)
            | Self::Cache(_)
            | Self::Route(_)
            | Self::Deadline(_) => None,
        }
    }

    /// After what time the caller could try again, if time helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ingress(e) => e.retry_after(),
            Self::Quota(e) => e.retry_after,
            Self::CircuitOpen(e) => (!e.class.is_billing()).then_some(e.retry_after),
            Self::Limit(e) => e.retry_after,
            Self::Upstream(e) => e.verdict.wait,
            Self::Retry(e) => e.held_for.or_else(|| e.last.retry_after()),
            Self::Admit(_) | Self::Cache(_) | Self::Route(_) | Self::Deadline(_) => None,
        }
    }

    /// Whether weir wants the caller (or its SDK) back: only after a short, known wait that weir
    /// itself could not or should not spend. Everything else is final: weir has tried already.
    pub fn wants_caller_back(&self) -> bool {
        match self {
            Self::Ingress(e) => e.retry_after().is_some(),
            Self::Quota(e) => e.retry_after.is_some_and(|wait| wait <= LONGEST_INVITATION),
            Self::Limit(e) => e.retry_after.is_some_and(|wait| wait <= LONGEST_INVITATION),
            Self::Upstream(e) => {
                e.verdict.class.is_rate_limit()
                    && e.verdict
                        .wait
                        .is_some_and(|wait| wait <= LONGEST_INVITATION)
            }
            Self::Retry(e) => match e.held_for {
                Some(wait) => wait <= LONGEST_INVITATION,
                None => e.may_return && e.last.wants_caller_back(),
            },
            // One silent attempt has used up the caller's own short time-out. Without weir its SDK would now try again;
            // weir has not done it for it.
            Self::Deadline(e) => e.attempts <= 1,
            // Nobody was asked, so nothing is multiplied; without weir the SDK's own repeats would bridge an outage as
            // short as this. What only a human ends they would not.
            Self::CircuitOpen(e) => {
                matches!(e.class.policy().circuit, CircuitEffect::Counts)
                    && e.retry_after <= LONGEST_INVITATION
            }
            Self::Admit(_) | Self::Cache(_) | Self::Route(_) => false,
        }
    }

    /// The target it happened at.
    pub fn target(&self) -> Option<&Arc<Target>> {
        match self {
            Self::CircuitOpen(e) => Some(&e.target),
            Self::Limit(e) => Some(&e.target),
            Self::Upstream(e) => Some(&e.target),
            Self::Deadline(e) => Some(&e.target),
            Self::Retry(e) => e.last.target(),
            Self::Ingress(_)
            | Self::Admit(_)
            | Self::Cache(_)
            | Self::Quota(_)
            | Self::Route(_) => None,
        }
    }

    /// The upstream's own failure behind it: this call's, or the one that opened the circuit.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        match self {
            Self::CircuitOpen(e) => e.last.as_ref(),
            Self::Upstream(e) => Some(e),
            Self::Retry(e) => e.last.failure(),
            Self::Ingress(_)
            | Self::Admit(_)
            | Self::Cache(_)
            | Self::Quota(_)
            | Self::Route(_)
            | Self::Limit(_)
            | Self::Deadline(_) => None,
        }
    }

    /// The answer to the caller: the provider's own error verbatim where there is one, else OpenAI's
    /// error shape, so that every SDK raises the right exception.
    pub fn reply(&self) -> Reply {
        let (status, mut headers, body) = match self.failure().and_then(|f| f.answer.as_ref()) {
            Some(answer) if self.is_of_an_earlier_call() => (
                answer.status,
                impersonal(&answer.headers),
                answer.body.clone(),
            ),
            Some(answer) => (answer.status, answer.headers.clone(), answer.body.clone()),
            None => (self.status(), json_headers(), self.body()),
        };
        let back = self.wants_caller_back();
        headers.insert(
            "x-should-retry",
            HeaderValue::from_static(if back { "true" } else { "false" }),
        );
        if back && let Some(wait) = self.retry_after() {
            headers.insert(
                "retry-after-ms",
                HeaderValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)),
            );
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64),
            );
        }
        // The SDKs stop at x-should-retry. Others are told the truth, of hours too.
        if !back
            && self.is_own_limit()
            && let Some(wait) = self.retry_after()
        {
            // What the provider told before our own word.
            headers.remove("retry-after-ms");
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64),
            );
        }
        let learnt = Learnt {
            target: self.target().cloned(),
            route: match self {
                Self::Retry(gave_up) => Some(Arc::clone(&gave_up.route)),
                _ => None,
            },
            provider_request_id: self.failure().and_then(|f| f.provider_request_id()),
            ..Learnt::default()
        };
        Reply {
            status,
            headers,
            body: ReplyBody::whole(body),
            learnt,
            upgrade: None,
        }
    }

    /// weir itself holds the call back and knows until when.
    fn is_own_limit(&self) -> bool {
        match self {
            Self::Quota(_) | Self::Limit(_) => true,
            Self::Retry(e) => e.held_for.is_some() || e.last.is_own_limit(),
            _ => false,
        }
    }

    /// An open circuit hands back what another call was told, perhaps another caller's, some time ago.
    fn is_of_an_earlier_call(&self) -> bool {
        match self {
            Self::CircuitOpen(_) => true,
            Self::Retry(e) => e.last.is_of_an_earlier_call(),
            _ => false,
        }
    }

    /// weir's own error body. It says nothing of keys or upstream addresses.
    fn body(&self) -> Bytes {
        crate::dialect::openai::error::error_body(self.class(), &self.to_string(), None)
    }
}

/// What describes the body; not cookies, names of accounts, waits and counts of then.
fn impersonal(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(12);
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    kept
}

fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers
}
