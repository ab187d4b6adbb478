//! A recovery: after a good probe a growing share of the traffic passes, for some seconds.

use std::time::Duration;

use tokio::time::Instant;

use super::{circuit::SHORTEST_TOLD, window::Counts};

/// Shares of the traffic let through after a good probe, one step after the other.
const RAMP: [f32; 4] = [0.10, 0.25, 0.50, 0.75];
/// Length of one step, and its share of the first interval between probes if that is less: with four of them full
/// traffic is back within one interval.
const STEP: Duration = Duration::from_secs(1);
const STEPS_PER_INTERVAL: u32 = 5;
const SHORTEST_STEP: Duration = Duration::from_millis(20);
/// Calls let through in each step whatever the share: the ramp is there against a slam, and a sidecar with a few calls
/// a minute is none.
const STEP_FLOOR: u32 = 3;

/// One recovery. Plain data.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    started: Instant,
    length: Duration,
    step: usize,
    /// Let through in this step.
    passed: u32,
    /// Part of a call saved up towards the next one let through.
    credit: f32,
    /// Outcomes of what it let through, and of the probe before it.
    pub(super) outcomes: Counts,
}

// === impl Ramp ===

impl Ramp {
    /// From `now` on; whether the probe was a whole success, or a stream that only began well. `interval`: between probes.
    pub(super) fn new(now: Instant, success: bool, interval: Duration) -> Self {
        let outcomes = Counts {
            successes: u32::from(success),
            failures: 0,
        };
        Self {
            started: now,
            length: STEP.min(interval / STEPS_PER_INTERVAL).max(SHORTEST_STEP),
            step: 0,
            passed: 0,
            credit: 0.0,
            outcomes,
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Whether all steps are done.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.step(now).is_none()
    }

    /// Whether a call would pass; takes nothing.
    ///
    /// # Errors
    /// Time to the next step.
    pub(super) fn peek(&self, now: Instant) -> Result<(), Duration> {
        match self.step(now) {
            None => Ok(()),
            Some(step) if step != self.step || self.passed < STEP_FLOOR => Ok(()),
            Some(step) if self.credit + RAMP[step] >= 1.0 => Ok(()),
            Some(_) => Err(self.turn(now)),
        }
    }

    /// Time to the next step.
    pub(super) fn turn(&self, now: Instant) -> Duration {
        let step = self.step(now).unwrap_or(self.step);
        let next = self.started + self.length * (step as u32 + 1);
        next.saturating_duration_since(now).max(SHORTEST_TOLD)
    }

    /// Lets a call pass, or counts it among those that do not.
    ///
    /// # Errors
    /// Time to the next step.
    pub(super) fn pass(&mut self, now: Instant) -> Result<(), Duration> {
        let verdict = self.peek(now);
        let step = self.step(now).unwrap_or(self.step);
        if step != self.step {
            (self.step, self.passed) = (step, 0);
        }
        // Within the floor nothing is drawn; past it every call adds its share, and whole ones pass.
        let drawn = self.passed >= STEP_FLOOR;
        if drawn {
            self.credit += RAMP[step];
        }
        verdict?;
        if drawn {
            self.credit -= 1.0;
        }
        self.passed += 1;
        Ok(())
    }

    /// The step of now; `None` when all are done.
    fn step(&self, now: Instant) -> Option<usize> {
        let elapsed = now.saturating_duration_since(self.started);
        let step = (elapsed.as_micros() / self.length.as_micros()) as usize;
        (step < RAMP.len()).then_some(step)
    }
}
