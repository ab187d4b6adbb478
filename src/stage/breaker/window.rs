//! A sliding window of outcomes, in ten buckets.

use std::time::Duration;

use tokio::time::Instant;

/// Finer buckets forget more evenly and cost more to add up; a tenth is both fine and cheap.
const BUCKETS: usize = 10;

/// Outcomes of the last while. Plain data; `now` comes from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    buckets: [Counts; BUCKETS],
    /// Number of the newest bucket, counted from `origin`.
    newest: u64,
    origin: Option<Instant>,
    /// Length of one bucket; another length starts anew.
    bucket: Duration,
}

/// Outcomes, counted. Neutral ones are in neither number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) successes: u32,
    pub(super) failures: u32,
}

// === impl Counts ===

impl Counts {
    /// Whether failures make up `ratio` of at least `min` outcomes.
    pub(super) fn trips(self, ratio: f32, min: u32) -> bool {
        let all = u64::from(self.successes) + u64::from(self.failures);
        self.failures > 0
            && all >= u64::from(min)
            && f64::from(self.failures) >= f64::from(ratio) * all as f64
    }
}

// === impl Window ===

impl Window {
    /// Counts one outcome; `length` is that of the whole window.
    pub(super) fn add(&mut self, now: Instant, length: Duration, success: bool) {
        let bucket = self.turn(now, length);
        let count = if success {
            &mut bucket.successes
        } else {
            &mut bucket.failures
        };
        *count = count.saturating_add(1);
    }

    /// What is in the window now.
    pub(super) fn counts(&mut self, now: Instant, length: Duration) -> Counts {
        self.turn(now, length);
        self.buckets
            .iter()
            .fold(Counts::default(), |sum, b| Counts {
                successes: sum.successes.saturating_add(b.successes),
                failures: sum.failures.saturating_add(b.failures),
            })
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Empties the buckets that have gone by; the one of now.
    fn turn(&mut self, now: Instant, length: Duration) -> &mut Counts {
        let bucket = (length / BUCKETS as u32).max(Duration::from_millis(1));
        if bucket != self.bucket {
            *self = Self {
                bucket,
                ..Self::default()
            };
        }
        let origin = *self.origin.get_or_insert(now);
        let number = (now.saturating_duration_since(origin).as_nanos() / bucket.as_nanos()) as u64;
        // A clock read before another thread's may be a little behind: its outcome belongs to the newest bucket.
        let number = number.max(self.newest);
        for passed in (self.newest + 1..=number).rev().take(BUCKETS) {
            self.buckets[(passed % BUCKETS as u64) as usize] = Counts::default();
        }
        self.newest = number;
        &mut self.buckets[(number % BUCKETS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);

    #[test]
    fn the_ratio_needs_its_minimum() {
        let counts = Counts {
            successes: 1,
            failures: 3,
        };
        assert!(counts.trips(0.5, 4));
        assert!(!counts.trips(0.5, 5));
        assert!(!counts.trips(0.8, 4));
        assert!(!Counts::default().trips(0.0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_length_starts_anew() {
        let (mut window, now) = (Window::default(), Instant::now());
        window.add(now, LENGTH, true);
        assert_eq!(window.counts(now, LENGTH).successes, 1);
        assert_eq!(window.counts(now, LENGTH * 2).successes, 0);
    }

    proptest! {
        /// Against a list of all outcomes: what is surely inside is counted, what is surely outside is not.
        #[test]
        fn the_window_counts_what_is_inside(steps in prop::collection::vec((0_u64..9_000, any::<bool>()), 1..200)) {
            let start = Instant::now();
            let (mut window, mut now, mut all) = (Window::default(), start, VecDeque::new());
            for (ms, success) in steps {
                now += Duration::from_millis(ms);
                window.add(now, LENGTH, success);
                all.push_back((now, success));
                let since = |age: Duration| all.iter().filter(|(at, _)| now - *at < age).count() as u32;
                let counts = window.counts(now, LENGTH);
                let sum = counts.successes + counts.failures;
                prop_assert!(sum >= since(LENGTH - LENGTH / 10), "too few: {sum}");
                prop_assert!(sum <= since(LENGTH), "too many: {sum}");
            }
        }
    }
}
