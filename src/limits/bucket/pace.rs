//! How much may go at once: a bucket of a few seconds, refilled at the limit's rate.
//!
//! Providers enforce a minute's limit over shorter windows, and do not say over which. So the burst begins small, doubles when a
//! whole one has gone at once and was answered, and shrinks to a quarter at a refusal that came although there was room. What was
//! once too much is approached again slowly. Where even the smallest burst is too much, the rate itself is eased.
//!
//! A usual burst is a few seconds' worth. Where the provider tells how much is left, more is earned: each whole burst that was answered
//! makes the next one larger, up to all that is left. What was earned is there for a crowd at an idle account; while calls wait anyhow
//! the level comes back to the usual burst only, or a window would be emptied at its beginning and nobody be served until its end.

use std::time::Duration;

use tokio::time::Instant;

/// Seconds of the rate that may go at once at most.
const LONGEST: f64 = 5.0;
/// Providers that count over shorter windows do so over one second or ten. From a usual burst to past ten seconds' worth, a larger one is
/// larger by so many seconds only: what is refused where ten seconds are the window is at most that. Beyond it bursts double again.
const CAREFUL: f64 = 1.5;
const CAREFUL_UP_TO: f64 = 12.0;
/// Seconds of the rate with which a burst begins that the last run found to be too much.
const CAUTIOUS: f64 = 0.25;
/// Of a burst that was too large, so much is tried again.
const SAFE: f64 = 0.8;
/// Between two steps towards it.
const STEP: Duration = Duration::from_secs(60);
/// A surprise is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(3_600);
/// A burst within this time is one that went at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// An answer that has not come after this time is not counted on.
const ANSWERS: Duration = Duration::from_secs(60);
/// The rate is eased by this share when the smallest burst is too much, and recovers by a fifth of it each step.
const EASE: f64 = 0.02;
const MOST_EASE: f64 = 0.15;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    level: f64,
    at: Instant,
    burst: f64,
    /// The burst that was too much, and when.
    too_much: Option<(f64, Instant)>,
    changed: Instant,
    /// When it was last full.
    full: Instant,
    /// When the last call of a whole burst went: that it was answered says that none was too many, the first one's answer does not.
    drained: Option<Instant>,
    ease: f64,
}

/// What the limit makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// Per second, eased for nobody yet.
    pub(super) rate: f64,
    /// The limit of a window.
    pub(super) limit: f64,
    /// Calls of usual size that may always go at once, in this bucket's unit.
    pub(super) few: f64,
    /// More of them, where the provider has shown to keep one bucket of the whole limit: a burst may grow to so many.
    pub(super) many: Option<f64>,
    /// All that may be earned, where the provider tells what is left.
    pub(super) earned: Option<f64>,
    /// Nobody has had to wait of late.
    pub(super) rested: bool,
}

// === impl Shape ===

impl Shape {
    fn most(&self) -> f64 {
        self.usual().max(self.earned.unwrap_or(0.0))
    }

    /// Without anything earned.
    fn usual(&self) -> f64 {
        let few = self.many.unwrap_or(self.few).min(self.limit);
        (self.rate * LONGEST).max(few).max(1.0)
    }

    /// What may go at once after a whole `burst` was answered.
    fn larger(&self, burst: f64) -> f64 {
        let twice = match burst * 2.0 {
            twice if burst < self.usual() => twice.min(self.usual()),
            _ if burst < self.rate * CAREFUL_UP_TO => burst + self.rate * CAREFUL,
            twice => twice,
        };
        twice.min(self.most())
    }

    fn least(&self) -> f64 {
        (self.rate * 0.1).max(1.0)
    }
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(shape: Shape, now: Instant) -> Self {
        let burst = (2.0 * shape.few).min(shape.usual());
        Self {
            level: burst,
            at: now,
            burst,
            too_much: None,
            changed: now,
            full: now,
            drained: None,
            ease: 0.0,
        }
    }

    pub(super) fn burst(&self) -> f64 {
        self.burst
    }

    /// How long until `amount` may go, `floor` (a share of the burst) being left for others. More than a burst goes when that is full.
    pub(super) fn wait(&mut self, amount: f64, floor: f64, shape: Shape, now: Instant) -> Duration {
        self.refill(shape, now);
        let usual = self.burst.min(shape.usual());
        let need = (amount + floor * usual).min(usual);
        if self.level >= need - 1e-6 {
            return Duration::ZERO;
        }
        let rate = self.rate(shape).max(1e-9);
        Duration::from_secs_f64(((need - self.level) / rate).min(1e8)) + Duration::from_nanos(1)
    }

    pub(super) fn take(&mut self, amount: f64, shape: Shape, now: Instant) {
        self.refill(shape, now);
        self.level -= amount;
        if self.level <= 0.25 * self.burst && now.saturating_duration_since(self.full) <= AT_ONCE {
            self.drained = Some(now);
        }
    }

    pub(super) fn give_back(&mut self, amount: f64) {
        self.level = (self.level + amount).min(self.burst);
    }

    /// A call sent at `sent` was answered well.
    pub(super) fn answered(&mut self, sent: Instant, shape: Shape, now: Instant) {
        if let Some((burst, at)) = self.too_much {
            if now.saturating_duration_since(at) > FORGOTTEN {
                self.too_much = None;
            } else if now.saturating_duration_since(self.changed) >= STEP {
                self.changed = now;
                self.ease = (self.ease - EASE / 5.0).max(0.0);
                let safe = (burst * SAFE).clamp(shape.least(), shape.most().max(shape.least()));
                if self.burst < safe {
                    self.burst = (self.burst * 1.25).min(safe);
                }
            }
            return;
        }
        if self
            .drained
            .is_some_and(|drained| sent >= self.changed && sent >= drained)
            && self.burst < shape.most()
        {
            // The larger burst may go on at once: who waits behind the first part of a crowd goes with its first answer.
            let larger = shape.larger(self.burst);
            self.level += larger - self.burst;
            (self.burst, self.drained, self.changed) = (larger, None, now);
            if shape.earned.is_some() || shape.many.is_some_and(|many| shape.most() <= many) {
                // However long the first part's answers took, the second one goes at once too.
                self.full = now;
            }
        }
    }

    /// The burst is as small as it gets.
    pub(super) fn is_least(&self, shape: Shape) -> bool {
        self.burst <= shape.least() * 1.001
    }

    /// A call sent at `sent` was refused although there was room. Whether that is new.
    pub(super) fn surprised(&mut self, sent: Instant, shape: Shape, now: Instant) -> bool {
        if self.too_much.is_some_and(|(_, at)| sent <= at) {
            return false;
        }
        self.refill(shape, now);
        if self.burst <= shape.least() * 1.001 {
            self.ease = (self.ease + EASE).min(MOST_EASE);
        }
        let before = self.burst;
        self.too_much = Some((before, now));
        self.burst = (before / 4.0).max(shape.least());
        // What was earned beyond a usual burst is paid back first: it has emptied a window that others take from as well, and who goes
        // on at the rate is refused again and again.
        let beyond = (before - shape.usual()).clamp(0.0, shape.rate * LONGEST);
        self.level = self.level.min(0.0) - beyond;
        (self.changed, self.drained) = (now, None);
        true
    }

    /// Whether a whole burst is under way, whose answer makes the next one larger.
    pub(super) fn grows(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) <= ANSWERS;
        self.too_much.is_none() && self.drained.is_some_and(lately)
    }

    /// As if it had grown as far as it may.
    pub(super) fn hope(&mut self, shape: Shape) {
        let larger = shape.most();
        self.level += (larger - self.burst).max(0.0);
        self.burst = self.burst.max(larger);
    }

    /// The burst of the last run, and that it was found by surprise. It was found while calls waited; this one begins full, and what follows
    /// at the rate comes on top of it. So it begins with less.
    pub(super) fn restore(&mut self, burst: f64, shape: Shape, now: Instant) {
        let burst = burst.max(1.0);
        self.too_much = Some((burst / SAFE, now));
        self.burst = burst.min((shape.rate * CAUTIOUS).max(shape.least()));
        self.level = self.level.min(self.burst);
        self.changed = now;
    }

    /// The burst, if a surprise has made it what it is.
    pub(super) fn learnt(&self) -> Option<f64> {
        self.too_much.map(|_| self.burst)
    }

    pub(super) fn rate(&self, shape: Shape) -> f64 {
        shape.rate * (1.0 - self.ease)
    }

    fn refill(&mut self, shape: Shape, now: Instant) {
        // The limit has changed: never more at once than it makes sensible.
        self.burst = self.burst.min(shape.most());
        if now > self.at {
            let passed = now.saturating_duration_since(self.at).as_secs_f64();
            self.at = now;
            let usual = self.burst.min(shape.usual());
            if self.level < usual {
                self.level = (self.level + passed * self.rate(shape)).min(usual);
            }
            if shape.rested && self.level >= 0.95 * usual {
                self.level = self.burst;
            }
        }
        self.level = self.level.min(self.burst);
        if self.level >= 0.95 * self.burst {
            self.full = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        rate: 10.0,
        limit: 600.0,
        few: 10.0,
        many: None,
        earned: None,
        rested: false,
    };

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_that_was_answered_doubles_and_ends_at_a_few_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        let mut now = start;
        for expected in [20.0, 40.0, 50.0, 50.0] {
            assert!((pace.burst() - expected).abs() < 1e-6, "{}", pace.burst());
            now = after(now, 10.0);
            while pace.wait(1.0, 0.0, SHAPE, now).is_zero() {
                pace.take(1.0, SHAPE, now);
            }
            pace.answered(now, SHAPE, after(now, 1.0));
        }
    }

    /// Answers of models come after seconds: 60 calls at a limit of 60 a minute go within three of them.
    #[test]
    fn where_all_may_go_at_once_the_burst_grows_to_the_limit_whatever_an_answer_takes() {
        let shape = Shape {
            rate: 1.0,
            limit: 60.0,
            few: 10.0,
            many: Some(60.0),
            ..SHAPE
        };
        let start = Instant::now();
        let (mut pace, mut gone) = (Pace::new(shape, start), 0);
        for round in 0..4 {
            let now = after(start, f64::from(round) * 3.0);
            while pace.wait(1.0, 0.0, shape, now).is_zero() {
                pace.take(1.0, shape, now);
                gone += 1;
            }
            pace.answered(now, shape, after(now, 2.9));
        }
        assert!(gone >= 60, "{gone}");
        let now = after(start, 12.0);
        assert!(pace.surprised(now, shape, now));
        assert!(pace.burst() <= 15.0, "{}", pace.burst());
    }

    #[test]
    fn a_crowd_goes_as_fast_as_its_answers_come() {
        let shape = Shape {
            rate: 100.0,
            limit: 6_000.0,
            few: 10.0,
            many: None,
            ..SHAPE
        };
        let start = Instant::now();
        let (mut pace, mut gone, mut round) = (Pace::new(shape, start), 0, 0);
        while gone < 300 {
            let now = after(start, f64::from(round) * 0.2);
            while pace.wait(1.0, 0.0, shape, now).is_zero() {
                pace.take(1.0, shape, now);
                gone += 1;
            }
            pace.answered(now, shape, after(now, 0.2));
            round += 1;
        }
        assert!(round <= 5, "{round}");
    }

    /// The first answers of a burst, the rest of which was refused, once doubled it.
    #[test]
    fn only_the_answer_to_its_last_call_says_that_a_burst_was_none_too_large() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        let sent = |n: u32| start + Duration::from_micros(n.into());
        (0..20).for_each(|n| pace.take(1.0, SHAPE, sent(n)));
        pace.answered(sent(5), SHAPE, after(start, 0.3));
        assert!((pace.burst() - 20.0).abs() < 1e-6);
        pace.answered(sent(19), SHAPE, after(start, 0.4));
        assert!((pace.burst() - 40.0).abs() < 1e-6);
    }

    #[test]
    fn steady_use_does_not_count_as_a_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        pace.take(20.0, SHAPE, start);
        pace.drained = None;
        // What goes within the first second is part of that burst.
        for step in 12..300 {
            let now = after(start, f64::from(step) * 0.1);
            pace.take(1.0, SHAPE, now);
            pace.answered(now, SHAPE, now);
        }
        assert!((pace.burst() - 20.0).abs() < 1e-6, "{}", pace.burst());
    }

    #[test]
    fn a_surprise_quarters_the_burst_once_for_all_calls_that_were_under_way() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        let refused = after(start, 0.1);
        assert!(pace.surprised(start, SHAPE, refused));
        assert!(!pace.surprised(start, SHAPE, after(start, 0.2)));
        assert!((pace.burst() - 5.0).abs() < 1e-6);
        assert!(pace.wait(1.0, 0.0, SHAPE, refused) >= Duration::from_millis(100));
        // It grows back, not further than to what seems safe.
        let mut now = refused;
        for _ in 0..20 {
            now += STEP;
            pace.answered(now, SHAPE, now);
        }
        assert!((pace.burst() - 16.0).abs() < 1e-6, "{}", pace.burst());
    }

    #[test]
    fn where_the_smallest_burst_is_too_much_the_rate_is_eased() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        for step in 1..=4_u32 {
            let sent = after(start, f64::from(step));
            pace.surprised(sent, SHAPE, after(sent, 0.1));
        }
        assert!((pace.burst() - 1.0).abs() < 1e-6);
        assert!(pace.rate(SHAPE) < 9.9 && pace.rate(SHAPE) > 9.0);
    }

    #[test]
    fn more_than_a_burst_goes_when_it_is_full_and_is_paid_back() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        assert!(pace.wait(300.0, 0.0, SHAPE, start).is_zero());
        pace.take(300.0, SHAPE, start);
        let wait = pace.wait(1.0, 0.0, SHAPE, start).as_secs_f64();
        assert!((wait - 28.1).abs() < 0.01, "{wait}");
    }

    #[test]
    fn who_leaves_some_for_others_waits_longer() {
        let start = Instant::now();
        let mut pace = Pace::new(SHAPE, start);
        pace.take(12.0, SHAPE, start);
        assert!(pace.wait(1.0, 0.0, SHAPE, start).is_zero());
        assert_eq!(pace.wait(1.0, 0.5, SHAPE, start).as_millis(), 300);
        assert_eq!(pace.wait(1.0, 0.9, SHAPE, start).as_millis(), 1_100);
    }
}
