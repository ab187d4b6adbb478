//! A limit that nobody tells, as a rate: found by what passed before a refusal and between refusals, then tried upwards.
//!
//! Whatever the provider's window is, calls that come evenly at its rate are never refused, so that the rate is all that is looked for.
//! It lies between one that held (`good`) and one that did not (`ceiling`):
//!
//! - after the first refusal somewhere between what passed within a minute and the most that ever passed in a shorter time, which is
//!   reached by doubling;
//! - where the provider stayed shut for a while, its window is at least as long as that, and what passed within tells the rate;
//! - else between two refusals the bucket was empty at both ends, and what passed meanwhile is what it refills;
//! - between the two it is halved, until they are near; above the ceiling it is tried at growing intervals, in steps that grow while
//!   none is refused, so that a raised limit is found.
//!
//! Each try may cost somebody a refusal. They are paid from an allowance: a few in a thousand of the calls that were answered.

use std::time::Duration;

use tokio::time::Instant;

/// Of what was measured, so much is used.
const BELOW: f64 = 0.97;
/// Of what was refused, where nothing was measured.
const CUT: f64 = 0.85;
/// Of the limit, what may have been too much at least; where nobody waited it was a crowd, and the limit itself not far from right.
const LEAST_FAILED: f64 = 0.2;
const LEAST_LIGHT: f64 = 0.9;
/// While nothing but the first refusal is known, it doubles so often.
const CLIMB: f64 = 2.0;
const CLIMB_EVERY: Duration = Duration::from_secs(1);
/// For so long a rate must hold to be a good one.
const SETTLE: Duration = Duration::from_secs(10);
/// A ceiling so near is not approached further.
const NEAR: f64 = 1.03;
/// The first step above a ceiling; the next ones, while none is refused, double.
const PROBE: f64 = 0.05;
const PROBE_MOST: f64 = 0.5;
/// As long as it is in doubt whether it is the rate at all that was refused, such a step after this time says more than waiting.
const DOUBTED_EVERY: Duration = Duration::from_secs(3);
/// Steps that lead so far have found more than a stock.
const MANY: f64 = 1.3;
/// Between steps above a ceiling: what a provider has stored hides for a while that a step was too much.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_SELDOM: Duration = Duration::from_secs(600);
/// Refusals as far apart as this, in seconds, with so much passed meanwhile, measure a rate.
const MEASURES: std::ops::Range<f64> = 2.0..150.0;
const ENOUGH: f64 = 5.0;
/// Of the rate so much must be used, or that none was refused says nothing of it.
const USED: f64 = 0.8;
/// A provider that was shut for so long has a window, which tells more than what passed between two refusals.
pub(super) const SHUT: Duration = Duration::from_secs(1);
/// Refusals that an answered call pays for, and how many may be saved up or owed. Each that is owed makes the next try wait as long again.
const PAYS: f64 = 0.002;
const SAVED: f64 = 4.0;
const OWED: f64 = -2.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    /// Of a window.
    limit: f64,
    /// The lowest that was refused, or told.
    ceiling: f64,
    /// What has held.
    good: f64,
    /// The same before the first of several steps above the ceiling.
    base: f64,
    told: Option<f64>,
    /// Nothing is known but the first refusal.
    fresh: bool,
    changed: Instant,
    /// What had passed when it was changed.
    from: f64,
    interval: Duration,
    step: f64,
    /// Refusals that may be risked.
    allowance: f64,
    /// The last refusal.
    last: Option<Refused>,
    /// Limit and ceiling before the last step that was made in doubt.
    before: Option<(f64, f64)>,
}

/// A refused call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) sent: Instant,
    /// Passed since the beginning, before it.
    pub(super) taken: f64,
    /// Passed in the window before it.
    pub(super) within: f64,
    /// More would have gone.
    pub(super) wanted: bool,
}

// === impl Guess ===

impl Guess {
    /// After the first refusal; `most`: the most that passed in any shorter time, as of a whole window.
    pub(super) fn new(refused: Refused, most: f64, now: Instant) -> Self {
        let most = most.max(refused.within).max(1.0);
        let limit = ((refused.within * most).sqrt() * BELOW).max(1.0);
        Self {
            ceiling: most,
            good: limit,
            told: None,
            fresh: true,
            from: refused.taken,
            last: Some(refused),
            ..Self::known(limit, now)
        }
    }

    /// A limit that was told once, and may have changed since: tried upwards from there.
    pub(super) fn known(limit: f64, now: Instant) -> Self {
        Self {
            limit,
            ceiling: limit,
            good: limit,
            base: limit,
            told: Some(limit),
            fresh: false,
            changed: now,
            from: 0.0,
            interval: PROBE_EVERY * 2,
            step: PROBE,
            allowance: 0.0,
            last: None,
            before: None,
        }
    }

    /// What the last run found.
    pub(super) fn restored(limit: f64, now: Instant) -> Self {
        Self {
            ceiling: limit / BELOW,
            told: None,
            ..Self::known(limit, now)
        }
    }

    /// Whether it was tried upwards from this told limit.
    pub(super) fn begun_at(&self, limit: f64) -> bool {
        self.told == Some(limit)
    }

    /// No number was ever told.
    pub(super) fn is_felt(&self) -> bool {
        self.told.is_none()
    }

    /// The told limit is the limit still.
    pub(super) fn too_high(&mut self, sent: Instant, now: Instant) {
        let limit = self.told.unwrap_or(self.limit);
        // Refused at the told limit itself is no failed step, and no reason to try less often.
        if sent <= self.changed || self.limit <= limit * 1.001 {
            return;
        }
        self.interval = (self.interval * 4).clamp(PROBE_EVERY, PROBE_SELDOM);
        (self.limit, self.good) = (limit, limit);
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
        // At that very moment others may have gone with the new one.
        if refused.sent < self.changed {
            return;
        }
        self.pays();
        if let Some((limit, ceiling)) = self.before.take() {
            // It was the rate, and what was known of it was right.
            (self.ceiling, self.fresh, self.step) = (ceiling, false, PROBE);
            self.becomes(limit, refused.taken, now);
            (self.good, self.base, self.last) = (limit, limit, Some(refused));
            return;
        }
        let measured = self.last.and_then(|last| {
            let apart = refused
                .sent
                .saturating_duration_since(last.sent)
                .as_secs_f64();
            let taken = refused.taken - last.taken;
            (MEASURES.contains(&apart) && taken >= ENOUGH).then(|| taken / apart * window)
        });
        // Who sends less than he may is refused for what he sends.
        let elapsed = refused
            .sent
            .saturating_duration_since(self.changed)
            .as_secs_f64();
        let sends =
            (elapsed >= MEASURES.start).then(|| (refused.taken - self.from) / elapsed * window);
        let least = if refused.wanted {
            LEAST_FAILED
        } else {
            LEAST_LIGHT
        };
        let failed = sends.map_or(self.limit, |sends| {
            sends.clamp(self.limit * least, self.limit)
        });
        let measured = measured.map(|measured| sends.map_or(measured, |sends| measured.max(sends)));
        let tried = self.good < failed * 0.999;
        // A stock hides for a while that a step was too much; several of them have found something.
        let held = if self.good < self.base * MANY {
            self.base
        } else {
            self.good
        };
        let base = if tried {
            held.min(self.good)
        } else {
            failed * CUT
        };
        let limit = match measured {
            Some(measured) if tried => base.min(measured * BELOW),
            Some(measured) => measured.min(failed) * BELOW,
            None => base,
        };
        if tried && failed > self.ceiling {
            self.interval = (self.interval * 2).clamp(PROBE_EVERY, PROBE_SELDOM);
        }
        (self.ceiling, self.fresh, self.told) = (failed, false, None);
        self.becomes(limit.max(self.limit * least * CUT), refused.taken, now);
        (self.good, self.base) = (self.limit, self.limit);
        (self.step, self.last) = (PROBE, Some(refused));
    }

    /// A call was refused.
    pub(super) fn pays(&mut self) {
        self.allowance = (self.allowance - 1.0).max(OWED);
    }

    /// The provider answers again. `found`: the most that passed within its window, as far as that is known; `shut`: how long it refused;
    /// `least`: what it gives back at least.
    pub(super) fn reopened(
        &mut self,
        found: Option<f64>,
        (shut, least): (Duration, f64),
        passed: f64,
        now: Instant,
    ) {
        if self.told.is_some() {
            return;
        }
        let found = found.unwrap_or(self.limit);
        if self.fresh {
            self.ceiling = found.max(1.0);
            let limit = match shut >= SHUT {
                true => found * BELOW,
                // Between the two, nearer to neither: too low, those who wait would be sent away before it has climbed.
                false => (least.clamp(1.0, found.max(1.0)) * found).sqrt() * BELOW,
            };
            self.fresh = shut < SHUT;
            self.becomes(limit, passed, now);
        } else if shut >= SHUT && found > 0.0 {
            let limit = (found * BELOW).min(self.ceiling * BELOW);
            self.becomes(limit, passed, now);
        } else {
            self.becomes(self.limit, passed, now);
        }
        (self.good, self.base) = (self.limit, self.limit);
    }

    /// A call sent at `sent` was answered well; `wanted`: more would have gone. `passed`: since the beginning.
    pub(super) fn answered(
        &mut self,
        sent: Instant,
        wanted: bool,
        (passed, window): (f64, f64),
        now: Instant,
    ) {
        self.allowance = (self.allowance + PAYS).min(SAVED);
        let elapsed = now.saturating_duration_since(self.changed);
        if !wanted || sent <= self.changed {
            return;
        }
        if self.told.is_some() {
            if elapsed >= self.interval {
                self.rises(passed, now);
                self.interval = PROBE_EVERY.max(self.interval / 2);
            }
            return;
        }
        if !self.is_used(elapsed, (passed, window)) {
            return;
        }
        let owed = 1.0 + (-self.allowance).max(0.0);
        let below = self.limit * NEAR < self.ceiling;
        if self.climbs() {
            if elapsed < CLIMB_EVERY {
                return;
            }
            (self.good, self.base) = (self.limit, self.limit);
            self.becomes((self.limit * CLIMB).min(self.ceiling * BELOW), passed, now);
        } else if below && elapsed >= SETTLE.mul_f64(owed) {
            (self.good, self.base) = (self.limit, self.limit);
            self.becomes((self.limit + self.ceiling) / 2.0, passed, now);
        } else if !below {
            let trying = self.step > PROBE;
            let wait = if trying { SETTLE } else { self.interval };
            if elapsed >= wait.mul_f64(owed) {
                self.rises(passed, now);
            }
        }
    }

    /// The same while calls may have been refused for their number, and not for their rate.
    pub(super) fn doubted(
        &mut self,
        sent: Instant,
        wanted: bool,
        (passed, window): (f64, f64),
        now: Instant,
    ) {
        let elapsed = now.saturating_duration_since(self.changed);
        let used = self.is_used(elapsed, (passed, window));
        if wanted && used && !self.climbs() && sent > self.changed && elapsed >= DOUBTED_EVERY {
            self.step = PROBE_MOST;
            let limit = self.limit;
            self.rises(passed, now);
            self.before = Some((limit, self.ceiling));
        }
    }

    /// Whether most of it was used since it was changed, so that no refusal says something.
    fn is_used(&self, elapsed: Duration, (passed, window): (f64, f64)) -> bool {
        passed - self.from >= USED * (self.limit / window * elapsed.as_secs_f64())
    }

    /// Whether it doubles still, up to what may be the limit.
    fn climbs(&self) -> bool {
        self.fresh && self.limit < self.ceiling * BELOW * 0.999
    }

    /// A step above all that was known.
    fn rises(&mut self, passed: f64, now: Instant) {
        (self.good, self.fresh, self.before) = (self.limit, false, None);
        if self.step <= PROBE {
            self.base = self.limit;
        }
        if self.limit > self.ceiling {
            // It holds, so that the next failure is the first one there.
            (self.ceiling, self.interval) = (self.limit, PROBE_EVERY);
        }
        self.becomes(self.limit * (1.0 + self.step), passed, now);
        self.step = (self.step * 2.0).min(PROBE_MOST);
    }

    fn becomes(&mut self, limit: f64, passed: f64, now: Instant) {
        self.limit = limit.max(1.0);
        (self.changed, self.from) = (now, passed);
    }
}

#[cfg(test)]
mod tests;
