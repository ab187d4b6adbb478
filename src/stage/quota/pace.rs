//! How fast an app's requests may follow each other.
//!
//! The algorithm is governor's (GCRA). governor only takes; here two of its limiters share one state, and one of them
//! never writes, so that a call can see when its turn would come before anything is taken.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use tokio::time::Instant;

/// Requests a minute, some of them at once.
pub(super) struct Pace {
    limit: NonZeroU32,
    burst: NonZeroU32,
    taking: Limiter<true>,
    asking: Limiter<false>,
}

/// governor's state: the theoretical arrival time, in nanoseconds. Without `WRITES` it is only looked at.
#[derive(Debug, Default)]
struct Cell<const WRITES: bool>(Arc<AtomicU64>);

type Limiter<const WRITES: bool> =
    RateLimiter<NotKeyed, Cell<WRITES>, Ticks, NoOpMiddleware<Duration>>;

/// tokio's clock, so that tests own the time.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

// === impl Pace ===

impl Pace {
    pub(super) fn new(limit: NonZeroU32) -> Self {
        let burst = burst(limit);
        let quota = Quota::per_minute(limit).allow_burst(burst);
        let (state, clock) = (Arc::<AtomicU64>::default(), Ticks(Instant::now()));
        // In this order: the earlier limiter sees more time gone by, so what may be taken by asking may be taken.
        let taking = RateLimiter::new(quota, Cell(Arc::clone(&state)), clock);
        let asking = RateLimiter::new(quota, Cell(state), clock);
        Self {
            limit,
            burst,
            taking,
            asking,
        }
    }

    pub(super) fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// How long until the turn of a request behind `before` others; takes nothing.
    pub(super) fn wait(&self, before: u32) -> Duration {
        let all = before.saturating_add(1);
        let together = all.min(self.burst.get());
        let later = all - together;
        let beyond =
            Duration::from_secs(60).mul_f64(f64::from(later) / f64::from(self.limit.get()));
        run(&self.asking, together) + beyond
    }

    /// Takes one request, whose turn it is.
    pub(super) fn take(&self) {
        let wait = run(&self.taking, 1);
        debug_assert!(wait.is_zero(), "who takes has asked");
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pace")
            .field("limit", &self.limit)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

/// Ten seconds' worth at once: an app may start with some, but not spend its minute in one second.
pub(super) fn burst(limit: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new(limit.get() / 6).unwrap_or(NonZeroU32::MIN)
}

fn run<const WRITES: bool>(limiter: &Limiter<WRITES>, n: u32) -> Duration {
    let Some(n) = NonZeroU32::new(n) else {
        return Duration::ZERO;
    };
    match limiter.check_n(n) {
        // At least a nanosecond, lest it looks free.
        Ok(Err(not_until)) => not_until
            .wait_time_from(limiter.clock().now())
            .max(Duration::from_nanos(1)),
        // Never more than the burst is asked.
        Ok(Ok(())) | Err(_) => Duration::ZERO,
    }
}

// === impl Cell ===

impl<const WRITES: bool> StateStore for Cell<WRITES> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut held = self.0.load(Ordering::Acquire);
        loop {
            // 0 is never a written state: time has passed since the start, or a cell was taken.
            let (outcome, next) = decide((held != 0).then(|| Nanos::from(held)))?;
            if !WRITES {
                return Ok(outcome);
            }
            match self.0.compare_exchange_weak(
                held,
                next.into(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Ok(outcome),
                Err(now) => held = now,
            }
        }
    }
}

// === impl Ticks ===

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_told_wait_is_true_behind_any_number_of_others() {
        // Ten at once, one each second.
        let pace = Pace::new(NonZeroU32::new(60).unwrap());
        assert_eq!(pace.wait(9), Duration::ZERO);
        assert_eq!(pace.wait(12), Duration::from_secs(3));
        for _ in 0..7 {
            pace.take();
        }
        assert_eq!(pace.wait(2), Duration::ZERO);
        assert_eq!(pace.wait(5), Duration::from_secs(3), "asking takes nothing");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pace.wait(5), Duration::ZERO);
    }
}
