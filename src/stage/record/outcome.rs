//! What became of a call: a closed set, fit for a metric label.

use crate::{
    call::How,
    error::{Error, Origin},
};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer.
    Ok,
    /// The caller's own mistake, said by the provider or by weir.
    ClientError,
    /// The provider failed, on every target.
    UpstreamError,
    /// weir held the call back: quota, limit, deadline, an open circuit.
    Refused,
    /// A stream that broke after its first content.
    Truncated,
    /// The caller left.
    Cancelled,
}

// === impl Outcome ===

impl Outcome {
    /// Of an error.
    pub fn of(error: &Error) -> Self {
        match error.origin() {
            Origin::Client => Self::ClientError,
            Origin::Gateway => Self::Refused,
            Origin::Upstream
                if error
                    .failure_class()
                    .is_some_and(|class| class.is_callers_mistake()) =>
            {
                Self::ClientError
            }
            Origin::Upstream => Self::UpstreamError,
        }
    }

    /// Of the end of a body.
    pub fn of_end(how: How) -> Self {
        match how {
            How::Complete => Self::Ok,
            How::Broken(_) => Self::Truncated,
            How::CallerLeft => Self::Cancelled,
        }
    }

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::UpstreamError => "upstream_error",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::Cancelled => "cancelled",
        }
    }
}
