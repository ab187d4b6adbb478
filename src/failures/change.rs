//! Changes of circuits.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::case::{text, time};
use crate::stage::breaker::Transition;

/// A circuit has changed its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    #[serde(with = "time")]
    pub at: SystemTime,
    pub upstream: String,
    pub scope: String,
    /// The model's label, the organisation, the project, or `own key` / `caller's key`.
    pub key: String,
    pub from: String,
    pub to: String,
    pub class: String,
    /// The provider's id of the latest failure.
    pub last_request_id: Option<String>,
}

// === impl Change ===

impl Change {
    pub(super) fn of(transition: &Transition) -> Self {
        Self {
            at: SystemTime::now(),
            upstream: transition.target.upstream.name.to_string(),
            scope: transition.scope.to_string(),
            key: text(&transition.key),
            from: transition.from.to_string(),
            to: transition.to.to_string(),
            class: transition.class.to_string(),
            last_request_id: transition.request_ids().1.map(text),
        }
    }
}
