//! What the headers of an answer tell of the limits, in each vendor's way.

use std::time::{Duration, SystemTime};

use super::{
    bucket::duration_text,
    settings::{HeaderStyle, LimitKind},
};

/// Shown by OpenAI's headers where nothing is enforced.
const SHOWN_REQUESTS: u32 = 10_000;
const SHOWN_TOKENS: u32 = 30_000_000;

/// A limit as it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) kind: LimitKind,
    pub(crate) limit: u32,
    pub(crate) remaining: u64,
    pub(crate) reset: Duration,
}

/// All limits that a call met, as they stood when it was let in or refused.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    style: HeaderStyle,
    shown: Vec<Shown>,
    /// Tokens of the call itself.
    cost: u64,
    window_ms: Option<u64>,
}

type Headers = Vec<(&'static str, String)>;

// === impl Gauge ===

impl Gauge {
    pub(crate) fn new(
        style: HeaderStyle,
        shown: Vec<Shown>,
        cost: u64,
        window_ms: Option<u64>,
    ) -> Self {
        Self {
            style,
            shown,
            cost,
            window_ms,
        }
    }

    /// Of an account without limits.
    pub(crate) fn unmetered(cost: u64) -> Self {
        Self::new(HeaderStyle::Openai, Vec::new(), cost, None)
    }

    /// `wall`: the time of day when the limits stood so.
    pub(crate) fn headers(&self, wall: SystemTime) -> Headers {
        match self.style {
            HeaderStyle::Openai | HeaderStyle::Stale => self.openai(),
            HeaderStyle::MinusOne => lies("-1"),
            HeaderStyle::Zero => lies("0"),
            HeaderStyle::None => Vec::new(),
            HeaderStyle::Azure => self.azure(),
            HeaderStyle::Anthropic => self.anthropic(wall),
            HeaderStyle::Groq => self.groq(),
            HeaderStyle::Mistral => self.mistral(),
            HeaderStyle::Cerebras => self.cerebras(),
        }
    }

    fn find(&self, kinds: &[LimitKind]) -> Option<Shown> {
        kinds
            .iter()
            .find_map(|kind| self.shown.iter().find(|shown| shown.kind == *kind))
            .copied()
    }

    /// Always six; what is not limited looks like a large account's.
    fn openai(&self) -> Headers {
        let requests = self
            .find(&[LimitKind::Requests, LimitKind::RequestsPerDay])
            .unwrap_or(Shown {
                kind: LimitKind::Requests,
                limit: SHOWN_REQUESTS,
                remaining: u64::from(SHOWN_REQUESTS - 1),
                reset: Duration::from_millis(6),
            });
        let tokens = self
            .find(&[LimitKind::Tokens, LimitKind::TokensPerDay])
            .unwrap_or_else(|| {
                let limit = u64::from(SHOWN_TOKENS);
                let cost = self.cost.min(limit);
                Shown {
                    kind: LimitKind::Tokens,
                    limit: SHOWN_TOKENS,
                    remaining: limit - cost,
                    reset: Duration::from_millis(cost * 60_000 / limit),
                }
            });
        vec![
            ("x-ratelimit-limit-requests", requests.limit.to_string()),
            ("x-ratelimit-limit-tokens", tokens.limit.to_string()),
            (
                "x-ratelimit-remaining-requests",
                requests.remaining.to_string(),
            ),
            ("x-ratelimit-remaining-tokens", tokens.remaining.to_string()),
            ("x-ratelimit-reset-requests", duration_text(requests.reset)),
            ("x-ratelimit-reset-tokens", duration_text(tokens.reset)),
        ]
    }

    fn azure(&self) -> Headers {
        let mut headers = Vec::new();
        if let Some(shown) = self.find(&[LimitKind::Requests]) {
            let period = self.window_ms.map_or(60, |ms| ms.div_ceil(1_000).max(1));
            headers.extend([
                ("x-ratelimit-limit-requests", shown.limit.to_string()),
                (
                    "x-ratelimit-remaining-requests",
                    shown.remaining.to_string(),
                ),
                ("x-ratelimit-renewalperiod-requests", period.to_string()),
                ("x-ratelimit-reset-requests", whole_seconds(shown.reset)),
            ]);
        }
        if let Some(shown) = self.find(&[LimitKind::Tokens]) {
            headers.extend([
                ("x-ratelimit-limit-tokens", shown.limit.to_string()),
                ("x-ratelimit-remaining-tokens", shown.remaining.to_string()),
                ("x-ratelimit-renewalperiod-tokens", "60".to_owned()),
                ("x-ratelimit-reset-tokens", whole_seconds(shown.reset)),
            ]);
        }
        headers
    }

    fn anthropic(&self, wall: SystemTime) -> Headers {
        let mut headers = Vec::new();
        let mut put = |names: [&'static str; 3], shown: Shown, rounding: u64| {
            let remaining = (shown.remaining + rounding / 2) / rounding * rounding;
            let reset = humantime::format_rfc3339_seconds(wall + shown.reset);
            headers.extend([
                (names[0], shown.limit.to_string()),
                (names[1], remaining.to_string()),
                (names[2], reset.to_string()),
            ]);
        };
        if let Some(shown) = self.find(&[LimitKind::Requests]) {
            let names = [
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ];
            put(names, shown, 1);
        }
        let (input, output) = (
            self.find(&[LimitKind::InputTokens]),
            self.find(&[LimitKind::OutputTokens]),
        );
        if let Some(shown) = input {
            let names = [
                "anthropic-ratelimit-input-tokens-limit",
                "anthropic-ratelimit-input-tokens-remaining",
                "anthropic-ratelimit-input-tokens-reset",
            ];
            put(names, shown, 1_000);
        }
        if let Some(shown) = output {
            let names = [
                "anthropic-ratelimit-output-tokens-limit",
                "anthropic-ratelimit-output-tokens-remaining",
                "anthropic-ratelimit-output-tokens-reset",
            ];
            put(names, shown, 1_000);
        }
        if let Some(shown) = self.find(&[LimitKind::Tokens]) {
            let names = [
                "anthropic-ratelimit-tokens-limit",
                "anthropic-ratelimit-tokens-remaining",
                "anthropic-ratelimit-tokens-reset",
            ];
            put(names, shown, 1_000);
        }
        headers
    }

    /// Requests of the day and tokens of the minute; the other limits are in no header.
    fn groq(&self) -> Headers {
        let mut headers = Vec::new();
        if let Some(shown) = self.find(&[LimitKind::RequestsPerDay]) {
            headers.extend([
                ("x-ratelimit-limit-requests", shown.limit.to_string()),
                (
                    "x-ratelimit-remaining-requests",
                    shown.remaining.to_string(),
                ),
                ("x-ratelimit-reset-requests", duration_text(shown.reset)),
            ]);
        }
        if let Some(shown) = self.find(&[LimitKind::Tokens]) {
            headers.extend([
                ("x-ratelimit-limit-tokens", shown.limit.to_string()),
                ("x-ratelimit-remaining-tokens", shown.remaining.to_string()),
                ("x-ratelimit-reset-tokens", duration_text(shown.reset)),
            ]);
        }
        headers
    }

    fn mistral(&self) -> Headers {
        let mut headers = Vec::new();
        if let Some(shown) = self.find(&[LimitKind::Requests]) {
            headers.extend([
                ("x-ratelimit-limit-req-minute", shown.limit.to_string()),
                (
                    "x-ratelimit-remaining-req-minute",
                    shown.remaining.to_string(),
                ),
            ]);
        }
        if let Some(shown) = self.find(&[LimitKind::Tokens]) {
            headers.extend([
                ("x-ratelimit-limit-tokens-minute", shown.limit.to_string()),
                (
                    "x-ratelimit-remaining-tokens-minute",
                    shown.remaining.to_string(),
                ),
                ("x-ratelimit-tokens-query-cost", self.cost.to_string()),
            ]);
        }
        headers
    }

    fn cerebras(&self) -> Headers {
        let mut headers = Vec::new();
        let mut put = |kind: LimitKind, names: [&'static str; 3]| {
            if let Some(shown) = self.find(&[kind]) {
                headers.extend([
                    (names[0], shown.limit.to_string()),
                    (names[1], shown.remaining.to_string()),
                    (names[2], format!("{:.3}", shown.reset.as_secs_f64())),
                ]);
            }
        };
        put(
            LimitKind::RequestsPerDay,
            [
                "x-ratelimit-limit-requests-day",
                "x-ratelimit-remaining-requests-day",
                "x-ratelimit-reset-requests-day",
            ],
        );
        put(
            LimitKind::Tokens,
            [
                "x-ratelimit-limit-tokens-minute",
                "x-ratelimit-remaining-tokens-minute",
                "x-ratelimit-reset-tokens-minute",
            ],
        );
        put(
            LimitKind::TokensPerDay,
            [
                "x-ratelimit-limit-tokens-day",
                "x-ratelimit-remaining-tokens-day",
                "x-ratelimit-reset-tokens-day",
            ],
        );
        headers
    }
}

/// OpenAI's names without anything in them.
fn lies(value: &str) -> Headers {
    [
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
    ]
    .map(|name| (name, value.to_owned()))
    .into()
}

fn whole_seconds(duration: Duration) -> String {
    duration.as_millis().div_ceil(1_000).to_string()
}
