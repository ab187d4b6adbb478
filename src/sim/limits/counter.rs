//! One limit by one of three algorithms, and the shorter window inside it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    bucket::{Bucket, Refused},
    settings::Algorithm,
};

/// A limit over a window.
#[derive(Debug)]
pub(crate) enum Counter {
    Refill(Bucket),
    Fixed(Fixed),
    Sliding(Log),
}

/// Windows of fixed places.
#[derive(Debug)]
pub(crate) struct Fixed {
    limit: f64,
    window: Duration,
    /// When the present window ends.
    closes: Instant,
    used: f64,
}

/// What was taken within the last window.
#[derive(Debug)]
pub(crate) struct Log {
    limit: f64,
    window: Duration,
    taken: VecDeque<(Instant, f64)>,
    sum: f64,
}

/// A limit and the shorter window by which it is enforced too.
#[derive(Debug)]
pub(crate) struct Windowed {
    pub(crate) limit: u32,
    whole: Counter,
    burst: Option<(f64, Counter)>,
}

// === impl Counter ===

impl Counter {
    pub(crate) fn new(algorithm: Algorithm, limit: f64, window: Duration, now: Instant) -> Self {
        match algorithm {
            Algorithm::Refill => Self::Refill(Bucket::new(limit, window, now)),
            Algorithm::Fixed => Self::Fixed(Fixed {
                limit,
                window,
                closes: now + window,
                used: 0.0,
            }),
            Algorithm::Sliding => Self::Sliding(Log {
                limit,
                window,
                taken: VecDeque::new(),
                sum: 0.0,
            }),
        }
    }

    /// Fixed windows, the first of which ends after `first`.
    pub(crate) fn resets(limit: f64, window: Duration, first: Duration, now: Instant) -> Self {
        Self::Fixed(Fixed {
            limit,
            window,
            closes: now + first,
            used: 0.0,
        })
    }

    /// Whether `amount` would pass; takes nothing.
    pub(crate) fn check(&mut self, amount: f64, now: Instant) -> Result<(), Refused> {
        match self {
            Self::Refill(bucket) => bucket.check(amount, now),
            Self::Fixed(fixed) => {
                fixed.roll(now);
                let left = fixed.closes.saturating_duration_since(now);
                room(fixed.limit, fixed.used, amount, || left)
            }
            Self::Sliding(log) => {
                log.expire(now);
                let (limit, sum) = (log.limit, log.sum);
                room(limit, sum, amount, || log.wait(amount, now))
            }
        }
    }

    /// Takes it, whatever [`check`](Self::check) says.
    pub(crate) fn take(&mut self, amount: f64, now: Instant) {
        match self {
            Self::Refill(bucket) => bucket.add(amount, now),
            Self::Fixed(fixed) => {
                fixed.roll(now);
                fixed.used += amount;
            }
            Self::Sliding(log) => {
                log.expire(now);
                log.add(amount, now);
            }
        }
    }

    /// What was taken at `at` turns out to be `delta` more or less.
    pub(crate) fn correct(&mut self, at: Instant, delta: f64, now: Instant) {
        match self {
            Self::Refill(bucket) => bucket.add(delta, now),
            Self::Fixed(fixed) => {
                fixed.roll(now);
                // A window that is over is over.
                if at + fixed.window >= fixed.closes {
                    fixed.used = (fixed.used + delta).max(0.0);
                }
            }
            Self::Sliding(log) => {
                log.expire(now);
                log.correct(at, delta);
            }
        }
    }

    pub(crate) fn used(&mut self, now: Instant) -> f64 {
        match self {
            Self::Refill(bucket) => bucket.used(now),
            Self::Fixed(fixed) => {
                fixed.roll(now);
                fixed.used
            }
            Self::Sliding(log) => {
                log.expire(now);
                log.sum
            }
        }
    }

    /// Time until it is full again, if nothing is taken.
    pub(crate) fn reset(&mut self, now: Instant) -> Duration {
        match self {
            Self::Refill(bucket) => bucket.reset(),
            Self::Fixed(fixed) => {
                fixed.roll(now);
                fixed.closes.saturating_duration_since(now)
            }
            Self::Sliding(log) => log.taken.back().map_or(Duration::ZERO, |(at, _)| {
                (*at + log.window).saturating_duration_since(now)
            }),
        }
    }

    /// Another limit over the same window; what is used stays used, as far as there is room for it.
    pub(crate) fn resize(&mut self, limit: f64, now: Instant) {
        match self {
            Self::Refill(bucket) => bucket.resize(limit, now),
            Self::Fixed(fixed) => fixed.limit = limit,
            Self::Sliding(log) => log.limit = limit,
        }
    }
}

fn room(
    limit: f64,
    used: f64,
    amount: f64,
    wait: impl FnOnce() -> Duration,
) -> Result<(), Refused> {
    if amount > limit {
        Err(Refused::TooLarge)
    } else if used + amount > limit {
        Err(Refused::Wait { used, wait: wait() })
    } else {
        Ok(())
    }
}

// === impl Fixed ===

impl Fixed {
    fn roll(&mut self, now: Instant) {
        let Some(over) = now.checked_duration_since(self.closes) else {
            return;
        };
        let windows = over.as_nanos() / self.window.as_nanos().max(1) + 1;
        self.closes += self.window * u32::try_from(windows).unwrap_or(u32::MAX);
        self.used = 0.0;
    }
}

// === impl Log ===

impl Log {
    fn expire(&mut self, now: Instant) {
        while let Some((at, amount)) = self.taken.front() {
            if *at + self.window > now {
                break;
            }
            self.sum -= amount;
            self.taken.pop_front();
        }
        if self.taken.is_empty() {
            self.sum = 0.0;
        }
    }

    fn add(&mut self, amount: f64, now: Instant) {
        if amount == 0.0 {
            return;
        }
        self.sum += amount;
        match self.taken.back_mut() {
            Some((at, last)) if *at == now => *last += amount,
            _ => self.taken.push_back((now, amount)),
        }
    }

    fn correct(&mut self, at: Instant, delta: f64) {
        let place = self.taken.partition_point(|(taken, _)| *taken < at);
        if let Some((taken, amount)) = self.taken.get_mut(place)
            && *taken == at
        {
            let corrected = (*amount + delta).max(0.0);
            self.sum += corrected - *amount;
            *amount = corrected;
        }
    }

    /// Until enough of what was taken has left the window.
    fn wait(&self, amount: f64, now: Instant) -> Duration {
        let mut over = self.sum + amount - self.limit;
        for (at, taken) in &self.taken {
            over -= taken;
            if over <= 0.0 {
                return (*at + self.window).saturating_duration_since(now);
            }
        }
        self.window
    }
}

// === impl Windowed ===

impl Windowed {
    pub(crate) fn new(
        algorithm: Algorithm,
        limit: u32,
        window: Duration,
        shorter: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            limit,
            whole: Counter::new(algorithm, f64::from(limit), window, now),
            burst: shorter.map(|shorter| {
                let (size, shorter) = shorter_window(algorithm, limit, window, shorter);
                (size, Counter::new(algorithm, size, shorter, now))
            }),
        }
    }

    /// One that is full again at told times.
    pub(crate) fn resets(limit: u32, window: Duration, first: Duration, now: Instant) -> Self {
        Self {
            limit,
            whole: Counter::resets(f64::from(limit), window, first, now),
            burst: None,
        }
    }

    pub(crate) fn check(&mut self, amount: f64, now: Instant) -> Result<(), Refused> {
        let whole = self.whole.check(amount, now);
        let burst = match &mut self.burst {
            // One call larger than the short window passes when that window is untouched.
            Some((size, burst)) => burst.check(amount.min(*size), now),
            None => Ok(()),
        };
        match (whole, burst) {
            (Err(whole), Err(burst)) => Err(whole.worse(burst)),
            (whole, burst) => whole.and(burst),
        }
    }

    pub(crate) fn take(&mut self, amount: f64, now: Instant) {
        self.whole.take(amount, now);
        if let Some((size, burst)) = &mut self.burst {
            burst.take(amount.min(*size), now);
        }
    }

    pub(crate) fn correct(&mut self, at: Instant, taken: f64, actual: f64, now: Instant) {
        if taken == actual {
            return;
        }
        if taken == 0.0 {
            // Nothing was charged ahead: it counts from now.
            return self.take(actual, now);
        }
        self.whole.correct(at, actual - taken, now);
        if let Some((size, burst)) = &mut self.burst {
            burst.correct(at, actual.min(*size) - taken.min(*size), now);
        }
    }

    pub(crate) fn remaining(&mut self, now: Instant) -> u64 {
        (f64::from(self.limit) - self.whole.used(now)).max(0.0) as u64
    }

    pub(crate) fn reset(&mut self, now: Instant) -> Duration {
        self.whole.reset(now)
    }

    /// Another limit over the same windows; what is used stays used.
    pub(crate) fn resize(&mut self, limit: u32, now: Instant) {
        let grown = f64::from(limit) / f64::from(self.limit.max(1));
        self.limit = limit;
        self.whole.resize(f64::from(limit), now);
        if let Some((size, burst)) = &mut self.burst {
            *size = (*size * grown).max(1.0);
            burst.resize(*size, now);
        }
    }
}

/// The size and length of the window inside a limit. At least one request fits, or a low limit would never let anything
/// through; where windows do not refill it is a whole number, or the limit could never be reached.
fn shorter_window(
    algorithm: Algorithm,
    limit: u32,
    window: Duration,
    shorter: Duration,
) -> (f64, Duration) {
    let limit = f64::from(limit.max(1));
    let mut size = (limit * shorter.as_secs_f64() / window.as_secs_f64()).max(1.0);
    if algorithm != Algorithm::Refill {
        size = size.ceil();
    }
    (size, window.mul_f64(size / limit))
}
