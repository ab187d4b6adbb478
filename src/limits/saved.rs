//! What was learnt, in the form in which it survives a restart.

use serde::{Deserialize, Serialize};

use super::{Calibration, Kind, Source};

/// All pools worth remembering.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub pools: Vec<SavedPool>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedPool {
    pub upstream: String,
    /// Where the upstream was: another address is another provider.
    pub base_url: String,
    /// A keyed hash of the account's key; never the key.
    pub account: String,
    pub pool: String,
    pub buckets: Vec<SavedBucket>,
    /// Calls at once, where that was found by trying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    #[serde(default)]
    pub calibration: Calibration,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedBucket {
    pub kind: Kind,
    pub limit: u64,
    pub source: Source,
    /// What may go at once; absent: nothing special was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<f64>,
    /// What was used of the window at the time of writing.
    pub used: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_share: Option<f64>,
    /// Seconds since 1970 of the last word from the provider.
    pub heard_at: u64,
}
