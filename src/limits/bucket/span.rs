//! How long the provider's window is, where it is not the one that everybody means.
//!
//! Some tell ten of ten a second without saying "a second". It shows: a part was used, the reset was told to be near, and after it
//! all was there again, which in a minute's window it could not be. Where the reset has passed and we would wait on, one call is let
//! through to see. A longer reset takes the finding back, a refusal takes it back for good.

use std::time::Duration;

use tokio::time::Instant;

use super::Mark;

/// Lengths that are in use, in seconds.
const USUAL: [u64; 6] = [1, 2, 5, 10, 15, 30];
/// Share of the limit that must have been used and come back, and how many times what a minute's window gives back.
const MUCH: f64 = 0.1;
const TIMES: f64 = 3.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    before: Option<Told>,
    longest: Duration,
    found: bool,
    wrong: bool,
    /// Whether a call was let through since the last reply.
    tried: bool,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    after: u64,
    remaining: f64,
    reset: Duration,
}

// === impl Span ===

impl Span {
    /// The length, when this reply shows that it is shorter than `window`.
    pub(super) fn hear(
        &mut self,
        mark: Mark,
        remaining: f64,
        reset: Option<Duration>,
        limit: f64,
        window: Duration,
    ) -> Option<Duration> {
        let reset = reset?;
        self.longest = self.longest.max(reset);
        self.tried = false;
        let told = Told {
            at: mark.at,
            after: mark.after,
            remaining,
            reset,
        };
        let Some(before) = self.before else {
            self.before = Some(told);
            return None;
        };
        // Until its reset has passed, the one that had least left is the best witness.
        if mark.at < before.at + before.reset {
            if remaining < before.remaining {
                self.before = Some(told);
            }
            return None;
        }
        self.before = Some(told);
        let passed = mark.at - before.at;
        let ours = mark.after.saturating_sub(before.after) as f64;
        let back = remaining + ours - before.remaining;
        let refill = limit * passed.as_secs_f64() / window.as_secs_f64();
        let full = remaining + ours >= 0.95 * limit;
        let kept_its_word = full && passed >= before.reset && self.longest <= window / 2;
        if self.wrong
            || self.found
            || !kept_its_word
            || back - refill < MUCH * limit
            || back < TIMES * (refill + 1.0)
        {
            return None;
        }
        let length = USUAL
            .map(Duration::from_secs)
            .into_iter()
            .find(|length| self.longest <= *length)?;
        self.found = true;
        Some(length)
    }

    /// Whether a call may go to see whether all is there again as told.
    pub(super) fn may_try(&self, window: Duration, now: Instant) -> bool {
        let passed = |told: Told| told.at + told.reset + Duration::from_millis(50) <= now;
        !(self.wrong || self.found || self.tried)
            && self.longest <= window / 2
            && self.before.is_some_and(passed)
    }

    /// Times were told that no shorter window has.
    pub(super) fn is_of(&self, window: Duration) -> bool {
        self.longest > window / 2
    }

    pub(super) fn tries(&mut self) {
        self.tried = true;
    }

    /// Whether a longer reset than the length that was found has been told.
    pub(super) fn is_longer(&mut self, length: Duration) -> bool {
        self.found && self.longest > length + length / 4 && std::mem::take(&mut self.found)
    }

    /// A refusal: whether what was found was wrong.
    pub(super) fn refused(&mut self) -> bool {
        self.wrong |= self.found;
        std::mem::take(&mut self.found)
    }
}
