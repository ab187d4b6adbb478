//! A limiter as people write one: the true limits typed in, requests and estimated tokens counted, first come first served.
//!
//! governor's GCRA with the burst it has by default, a minute's allowance. It knows nothing of what others use, of windows
//! shorter than a minute, of tiers that change, of what calls used in the end.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};
use tower::Service;
use weir::{
    call::{Attempt, Reply},
    error::Error,
    sim::LimitKind,
    stage::{Answering, limit::Refused},
    triage::Class,
};

use crate::{hidden::Hidden, world::World};

/// What it counts, and no more: people type in no more.
const COUNTED: [LimitKind; 4] = [
    LimitKind::Requests,
    LimitKind::Tokens,
    LimitKind::InputTokens,
    LimitKind::OutputTokens,
];

type Rate = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Waits by fixed numbers, then goes on.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    inner: World,
    line: Arc<Mutex<Rates>>,
}

#[derive(Debug)]
struct Rates {
    rates: [Option<Rate>; COUNTED.len()],
    /// Taken already by whoever is at the head.
    clock: Ticks,
}

/// tokio's clock.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

// === impl Fixed ===

impl Fixed {
    pub(crate) fn new(inner: World, hidden: &Hidden) -> Self {
        let clock = Ticks(Instant::now());
        let rate = |kind| {
            let limit = NonZeroU32::new(hidden.limits.of(kind)?)?;
            Some(RateLimiter::new(
                Quota::per_minute(limit),
                InMemoryState::default(),
                clock,
            ))
        };
        let rates = COUNTED.map(rate);
        Self {
            inner,
            line: Arc::new(Mutex::new(Rates { rates, clock })),
        }
    }
}

impl Service<Attempt> for Fixed {
    type Response = Reply;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, attempt: Attempt) -> Answering {
        let (mut inner, line) = (self.inner.clone(), Arc::clone(&self.line));
        Box::pin(async move {
            let began = Instant::now();
            let until = began + attempt.max_wait;
            let passed = match timeout_at(until, line.lock()).await {
                Ok(rates) => {
                    let envelope = &attempt.call.envelope;
                    let tokens = envelope.estimate_tokens();
                    let output = envelope.max_output_tokens.unwrap_or(0);
                    let amounts = [1, tokens, tokens.saturating_sub(output), output];
                    rates.pass(amounts, until).await
                }
                Err(_) => Err(None),
            };
            attempt.call.meter.wait(began.elapsed());
            match passed {
                Ok(()) => inner.call(attempt).await,
                Err(retry_after) => Err(refused(&attempt, retry_after)),
            }
        })
    }
}

fn refused(attempt: &Attempt, retry_after: Option<Duration>) -> Error {
    Refused {
        retry_after,
        ..Refused::bare(Arc::clone(&attempt.target), Class::RateLimitedRequests)
    }
    .into()
}

// === impl Rates ===

impl Rates {
    /// Takes from one after the other; only the head of the line is here.
    async fn pass(
        &self,
        amounts: [u64; COUNTED.len()],
        until: Instant,
    ) -> Result<(), Option<Duration>> {
        for (rate, amount) in self.rates.iter().zip(amounts) {
            let amount = u32::try_from(amount).ok().and_then(NonZeroU32::new);
            let (Some(rate), Some(amount)) = (rate, amount) else {
                continue;
            };
            loop {
                let not_yet = match rate.check_n(amount) {
                    Ok(Ok(())) => break,
                    Ok(Err(not_yet)) => not_yet,
                    Err(_) => return Err(None),
                };
                let wait = not_yet.wait_time_from(self.clock.now());
                if Instant::now() + wait > until {
                    return Err(Some(wait));
                }
                sleep(wait).await;
            }
        }
        Ok(())
    }
}

// === impl Ticks ===

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
