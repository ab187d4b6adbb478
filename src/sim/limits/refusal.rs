//! A refusal, as a value and as it goes on the wire.

use std::time::{Duration, SystemTime};

use super::{
    bucket::{Refused, duration_text},
    headers::Gauge,
    pool::Full,
    settings::{LimitKind, Limits, Words},
};
use crate::sim::{DEFAULT_ORGANIZATION, error::ApiError};
use http::StatusCode;

/// Why a call was not let in.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The limit that refused; of several, the one that keeps the call away longest.
    pub kind: LimitKind,
    /// How much it is.
    pub limit: u32,
    /// How much of it is used.
    pub used: u64,
    /// How much was asked.
    pub requested: u64,
    /// After this time the same call passes, if nobody else takes any. `None`: it cannot be told, or waiting never helps.
    pub wait: Option<Duration>,
    /// More was asked than there ever is.
    pub too_large: bool,
    model: String,
    words: Words,
    tells_wait: bool,
    gauge: Gauge,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(full: Full, model: &str, limits: &Limits, gauge: Gauge) -> Self {
        let (used, wait) = match full.how {
            Refused::Wait { used, wait } => (used.ceil() as u64, Some(wait)),
            Refused::TooLarge => (0, None),
        };
        Self {
            kind: full.kind,
            limit: full.limit,
            used,
            requested: full.requested,
            // How long others take to answer nobody knows.
            wait: wait.filter(|_| full.kind != LimitKind::Concurrency),
            too_large: full.how == Refused::TooLarge,
            model: model.to_owned(),
            words: limits.words.unwrap_or_default(),
            tells_wait: limits.retry_after.unwrap_or(true),
            gauge,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        StatusCode::TOO_MANY_REQUESTS.as_u16()
    }

    /// The rate-limit headers, and `retry-after` where it is told. `wall`: the time of day of the refusal.
    #[must_use]
    pub fn headers(&self, wall: SystemTime) -> Vec<(&'static str, String)> {
        let mut headers = self.gauge.headers(wall);
        headers.extend(self.error(DEFAULT_ORGANIZATION).headers());
        headers
    }

    /// The JSON of the error.
    #[must_use]
    pub fn body(&self) -> String {
        self.error(DEFAULT_ORGANIZATION).body()
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    pub(crate) fn error(&self, organization: &str) -> ApiError {
        let mut error = match (self.words, self.kind) {
            (_, LimitKind::Concurrency) => ApiError::invalid(
                "Too many concurrent requests. Please wait until some of them have been answered, then try again.",
            ),
            (Words::Plain, _) if self.too_large => {
                ApiError::invalid("The request is too large for the rate limit of this account.")
            }
            (Words::Plain, _) => ApiError::invalid("Rate limit exceeded. Please try again later."),
            (Words::Numbers, _) => ApiError::invalid(self.message(organization)),
        };
        if self.tells_wait {
            error.wait = self.wait;
        }
        error
            .status(StatusCode::TOO_MANY_REQUESTS)
            .kind(if self.words == Words::Plain {
                "rate_limit_error"
            } else {
                self.kind.error_type()
            })
            .code("rate_limit_exceeded")
    }

    fn message(&self, organization: &str) -> String {
        let learn = "Visit https://platform.openai.com/account/rate-limits to learn more.";
        let Self {
            model,
            limit,
            used,
            requested,
            ..
        } = self;
        let counter = self.kind.in_words();
        match self.wait {
            Some(wait) => format!(
                "Rate limit reached for {model} in organization {organization} on {counter}: Limit {limit}, Used {used}, \
                 Requested {requested}. Please try again in {}. {learn}",
                duration_text(wait)
            ),
            None => format!(
                "Request too large for {model} in organization {organization} on {counter}: Limit {limit}, Requested \
                 {requested}. The input or output tokens must be reduced in order to run successfully. {learn}"
            ),
        }
    }
}

// === impl LimitKind ===

impl LimitKind {
    /// `error.type` of its refusals.
    fn error_type(self) -> &'static str {
        match self {
            Self::Requests | Self::RequestsPerDay | Self::Concurrency => "requests",
            Self::Images => "images",
            Self::Tokens | Self::InputTokens | Self::OutputTokens | Self::TokensPerDay => "tokens",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrent requests",
            Self::Tokens => "tokens per min (TPM)",
            Self::InputTokens => "input tokens per min (ITPM)",
            Self::OutputTokens => "output tokens per min (OTPM)",
            Self::Images => "images per min (IPM)",
            Self::Requests => "requests per min (RPM)",
            Self::TokensPerDay => "tokens per day (TPD)",
            Self::RequestsPerDay => "requests per day (RPD)",
        }
    }
}
