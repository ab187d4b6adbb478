//! THE loop: the same target again, the next target, or stop.
//!
//! Outside `breaker`, `limit` and `dispatch`: each attempt passes them anew. What a failure class leads to is
//! written in `triage` (`Class::policy`); here it is carried out within the attempt cap, the retry budget, the
//! longest wait and the call's deadline. A caller's own repeat (the SDKs') counts against the budget and gets
//! no repeats of ours on top.
//!
//! A circuit that is coming back (a probe is under way, or the ramp has not reached this call) is waited for when nobody
//! else can take the call: within the same longest wait and deadline, at spread times, and without an attempt. At a
//! circuit that is plainly open nobody waits.
//!
//! A route turns to its targets in their order (`prefer = "order"`: a limit's wait that fits is waited at the first of them), or
//! to the one that is free soonest (`"soonest"`), looked at before the first attempt and whenever the call moves on.

mod decide;
mod fruitless;
mod last_word;
mod layer;
mod order;
mod turns;

pub use self::{
    decide::{Decision, Situation, decide},
    fruitless::Fruitless,
    layer::{Params, Retry, RetryLayer, Shared},
};
use std::{sync::Arc, time::Duration};

use crate::error::Error;

/// The loop ended without an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{last}")]
pub struct GaveUp {
    /// What the caller gets.
    pub last: Error,
    /// The route it was on.
    pub route: Arc<str>,
    /// Whether a repeat of the caller's is one that the target can bear, should the error invite one.
    pub may_return: bool,
    /// When a limit of ours that refused the repeat lets one go: truer than what the provider told before.
    pub held_for: Option<Duration>,
}
