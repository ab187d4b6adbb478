//! How far apps have come with their quotas, for people: `/status` and `weir limits`.

use serde::{Deserialize, Serialize};

/// One app with a quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuotaView {
    pub app: String,
    /// `wait` or `reject`.
    pub on_limit: String,
    /// `interactive` or `batch`: of the app; single calls may say otherwise.
    pub priority: String,
    pub weight: u32,
    /// Each number that is set, in the order of the configuration.
    pub allowances: Vec<AllowanceView>,
    /// Calls that wait for the quota.
    pub waiting: u32,
    /// Of the one that waits longest; 0: nobody waits.
    pub oldest_wait_seconds: f64,
}

/// One number of an app's quota.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowanceView {
    /// As in the configuration: `requests_per_minute`, `tokens_per_minute`, `tokens_per_day`, `concurrency`.
    pub kind: String,
    pub quota: u64,
    /// Of the last minute, of this day (UTC), or at this moment; reservations of running calls included.
    pub used: u64,
    /// What the app could take of it now.
    pub remaining: u64,
    /// What may go at once; requests that wait for their turn are spread over the minute.
    pub burst: u64,
    /// Until the next call finds room, behind those that wait; 0: now. Absent: not known, as nobody knows how long calls last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_in_seconds: Option<f64>,
}
