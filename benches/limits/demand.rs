//! What callers want: how often, how large, and what the model will make of it.

use std::time::Duration;

use bytes::Bytes;
use weir::sim::{Charge, LimitKind};

use crate::{
    dice::{Dice, Spread},
    hidden::{Hidden, KINDS, MINUTE},
};

/// Time from the first byte sent to the whole answer, in seconds.
const LATENCY: Spread = Spread {
    median: 1.2,
    sigma: 0.8,
    least: 0.2,
    most: 8.0,
};
/// On the way to the provider, in seconds: calls do not arrive in the order in which they were let go.
const WAY: Spread = Spread {
    median: 0.02,
    sigma: 0.5,
    least: 0.005,
    most: 0.1,
};
/// Share of calls whose answer streams: it begins after a fifth of its time.
const STREAMED: f64 = 0.3;
/// Calls drawn to find the mean size.
const SAMPLE: u32 = 20_000;

/// The load of a run.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// Times what the limits, at their highest, would let pass.
    pub(crate) load: f64,
    pub(crate) sizes: Vec<Size>,
    /// Apps, each with an equal share of the load.
    pub(crate) apps: u32,
    /// Calls at the very start, at once.
    pub(crate) cold: u32,
    /// Share of callers that hang up within seconds.
    pub(crate) leaving: f64,
    /// Comes and goes; `None`: steady.
    pub(crate) swing: Option<Swing>,
    /// Beside the load; `None`: nobody.
    pub(crate) rush: Option<Rush>,
}

/// Calls that all come at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rush {
    /// Seconds after the start.
    pub(crate) at: f64,
    pub(crate) calls: u32,
}

/// Callers that all come for a while, and none for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swing {
    /// Seconds.
    pub(crate) on: f64,
    pub(crate) off: f64,
}

/// A kind of call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How common it is, in relation to the others.
    pub(crate) weight: f64,
    /// Tokens.
    pub(crate) input: Spread,
    /// The declared bound of the answer.
    pub(crate) max_output: Option<u64>,
    /// Tokens of the answer; not above the declared bound.
    pub(crate) output: Spread,
}

/// One call: what it says of itself, and what will come of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Script {
    /// Place among the calls of the run.
    pub(crate) number: u64,
    pub(crate) app: u64,
    pub(crate) input: u64,
    /// 0: not declared.
    pub(crate) max_output: u64,
    pub(crate) output: u64,
    pub(crate) way_ms: u64,
    /// To the head of the answer.
    pub(crate) head_ms: u64,
    /// From the head to the end; 0: no stream.
    pub(crate) body_ms: u64,
    /// After this the caller hangs up; 0: stays.
    pub(crate) leaves_ms: u64,
}

/// Numbers in a script.
const NUMBERS: usize = 9;

/// The calls of a run, one after another.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    demand: &'a Demand,
    /// A second.
    rate: f64,
    gaps: Dice,
    scripts: Dice,
    number: u64,
    at: f64,
    /// Calls of the rush that are still to come.
    rush: Option<Rush>,
}

// === impl Demand ===

impl Demand {
    /// Calls that a second of the highest limits lets pass in a run of so many seconds, for the limit that binds.
    fn rate(&self, hidden: &Hidden, run: f64) -> f64 {
        let charge = hidden.limits.charge.unwrap_or_default();
        let mut dice = Dice::new(1, "mean size");
        let sample: Vec<Script> = (0..SAMPLE)
            .map(|number| self.script(&mut dice, u64::from(number)))
            .collect();
        let rate = |kind| {
            let all = sample.iter().map(|script| script.charged(kind, charge));
            let mean = all.sum::<f64>() / f64::from(SAMPLE);
            let limit = hidden.limit(kind)? * hidden.highest();
            let allowed = match (kind, hidden.of_days(kind, run)) {
                (LimitKind::Concurrency, _) => limit,
                (_, Some(whole)) => whole / run,
                (_, None) => limit / MINUTE,
            };
            (mean > 0.0).then(|| allowed / mean)
        };
        let rates = KINDS.into_iter().filter_map(rate);
        rates.fold(f64::INFINITY, f64::min)
    }

    /// One call of this demand.
    pub(crate) fn script(&self, dice: &mut Dice, number: u64) -> Script {
        let size = &self.sizes[dice.pick(self.sizes.iter().map(|size| size.weight))];
        let app = (dice.unit() * f64::from(self.apps)) as u64;
        let whole = dice.draw(LATENCY) * 1_000.0;
        let (way, streams) = (dice.draw(WAY) * 1_000.0, dice.unit() < STREAMED);
        let output = dice.draw(size.output) as u64;
        let input = dice.draw(size.input) as u64;
        let (leaves, after) = (dice.unit() < self.leaving, dice.unit());
        let head = if streams { whole / 5.0 } else { whole };
        Script {
            number,
            app,
            input,
            max_output: size.max_output.unwrap_or(0),
            output: size.max_output.map_or(output, |max| output.min(max)),
            way_ms: way as u64,
            head_ms: head as u64,
            body_ms: if streams { (whole - head) as u64 } else { 0 },
            leaves_ms: if leaves {
                1 + (after * 5_000.0) as u64
            } else {
                0
            },
        }
    }
}

// === impl Arrivals ===

impl<'a> Arrivals<'a> {
    pub(crate) fn new(demand: &'a Demand, hidden: &Hidden, run: f64, seed: u64) -> Self {
        Self {
            demand,
            rate: demand.rate(hidden, run) * demand.load,
            gaps: Dice::new(seed, "gaps"),
            scripts: Dice::new(seed, "scripts"),
            number: 0,
            at: 0.0,
            rush: demand.rush,
        }
    }
}

impl Iterator for Arrivals<'_> {
    /// When, after the start, and what.
    type Item = (Duration, Script);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(rush) = self.rush.as_mut().filter(|rush| rush.at <= self.at) {
            rush.calls -= 1;
            let at = Duration::from_secs_f64(self.at);
            if rush.calls == 0 {
                self.rush = None;
            }
            self.number += 1;
            return Some((at, self.demand.script(&mut self.scripts, self.number - 1)));
        }
        if self.number >= u64::from(self.demand.cold) {
            self.at += self.gaps.gap(self.rate);
        }
        let script = self.demand.script(&mut self.scripts, self.number);
        self.number += 1;
        let at = self.demand.swing.map_or(self.at, |swing| swing.at(self.at));
        Some((Duration::from_secs_f64(at), script))
    }
}

// === impl Swing ===

impl Swing {
    /// When it is, after so many seconds in which callers come.
    fn at(self, on: f64) -> f64 {
        on + (on / self.on).floor() * self.off
    }
}

// === impl Script ===

impl Script {
    /// What the provider has taken off in the end; of calls under way: seconds.
    pub(crate) fn charged(&self, kind: LimitKind, charge: Charge) -> f64 {
        let output = match charge {
            Charge::Admission => self.max_output,
            Charge::Usage | Charge::Produced => self.output,
        };
        match kind {
            LimitKind::Requests | LimitKind::RequestsPerDay => 1.0,
            LimitKind::Tokens | LimitKind::TokensPerDay => (self.input + output) as f64,
            LimitKind::InputTokens => self.input as f64,
            LimitKind::OutputTokens => output as f64,
            LimitKind::Images => 0.0,
            LimitKind::Concurrency => (self.head_ms + self.body_ms) as f64 / 1_000.0,
        }
    }

    /// The request's body: the provider reads in it what it will do.
    pub(crate) fn body(&self) -> Bytes {
        let numbers: [u64; NUMBERS] = [
            self.number,
            self.app,
            self.input,
            self.max_output,
            self.output,
            self.way_ms,
            self.head_ms,
            self.body_ms,
            self.leaves_ms,
        ];
        Bytes::from_iter(numbers.into_iter().flat_map(u64::to_le_bytes))
    }

    /// Reads [`body`](Self::body).
    pub(crate) fn of(body: &[u8]) -> Self {
        let (numbers, _) = body.as_chunks::<8>();
        let at = |index: usize| numbers.get(index).map_or(0, |raw| u64::from_le_bytes(*raw));
        Self {
            number: at(0),
            app: at(1),
            input: at(2),
            max_output: at(3),
            output: at(4),
            way_ms: at(5),
            head_ms: at(6),
            body_ms: at(7),
            leaves_ms: at(8),
        }
    }
}
