//! The continuously refilled bucket by which OpenAI limits requests and tokens.
//!
//! `used` drains at `limit / window` per second; a take that would pass the limit is refused and told
//! `(used + requested − limit) / rate`, the formula that every real 429 text fits.

use std::time::Duration;

use tokio::time::Instant;

/// One bucket; the clock comes in as an argument so that tests own it.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    limit: f64,
    window: f64,
    per_second: f64,
    used: f64,
    at: Instant,
}

/// Why a take was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refused {
    /// More than the whole bucket: waiting never helps.
    TooLarge,
    /// `used` as it stood, and the time after which the same take would pass.
    Wait { used: f64, wait: Duration },
}

// === impl Refused ===

impl Refused {
    /// The one that keeps a caller away longer.
    pub(crate) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Wait { wait, .. }, Self::Wait { wait: longer, .. }) if longer > wait => other,
            (Self::Wait { .. }, Self::TooLarge) => other,
            _ => self,
        }
    }
}

// === impl Bucket ===

impl Bucket {
    pub(crate) fn new(limit: f64, window: Duration, now: Instant) -> Self {
        let (limit, window) = (limit.max(0.0), window.as_secs_f64().max(1e-6));
        Self {
            limit,
            window,
            per_second: limit / window,
            used: 0.0,
            at: now,
        }
    }

    /// Whether `amount` would pass; takes nothing.
    pub(crate) fn check(&mut self, amount: f64, now: Instant) -> Result<(), Refused> {
        self.drain(now);
        if amount > self.limit {
            return Err(Refused::TooLarge);
        }
        let over = self.used + amount - self.limit;
        // Relative: what a told wait drains is exact to so many digits only.
        if over > 1e-9 * self.limit.max(1.0) {
            return Err(Refused::Wait {
                used: self.used,
                wait: Duration::from_secs_f64(over / self.per_second),
            });
        }
        Ok(())
    }

    /// Takes it, whatever [`check`](Self::check) says; gives back what is negative.
    pub(crate) fn add(&mut self, amount: f64, now: Instant) {
        self.drain(now);
        self.used = (self.used + amount).max(0.0);
    }

    pub(crate) fn used(&mut self, now: Instant) -> f64 {
        self.drain(now);
        self.used
    }

    /// Time until the bucket is full again, which is what `x-ratelimit-reset-*` tells.
    pub(crate) fn reset(&self) -> Duration {
        if self.per_second <= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(self.used / self.per_second)
        }
    }

    /// Another limit over the same window; what is used stays used, up to the limit.
    pub(crate) fn resize(&mut self, limit: f64, now: Instant) {
        self.drain(now);
        self.limit = limit.max(0.0);
        self.per_second = self.limit / self.window;
        self.used = self.used.min(self.limit);
    }

    fn drain(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.used = (self.used - passed * self.per_second).max(0.0);
        self.at = self.at.max(now);
    }
}

/// OpenAI's way to write a duration, in headers and in 429 texts: `0s`, `120ms`, `18.642s`, `6m0s`, `28m48s`, `1h0m0s`.
pub(crate) fn duration_text(duration: Duration) -> String {
    // Rounded up: a caller that obeys the text must not be refused again.
    let ms = duration.as_micros().div_ceil(1000);
    if ms == 0 {
        return "0s".into();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let seconds = |ms: u128| {
        if ms.is_multiple_of(1000) {
            format!("{}s", ms / 1000)
        } else {
            let text = format!("{}.{:03}", ms / 1000, ms % 1000);
            format!("{}s", text.trim_end_matches('0'))
        }
    };
    match ms {
        ..60_000 => seconds(ms),
        60_000..3_600_000 => format!("{}m{}", ms / 60_000, seconds(ms % 60_000)),
        _ => format!(
            "{}h{}m{}",
            ms / 3_600_000,
            ms % 3_600_000 / 60_000,
            seconds(ms % 60_000)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_told_wait_is_overshoot_by_rate_as_in_real_answers() {
        let now = Instant::now();
        let mut bucket = Bucket::new(30_000.0, MINUTE, now);
        bucket.add(14_567.0, now);
        let Err(Refused::Wait { used, wait }) = bucket.check(24_754.0, now) else {
            panic!("must be refused")
        };
        assert_eq!(used, 14_567.0);
        assert_eq!(duration_text(wait), "18.642s");
        assert_eq!(bucket.check(24_754.0, now + wait), Ok(()));
    }

    #[test]
    fn more_than_the_limit_is_never_a_matter_of_waiting() {
        let now = Instant::now();
        assert_eq!(
            Bucket::new(30_000.0, MINUTE, now).check(31_538.0, now),
            Err(Refused::TooLarge)
        );
    }

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        let cases = [
            (0, "0s"),
            (120, "120ms"),
            (8_640, "8.64s"),
            (20_000, "20s"),
            (60_000, "1m0s"),
            (86_400, "1m26.4s"),
            (360_000, "6m0s"),
            (432_000, "7m12s"),
            (1_728_000, "28m48s"),
            (25_920_000, "7h12m0s"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration_text(Duration::from_millis(ms)), text);
        }
    }
}
