//! What failures meant for callers, per minute: answered after all, elsewhere, or not.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Minute, minute::REMEMBERED};
use crate::stage::record::Outcome;

/// Calls that met a failure, an open circuit or a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// All of them.
    pub calls: u64,
    /// Answered by the same target, after a repeat.
    pub answered_by_repeat: u64,
    /// Answered by another target than the first.
    pub answered_by_fallback: u64,
    /// Ended with a provider's error.
    pub failed: u64,
    /// Streams that broke after their first content.
    pub truncated: u64,
    /// Held back by weir: an open circuit, a limit, a quota, the deadline.
    pub refused: u64,
    /// Ended with the caller's own mistake.
    pub callers_mistakes: u64,
    /// The caller left.
    pub cancelled: u64,
    /// Upstream calls beyond the first of each call.
    pub more_attempts: u64,
    /// How many of them were repeats by an SDK.
    pub sdk_repeats: u64,
}

/// One call that met a failure, an open circuit or a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub outcome: Outcome,
    pub attempts: u32,
    /// It went to another target than the first.
    pub moved: bool,
    /// An SDK's own repeat.
    pub sdk_repeat: bool,
}

/// By minute, oldest first.
#[derive(Debug, Default)]
pub(super) struct AllEffects(VecDeque<(Minute, Effects)>);

// === impl AllEffects ===

impl AllEffects {
    pub(super) fn count(&mut self, ended: Ended, minute: Minute) {
        match self.0.back_mut() {
            Some((last, effects)) if *last >= minute => effects.count(ended),
            _ => {
                let mut effects = Effects::default();
                effects.count(ended);
                self.0.push_back((minute, effects));
                if self.0.len() > REMEMBERED as usize {
                    self.0.pop_front();
                }
            }
        }
    }

    pub(super) fn within(&self, from: Minute, to: Minute) -> Effects {
        let mut all = Effects::default();
        for (minute, effects) in &self.0 {
            if (from..=to).contains(minute) {
                all.add(effects);
            }
        }
        all
    }
}

// === impl Effects ===

impl Effects {
    fn count(&mut self, ended: Ended) {
        self.calls += 1;
        *match (ended.outcome, ended.moved) {
            (Outcome::Ok, true) => &mut self.answered_by_fallback,
            (Outcome::Ok, false) => &mut self.answered_by_repeat,
            (Outcome::UpstreamError, _) => &mut self.failed,
            (Outcome::Truncated, _) => &mut self.truncated,
            (Outcome::Refused, _) => &mut self.refused,
            (Outcome::ClientError, _) => &mut self.callers_mistakes,
            (Outcome::Cancelled, _) => &mut self.cancelled,
        } += 1;
        self.more_attempts += u64::from(ended.attempts.saturating_sub(1));
        self.sdk_repeats += u64::from(ended.sdk_repeat);
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.answered_by_repeat += other.answered_by_repeat;
        self.answered_by_fallback += other.answered_by_fallback;
        self.failed += other.failed;
        self.truncated += other.truncated;
        self.refused += other.refused;
        self.callers_mistakes += other.callers_mistakes;
        self.cancelled += other.cancelled;
        self.more_attempts += other.more_attempts;
        self.sdk_repeats += other.sdk_repeats;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(n: u8) -> Outcome {
        match n {
            0 => Outcome::Ok,
            1 => Outcome::ClientError,
            2 => Outcome::UpstreamError,
            3 => Outcome::Refused,
            4 => Outcome::Truncated,
            _ => Outcome::Cancelled,
        }
    }

    proptest! {
        #[test]
        fn each_call_is_counted_under_one_heading(
            mut calls in prop::collection::vec((0_u32..3_000, 0_u8..6, 0_u32..5, any::<bool>()), 1..300)
        ) {
            calls.sort_unstable();
            let mut all = AllEffects::default();
            for (minute, n, attempts, moved) in &calls {
                let ended = Ended { outcome: outcome(*n), attempts: *attempts, moved: *moved, sdk_repeat: *moved };
                all.count(ended, Minute(1_000 + minute));
            }
            prop_assert!(all.0.len() <= REMEMBERED as usize);
            let last = Minute(1_000 + calls[calls.len() - 1].0);
            let sum = all.within(last.oldest_remembered(), last);
            let within = calls.iter().filter(|(m, ..)| Minute(1_000 + m) >= last.oldest_remembered()).count();
            prop_assert_eq!(sum.calls, within as u64);
            let parts = sum.answered_by_repeat + sum.answered_by_fallback + sum.failed + sum.truncated
                + sum.refused + sum.callers_mistakes + sum.cancelled;
            prop_assert_eq!(parts, sum.calls);
        }
    }
}
