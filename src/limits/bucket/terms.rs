//! What is asked of a bucket, and what it answers.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(doc)]
use super::Bucket;

/// How far a call may go into what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Of an app that has taken less than its share: all that is there.
    First,
    /// Of an app that takes more than its share while others call too: it leaves some for those.
    Common,
    /// Batch: only what nobody else wants.
    Last,
}

/// The answer to [`Bucket::ask`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Room {
    /// It may be taken now.
    Now,
    /// After this time, if nobody else takes any and nothing new is learnt.
    In(Duration),
    /// The limit itself, which is smaller than what is asked.
    Never(u64),
}

/// What was taken, and where the bucket stood: given back to it when more is known.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// When it was taken.
    pub at: Instant,
    /// How much.
    pub amount: u64,
    /// Reserved since the beginning, this included.
    pub(super) after: u64,
    /// Taken in the window before it.
    pub(super) before: u64,
    /// Of these, what may have left the window already.
    pub(super) leaving: u64,
    /// Corrections by then.
    pub(super) corrected: f64,
    /// Reserved and not settled then, this included.
    pub(super) under_way: u64,
}

/// The provider refused for this limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Refusal {
    pub limit: Option<u64>,
    pub used: Option<u64>,
    pub requested: Option<u64>,
    /// The told wait.
    pub wait: Option<Duration>,
}

// === impl Standing ===

impl Standing {
    /// Share of the burst that is left for others.
    pub(super) const fn floor(self) -> f64 {
        match self {
            Self::First => 0.0,
            Self::Common => 0.5,
            Self::Last => 0.9,
        }
    }

    /// Share of the whole limit that is left for others.
    pub(super) const fn spare(self) -> f64 {
        match self {
            Self::First => 0.0,
            Self::Common => 0.01,
            Self::Last => 0.03,
        }
    }
}
