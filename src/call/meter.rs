//! What one call has spent, added up by the stages it passes.

use std::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::triage::Class;

/// Counters of one call. Stages add, `record` reads; relaxed, for nothing else hangs on them.
#[derive(Debug, Default)]
pub struct Meter {
    attempts: AtomicU32,
    moves: AtomicU32,
    /// Place of a class in [`Class::ALL`], plus one; 0: none yet.
    first_failure: AtomicU8,
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

    /// The call met a failure; the first one is remembered.
    pub fn failed(&self, class: Class) {
        let place = Class::ALL.iter().position(|known| *known == class);
        let place = place.and_then(|place| u8::try_from(place + 1).ok());
        let _ = self.first_failure.compare_exchange(
            0,
            place.unwrap_or(0),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// The first failure that the call met, whatever became of it.
    pub fn first_failure(&self) -> Option<Class> {
        let place = self.first_failure.load(Ordering::Relaxed);
        Class::ALL.get(usize::from(place).checked_sub(1)?).copied()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_remembered_and_no_later_one() {
        for first in Class::ALL {
            let meter = Meter::default();
            assert_eq!(meter.first_failure(), None);
            meter.failed(*first);
            meter.failed(Class::Overloaded);
            assert_eq!(meter.first_failure(), Some(*first));
        }
    }
}
