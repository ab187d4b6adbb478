//! A limit that nobody tells: found by what passed before a refusal, then tried upwards.
//!
//! Between two refusals that come soon after another the bucket was empty at both ends, so what passed meanwhile is what it refills:
//! the best measure there is. At the first refusal it is what passed within the window. From there it climbs: quickly while no ceiling
//! is known, to just below a known one, and above that only at growing intervals, because each try costs somebody a refusal.

use std::time::Duration;

use tokio::time::Instant;

/// Of what was measured, so much is used.
const BELOW: f64 = 0.97;
/// A step upwards while no ceiling is known.
const CLIMB: f64 = 1.5;
const CLIMB_EVERY: Duration = Duration::from_secs(2);
/// The first step above a ceiling; the next ones, while none is refused, double.
const PROBE: f64 = 0.05;
/// Between steps above a ceiling: what a provider has stored hides for a while that a step was too much.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_SELDOM: Duration = Duration::from_secs(600);
/// Refusals as far apart as this, in seconds, measure a rate.
const MEASURES: std::ops::Range<f64> = 2.0..90.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    /// Of a window.
    limit: f64,
    /// A limit that was refused, or told.
    ceiling: Option<f64>,
    /// Where it stood before the last step upwards.
    good: Option<f64>,
    told: Option<f64>,
    changed: Instant,
    interval: Duration,
    step: f64,
    /// The last refusal.
    last: Option<Refused>,
}

/// A refused call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) sent: Instant,
    /// Taken since the beginning, before it.
    pub(super) taken: f64,
    /// Taken in the window before it.
    pub(super) within: f64,
    /// The told wait.
    pub(super) wait: Option<Duration>,
    /// Each request counts one, so that the wait is the time of one.
    pub(super) ones: bool,
}

// === impl Guess ===

impl Guess {
    /// After the first refusal; `window` in seconds.
    pub(super) fn new(refused: Refused, window: f64, now: Instant) -> Self {
        let wait = refused.wait.map_or(0.0, |wait| wait.as_secs_f64());
        let told = if refused.ones && wait > 0.0 {
            window / wait
        } else {
            0.0
        };
        let limit = (refused.within.max(told) * BELOW).max(1.0);
        // A long wait says that the window is a long one; a wait for one that agrees with what passed says that both are right.
        let agrees = (told - refused.within).abs() <= 0.25 * refused.within;
        let sure = wait >= window / 4.0 || (told > 0.0 && agrees);
        Self {
            limit,
            ceiling: sure.then_some(limit / BELOW),
            good: None,
            told: None,
            changed: now,
            interval: if sure { PROBE_EVERY } else { CLIMB_EVERY },
            step: PROBE,
            last: Some(refused),
        }
    }

    /// A limit that was told once, and may have changed since: tried upwards from there.
    pub(super) fn known(limit: f64, now: Instant) -> Self {
        Self {
            limit,
            ceiling: Some(limit),
            good: None,
            told: Some(limit),
            changed: now,
            interval: PROBE_EVERY * 2,
            step: PROBE,
            last: None,
        }
    }

    /// Whether it was tried upwards from this told limit.
    pub(super) fn begun_at(&self, limit: f64) -> bool {
        self.told == Some(limit)
    }

    /// The told limit is the limit still.
    pub(super) fn too_high(&mut self, sent: Instant, now: Instant) {
        let limit = self.told.unwrap_or(self.limit);
        // Refused at the told limit itself is no failed step, and no reason to try less often.
        if sent <= self.changed || self.limit <= limit * 1.001 {
            return;
        }
        self.interval = (self.interval * 4).clamp(PROBE_EVERY, PROBE_SELDOM);
        (self.limit, self.good) = (limit, None);
        (self.changed, self.step) = (now, PROBE);
    }

    /// When it was last changed.
    pub(super) fn changed(&self) -> Instant {
        self.changed
    }

    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// Another refusal; of a call that was sent before the last change it says nothing new.
    pub(super) fn refused(&mut self, refused: Refused, window: f64, now: Instant) {
        if refused.sent <= self.changed {
            // Of those under way the earliest says best what had passed.
            if let Some(last) = self.last
                && refused.sent <= last.sent
                && (1.0..last.within).contains(&refused.within)
            {
                *self = Self {
                    changed: self.changed,
                    ..Self::new(refused, window, now)
                };
            }
            return;
        }
        let measured = self.last.and_then(|last| {
            let apart = refused
                .sent
                .saturating_duration_since(last.sent)
                .as_secs_f64();
            let taken = refused.taken - last.taken;
            (MEASURES.contains(&apart) && taken > 0.0).then(|| taken / apart * window)
        });
        let failed = self.limit;
        let base = self.good.unwrap_or(failed * BELOW);
        self.limit = base
            .min(measured.map_or(f64::MAX, |rate| rate * BELOW))
            .max(1.0);
        self.interval = match self.good {
            Some(_) if self.ceiling.is_some() => {
                (self.interval * 2).clamp(PROBE_EVERY, PROBE_SELDOM)
            }
            _ => PROBE_EVERY,
        };
        (self.ceiling, self.good) = (Some(failed), None);
        (self.changed, self.step, self.last) = (now, PROBE, Some(refused));
    }

    /// A call sent at `sent` was answered well; `wanted`: more would have gone.
    pub(super) fn answered(&mut self, sent: Instant, wanted: bool, now: Instant) {
        let passed = now.saturating_duration_since(self.changed);
        if !wanted || sent <= self.changed || passed < self.interval {
            return;
        }
        (self.changed, self.good) = (now, Some(self.limit));
        if self.ceiling.is_none() {
            self.limit *= CLIMB;
            return;
        }
        self.limit *= 1.0 + self.step;
        self.step = (self.step * 2.0).min(CLIMB - 1.0);
        self.interval = PROBE_EVERY.max(self.interval / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sent: Instant, taken: f64, within: f64) -> Refused {
        Refused {
            sent,
            taken,
            within,
            wait: None,
            ones: true,
        }
    }

    /// Minutes of more demand than any limit, at a bucket of `limit` a minute that refills, full at first. What passed, what was refused,
    /// and where the guess stood at the end.
    fn drive(limit: f64, raised: f64, minutes: u32) -> (f64, u32, f64) {
        let start = Instant::now();
        let (mut level, mut capacity) = (limit, limit);
        let (mut passed, mut refusals, mut due) = (0.0_f64, 0, 0.0);
        let mut guess: Option<Guess> = None;
        let step = 0.01;
        for tick in 0..minutes * 6_000 {
            let now = start + Duration::from_secs_f64(f64::from(tick) * step);
            if tick == minutes * 3_000 {
                capacity = limit * raised;
            }
            level = (level + capacity / 60.0 * step).min(capacity);
            due = (due + guess.map_or(1.0, |guess: Guess| guess.limit() / 60.0 * step)).min(2.0);
            while due >= 1.0 {
                due -= 1.0;
                if level >= 1.0 {
                    level -= 1.0;
                    passed += 1.0;
                    if let Some(guess) = &mut guess {
                        guess.answered(now, true, now);
                    }
                } else {
                    refusals += 1;
                    let refused = refused(now, passed, passed.min(limit));
                    match &mut guess {
                        Some(guess) => guess.refused(refused, 60.0, now),
                        None => guess = Some(Guess::new(refused, 60.0, now)),
                    }
                }
            }
        }
        (passed, refusals, guess.map_or(0.0, |guess| guess.limit()))
    }

    #[test]
    fn a_limit_that_nobody_tells_is_found_and_held() {
        let (passed, refusals, end) = drive(600.0, 1.0, 20);
        assert!(end > 550.0 && end < 680.0, "{end}");
        assert!(passed > 600.0 * 20.0 * 0.93, "{passed}");
        assert!(
            f64::from(refusals) < passed * 0.01,
            "{refusals} of {passed}"
        );
    }

    #[test]
    fn a_raised_limit_is_used_by_and_by() {
        let (_, _, end) = drive(600.0, 3.0, 30);
        assert!(end > 1_500.0 && end < 2_000.0, "{end}");
    }
}
