//! One circuit as the rules say it, for the model test.

use tokio::time::Instant;

use super::{
    super::{State, circuit::Pace},
    Duration,
};
use crate::config;

/// Length of a recovery.
pub(super) const RAMP: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Good,
    Begun,
    Bad,
    Fatal(Pace),
    Nothing,
    NotAsked,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Closed,
    /// The next probe goes at some time between these.
    Open(Instant, Instant),
    /// This attempt probes, since then.
    HalfOpen(usize, Instant),
    Recovering {
        since: Instant,
        good: u32,
        bad: u32,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    pub(super) phase: Phase,
    /// What was admitted in another one has no say.
    pub(super) epoch: u64,
    pub(super) in_a_row: u32,
    pub(super) interval: Duration,
    pub(super) failed: u32,
    pub(super) pace: Pace,
}

/// May an attempt pass?
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum May {
    Yes,
    No,
    Either,
}

impl Reference {
    pub(super) fn new(rules: &config::Breaker) -> Self {
        let pace = Pace::trouble(rules);
        Self {
            phase: Phase::Closed,
            epoch: 0,
            in_a_row: 0,
            interval: pace.first,
            failed: 0,
            pace,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open(..) => State::Open,
            Phase::HalfOpen(..) => State::HalfOpen,
            Phase::Recovering { .. } => State::Recovering,
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if let Phase::Recovering { since, .. } = self.phase
            && now >= since + RAMP
        {
            self.phase = Phase::Closed;
            self.in_a_row = 0;
            self.interval = self.pace.first;
        }
    }

    pub(super) fn may(&self, now: Instant) -> May {
        match self.phase {
            Phase::Closed => May::Yes,
            Phase::Open(soonest, _) if now < soonest => May::No,
            Phase::Open(_, latest) if now >= latest => May::Yes,
            Phase::Open(..) | Phase::Recovering { .. } => May::Either,
            Phase::HalfOpen(_, since) if now >= since + self.pace.max.max(self.interval) => {
                May::Yes
            }
            Phase::HalfOpen(..) => May::No,
        }
    }

    /// Attempt `id` passes; whether it probes.
    pub(super) fn pass(&mut self, id: usize, now: Instant) -> bool {
        let probes = matches!(self.phase, Phase::Open(..) | Phase::HalfOpen(..));
        if probes {
            self.phase = Phase::HalfOpen(id, now);
        }
        probes
    }

    pub(super) fn open(&mut self, now: Instant, pace: Pace, epochs: &mut u64) {
        let still = !matches!(self.phase, Phase::Closed) && self.pace == pace;
        self.failed = if still { self.failed + 1 } else { 0 };
        self.interval = match still && self.failed > pace.steady {
            true => self
                .interval
                .mul_f64(pace.growth)
                .clamp(pace.first, pace.max),
            false => pace.first,
        };
        self.pace = pace;
        self.phase = Phase::Open(now + self.interval, now + self.interval.mul_f64(1.1));
        self.in_a_row = 0;
        *epochs += 1;
        self.epoch = *epochs;
    }

    pub(super) fn end(
        &mut self,
        now: Instant,
        id: usize,
        outcome: Outcome,
        rules: &config::Breaker,
        epochs: &mut u64,
    ) {
        // Of a half-open circuit only its probe tells bad news.
        let heard = match self.phase {
            Phase::Open(..) => false,
            Phase::HalfOpen(probe, _) => probe == id,
            Phase::Closed | Phase::Recovering { .. } => true,
        };
        match (&mut self.phase, outcome) {
            (_, Outcome::Fatal(pace)) if heard => self.open(now, pace, epochs),
            (Phase::Open(..), Outcome::Fatal(_)) => {}
            (Phase::HalfOpen(probe, _), Outcome::Fatal(_)) if *probe != id => {}
            (Phase::Closed, Outcome::Good) => self.in_a_row = 0,
            (Phase::Closed, Outcome::Bad) => {
                self.in_a_row += 1;
                if self.in_a_row >= rules.consecutive.get() {
                    self.open(now, Pace::trouble(rules), epochs);
                }
            }
            (Phase::Recovering { good, .. }, Outcome::Good) => *good += 1,
            (Phase::Recovering { good, bad, .. }, Outcome::Bad) => {
                *bad += 1;
                if *bad >= *good {
                    self.open(now, Pace::trouble(rules), epochs);
                }
            }
            (Phase::Open(..) | Phase::HalfOpen(..), Outcome::Good | Outcome::Begun) => {
                let good = u32::from(outcome == Outcome::Good);
                self.phase = Phase::Recovering {
                    since: now,
                    good,
                    bad: 0,
                };
            }
            (Phase::HalfOpen(probe, since), _) if *probe == id => match outcome {
                Outcome::Bad => self.open(now, Pace::trouble(rules), epochs),
                Outcome::NotAsked => self.phase = Phase::Open(now, now),
                _ => {
                    let again = *since + self.interval;
                    self.phase = Phase::Open(again, again);
                }
            },
            _ => {}
        }
    }
}
