//! Model name → ordered targets that can do what the call needs.
//!
//! Names and globs, first match wins. What a route leads to is worked out once per model name and kept.
//! A call that cannot move (an upload id, a `previous_response_id`, `x-weir-fallback: off`) has its first target only;
//! a caller that weir's own keys may not serve has the targets that take its own.

mod layer;
mod router;

use http::StatusCode;

pub use self::{
    layer::{RouteLayer, Routing},
    router::{Router, Targets},
};

/// The model has no target for this caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    #[error("no [[route]] of this gateway takes the model `{model}`{hint}")]
    NoRoute { model: String, hint: String },
    #[error(
        "the request names no model, and no [[route]] of this gateway takes calls without one (models = [\"*\"])"
    )]
    NoModel,
    #[error(
        "every target of the route `{route}` needs an app's key of this gateway; the key sent is none"
    )]
    NotForStrangers { route: String },
    #[error("no target of the route `{route}` can take this call: {why}")]
    Unable { route: String, why: &'static str },
}

// === impl NoTarget ===

impl NoTarget {
    /// The error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoute { .. } => "model_not_found",
            Self::NoModel | Self::Unable { .. } => "invalid_request",
            Self::NotForStrangers { .. } => "invalid_api_key",
        }
    }

    /// The status, that of OpenAI for the same mistake.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::NoModel | Self::Unable { .. } => StatusCode::BAD_REQUEST,
            Self::NotForStrangers { .. } => StatusCode::UNAUTHORIZED,
        }
    }
}
