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
/// The first step above a ceiling; the next ones, while none is refused, double.
const PROBE: f64 = 0.05;
const CLIMB_EVERY: Duration = Duration::from_secs(2);
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_SELDOM: Duration = Duration::from_secs(600);
/// Refusals as far apart as this measure a rate.
const MEASURES: std::ops::Range<f64> = 2.0..90.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    /// Of a window.
    limit: f64,
    ceiling: Option<f64>,
    told: Option<f64>,
    changed: Instant,
    interval: Duration,
    step: f64,
    /// The last refusal: when its call was sent, and what had been taken by then.
    last: Refused,
}

/// A refused call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) sent: Instant,
    /// Taken since the beginning, before it.
    pub(super) taken: f64,
    /// Taken in the window before it.
    pub(super) within: f64,
    /// One unit comes free in this time, if that was told.
    pub(super) one_in: Option<Duration>,
}

// === impl Guess ===

impl Guess {
    /// After the first refusal; `window` in seconds.
    pub(super) fn new(refused: Refused, window: f64, now: Instant) -> Self {
        let told = refused
            .one_in
            .map_or(0.0, |wait| window / wait.as_secs_f64().max(1e-3));
        Self {
            limit: (refused.within.max(told) * BELOW).max(1.0),
            ceiling: None,
            told: None,
            changed: now,
            interval: CLIMB_EVERY,
            step: PROBE,
            last: refused,
        }
    }

    /// A limit that was told once, and may have changed since: tried upwards from there.
    pub(super) fn known(limit: f64, now: Instant) -> Self {
        Self {
            limit,
            ceiling: Some(limit / BELOW),
            told: Some(limit),
            changed: now,
            interval: PROBE_EVERY,
            step: PROBE,
            last: Refused {
                sent: now,
                taken: 0.0,
                within: 0.0,
                one_in: None,
            },
        }
    }

    /// Whether it was tried upwards from this told limit.
    pub(super) fn begun_at(&self, limit: f64) -> bool {
        self.told == Some(limit)
    }

    /// The told limit is the limit still: a step above it was refused.
    pub(super) fn too_high(&mut self, sent: Instant, now: Instant) {
        if sent <= self.changed {
            return;
        }
        let limit = self.told.unwrap_or(self.limit);
        // Refused at the told limit itself is no failed step, and no reason to try less often.
        if self.limit > limit * 1.001 {
            self.interval = (self.interval * 4).clamp(PROBE_EVERY, PROBE_SELDOM);
        }
        (self.limit, self.ceiling) = (limit, Some(limit / BELOW));
        (self.changed, self.step) = (now, PROBE);
    }

    pub(super) fn limit(&self) -> f64 {
        self.limit
    }

    /// Another refusal; of a call that was sent before the last change it says nothing new.
    pub(super) fn refused(&mut self, refused: Refused, window: f64, now: Instant) {
        if refused.sent <= self.changed {
            // Of those under way the earliest says best what had passed.
            if self.ceiling.is_none()
                && refused.within < self.last.within
                && refused.within >= 1.0
                && refused.sent <= self.last.sent
            {
                self.last = refused;
                self.limit = self.limit.min((refused.within * BELOW).max(1.0));
            }
            return;
        }
        let apart = refused
            .sent
            .saturating_duration_since(self.last.sent)
            .as_secs_f64();
        let measured = (refused.taken - self.last.taken).max(0.0) / apart.max(1e-3) * window;
        let ceiling = if MEASURES.contains(&apart) {
            measured.min(self.limit)
        } else {
            self.limit
        };
        let failed_again = self
            .ceiling
            .is_some_and(|old| (ceiling - old).abs() <= 0.15 * old);
        self.ceiling = Some(ceiling.max(1.0));
        self.limit = (ceiling * BELOW).max(1.0);
        self.interval = if failed_again {
            (self.interval * 2).clamp(PROBE_EVERY, PROBE_SELDOM)
        } else {
            PROBE_EVERY
        };
        (self.changed, self.step, self.last) = (now, PROBE, refused);
    }

    /// A call sent at `sent` was answered well; `wanted`: more would have gone.
    pub(super) fn answered(&mut self, sent: Instant, wanted: bool, now: Instant) {
        let passed = now.saturating_duration_since(self.changed);
        if !wanted || sent <= self.changed || passed < self.interval {
            return;
        }
        self.changed = now;
        match self.ceiling {
            None => self.limit *= CLIMB,
            Some(ceiling) if self.limit < ceiling * BELOW => {
                self.limit = (self.limit * CLIMB).min(ceiling * BELOW)
            }
            Some(ceiling) => {
                // The last step held: so much is allowed.
                let held = self.limit.max(ceiling * BELOW);
                self.limit = held * (1.0 + self.step);
                self.ceiling = Some(self.limit / BELOW);
                self.step = (self.step * 2.0).min(CLIMB - 1.0);
                self.interval = PROBE_EVERY;
            }
        }
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
            one_in: None,
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
