//! Circuit breaker: one circuit per target, one per credential scope.
//!
//! Inside `retry` (each attempt is judged, and a refused one moves on to the next target at once), outside `limit` and
//! `dispatch` (a refused attempt costs no upstream call and waits for nothing).
//!
//! What a failure does is `triage`'s to say (`Class::policy`): most classes are neutral, overloads, errors and broken
//! connections count, and a few open at the first one: a target whose model is gone, or, through a *gate*, every key of a
//! project or an organisation that is out of credit. A caller's own key never closes anything for anybody else.
//!
//! A stream is judged at its end: complete is a success, broken a failure, left by its caller neutral. Only as a probe
//! does its good head count: it begins the recovery, which a broken end can still undo.
//!
//! | file | holds |
//! | --- | --- |
//! | `window`, `ramp`, `circuit` | the algorithm, plain data: outcomes, states, probes, ramp |
//! | `effect` | what a failure means for the circuits that the attempt has passed |
//! | `members`, `gates` | which key belongs to which organisation and project; the gates that follow from it |
//! | `entry`, `status` | a circuit's story, for callers, alerts and operators |
//! | `circuits`, `permit` | all circuits of the process; the right of one attempt, settled on drop |
//! | `layer` | the tower plumbing |

mod circuit;
mod circuits;
mod effect;
mod entry;
mod gates;
mod layer;
mod members;
mod permit;
mod ramp;
mod status;
mod window;

#[cfg(test)]
pub(in crate::stage) mod tests;

use std::{sync::Arc, time::Duration};

pub use self::{
    circuit::State,
    circuits::Circuits,
    layer::{Breaker, BreakerLayer, Judged},
    permit::Permit,
    status::{CircuitStatus, Hook, Transition},
};
use crate::{
    call::Target,
    error::Failure,
    triage::{Class, Scope},
};

/// Refused without an upstream call. Another target may do, at once.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the circuit of `{}` is open ({class}); next probe in {}", target.upstream.name, humantime::format_duration(whole_ms(*retry_after)))]
pub struct CircuitOpen {
    pub target: Arc<Target>,
    /// How far the open circuit reaches.
    pub scope: Scope,
    /// What opened it.
    pub class: Class,
    /// Time to the next probe.
    pub retry_after: Duration,
    /// It recovers, or a probe is under way: who can wait may ask again after about this time.
    pub hold: Option<Duration>,
    /// The failure that opened it, to be handed to callers when no target is left.
    pub last: Option<Arc<Failure>>,
}

/// Nobody wants to read nanoseconds.
fn whole_ms(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
