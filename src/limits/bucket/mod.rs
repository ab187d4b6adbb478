//! One limit of a provider, as far as it is known: how much there is, how much is left, and how much of it may go now.
//!
//! Plain data: the time comes in as an argument, and locks are the caller's.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

use super::{BucketView, Kind, SavedBucket, heard::Reading};
use crate::triage::DayReset;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Bucket {
    kind: Kind,
}

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

// === impl Bucket ===

impl Bucket {
    /// Nothing is known: everything passes.
    pub fn new(kind: Kind, reset: DayReset, now: Instant) -> Self {
        let _ = (reset, now);
        Self { kind }
    }

    /// Never more than this, whatever is learnt; `None`: as learnt.
    pub fn set(&mut self, most: Option<NonZeroU64>, now: Instant) {
        let _ = (most, now);
    }

    /// The capacity of a window, if it is known.
    pub fn limit(&self) -> Option<u64> {
        None
    }

    /// Whether `amount` may be taken.
    pub fn ask(&mut self, amount: u64, standing: Standing, now: Instant) -> Room {
        let _ = (amount, standing, now);
        Room::Now
    }

    /// Takes it, whatever [`ask`](Self::ask) says.
    pub fn take(&mut self, amount: u64, now: Instant) -> Mark {
        Mark { at: now, amount }
    }

    /// The call is over and took `actual`; less or more than it had reserved.
    pub fn settle(&mut self, mark: Mark, actual: u64, now: Instant) {
        let _ = (mark, actual, now);
    }

    /// A reply to the call that took `mark` tells this.
    pub fn heard(&mut self, mark: Mark, reading: &Reading, now: Instant) {
        let _ = (mark, reading, now);
    }

    /// The provider refused the call that took `mark`, for this limit. Whether that was a surprise. The caller settles too.
    pub fn refused(&mut self, mark: Mark, refusal: &Refusal, now: Instant) -> bool {
        let _ = (mark, refusal, now);
        false
    }

    /// Reserved and not settled.
    pub fn reserved(&self) -> u64 {
        0
    }

    /// For people; `None` while nothing is known.
    pub fn view(&mut self, now: Instant) -> Option<BucketView> {
        let _ = (now, self.kind);
        None
    }

    /// For the next run; `None`: nothing worth keeping. `unix`: seconds since 1970.
    pub fn saved(&mut self, now: Instant, unix: u64) -> Option<SavedBucket> {
        let _ = (now, unix);
        None
    }

    /// What the last run learnt. Too old, it is forgotten.
    pub fn restore(&mut self, saved: &SavedBucket, now: Instant, unix: u64) {
        let _ = (saved, now, unix);
    }
}
