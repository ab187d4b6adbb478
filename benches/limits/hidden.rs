//! What the provider enforces and tells nobody: the truth that contenders are held against.

use tokio::time::Instant;
use weir::sim::{Change, LimitKind, Limits, Meter, Time};

/// A minute, in seconds.
pub(crate) const MINUTE: f64 = 60.0;
const DAY: f64 = 86_400.0;

/// What a run may be bound by.
pub(crate) const KINDS: [LimitKind; 7] = [
    LimitKind::Requests,
    LimitKind::Tokens,
    LimitKind::InputTokens,
    LimitKind::OutputTokens,
    LimitKind::RequestsPerDay,
    LimitKind::TokensPerDay,
    LimitKind::Concurrency,
];

/// The limits, and how they change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    pub(crate) limits: Limits,
    pub(crate) tiers: Vec<Tier>,
}

/// Another tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tier {
    /// Seconds after the start.
    pub(crate) at: f64,
    /// Times the limits that were set at the start.
    pub(crate) factor: f64,
}

// === impl Hidden ===

impl Hidden {
    /// What enforces them, from `now` on.
    pub(crate) fn meter(&self, seed: u64, now: Instant) -> Meter {
        let changes = self.tiers.iter().map(|tier| Change {
            at: seconds(tier.at),
            limits: raised(&self.limits, tier.factor),
        });
        Meter::new(self.limits.clone(), seed, now).with_changes(changes.collect())
    }

    /// The limit at the start.
    pub(crate) fn limit(&self, kind: LimitKind) -> Option<f64> {
        self.limits.of(kind).map(f64::from)
    }

    /// Times the limits of the start, at this time.
    pub(crate) fn factor(&self, at: f64) -> f64 {
        let past = self.tiers.iter().rev().find(|tier| tier.at <= at);
        past.map_or(1.0, |tier| tier.factor)
    }

    /// The highest factor that is ever in force.
    pub(crate) fn highest(&self) -> f64 {
        self.tiers
            .iter()
            .map(|tier| tier.factor)
            .fold(1.0, f64::max)
    }

    /// The share that others take, and from when on, in seconds after the start.
    pub(crate) fn foreign(&self) -> Option<(f64, f64)> {
        let foreign = self.limits.foreign?;
        let from = foreign.from.map_or(0.0, |from| from.0.as_secs_f64());
        Some((foreign.share?, from))
    }

    /// What the provider would let pass in a second of steady use, others' share taken off; of calls under way: their seconds.
    pub(crate) fn allowed_per_second(&self, kind: LimitKind, at: f64) -> Option<f64> {
        let limit = self.limit(kind)? * self.factor(at);
        if kind == LimitKind::Concurrency {
            return Some(limit);
        }
        let others = self.foreign().filter(|(_, from)| *from <= at);
        Some(limit / MINUTE * (1.0 - others.map_or(0.0, |(share, _)| share)))
    }

    /// What a day's limit lets pass in a run of that many seconds: all of it, and what comes back meanwhile.
    pub(crate) fn of_days(&self, kind: LimitKind, run: f64) -> Option<f64> {
        let per_day = matches!(kind, LimitKind::RequestsPerDay | LimitKind::TokensPerDay);
        let limit = self.limit(kind).filter(|_| per_day)?;
        Some(match self.limits.day_resets_in {
            Some(reset) if reset.0.as_secs_f64() < run => 2.0 * limit,
            Some(_) => limit,
            None => limit * (1.0 + run / DAY),
        })
    }
}

pub(crate) fn seconds(seconds: f64) -> Time {
    Time(std::time::Duration::from_secs_f64(seconds))
}

fn raised(limits: &Limits, factor: f64) -> Limits {
    let times = |limit: Option<u32>| limit.map(|limit| (f64::from(limit) * factor) as u32);
    Limits {
        requests_per_minute: times(limits.requests_per_minute),
        tokens_per_minute: times(limits.tokens_per_minute),
        input_tokens_per_minute: times(limits.input_tokens_per_minute),
        output_tokens_per_minute: times(limits.output_tokens_per_minute),
        ..Limits::default()
    }
}
