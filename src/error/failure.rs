//! One failed attempt: what triage made of it, and the provider's own words, kept whole.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    call::Target,
    failures::Seen,
    triage::{Class, Verdict},
};

/// One failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    pub verdict: Verdict,
    pub target: Arc<Target>,
    /// The provider's own answer, to be handed back verbatim. Absent when there was none, or
    /// when it cannot stand as an error (HTML under a 200).
    pub answer: Option<Answer>,
    /// What came on the wire.
    pub seen: Seen,
    /// What happened, for people: no key, no prompt, no address.
    pub what: String,
    /// The key that was used is weir's own, not the caller's.
    pub own_key: bool,
    /// A part of the request's body went out and cannot be sent again.
    pub begun: bool,
    /// No connection was made: nobody counted the call.
    pub unsent: bool,
    /// A stream broke after its first content had gone to the caller.
    pub after_content: bool,
}

/// An upstream's response, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// Without hop-by-hop headers.
    pub headers: HeaderMap,
    pub body: Bytes,
}

// === impl Failure ===

impl Failure {
    /// The status the caller sees.
    pub fn status(&self) -> StatusCode {
        self.answer
            .as_ref()
            .map_or_else(|| status_of(self.verdict.class), |answer| answer.status)
    }

    /// The provider's request id.
    pub fn provider_request_id(&self) -> Option<HeaderValue> {
        self.verdict
            .request_id
            .as_ref()
            .and_then(|id| HeaderValue::from_str(id).ok())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}): {}",
            self.verdict.class, self.target.upstream.name, self.what
        )
    }
}

impl std::error::Error for Failure {}

/// The HTTP status of a failure that had none of its own, such as an error event inside a 200. Chosen so
/// that the official SDKs raise the exception that they raise for the real status.
pub fn status_of(class: Class) -> StatusCode {
    match class {
        Class::QuotaExhausted
        | Class::BillingInactive
        | Class::BillingHardLimit
        | Class::RateLimitedRequests
        | Class::RateLimitedTokens
        | Class::RateLimitedImages
        | Class::RateLimitedDay
        | Class::RateLimitedConcurrency
        | Class::RateLimitedRamp
        | Class::RequestTooLargeForLimit
        | Class::BatchQueueFull => StatusCode::TOO_MANY_REQUESTS,
        Class::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::Overloaded
        | Class::CapacityUnavailable
        | Class::ModelLoading
        | Class::EdgeBlocked => StatusCode::SERVICE_UNAVAILABLE,
        Class::ServerError | Class::ModelOutputInvalid => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Class::Connection | Class::EdgeHtmlError | Class::StreamError | Class::Unknown => {
            StatusCode::BAD_GATEWAY
        }
        Class::AuthInvalid
        | Class::AuthMissing
        | Class::AuthWrongOrg
        | Class::AuthProjectArchived
        | Class::AccountDeactivated => StatusCode::UNAUTHORIZED,
        Class::Permission
        | Class::VerificationRequired
        | Class::IpBlocked
        | Class::RegionUnsupported => StatusCode::FORBIDDEN,
        Class::ModelNotFound | Class::NotFound | Class::RoutingNoProvider => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::InvalidRequest
        | Class::ContextLength
        | Class::ContentFilter
        | Class::StateNotPortable => StatusCode::BAD_REQUEST,
        Class::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
    }
}
