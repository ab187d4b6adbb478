//! What one attempt has taken of its pool, until it is known what it used.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    Cost, Heard, Kind, Refused,
    account::{Account, Inner},
    bucket::Refusal,
    concurrency::Why,
    pool::Taken,
};
use crate::{
    call::{Call, End, Reply, Target, Watch},
    dialect::openai::{Envelope, Usage},
    error::{Error, Failure},
    triage::{Class, ToldLimit},
};

/// Taken by an attempt that may go. Dropped unsettled, it counts as estimated: the provider has probably been asked.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    pool: u32,
    target: Arc<Target>,
    asked: Asked,
    /// `None`: settled.
    taken: Option<Taken>,
}

/// What was asked. A stream may go on for long after the call's body is not needed any more.
#[derive(Debug)]
enum Asked {
    Call(Arc<Call>),
    Envelope(Box<Envelope>),
}

// === impl Reservation ===

impl Reservation {
    pub(super) fn new(
        account: Arc<Account>,
        pool: u32,
        target: Arc<Target>,
        call: Arc<Call>,
        taken: Taken,
    ) -> Self {
        Self {
            account,
            pool,
            target,
            asked: Asked::Call(call),
            taken: Some(taken),
        }
    }

    /// The attempt was answered: what its head tells is learnt, and its end settles.
    pub fn answered(mut self, reply: &mut Reply) {
        let provider = &self.target.upstream.provider;
        let heard = Heard::of(provider, &reply.headers, SystemTime::now());
        let (now, stream) = (Instant::now(), reply.body.is_stream());
        let account = Arc::clone(&self.account);
        let mut inner = account.lock();
        if let (Some(taken), Some(pool)) = (&mut self.taken, inner.pools.get_mut(&self.pool)) {
            pool.heard(taken, heard.iter(), now);
            pool.answered(taken, now);
        }
        if stream {
            inner.changed(self.pool, now);
            drop(inner);
            self.asked = Asked::Envelope(Box::new(self.asked.envelope().clone()));
            reply.body.on_end(self, None);
            return;
        }
        // A whole answer is over already.
        self.end_in(&mut inner, reply.learnt.usage.as_ref(), now);
    }

    /// The head of a reply tells of limits.
    fn heard(&mut self, heard: &Heard) {
        let Some(taken) = &mut self.taken else { return };
        let (now, mut inner) = (Instant::now(), self.account.lock());
        if let Some(pool) = inner.pools.get_mut(&self.pool) {
            pool.heard(taken, heard.iter(), now);
        }
        inner.changed(self.pool, now);
    }

    /// The attempt failed.
    pub fn failed(mut self, error: &Error) {
        match error {
            Error::Upstream(failure) => self.refused(failure),
            Error::Deadline(_) => {}
            // Nobody was asked.
            _ => self.settle(&Cost::default()),
        }
    }

    fn refused(&mut self, failure: &Failure) {
        if let Some(answer) = &failure.answer {
            let provider = &self.target.upstream.provider;
            let heard = Heard::of_refusal(provider, &answer.headers, SystemTime::now());
            self.heard(&heard);
        }
        let verdict = &failure.verdict;
        let slow_down =
            verdict.class == Class::RateLimitedRamp || verdict.code.as_deref() == Some("slow_down");
        let why = match verdict.class {
            _ if slow_down => Why::SlowDown,
            class if is_crowded(class) => Why::Overload,
            _ => Why::Limit,
        };
        let told = verdict.told_limit.unwrap_or_default();
        if verdict.class == Class::RequestTooLargeForLimit || told.requested.is_some() {
            self.too_large(told);
        }
        let Some(taken) = &mut self.taken else { return };
        if verdict.class.is_rate_limit() || is_crowded(verdict.class) {
            let (now, mut inner) = (Instant::now(), self.account.lock());
            let mut surprise = false;
            if let Some(pool) = inner.pools.get_mut(&self.pool) {
                let kind = told.kind.or_else(|| pool.kind_of(verdict.class));
                let refusal = Refusal {
                    limit: told.limit,
                    used: told.used,
                    requested: told.requested,
                    wait: verdict.wait,
                };
                surprise = pool.refused(taken, (verdict.class, kind), &refusal, why, now);
            }
            drop(inner);
            if verdict.class.is_rate_limit() {
                let class = verdict.class;
                self.account
                    .refused(&self.target, &Refused { class, surprise });
            }
        }
        let charged = charged(taken.cost, failure);
        self.settle(&charged);
    }

    /// The provider told its own estimate of the call, or that the call alone is larger than the limit.
    fn too_large(&mut self, told: ToldLimit) {
        let Some(taken) = &mut self.taken else { return };
        let (now, mut inner) = (Instant::now(), self.account.lock());
        let Some(pool) = inner.pools.get_mut(&self.pool) else {
            return;
        };
        if let (Some(Kind::Tokens | Kind::ProjectTokens), Some(requested)) =
            (told.kind, told.requested)
        {
            let envelope = self.asked.envelope();
            pool.calibration.learn_requested(envelope, requested);
        }
        // Nobody else used it up: it tells the limit and nothing of what is left.
        if let (Some(kind), Some(limit), Some(requested)) = (told.kind, told.limit, told.requested)
            && requested > limit
        {
            pool.told_limit(taken, kind, limit, now);
        }
    }

    /// The call is over: it used this, or what was estimated.
    fn end_in(&mut self, inner: &mut Inner, usage: Option<&Usage>, now: Instant) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        let provider = &self.target.upstream.provider;
        let actual = usage.map_or(taken.cost, |usage| taken.cost.settled(provider, usage));
        if let Some(usage) = usage.filter(|usage| usage.exact)
            && let Some(pool) = inner.pools.get_mut(&self.pool)
        {
            pool.calibration.learn(self.asked.envelope(), usage);
        }
        inner.settle(self.pool, &taken, &actual, now);
    }

    fn settle(&mut self, actual: &Cost) {
        if let Some(taken) = self.taken.take() {
            let mut inner = self.account.lock();
            inner.settle(self.pool, &taken, actual, Instant::now());
        }
    }
}

impl Watch for Reservation {
    fn end(&mut self, end: &End) {
        // However it ended: what was told counts, else the estimate.
        let account = Arc::clone(&self.account);
        self.end_in(&mut account.lock(), end.usage.as_ref(), Instant::now());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(estimate) = self.taken.as_ref().map(|taken| taken.cost) {
            self.settle(&estimate);
        }
    }
}

// === impl Asked ===

impl Asked {
    fn envelope(&self) -> &Envelope {
        match self {
            Self::Call(call) => &call.envelope,
            Self::Envelope(envelope) => envelope,
        }
    }
}

/// The provider has no room for more calls at once.
fn is_crowded(class: Class) -> bool {
    matches!(class, Class::Overloaded | Class::CapacityUnavailable)
}

/// What a failed attempt cost. A request that was refused counts as a request; what was never sent does not; what failed
/// later may have been worked on.
fn charged(reserved: Cost, failure: &Failure) -> Cost {
    let request = Cost {
        requests: reserved.requests,
        ..Cost::default()
    };
    match failure.verdict.class {
        _ if failure.unsent => Cost::default(),
        Class::Connection
        | Class::Timeout
        | Class::ServerError
        | Class::EdgeHtmlError
        | Class::StreamError
        | Class::ModelOutputInvalid
        | Class::Cancelled
        | Class::ContentFilter
        | Class::Unknown => reserved,
        Class::QuotaExhausted
        | Class::BillingHardLimit
        | Class::BillingInactive
        | Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedDay
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
        | Class::RequestTooLargeForLimit
        | Class::PayloadTooLarge
        | Class::BatchQueueFull
        | Class::Overloaded
        | Class::CapacityUnavailable
        | Class::EdgeBlocked
        | Class::AuthInvalid
        | Class::AuthMissing
        | Class::AuthWrongOrg
        | Class::AuthProjectArchived
        | Class::AccountDeactivated
        | Class::Permission
        | Class::VerificationRequired
        | Class::IpBlocked
        | Class::ModelNotFound
        | Class::RegionUnsupported
        | Class::RoutingNoProvider
        | Class::InvalidRequest
        | Class::ContextLength
        | Class::NotFound
        | Class::Conflict
        | Class::StateNotPortable
        | Class::ModelLoading => request,
    }
}
