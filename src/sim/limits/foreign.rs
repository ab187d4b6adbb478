//! When other consumers of the key call, and what their calls take.

use std::time::Duration;

use tokio::time::Instant;

use super::settings::{Foreign, Limits};
use crate::sim::dice::Dice;

/// Where only tokens are limited: what a call of theirs takes, at most a twentieth of a minute's limit.
const CALL_TOKENS: f64 = 500.0;

/// After a pause this long, what came before it is of no account.
const LOOK_BACK: Duration = Duration::from_secs(3_600);

/// The arrivals in one pool.
#[derive(Debug)]
pub(crate) struct Arrivals {
    dice: Dice,
    next: Option<Instant>,
}

/// A call of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Their traffic in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    calls_per_second: f64,
    input: f64,
    output: f64,
}

// === impl Arrivals ===

impl Arrivals {
    pub(crate) fn new(seed: u64, salt: u64) -> Self {
        Self {
            dice: Dice::new(seed, salt ^ 0x00f0_e167),
            next: None,
        }
    }

    /// The next call of theirs that is not after `until`.
    pub(crate) fn next(
        &mut self,
        limits: &Limits,
        start: Instant,
        until: Instant,
    ) -> Option<Arrival> {
        let foreign = limits.foreign?;
        let rate = rate(&foreign, limits)?;
        let first = start + foreign.from.unwrap_or_default().0;
        let at = match self.next {
            Some(at) if at >= first => at,
            _ => first + self.gap(&foreign, rate),
        };
        let at = match until.checked_duration_since(at) {
            Some(passed) if passed > LOOK_BACK => until - LOOK_BACK,
            _ => at,
        };
        let over = foreign.until.is_some_and(|end| at >= start + end.0);
        if at > until || over {
            self.next = Some(at);
            return None;
        }
        self.next = Some(at + self.gap(&foreign, rate));
        // Steady calls are all alike; others lie between half and one and a half of the mean.
        let spread = if foreign.steady {
            1.0
        } else {
            0.5 + self.dice.unit()
        };
        let tokens = |mean: f64| (mean * spread).round() as u64;
        Some(Arrival {
            at,
            input: tokens(rate.input),
            output: tokens(rate.output),
        })
    }

    fn gap(&mut self, foreign: &Foreign, rate: Rate) -> Duration {
        let mean = 1.0 / rate.calls_per_second;
        let gap = if foreign.steady {
            mean
        } else {
            -mean * (1.0 - self.dice.unit()).ln()
        };
        // Not nothing, or the calls of one instant would never end.
        Duration::from_secs_f64(gap.clamp(1e-6, 1e6))
    }
}

fn rate(foreign: &Foreign, limits: &Limits) -> Option<Rate> {
    let shared = |limit: Option<u32>| {
        let share = foreign.share?;
        limit.map(|limit| f64::from(limit) * share)
    };
    let output = shared(limits.output_tokens_per_minute).unwrap_or(0.0);
    let input = shared(limits.input_tokens_per_minute);
    let both = foreign
        .tokens_per_minute
        .or(shared(limits.tokens_per_minute));
    let (input, output) = match (both, input) {
        // Within the common limit, in the proportion of the two.
        (Some(both), Some(input)) => {
            let all = (input + output).max(1.0);
            let fits = (both / all).min(1.0);
            (input * fits, output * fits)
        }
        (Some(both), None) => ((both - output).max(0.0), output.min(both)),
        (None, input) => (input.unwrap_or(0.0), output),
    };
    let tokens = input + output;
    let calls = foreign
        .requests_per_minute
        .or(shared(limits.requests_per_minute))
        .unwrap_or_else(|| {
            let largest = limits
                .tokens_per_minute
                .or(limits.input_tokens_per_minute)
                .map_or(CALL_TOKENS, |limit| f64::from(limit) / 20.0);
            tokens / CALL_TOKENS.min(largest).max(1.0)
        });
    (calls > 0.0).then(|| Rate {
        calls_per_second: calls / 60.0,
        input: input / calls,
        output: output / calls,
    })
}
