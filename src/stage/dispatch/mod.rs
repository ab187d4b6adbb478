//! The leaf: one attempt, one upstream call.
//!
//! Builds the provider's request out of the caller's bytes, sends it, and decides what came back: a whole
//! answer, a stream, or a failure, which `triage` gives its class.
//!
//! A stream is held back until its first semantic event (the commit point). Whatever goes wrong before is a
//! [`Failure`] like any other and can be retried unseen. What goes wrong after ends the stream with an
//! error event in the caller's dialect: it never looks complete. When the caller leaves, the future or
//! the body is dropped, and with it the upstream call.

mod fail;
mod leaf;
mod request;
mod stream;
mod whole;

pub use self::{leaf::Dispatch, request::Prepared};
use std::sync::Arc;

use crate::{call::Target, error::Failure};

/// The time that the caller's own deadline left for this attempt has passed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{}` did not answer within the time that the caller's deadline left", target.upstream.name)]
pub struct DeadlinePassed {
    pub target: Arc<Target>,
    /// The call's attempts, this one included.
    pub attempts: u32,
    /// The provider was silent for so long that it is its failure, not the caller's impatience.
    pub silence: Option<Arc<Failure>>,
}
