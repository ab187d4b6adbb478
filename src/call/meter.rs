//! What one call has spent, added up by the stages it passes.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Counters of one call. Stages add, `record` reads; relaxed, for nothing else hangs on them.
#[derive(Debug, Default)]
pub struct Meter {
    attempts: AtomicU32,
    moves: AtomicU32,
    waited_us: AtomicU64,
    upstream_us: AtomicU64,
}

// === impl Meter ===

impl Meter {
    /// An attempt reached a provider.
    pub fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts that reached a provider.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// The call goes on to another target.
    pub fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has gone to another target than its first.
    pub fn has_moved(&self) -> bool {
        self.moves.load(Ordering::Relaxed) > 0
    }

    /// weir held the call back on purpose: a limit, a backoff, a told wait.
    pub fn wait(&self, time: Duration) {
        self.waited_us.fetch_add(micros(time), Ordering::Relaxed);
    }

    /// All such waits.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    /// The call waited for a provider.
    pub fn upstream(&self, time: Duration) {
        self.upstream_us.fetch_add(micros(time), Ordering::Relaxed);
    }

    /// All such time.
    pub fn upstream_time(&self) -> Duration {
        Duration::from_micros(self.upstream_us.load(Ordering::Relaxed))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
