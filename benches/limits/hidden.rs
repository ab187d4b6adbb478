//! What the provider enforces and tells nobody: the truth that contenders are held against.

/// A minute, in seconds.
pub(crate) const MINUTE: f64 = 60.0;

/// What a limit counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counted {
    Requests,
    Tokens,
}

/// The limits, and how they are enforced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u32>,
    /// The minute's limits hold for windows of this length too, in their share.
    pub(crate) window_ms: Option<u64>,
    pub(crate) heads: Heads,
    pub(crate) words: Words,
    pub(crate) charge: Charge,
    pub(crate) foreign: Option<Foreign>,
    pub(crate) changes: Vec<Change>,
}

/// What replies say of the limits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Heads {
    #[default]
    OpenAi,
    Nothing,
    /// `-1` in every header.
    MinusOne,
    /// `0` in every header.
    Zero,
}

/// What refusals say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Words {
    /// Limit, used, requested and the wait.
    #[default]
    Numbers,
    /// That it was too much.
    Plain,
}

/// What a call takes of the tokens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Charge {
    /// The estimate, for good.
    #[default]
    Admission,
    /// The estimate, until the usage is known.
    Usage,
}

/// Another consumer of the same account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign {
    /// Of every limit.
    pub(crate) share: f64,
    /// Seconds after the start.
    pub(crate) from: f64,
}

/// Another tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Seconds after the start.
    pub(crate) at: f64,
    /// Times the limits that were set at the start.
    pub(crate) factor: f64,
}

// === impl Hidden ===

impl Hidden {
    /// The limit at the start.
    pub(crate) fn limit(&self, counted: Counted) -> Option<f64> {
        let limit = match counted {
            Counted::Requests => self.requests_per_minute,
            Counted::Tokens => self.tokens_per_minute,
        };
        limit.map(f64::from)
    }

    /// Times the limits of the start, at this time.
    pub(crate) fn factor(&self, at: f64) -> f64 {
        let past = self.changes.iter().rev().find(|change| change.at <= at);
        past.map_or(1.0, |change| change.factor)
    }

    /// The highest factor that is ever in force.
    pub(crate) fn highest(&self) -> f64 {
        self.changes
            .iter()
            .map(|change| change.factor)
            .fold(1.0, f64::max)
    }

    /// The share that others take, at this time.
    pub(crate) fn foreign_share(&self, at: f64) -> f64 {
        self.foreign
            .filter(|foreign| foreign.from <= at)
            .map_or(0.0, |foreign| foreign.share)
    }

    /// What the provider would let pass in a second of steady use, others' share taken off.
    pub(crate) fn allowed_per_second(&self, counted: Counted, at: f64) -> Option<f64> {
        let limit = self.limit(counted)?;
        Some(limit / MINUTE * self.factor(at) * (1.0 - self.foreign_share(at)))
    }
}

impl Counted {
    pub(crate) const ALL: [Self; 2] = [Self::Requests, Self::Tokens];
}
