//! A call's deadline, which a shared call may extend.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Until when a call's answer must have begun.
///
/// Identical calls share one upstream call (see `stage::cache`); each caller keeps its own
/// deadline, and the shared call runs until the latest of them. So the value can grow.
#[derive(Debug)]
pub struct Deadline(AtomicU64);

// === impl Deadline ===

impl Deadline {
    /// Ends at `at`.
    pub fn at(at: Instant) -> Self {
        Self(AtomicU64::new(micros(at)))
    }

    /// The instant.
    pub fn instant(&self) -> Instant {
        epoch() + Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    /// What is left at `now`; zero when it has passed.
    pub fn left(&self, now: Instant) -> Duration {
        self.instant().saturating_duration_since(now)
    }

    /// Moves the deadline to `other`'s if that is later.
    pub fn extend(&self, other: &Self) {
        self.0
            .fetch_max(other.0.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Clone for Deadline {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

fn micros(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(epoch()).as_micros()).unwrap_or(u64::MAX / 4)
}

/// An instant before every other one that is turned into a number here.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    // A test's paused clock may start later than another test's: a day of slack keeps all
    // instants after the epoch.
    *EPOCH.get_or_init(|| {
        Instant::now()
            .checked_sub(Duration::from_secs(60))
            .unwrap_or_else(Instant::now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_only_grows() {
        let now = Instant::now();
        let short = Deadline::at(now + Duration::from_secs(1));
        let long = Deadline::at(now + Duration::from_secs(9));
        short.extend(&long);
        assert_eq!(short.left(now), Duration::from_secs(9));
        long.extend(&Deadline::at(now));
        assert_eq!(long.left(now + Duration::from_secs(10)), Duration::ZERO);
    }
}
