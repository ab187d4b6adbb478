//! What ingress refuses.

use std::time::Duration;

use http::StatusCode;

/// A request that never became a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "weir proxies the OpenAI API: paths under /v1/, such as /v1/chat/completions; `{0}` is not one"
    )]
    NotFound(String),
    #[error("the request body is larger than {limit} bytes ([server] max_body_bytes)")]
    BodyTooLarge { limit: usize },
    #[error("the request body did not arrive: nothing for {0:?}")]
    BodyTimeout(Duration),
    #[error("the request body broke off: {0}")]
    BodyBroken(String),
    #[error("the request body's content-encoding cannot be undone: {0}")]
    Encoding(String),
    #[error("weir has {limit} calls in flight ([server] max_inflight) and takes no more just now")]
    Full { limit: u32 },
}

// === impl Refused ===

impl Refused {
    /// The error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::BodyTooLarge { .. } => "payload_too_large",
            Self::BodyTimeout(_) => "body_timeout",
            Self::BodyBroken(_) => "body_broken",
            Self::Encoding(_) => "unsupported_encoding",
            Self::Full { .. } => "gateway_full",
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken(_) => StatusCode::BAD_REQUEST,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to come back, where that helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } => Some(Duration::from_secs(1)),
            Self::NotFound(_)
            | Self::BodyTooLarge { .. }
            | Self::BodyTimeout(_)
            | Self::BodyBroken(_)
            | Self::Encoding(_) => None,
        }
    }
}
