//! One circuit: plain data, told the time and the dice. No tower, no HTTP, no lock.
//!
//! ```text
//!           ratio, streak or a fatal failure                    interval over: one probe
//!  Closed ───────────────────────────────────▶ Open(epoch + 1) ─────────────────────────▶ HalfOpen
//!    ▲                                         ▲   ▲     ▲ neutral: one interval after its start │
//!    │ all steps done                          │   │     └─────────────────────────────────────┤
//!    └──────────────── Recovering ─────────────┘   └──────────── failure: longer interval ───────┤
//!                          ▲  failures again                                                     │
//!                          └───────────────────────── success, or a stream's good head ──────────┘
//! ```
//!
//! Every opening begins an epoch. What was admitted in an earlier one has no say any more: neither the late
//! success of a call from before the outage nor its late timeout.

use std::time::Duration;

use tokio::time::Instant;

use super::{ramp::Ramp, window::Window};
use crate::config;

/// A refused caller is told no shorter time, so that it does not spin.
pub(super) const SHORTEST_TOLD: Duration = Duration::from_millis(100);
/// While a probe is younger, calls may wait for what becomes of it: most answers have begun by then. A probe that hangs
/// longer is no reason to keep callers from their error.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// How soon who waits for a probe asks again: by a quarter of the probe's age later than its end, within these.
const PROBE_ASKED: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What a circuit does with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// One probe is under way, nothing else passes.
    HalfOpen,
    /// A growing share passes.
    Recovering,
}

/// Time between probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) max: Duration,
    /// What each failed probe multiplies it by, after the first `steady` ones.
    pub(super) growth: f64,
    /// Failed probes before it grows. An outage of a few intervals is over within one of them.
    pub(super) steady: u32,
    /// Only a human ends it, and then it has ended: credit is there or it is not. Traffic comes back by degrees all the
    /// same, but who cannot wait for its turn is let through rather than told of an empty account that is full.
    pub(super) human: bool,
}

/// How an attempt ended, seen from one circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// A stream has begun well. No success yet, but as a probe it has found the provider at work.
    Begun,
    Success,
    /// To be counted.
    Failure,
    /// Opens at once, until `told` has passed (else by `pace`).
    Fatal {
        pace: Pace,
        told: Option<Duration>,
    },
    /// Says nothing, though the provider may have been asked.
    Neutral,
    /// The provider was not asked.
    Untouched,
}

/// Admission, to be settled with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u32,
    /// Number of the probe that it is.
    probe: Option<u32>,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probe: u32, started: Instant },
    Recovering(Ramp),
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    phase: Phase,
    epoch: u32,
    /// Probes so far.
    probes: u32,
    /// When it left `Closed`, or came back to it.
    since: Instant,
    pace: Pace,
    /// Time between probes now.
    interval: Duration,
    /// Failed probes since it left `Closed`.
    failed_probes: u32,
    window: Window,
    /// Failures in a row.
    streak: u32,
}

// === impl Ticket ===

impl Ticket {
    /// Whether it is the one probe of a half-open circuit.
    pub(super) fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

// === impl Pace ===

impl Pace {
    /// Of a provider in trouble.
    pub(super) fn trouble(rules: &config::Breaker) -> Self {
        Self {
            first: rules.open_for,
            max: rules.open_for_max,
            growth: 1.5,
            steady: 6,
            human: false,
        }
    }

    /// Of what ends only when a human acts.
    pub(super) fn human(rules: &config::Breaker) -> Self {
        Self {
            first: rules.billing_probe,
            max: rules.billing_probe_max,
            growth: 2.0,
            steady: 0,
            human: true,
        }
    }
}

// === impl Circuit ===

impl Circuit {
    /// A closed one.
    pub(super) fn new(now: Instant, rules: &config::Breaker) -> Self {
        let pace = Pace::trouble(rules);
        Self {
            phase: Phase::Closed,
            epoch: 0,
            probes: 0,
            since: now,
            pace,
            interval: pace.first,
            failed_probes: 0,
            window: Window::default(),
            streak: 0,
        }
    }

    /// Its epochs are counted from here.
    pub(super) fn begin_at_epoch(&mut self, epoch: u32) {
        self.epoch = epoch;
    }

    /// The state at `now`.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Recovering(_) => State::Recovering,
        }
    }

    /// Since when it is not closed (or is).
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Time to the next probe; none while everything or a share passes.
    pub(super) fn next_probe(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until } => Some(until.saturating_duration_since(now)),
            Phase::HalfOpen { started, .. } => {
                Some(self.due_again(started).saturating_duration_since(now))
            }
            Phase::Closed | Phase::Recovering(_) => None,
        }
    }

    /// Whether nothing went wrong lately: it can be forgotten without loss.
    pub(super) fn is_spotless(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.streak == 0
    }

    /// Whether the ticket's outcome still counts.
    pub(super) fn is_current(&self, ticket: Ticket) -> bool {
        ticket.epoch == self.epoch
    }

    /// Ends a recovery whose time is over.
    pub(super) fn refresh(&mut self, now: Instant) {
        if let Phase::Recovering(ramp) = &self.phase
            && ramp.is_over(now)
        {
            self.close(now);
        }
    }

    /// Whether [`admit`](Self::admit) would let an attempt through; takes nothing.
    ///
    /// # Errors
    /// The time after which asking again makes sense.
    pub(super) fn peek(&self, now: Instant) -> Result<(), Duration> {
        match &self.phase {
            Phase::Closed => Ok(()),
            Phase::Open { until } if now >= *until => Ok(()),
            Phase::Open { until } => Err(until.saturating_duration_since(now).max(SHORTEST_TOLD)),
            Phase::HalfOpen { started, .. } if now >= self.overdue(*started) => Ok(()),
            Phase::HalfOpen { started, .. } => Err(self
                .due_again(*started)
                .saturating_duration_since(now)
                .max(SHORTEST_TOLD)),
            Phase::Recovering(ramp) => ramp.peek(now),
        }
    }

    /// After what time a call that is refused now may hope to be let through: its turn in a recovery, or word of a young
    /// probe. `None`: nothing is under way that could end it.
    pub(super) fn hold(&self, now: Instant) -> Option<Duration> {
        match &self.phase {
            Phase::Recovering(ramp) => Some(ramp.turn(now)),
            Phase::HalfOpen { started, .. } => {
                let age = now.saturating_duration_since(*started);
                (age < PROBE_PATIENCE).then(|| (age / 4).clamp(PROBE_ASKED.0, PROBE_ASKED.1))
            }
            Phase::Closed | Phase::Open { .. } => None,
        }
    }

    /// Whether a call that has no more than `patience` is let through before its turn: see [`Pace::human`]. Who waits
    /// for its turn waits up to twice the time to it, spread.
    pub(super) fn spares(&self, now: Instant, patience: Duration) -> bool {
        match &self.phase {
            Phase::Recovering(ramp) if self.pace.human => ramp.turn(now) * 2 >= patience,
            _ => false,
        }
    }

    /// The ticket of a call that is [spared](Self::spares) its turn.
    pub(super) fn pass(&self) -> Ticket {
        Ticket {
            epoch: self.epoch,
            probe: None,
        }
    }

    /// Lets an attempt through, or tells when to ask again.
    ///
    /// # Errors
    /// The time after which asking again makes sense.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        self.refresh(now);
        let verdict = self.peek(now);
        match &mut self.phase {
            Phase::Closed => {
                return Ok(Ticket {
                    epoch: self.epoch,
                    probe: None,
                });
            }
            Phase::Recovering(ramp) => {
                ramp.pass(now)?;
                return Ok(Ticket {
                    epoch: self.epoch,
                    probe: None,
                });
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => verdict?,
        }
        self.probes = self.probes.wrapping_add(1);
        self.phase = Phase::HalfOpen {
            probe: self.probes,
            started: now,
        };
        Ok(Ticket {
            epoch: self.epoch,
            probe: Some(self.probes),
        })
    }

    /// Takes an outcome in. `dice` is uniform in 0..1.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: Outcome,
        rules: &config::Breaker,
        dice: f64,
    ) {
        if !self.is_current(ticket) {
            return;
        }
        self.refresh(now);
        match &mut self.phase {
            Phase::Closed => self.settle_closed(now, outcome, rules, dice),
            Phase::Recovering(ramp) => match outcome {
                Outcome::Success => ramp.outcomes.successes += 1,
                Outcome::Failure => {
                    ramp.outcomes.failures += 1;
                    // The ratio without a minimum: the first failure ends a recovery that has nothing to show yet, the
                    // one odd failure of a busy one does not.
                    if ramp.outcomes.trips(rules.failure_ratio, 1) {
                        self.open(now, Pace::trouble(rules), None, dice);
                    }
                }
                Outcome::Fatal { pace, told } => self.open(now, pace, told, dice),
                Outcome::Begun | Outcome::Neutral | Outcome::Untouched => {}
            },
            Phase::HalfOpen { probe, started } => {
                let (current, started) = (ticket.probe == Some(*probe), *started);
                match outcome {
                    // A probe that was overdue may still bring the good news.
                    Outcome::Success | Outcome::Begun => {
                        self.recover(now, outcome == Outcome::Success)
                    }
                    _ if !current => {}
                    Outcome::Failure => self.open(now, Pace::trouble(rules), None, dice),
                    Outcome::Fatal { pace, told } => self.open(now, pace, told, dice),
                    Outcome::Neutral => {
                        self.phase = Phase::Open {
                            until: self.due_again(started),
                        }
                    }
                    Outcome::Untouched => self.phase = Phase::Open { until: now },
                }
            }
            Phase::Open { .. } => {
                if matches!(outcome, Outcome::Success | Outcome::Begun) {
                    self.recover(now, outcome == Outcome::Success);
                }
            }
        }
    }

    /// A fatal failure of an attempt that holds no ticket of this circuit, for the circuit was not there or not known
    /// to be its own. What began before the circuit opened is no news to it.
    pub(super) fn hear_of(
        &mut self,
        now: Instant,
        began: Instant,
        pace: Pace,
        told: Option<Duration>,
        dice: f64,
    ) {
        self.refresh(now);
        match &self.phase {
            Phase::Closed => self.open(now, pace, told, dice),
            Phase::Recovering(ramp) if began >= ramp.started() => self.open(now, pace, told, dice),
            Phase::Open { .. } | Phase::HalfOpen { .. } | Phase::Recovering(_) => {}
        }
    }

    /// The next attempt may probe; whether it was open.
    pub(super) fn probe_now(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Open { until } => {
                *until = now;
                self.interval = self.pace.first;
                true
            }
            Phase::HalfOpen { .. } => true,
            Phase::Closed | Phase::Recovering(_) => false,
        }
    }

    fn settle_closed(
        &mut self,
        now: Instant,
        outcome: Outcome,
        rules: &config::Breaker,
        dice: f64,
    ) {
        match outcome {
            Outcome::Success => {
                self.streak = 0;
                self.window.add(now, rules.window, true);
            }
            Outcome::Failure => {
                self.streak += 1;
                self.window.add(now, rules.window, false);
                let counts = self.window.counts(now, rules.window);
                if self.streak >= rules.consecutive.get()
                    || counts.trips(rules.failure_ratio, rules.min_calls.get())
                {
                    self.open(now, Pace::trouble(rules), None, dice);
                }
            }
            Outcome::Fatal { pace, told } => self.open(now, pace, told, dice),
            Outcome::Begun | Outcome::Neutral | Outcome::Untouched => {}
        }
    }

    fn open(&mut self, now: Instant, pace: Pace, told: Option<Duration>, dice: f64) {
        let again = !matches!(self.phase, Phase::Closed);
        if !again {
            self.since = now;
        }
        let same = again && pace == self.pace;
        self.failed_probes = if same {
            self.failed_probes.saturating_add(1)
        } else {
            0
        };
        self.interval = match same && self.failed_probes > pace.steady {
            true => self
                .interval
                .mul_f64(pace.growth)
                .min(pace.max)
                .max(pace.first),
            false => pace.first,
        };
        self.pace = pace;
        // A told time is obeyed as it is; our own is spread, so that many gateways do not probe in step.
        let wait = told
            .filter(|told| !told.is_zero())
            .unwrap_or_else(|| self.interval.mul_f64(1.0 + 0.1 * dice));
        self.phase = Phase::Open { until: now + wait };
        self.epoch = self.epoch.wrapping_add(1);
        self.streak = 0;
        self.window.clear();
    }

    fn recover(&mut self, now: Instant, success: bool) {
        self.phase = Phase::Recovering(Ramp::new(now, success, self.pace.first));
    }

    fn close(&mut self, now: Instant) {
        self.phase = Phase::Closed;
        self.since = now;
        self.interval = self.pace.first;
        self.streak = 0;
        self.window.clear();
    }

    /// When the provider may be asked again after a probe that said nothing.
    fn due_again(&self, started: Instant) -> Instant {
        started + self.interval
    }

    /// When a probe that hangs is given up for another, lest a provider that swallows one call keeps the circuit open
    /// for as long as that call's timeout. As rare as probes ever are.
    fn overdue(&self, started: Instant) -> Instant {
        started + self.pace.max.max(self.interval)
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
