//! What is known of the limits and of who waits for them, for people: `weir limits`, `/status`, `/limits`, metrics.

use serde::{Deserialize, Serialize};

use super::Kind;

/// One pool: the models of an upstream that share their limits, for one account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    pub upstream: String,
    /// The family's name: a model, or what several models share; `*`: the whole account.
    pub pool: String,
    /// Models seen in this pool, as they stand in metrics.
    pub models: Vec<String>,
    /// Tells callers' accounts apart where the upstream passes their keys through; never the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub buckets: Vec<BucketView>,
    pub concurrency: ConcurrencyView,
    pub queue: QueueView,
    /// The largest foreign share of its buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<RefusalView>,
}

/// One limit of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketView {
    pub kind: Kind,
    /// The capacity of a window.
    pub capacity: u64,
    /// What could be taken in this window from now on, as far as is known.
    pub remaining: u64,
    pub source: Source,
    /// What may go at once now.
    pub burst: u64,
    /// Share of the capacity that others use with the same account, 0 to 1; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign_share: Option<f64>,
    /// Reserved by calls that are under way and not settled.
    pub reserved: u64,
    /// Seconds until it is full again, at this rate.
    pub full_in_seconds: f64,
}

/// Where a capacity is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Told by a reply's headers.
    Headers,
    /// Told by the text of a refusal.
    Refusal,
    /// Found by trying: nobody tells it.
    Tried,
    /// Set in the configuration, and nothing lower was learnt.
    Set,
    /// From the last run; nothing was heard since.
    Remembered,
}

/// Calls under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcurrencyView {
    pub inflight: u32,
    /// `None`: not bounded.
    pub limit: Option<u32>,
    /// The limit was found by trying, not set.
    pub learned: bool,
}

/// Calls that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    pub interactive: u32,
    pub batch: u32,
    /// Of the one that waits longest; 0: nobody waits.
    pub oldest_seconds: f64,
    /// Apps with calls in the queue.
    pub apps: u32,
}

/// The last time that the provider refused for a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalView {
    /// RFC 3339, UTC.
    pub at: String,
    pub class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_wait_seconds: Option<f64>,
    /// It came although the bucket had room.
    pub surprise: bool,
}

// === impl Source ===

impl Source {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Refusal => "refusal",
            Self::Tried => "tried",
            Self::Set => "set",
            Self::Remembered => "remembered",
        }
    }
}
