//! Whether a window that nobody told is one at all: one call goes to see.
//!
//! After a first refusal without numbers, what passed before it fills a window of a minute, and nobody could go before that is over.
//! Many providers' buckets refill all the time, and others' windows end sooner. So one call is let through now and then: answered, the
//! window was none; refused, the next one goes after twice the time. At most one is under way.

use std::time::Duration;

use tokio::time::Instant;

/// Shorter waits are waited out.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(32);

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    interval: Duration,
    due: Option<Instant>,
    /// What had been taken in all with the call that is under way.
    sent: Option<u64>,
}

// === impl Trial ===

impl Default for Trial {
    fn default() -> Self {
        Self {
            interval: FIRST,
            due: None,
            sent: None,
        }
    }
}

impl Trial {
    /// In which time a call may go that else would wait for `wait`, or more is known; `None`: it has to.
    pub(super) fn wait(&mut self, wait: Duration, now: Instant) -> Option<Duration> {
        if wait <= FIRST {
            return None;
        }
        if self.sent.is_some() {
            return Some(self.interval);
        }
        let due = *self.due.get_or_insert(now + self.interval);
        Some(due.saturating_duration_since(now))
    }

    /// A call goes, the one that was due or one that had room.
    pub(super) fn goes(&mut self, after: u64, now: Instant) {
        if self.sent.is_none() && self.due.is_some_and(|due| due <= now) {
            (self.sent, self.due) = (Some(after), None);
        }
    }

    /// Whether the call that was answered is the one that went to see.
    pub(super) fn answered(&mut self, after: u64) -> bool {
        let ours = self.sent == Some(after);
        if ours {
            *self = Self::default();
        }
        ours
    }

    /// Whether the call that was refused is the one that went to see.
    pub(super) fn refused(&mut self, after: u64) -> bool {
        let ours = self.sent == Some(after);
        if ours {
            self.sent = None;
            self.interval = (self.interval * 2).min(LONGEST);
        }
        ours
    }

    /// The call is over, whatever became of it.
    pub(super) fn over(&mut self, after: u64) {
        if self.sent == Some(after) {
            self.sent = None;
        }
    }
}
