//! One fixed rate, which can be asked before it is taken from.
//!
//! The algorithm is governor's (GCRA). governor only takes, and cannot give back; here two of its limiters share one
//! state, and one of them never writes. So a call can see whether *all* its buckets will let it through before it takes
//! from any.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::Clock,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use tokio::time::Instant;

/// A bucket of requests or of tokens, refilled steadily.
pub struct Bucket {
    limit: NonZeroU32,
    burst: NonZeroU32,
    taking: RateLimiter<NotKeyed, Cell<true>, Ticks>,
    asking: RateLimiter<NotKeyed, Cell<false>, Ticks>,
}

/// More at once than the bucket ever holds: no waiting cures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than the bucket ever holds")]
pub struct NeverFits;

/// governor's state: the theoretical arrival time, in nanoseconds. Without `WRITES` it is only looked at.
#[derive(Debug, Default)]
struct Cell<const WRITES: bool>(Arc<AtomicU64>);

/// tokio's clock, so that tests own the time.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

// === impl Bucket ===

impl Bucket {
    /// `limit` a minute, of which `burst` may go at once.
    pub fn per_minute(limit: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_minute(limit).allow_burst(burst);
        let (state, clock) = (Arc::<AtomicU64>::default(), Ticks(Instant::now()));
        // In this order: the earlier limiter sees more time gone by, so what may be taken by asking may be taken.
        let taking = RateLimiter::new(quota, Cell(Arc::clone(&state)), clock);
        let asking = RateLimiter::new(quota, Cell(state), clock);
        Self { limit, burst, taking, asking }
    }

    /// The limit per minute.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// How long until `n` can be taken, if nobody else takes any; takes nothing.
    ///
    /// # Errors
    /// When the bucket never holds `n`.
    pub fn wait_for(&self, n: u64) -> Result<Duration, NeverFits> {
        self.run(&self.asking, n)
    }

    /// Takes `n`, or nothing and tells how long until they are there.
    ///
    /// # Errors
    /// When the bucket never holds `n`.
    pub fn take(&self, n: u64) -> Result<Duration, NeverFits> {
        self.run(&self.taking, n)
    }

    /// Time to refill `n`.
    pub fn time_for(&self, n: u64) -> Duration {
        Duration::from_secs(60).mul_f64(n as f64 / f64::from(self.limit.get()))
    }

    fn run<const WRITES: bool>(
        &self,
        limiter: &RateLimiter<NotKeyed, Cell<WRITES>, Ticks>,
        n: u64,
    ) -> Result<Duration, NeverFits> {
        let Some(n) = NonZeroU32::new(u32::try_from(n).map_err(|_| NeverFits)?) else { return Ok(Duration::ZERO) };
        match limiter.check_n(n) {
            Ok(Ok(())) => Ok(Duration::ZERO),
            // At least a nanosecond, lest it looks taken.
            Ok(Err(not_until)) => Ok(wait(&not_until).max(Duration::from_nanos(1))),
            Err(_) => Err(NeverFits),
        }
    }
}

fn wait(not_until: &NotUntil<Duration>) -> Duration {
    not_until.wait_time_from(Instant::now().saturating_duration_since(epoch(not_until)))
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("limit", &self.limit).field("burst", &self.burst).finish_non_exhaustive()
    }
}
