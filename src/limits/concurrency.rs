//! How many calls may be under way at once, where the provider does not say: found by trying.
//!
//! Unbounded until a refusal. Then a part of those under way stays allowed, the number rises quickly to just below where it
//! was refused, and from there it is tried higher at growing intervals. When nobody has needed the bound for long, it is
//! forgotten. Plain data; the time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Left of those under way after a refusal.
const CUT: f64 = 0.7;
/// Left when the provider asks to slow down.
const HARD_CUT: f64 = 0.5;
/// Each answer at the bound raises it by so many calls, or by this part of it when that is more.
const RISE: f64 = 1.0 / 4.0;
/// Just below the ceiling.
const BELOW: f64 = 0.95;
/// Between tries above the ceiling.
const TRY_FIRST: Duration = Duration::from_secs(30);
const TRY_LONGEST: Duration = Duration::from_secs(600);
/// How far above.
const TRY_BY: f64 = 1.1;
/// Not needed for so long, the bound is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Concurrency {
    bound: Option<Bound>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    limit: f64,
    /// Where it was refused.
    ceiling: f64,
    /// Refusals of calls that were sent before tell nothing new.
    cut: Instant,
    /// When it may be tried higher.
    next_try: Instant,
    interval: Duration,
    /// When it last held somebody back, or nearly.
    needed: Instant,
}

// === impl Concurrency ===

impl Concurrency {
    /// What another run found.
    pub(super) fn restore(&mut self, limit: u32, now: Instant) {
        self.bound = Some(Bound::new(
            f64::from(limit.max(1)),
            f64::from(limit.max(1)) / BELOW,
            now,
        ));
    }

    /// Calls at once; `None`: as many as come.
    pub(super) fn limit(&self, now: Instant) -> Option<u32> {
        let bound = self.bound.as_ref()?;
        (now < bound.needed + FORGET).then_some(bound.limit.max(1.0) as u32)
    }

    /// A call was refused that had been sent at `sent`, with `under_way` calls besides, itself included.
    pub(super) fn refused(&mut self, sent: Instant, under_way: u32, hard: bool, now: Instant) {
        let part = if hard { HARD_CUT } else { CUT };
        let under_way = f64::from(under_way.max(1));
        match &mut self.bound {
            Some(bound) if now < bound.needed + FORGET => {
                if sent < bound.cut {
                    return;
                }
                // More were never tried than the bound allowed, or those under way, if these were fewer.
                let reached = under_way.min(bound.limit).max(1.0);
                let was_try = reached > bound.ceiling * BELOW;
                bound.ceiling = reached;
                bound.limit = (reached * part).max(1.0);
                bound.cut = now;
                bound.needed = now;
                bound.interval = match was_try {
                    true => (bound.interval * 2).min(TRY_LONGEST),
                    false => bound.interval,
                };
                bound.next_try = now + bound.interval;
            }
            bound => *bound = Some(Bound::new(under_way * part, under_way, now)),
        }
    }

    /// A call was answered while `under_way` were, itself included.
    pub(super) fn answered(&mut self, sent: Instant, under_way: u32, now: Instant) {
        let Some(bound) = &mut self.bound else { return };
        if now >= bound.needed + FORGET {
            self.bound = None;
            return;
        }
        // Only who is at the bound learns whether there is more. One call may just have ended.
        if f64::from(under_way) + 1.0 < bound.limit {
            return;
        }
        bound.needed = now;
        if sent < bound.cut {
            return;
        }
        let known = (bound.ceiling * BELOW).min(bound.ceiling - 1.0).max(1.0);
        if bound.limit < known {
            // About a round of calls raises it by a quarter.
            bound.limit = (bound.limit + (RISE / bound.limit.max(1.0)).max(RISE)).min(known);
        } else if now >= bound.next_try {
            // What was tried last has held since.
            if bound.limit >= bound.ceiling {
                bound.interval = TRY_FIRST;
            }
            bound.limit = (bound.ceiling.max(bound.limit) * TRY_BY).max(bound.limit + 1.0);
            bound.ceiling = bound.ceiling.max(bound.limit / TRY_BY);
            bound.next_try = now + bound.interval;
        }
    }
}

// === impl Bound ===

impl Bound {
    fn new(limit: f64, ceiling: f64, now: Instant) -> Self {
        Self {
            limit: limit.max(1.0),
            ceiling,
            cut: now,
            next_try: now + TRY_FIRST,
            interval: TRY_FIRST,
            needed: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A provider that takes `most` calls at once; each lasts a second. Returns refusals and calls of the last minute.
    fn run(most: u32, wanted: u32, seconds: u32) -> (u32, u32, Concurrency) {
        let mut learnt = Concurrency::default();
        let mut now = Instant::now();
        let (mut refused, mut answered) = (0, 0);
        for second in 0..seconds {
            let sent = now;
            let under_way = learnt.limit(now).unwrap_or(wanted).min(wanted);
            now += Duration::from_secs(1);
            for n in 0..under_way {
                let late = second + 60 >= seconds;
                if n < most {
                    learnt.answered(sent, under_way, now);
                    answered += u32::from(late);
                } else {
                    learnt.refused(sent, under_way, false, now);
                    refused += u32::from(late);
                }
            }
        }
        (refused, answered, learnt)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_bounded_before_a_refusal() {
        let (refused, answered, learnt) = run(100, 50, 120);
        assert_eq!((refused, answered), (0, 3_000));
        assert_eq!(learnt.limit(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn most_of_what_the_provider_takes_is_used_and_little_is_refused() {
        for most in [1, 4, 20, 200] {
            let (refused, answered, _) = run(most, most * 3, 3_600);
            assert!(
                f64::from(answered) >= 0.85 * f64::from(most * 60),
                "{most}: {answered}"
            );
            assert!(
                f64::from(refused) <= 0.02 * f64::from(answered) + 2.0,
                "{most}: {refused}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_wave_of_refusals_cuts_once() {
        let (mut learnt, sent) = (Concurrency::default(), Instant::now());
        let now = sent + Duration::from_secs(1);
        for _ in 0..50 {
            learnt.refused(sent, 100, false, now);
        }
        assert_eq!(learnt.limit(now), Some(70));
        learnt.refused(now, 60, true, now + Duration::from_secs(1));
        assert_eq!(learnt.limit(now), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_nobody_needs_is_forgotten() {
        let (mut learnt, now) = (Concurrency::default(), Instant::now());
        learnt.refused(now, 10, false, now);
        let mut at = now;
        for _ in 0..599 {
            at += Duration::from_secs(1);
            learnt.answered(at, 1, at);
        }
        assert!(learnt.limit(at).is_some());
        assert_eq!(learnt.limit(at + Duration::from_secs(1)), None);
    }

    proptest! {
        /// Somebody may always go, and never more than once were refused, until it is time to try.
        #[test]
        fn the_bound_is_at_least_one_and_below_the_refusal(
            steps in prop::collection::vec((0_u64..2_000, 1_u32..500, 0_u8..3), 1..200)
        ) {
            let mut learnt = Concurrency::default();
            let mut now = Instant::now();
            for (ms, under_way, what) in steps {
                let sent = now;
                now += Duration::from_millis(ms);
                let before = learnt.limit(now);
                match what {
                    0 => learnt.refused(sent, under_way, false, now),
                    1 => learnt.refused(sent, under_way, true, now),
                    _ => learnt.answered(sent, under_way, now),
                }
                let after = learnt.limit(now);
                prop_assert!(after != Some(0));
                if what < 2 {
                    prop_assert!(after.is_some());
                    prop_assert!(before.is_none_or(|before| after <= Some(before)), "{before:?} {after:?}");
                }
            }
        }
    }
}
