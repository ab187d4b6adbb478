//! The kinds of limits that providers have.

use std::{fmt, time::Duration};

/// What is counted, over which time. The spelling is that of the configuration, the metrics and `weir limits`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Kind {
    #[serde(rename = "requests_per_minute")]
    Requests,
    /// Input and output together.
    #[serde(rename = "tokens_per_minute")]
    Tokens,
    #[serde(rename = "input_tokens_per_minute")]
    InputTokens,
    #[serde(rename = "output_tokens_per_minute")]
    OutputTokens,
    /// The project's share, where it is lower than the organisation's.
    #[serde(rename = "project_requests_per_minute")]
    ProjectRequests,
    #[serde(rename = "project_tokens_per_minute")]
    ProjectTokens,
    #[serde(rename = "images_per_minute")]
    Images,
    #[serde(rename = "requests_per_day")]
    RequestsPerDay,
    #[serde(rename = "tokens_per_day")]
    TokensPerDay,
    #[serde(rename = "tokens_per_month")]
    TokensPerMonth,
    /// Calls under way at once. Not a rate: it has no bucket.
    #[serde(rename = "concurrency")]
    Concurrency,
}

// === impl Kind ===

impl Kind {
    /// Those with a bucket, in the order in which they are shown.
    pub const RATES: [Self; 10] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::ProjectRequests,
        Self::ProjectTokens,
        Self::Images,
        Self::RequestsPerDay,
        Self::TokensPerDay,
        Self::TokensPerMonth,
    ];

    /// The word in configuration, metrics and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::InputTokens => "input_tokens_per_minute",
            Self::OutputTokens => "output_tokens_per_minute",
            Self::ProjectRequests => "project_requests_per_minute",
            Self::ProjectTokens => "project_tokens_per_minute",
            Self::Images => "images_per_minute",
            Self::RequestsPerDay => "requests_per_day",
            Self::TokensPerDay => "tokens_per_day",
            Self::TokensPerMonth => "tokens_per_month",
            Self::Concurrency => "concurrency",
        }
    }

    /// The kind in a sentence.
    pub fn words(self) -> String {
        match self {
            Self::Concurrency => "calls at once".to_owned(),
            kind => kind.as_str().replace('_', " "),
        }
    }

    /// The time in which the limit may be used once.
    pub const fn window(self) -> Duration {
        match self {
            Self::RequestsPerDay | Self::TokensPerDay => Duration::from_secs(86_400),
            Self::TokensPerMonth => Duration::from_secs(30 * 86_400),
            _ => Duration::from_secs(60),
        }
    }

    /// Whether requests are counted.
    pub const fn counts_requests(self) -> bool {
        matches!(
            self,
            Self::Requests | Self::ProjectRequests | Self::RequestsPerDay
        )
    }

    /// Whether LLM tokens are counted.
    pub const fn counts_tokens(self) -> bool {
        matches!(
            self,
            Self::Tokens
                | Self::InputTokens
                | Self::OutputTokens
                | Self::ProjectTokens
                | Self::TokensPerDay
                | Self::TokensPerMonth
        )
    }

    /// Whether it is full again only after hours.
    pub const fn is_long(self) -> bool {
        self.window().as_secs() > 3_600
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
