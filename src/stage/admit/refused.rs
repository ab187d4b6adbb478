//! Who is not let in.

use http::StatusCode;

/// A request without a valid credential, or with a directive that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "no API key: send `Authorization: Bearer KEY` with a key of an [[app]] of this gateway (the gateway's owner makes one with `weir keys create NAME`)"
    )]
    NoKey,
    #[error(
        "this key belongs to no [[app]] of this gateway; ask the gateway's owner for one (`weir keys create NAME`). It was not sent to any provider"
    )]
    UnknownKey,
    #[error(
        "the `Origin` header says that a web page of another site calls: it is not let in with the keys that this gateway holds for programs of this machine. If it is yours, give it a key (`weir keys create NAME`)"
    )]
    ForeignPage,
    #[error("the header `{header}` says `{found}`; {expected}")]
    BadDirective {
        header: &'static str,
        found: String,
        expected: &'static str,
    },
}

// === impl Refused ===

impl Refused {
    /// The error code; the key errors have OpenAI's own, so that apps that test for it work.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "auth_missing",
            Self::UnknownKey => "invalid_api_key",
            Self::ForeignPage => "foreign_origin",
            Self::BadDirective { .. } => "invalid_request",
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::ForeignPage => StatusCode::FORBIDDEN,
            Self::BadDirective { .. } => StatusCode::BAD_REQUEST,
        }
    }
}
