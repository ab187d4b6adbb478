//! The stage's two clocks: one that only goes forwards, for minutes, and the world's, for days.

use std::fmt;

use tokio::time::Instant;

/// Seconds since 1970.
pub(super) type Wall = Box<dyn Fn() -> u64 + Send + Sync>;

/// See the module's documentation.
pub(super) struct Clock {
    began: Instant,
    wall: Wall,
}

/// One moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Since the clock was made.
    pub(super) micros: u64,
    /// Since 1970.
    pub(super) unix: u64,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new(wall: Wall) -> Self {
        Self {
            began: Instant::now(),
            wall,
        }
    }

    pub(super) fn now(&self) -> Now {
        let micros = self.began.elapsed().as_micros();
        Now {
            micros: u64::try_from(micros).unwrap_or(u64::MAX / 2),
            unix: (self.wall)(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Box::new(|| {
            std::time::UNIX_EPOCH
                .elapsed()
                .map_or(0, |since| since.as_secs())
        }))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
