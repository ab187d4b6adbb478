//! How limits are written, in a scenario, in `POST /_sim/limits` and in Rust.

use serde::{Deserialize, Serialize};

use crate::sim::Time;

/// What is enforced and how it is told. What is `None` is not enforced, or as the field says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute, for each organization and model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens per minute, input and output together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Input tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_minute: Option<u32>,
    /// Output tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_minute: Option<u32>,
    /// Images per minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_minute: Option<u32>,
    /// Requests per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// Tokens per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u32>,
    /// Calls under way at once: of the account, whatever the model; in a pool, of that pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Day limits are full again that long after the start, and each 24 hours after; `None`: they refill steadily.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_resets_in: Option<Time>,

    /// How a minute's limits are enforced; default `refill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Milliseconds of the shorter window over which the minute's limits are enforced too, so that a burst of a whole
    /// minute's allowance is refused. `None`: a whole minute's burst passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// When tokens are charged; default `admission`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
    /// The provider's estimate of the input, as a factor of four bytes a token; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_factor: Option<f64>,
    /// What is charged for output, as a factor of the output that `usage` tells; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_factor: Option<f64>,

    /// The rate-limit headers of every answer; default `openai`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderStyle>,
    /// The text of a refusal; default `numbers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
    /// Whether a refusal tells `retry-after`; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<bool>,

    /// Who else uses the key; default nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
    /// Models with limits of their own, or with limits in common; the first that matches. Others have one pool each.
    #[serde(rename = "pool", skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
}

/// Models that share their limits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Globs on the model.
    pub models: Vec<String>,
    /// One bucket for all of them (default), or one each.
    #[serde(default = "yes")]
    pub shared: bool,
    /// What differs from the account's own.
    #[serde(default)]
    pub limits: Limits,
}

/// Other consumers of the same key. They take from the same buckets and are refused like others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Foreign {
    /// What they ask for, as a share of every limit of a minute (0.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Their requests per minute, where no share is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<f64>,
    /// Their tokens per minute, where no share is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<f64>,
    /// At even distances; default as a Poisson process.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub steady: bool,
    /// From that time after the start; default at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Time>,
    /// Until that time after the start; default for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Limits that change in the middle of a run; what is used stays used.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// After the start.
    pub at: Time,
    /// What changes; what is not told stays.
    pub limits: Limits,
}

/// How a minute's limit is enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// A bucket of a minute's size that refills steadily, as OpenAI's and Anthropic's.
    #[default]
    Refill,
    /// Windows of fixed places, each with the whole limit.
    Fixed,
    /// A log: in every window of any place, not more than the limit.
    Sliding,
}

/// When tokens are charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charge {
    /// The estimate, at admission; never corrected.
    #[default]
    Admission,
    /// The estimate at admission, corrected to the real usage at the end.
    Usage,
    /// Input as with `usage`; output only at the end, when it is known, as Anthropic does.
    Produced,
}

/// Whose headers tell of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeaderStyle {
    /// `x-ratelimit-*`, resets as `1m26.4s`.
    #[default]
    Openai,
    /// The same names, resets in plain seconds, and `x-ratelimit-renewalperiod-*`.
    Azure,
    /// `anthropic-ratelimit-*`, resets as times of day, tokens in thousands.
    Anthropic,
    /// Requests of the day, tokens of the minute.
    Groq,
    /// `x-ratelimit-*-req-minute`, `-tokens-minute`, no resets.
    Mistral,
    /// `x-ratelimit-*-requests-day`, `-tokens-minute`, `-tokens-day`, seconds with a fraction.
    Cerebras,
    /// None at all.
    None,
    /// OpenAI's, every number `-1`.
    MinusOne,
    /// OpenAI's, every number `0`.
    Zero,
    /// OpenAI's, but of up to half a minute ago.
    Stale,
}

/// How a refusal is worded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Words {
    /// OpenAI's: which limit, how large, how much is used, and how long to wait.
    #[default]
    Numbers,
    /// Nothing of that.
    Plain,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Calls under way.
    Concurrency,
    /// Per minute, input and output.
    Tokens,
    /// Per minute.
    InputTokens,
    /// Per minute.
    OutputTokens,
    /// Per minute.
    Images,
    /// Per minute.
    Requests,
    /// Input and output.
    TokensPerDay,
    /// Per day.
    RequestsPerDay,
}

fn yes() -> bool {
    true
}

// === impl Limits ===

impl Limits {
    /// These, and `base` where these tell nothing. The pools are replaced together.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(base.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.or(base.tokens_per_minute),
            input_tokens_per_minute: self
                .input_tokens_per_minute
                .or(base.input_tokens_per_minute),
            output_tokens_per_minute: self
                .output_tokens_per_minute
                .or(base.output_tokens_per_minute),
            images_per_minute: self.images_per_minute.or(base.images_per_minute),
            requests_per_day: self.requests_per_day.or(base.requests_per_day),
            tokens_per_day: self.tokens_per_day.or(base.tokens_per_day),
            concurrency: self.concurrency.or(base.concurrency),
            day_resets_in: self.day_resets_in.or(base.day_resets_in),
            algorithm: self.algorithm.or(base.algorithm),
            window_ms: self.window_ms.or(base.window_ms),
            charge: self.charge.or(base.charge),
            estimate_factor: self.estimate_factor.or(base.estimate_factor),
            output_factor: self.output_factor.or(base.output_factor),
            headers: self.headers.or(base.headers),
            words: self.words.or(base.words),
            retry_after: self.retry_after.or(base.retry_after),
            foreign: self.foreign.or(base.foreign),
            pools: if self.pools.is_empty() {
                base.pools.clone()
            } else {
                self.pools
            },
        }
    }

    /// Whether anything is enforced, or told otherwise than usual.
    pub(crate) fn says_something(&self) -> bool {
        *self != Self::default()
    }

    /// The limit of that kind.
    #[must_use]
    pub fn of(&self, kind: LimitKind) -> Option<u32> {
        match kind {
            LimitKind::Concurrency => self.concurrency,
            LimitKind::Tokens => self.tokens_per_minute,
            LimitKind::InputTokens => self.input_tokens_per_minute,
            LimitKind::OutputTokens => self.output_tokens_per_minute,
            LimitKind::Images => self.images_per_minute,
            LimitKind::Requests => self.requests_per_minute,
            LimitKind::TokensPerDay => self.tokens_per_day,
            LimitKind::RequestsPerDay => self.requests_per_day,
        }
    }
}

// === impl LimitKind ===

impl LimitKind {
    /// Those with a counter.
    pub(crate) const RATES: [Self; 7] = [
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Images,
        Self::Requests,
        Self::TokensPerDay,
        Self::RequestsPerDay,
    ];

    pub(crate) fn is_per_day(self) -> bool {
        matches!(self, Self::TokensPerDay | Self::RequestsPerDay)
    }
}
