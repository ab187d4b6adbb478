//! What the breaker tells about itself: to metrics and alerts at each change, to operators on demand.

use std::{fmt, sync::Arc, time::SystemTime};

use serde::{Serialize, Serializer};

use super::circuit::State;
use crate::{
    call::Target,
    error::Failure,
    triage::{Class, Scope},
};

/// Called at each change of a circuit's state, outside all locks. Must not block.
pub type Hook = Arc<dyn Fn(&Transition) + Send + Sync>;

/// A circuit has changed its state.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Where it showed; a circuit of a credential reaches further than this target.
    pub target: Arc<Target>,
    /// How far the circuit reaches: `Model`, `Key`, `Project` or `Organization`.
    pub scope: Scope,
    /// The model's label, the organisation, the project, or `own key` / `caller's key`.
    pub key: Arc<str>,
    pub from: State,
    pub to: State,
    /// What opened it (last).
    pub class: Class,
    /// The failure that began it; none when it was a stream that broke.
    pub first: Option<Arc<Failure>>,
    /// The latest.
    pub last: Option<Arc<Failure>>,
    /// Attempts refused since it left the closed state.
    pub refused: u64,
}

/// A circuit that is not closed.
#[derive(Clone, Debug, Serialize)]
pub struct CircuitStatus {
    pub upstream: Arc<str>,
    #[serde(serialize_with = "word")]
    pub scope: Scope,
    /// The model's label, the organisation, the project, or `own key` / `caller's key`.
    pub key: Arc<str>,
    pub state: State,
    #[serde(serialize_with = "class")]
    pub class: Class,
    /// When it left the closed state: RFC 3339, UTC.
    pub since: String,
    #[serde(skip)]
    pub opened: SystemTime,
    /// Time since it left the closed state, in seconds.
    pub since_seconds: f64,
    /// Time to the next probe, in seconds; none while it recovers.
    pub next_probe_seconds: Option<f64>,
    /// The provider's id of the failure that began it.
    pub first_request_id: Option<String>,
    /// The provider's id of the latest failure.
    pub last_request_id: Option<String>,
    /// Attempts refused since then.
    pub refused: u64,
    /// The rule that judged the latest failure; none for a stream that broke.
    pub rule: Option<Arc<str>>,
    /// What to do about it.
    pub advice: Option<String>,
}

// === impl Transition ===

impl Transition {
    /// The provider's ids of the first and the latest failure.
    pub fn request_ids(&self) -> (Option<&str>, Option<&str>) {
        (
            request_id(self.first.as_ref()),
            request_id(self.last.as_ref()),
        )
    }
}

// === impl State ===

impl State {
    /// The word in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Recovering => "recovering",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn request_id(failure: Option<&Arc<Failure>>) -> Option<&str> {
    failure?.verdict.request_id.as_deref()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn word<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scope.as_str())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn class<S: Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(class.as_str())
}
