//! Time as the book counts it: whole minutes since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Minutes remembered: one day.
pub const REMEMBERED: u32 = 24 * 60;

/// A minute, counted from 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub u32);

// === impl Minute ===

impl Minute {
    /// The minute that holds `at`.
    pub fn of(at: SystemTime) -> Self {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Self(u32::try_from(seconds / 60).unwrap_or(u32::MAX))
    }

    /// When it begins.
    pub fn start(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * 60)
    }

    /// The oldest minute that is still remembered in this one.
    pub fn oldest_remembered(self) -> Self {
        Self(self.0.saturating_sub(REMEMBERED - 1))
    }
}
