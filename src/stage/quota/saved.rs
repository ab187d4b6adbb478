//! The day's counts, in the form in which they survive a restart.

use serde::{Deserialize, Serialize};

/// What apps have used of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQuotas {
    /// Days since 1970, in UTC.
    pub day: u64,
    pub apps: Vec<SavedQuota>,
}

/// One app's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedQuota {
    pub app: String,
    pub tokens: u64,
}
