//! Repeats at a target that answers nobody: counted since its last success, so that a total outage costs the provider a
//! fifth more than the calls themselves, however long it lasts and however thin the traffic is.
//!
//! The budget over all traffic has a floor per second, for a sidecar with three calls a minute may repeat, too. In an
//! outage that no circuit closes (a limit that never lifts, callers that leave before the silence is long) such a floor
//! would let every lonely call be repeated to its cap, for ever. Here the floor is one of the whole outage.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Repeats since the last success that are allowed whatever the traffic: two calls of five attempts each and some.
const FLOOR: u32 = 10;
/// The same where the target has said nothing at all for as long as a caller waits: no circuit may have heard of it yet.
const SILENT_FLOOR: u32 = 3;

/// Who answered somebody within this time is not out of service.
const SERVES: Duration = Duration::from_secs(10);

/// The first of many calls are refused before the first of them is answered. Who has answered nobody for longer than this may be out of
/// service.
const FIRST: Duration = Duration::from_secs(3);

/// Of one target. Relaxed: the numbers are a bound, not a book.
#[derive(Debug, Default)]
pub struct Fruitless {
    /// Calls that went to the target since its last success, repeats of callers not counted.
    calls: AtomicU32,
    /// When the first of them did, in milliseconds since [`epoch`].
    first: AtomicU64,
    repeats: AtomicU32,
    /// The last success, in milliseconds since [`epoch`], plus one; 0: none yet.
    success: AtomicU64,
}

// === impl Fruitless ===

impl Fruitless {
    /// A call goes to the target for the first time.
    pub(super) fn call(&self) {
        if self.calls.fetch_add(1, Relaxed) == 0 {
            self.first.store(millis(Instant::now()), Relaxed);
        }
    }

    /// Whether nothing can be said yet: its first call since the last success was a moment ago.
    pub(super) fn is_new(&self, now: Instant) -> bool {
        let time = u64::try_from(FIRST.as_millis()).unwrap_or(u64::MAX);
        millis(now).saturating_sub(self.first.load(Relaxed)) <= time
    }

    /// The target answered.
    pub(super) fn success(&self, now: Instant) {
        self.success.store(millis(now) + 1, Relaxed);
        // Read first: a healthy target's cache line stays shared.
        if self.repeats.load(Relaxed) != 0 {
            self.repeats.store(0, Relaxed);
        }
        if self.calls.load(Relaxed) != 0 {
            self.calls.store(0, Relaxed);
        }
    }

    /// Whether it answers some: who is refused for a rate comes in his turn there.
    pub(super) fn serves(&self, now: Instant) -> bool {
        self.answered_within(now, SERVES)
    }

    /// Whether one more repeat is within `share` of the calls, or the floor; it is counted.
    pub(super) fn repeat(&self, share: f32) -> bool {
        self.within(share, FLOOR)
    }

    /// The same after a silence.
    pub(super) fn repeat_after_silence(&self, share: f32) -> bool {
        self.within(share, SILENT_FLOOR)
    }

    fn within(&self, share: f32, floor: u32) -> bool {
        let most = floor.max((self.calls.load(Relaxed) as f32 * share) as u32);
        self.repeats
            .fetch_update(Relaxed, Relaxed, |repeats| {
                (repeats < most).then_some(repeats + 1)
            })
            .is_ok()
    }

    /// A repeat that was counted is not made after all.
    pub(super) fn give_back(&self) {
        let _ = self
            .repeats
            .fetch_update(Relaxed, Relaxed, |repeats| repeats.checked_sub(1));
    }

    /// Whether it answered somebody within the last `time`.
    pub(super) fn answered_within(&self, now: Instant, time: Duration) -> bool {
        let success = self.success.load(Relaxed);
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        success != 0 && millis(now).saturating_sub(success - 1) <= time
    }
}

fn millis(now: Instant) -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    u64::try_from(now.saturating_duration_since(epoch).as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked for in whatever order: a fifth of the calls, or ten.
        #[test]
        fn a_target_that_never_answers_gets_a_fifth_more_than_the_calls(calls in 0_u32..400, asked in 0_u32..5) {
            let fruitless = Fruitless::default();
            let mut repeats = 0;
            for _ in 0..calls {
                fruitless.call();
                repeats += (0..asked).filter(|_| fruitless.repeat(0.2)).count();
            }
            prop_assert!(repeats <= FLOOR.max(calls / 5) as usize, "{repeats} repeats of {calls} calls");
            prop_assert!(repeats >= (FLOOR.max(calls / 5) as usize).min((calls * asked.min(1)) as usize / 5));
        }
    }

    #[test]
    fn a_repeat_that_is_not_made_costs_nothing() {
        let fruitless = Fruitless::default();
        for _ in 0..100 {
            assert!(fruitless.repeat(0.2));
            fruitless.give_back();
        }
        fruitless.give_back();
        assert_eq!((0..100).filter(|_| fruitless.repeat(0.2)).count(), 10);
    }

    #[test]
    fn a_silent_target_has_a_smaller_floor() {
        let fruitless = Fruitless::default();
        let silent = |n: usize| {
            (0..n)
                .filter(|_| fruitless.repeat_after_silence(0.2))
                .count()
        };
        assert_eq!(silent(100), 3);
        (0..20).for_each(|_| fruitless.call());
        assert_eq!(
            silent(100),
            1,
            "four of twenty calls, three of which were there"
        );
    }

    /// Went wrong: at a target that refused everybody for a rate, each call waited for the told time before the budget ended it.
    #[tokio::test(start_paused = true)]
    async fn who_has_answered_nobody_for_some_seconds_is_not_new() {
        let fruitless = Fruitless::default();
        for _ in 0..5 {
            fruitless.call();
            assert!(fruitless.is_new(Instant::now()));
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        fruitless.call();
        assert!(!fruitless.is_new(Instant::now()));
        fruitless.success(Instant::now());
        fruitless.call();
        assert!(fruitless.is_new(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_makes_all_good_again() {
        let fruitless = Fruitless::default();
        assert_eq!((0..100).filter(|_| fruitless.repeat(0.2)).count(), 10);
        let now = Instant::now();
        assert!(!fruitless.answered_within(now, Duration::from_secs(3600)));
        fruitless.success(now);
        assert!(fruitless.repeat(0.2));
        assert!(
            fruitless.answered_within(now + Duration::from_secs(2), Duration::from_secs(2))
                && !fruitless.answered_within(now + Duration::from_secs(3), Duration::from_secs(2))
        );
    }
}
