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
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use tokio::time::Instant;

/// A bucket of requests or of tokens, refilled steadily.
pub struct Bucket {
    limit: NonZeroU32,
    burst: NonZeroU32,
    taking: Limiter<true>,
    asking: Limiter<false>,
}

/// More at once than the bucket ever holds: no waiting cures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than the bucket ever holds")]
pub struct NeverFits;

/// governor's state: the theoretical arrival time, in nanoseconds. Without `WRITES` it is only looked at.
#[derive(Debug, Default)]
struct Cell<const WRITES: bool>(Arc<AtomicU64>);

type Limiter<const WRITES: bool> =
    RateLimiter<NotKeyed, Cell<WRITES>, Ticks, NoOpMiddleware<Duration>>;

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
        Self {
            limit,
            burst,
            taking,
            asking,
        }
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
        limiter: &Limiter<WRITES>,
        n: u64,
    ) -> Result<Duration, NeverFits> {
        let Some(n) = NonZeroU32::new(u32::try_from(n).map_err(|_| NeverFits)?) else {
            return Ok(Duration::ZERO);
        };
        match limiter.check_n(n) {
            Ok(Ok(())) => Ok(Duration::ZERO),
            // At least a nanosecond, lest it looks taken.
            Ok(Err(not_until)) => Ok(not_until
                .wait_time_from(limiter.clock().now())
                .max(Duration::from_nanos(1))),
            Err(_) => Err(NeverFits),
        }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("limit", &self.limit)
            .field("burst", &self.burst)
            .finish_non_exhaustive()
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
    use proptest::prelude::*;

    use super::*;

    fn bucket(limit: u32, burst: u32) -> Bucket {
        Bucket::per_minute(
            NonZeroU32::new(limit).unwrap(),
            NonZeroU32::new(burst).unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn asking_takes_nothing() {
        let bucket = bucket(60, 2);
        for _ in 0..10 {
            assert_eq!(bucket.wait_for(2), Ok(Duration::ZERO));
        }
        assert_eq!(bucket.take(2), Ok(Duration::ZERO));
        assert_eq!(bucket.wait_for(1), Ok(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_told_wait_is_long_enough() {
        let bucket = bucket(600, 10);
        assert_eq!(bucket.take(10), Ok(Duration::ZERO));
        let wait = bucket.wait_for(7).unwrap();
        assert_eq!(wait, Duration::from_millis(700));
        tokio::time::advance(wait).await;
        assert_eq!(bucket.take(7), Ok(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_burst_never_fits() {
        let bucket = bucket(60, 5);
        assert_eq!(bucket.take(6), Err(NeverFits));
        assert_eq!(bucket.wait_for(u64::from(u32::MAX) + 1), Err(NeverFits));
        assert_eq!(bucket.take(0), Ok(Duration::ZERO));
    }

    proptest! {
        /// Over any stretch: at most burst + rate × time.
        #[test]
        fn never_more_than_burst_and_rate(
            limit in 1_u32..5_000, burst in 1_u32..200,
            steps in prop::collection::vec((0_u64..3_000, 1_u64..50), 1..100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let bucket = bucket(limit, burst);
                let start = Instant::now();
                let mut taken = 0;
                for (ms, n) in steps {
                    tokio::time::advance(Duration::from_millis(ms)).await;
                    if bucket.take(n) == Ok(Duration::ZERO) {
                        taken += n;
                    }
                    let most = f64::from(burst) + f64::from(limit) * start.elapsed().as_secs_f64() / 60.0;
                    prop_assert!(taken as f64 <= most + 1e-3, "{taken} > {most}");
                }
                Ok(())
            })?;
        }
    }
}
