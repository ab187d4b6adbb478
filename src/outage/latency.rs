//! First tokens: how long they usually take, and whether they take much longer now.
//!
//! The usual time is a median, learned by small steps up and down on a logarithmic scale, so that one answer after ten
//! minutes weighs as much as one after ten seconds. A first token is late when it takes three times as long (and a
//! quarter of a second more, below which nobody notices). How often that happens on a usual day differs (a reasoning
//! model thinks now and then), so the share of late ones is itself learned and tested, as failures are.

use std::time::Duration;

use tokio::time::Instant;

use super::test::{Params, Stretch, Test, Turn};

/// Late: so many times the usual.
pub(super) const LATE: f64 = 3.0;
/// Late: so much more than the usual, in seconds.
const NOTICED: f64 = 0.25;
/// First tokens before there is a usual.
const FEWEST: usize = 16;
/// The usual changes by this share of itself per second, at most: a doubling in about half an hour.
const DRIFT: f64 = 4e-4;
/// The largest step, however long nothing was seen.
const STEP: f64 = 0.05;
/// What has lasted so long is the new usual: larger prompts, another model behind the name.
const ACCEPTED: Duration = Duration::from_secs(6 * 60 * 60);

const PARAMS: Params = Params {
    floor: 0.03,
    ceiling: 0.25,
    prior: (0.10, 50.0),
    memory: 2_000.0,
    excess: 0.30,
    raise: 11.0,
    // Late first tokens come in swarms that failures do not come in (a queue that drains): they must come in
    // eight different seconds.
    slice_adds: 11.0 / 8.0,
    slice_takes: 11.0 / 8.0,
    // Nobody holds calls back because they are slow: there is nothing to make up for.
    unbroken: Duration::MAX,
    clear: 7.0,
};

/// First tokens of one target.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    test: Test,
    /// The latest, in seconds.
    latest: [f32; FEWEST],
    seen: usize,
    /// Usual seconds; zero before it is known.
    usual: f64,
    /// Steps made.
    steps: f64,
    stepped: Instant,
    /// Since when the alarm has been raised.
    raised: Option<Instant>,
}

// === impl Latency ===

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            test: Test::new(PARAMS, now),
            latest: [0.0; FEWEST],
            seen: 0,
            usual: 0.0,
            steps: 0.0,
            stepped: now,
            raised: None,
        }
    }

    /// A first token came after `time`.
    pub(super) fn see(&mut self, time: Duration, now: Instant) -> Option<Turn> {
        let seconds = time.as_secs_f64().max(1e-4);
        self.latest[self.seen % FEWEST] = seconds as f32;
        self.seen += 1;
        if self.usual == 0.0 {
            if self.seen >= FEWEST {
                self.usual = self.present().unwrap_or(seconds);
                self.steps = FEWEST as f64;
                self.stepped = now;
            }
            return None;
        }
        let late = seconds > (LATE * self.usual).max(self.usual + NOTICED);
        let turn = self.test.see(late, 1.0, now);
        match turn {
            Some(Turn::Raised) => self.raised = Some(now),
            Some(Turn::Cleared) => self.raised = None,
            None if self.raised.is_some_and(|since| now >= since + ACCEPTED) => {
                return self.accept(now);
            }
            None => {}
        }
        if self.raised.is_none() {
            self.learn(seconds, now);
        }
        turn
    }

    /// The usual time to the first token.
    pub(super) fn usual(&self) -> Option<Duration> {
        (self.usual > 0.0).then(|| Duration::from_secs_f64(self.usual))
    }

    /// The median of the latest few, in seconds.
    pub(super) fn present(&self) -> Option<f64> {
        let mut latest: Vec<f32> = self.latest[..self.seen.min(FEWEST)].to_vec();
        latest.sort_by(f32::total_cmp);
        latest.get(latest.len() / 2).map(|s| f64::from(*s))
    }

    /// The late stretch under an alarm, and the share of late ones in it.
    pub(super) fn alarm(&self) -> Option<(Stretch, f64)> {
        self.test.stretch().zip(self.test.alarm())
    }

    pub(super) fn forget(&mut self) {
        self.test.forget();
        self.raised = None;
    }

    /// Of each second, one: as a thousand outcomes of the same second are one, so are their times.
    fn learn(&mut self, seconds: f64, now: Instant) {
        let past = now.saturating_duration_since(self.stepped);
        if past < super::test::SLICE {
            return;
        }
        self.stepped = now;
        self.steps += 1.0;
        let step = (DRIFT * past.as_secs_f64()).max(1.0 / self.steps).min(STEP);
        // Within the step it is what it is: the usual of an even provider does not dance.
        self.usual *= (seconds / self.usual).ln().clamp(-step, step).exp();
    }

    fn accept(&mut self, now: Instant) -> Option<Turn> {
        self.usual = self.present().unwrap_or(self.usual);
        self.steps = FEWEST as f64;
        self.stepped = now;
        self.forget();
        Some(Turn::Cleared)
    }
}
