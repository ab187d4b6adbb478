//! Whether others use the same account: what is left there falls faster than we take.
//!
//! Between two replies, in the order in which their calls were sent, `drop = earlier - later + refilled` is what everybody took, and
//! what we took is known. Where the provider corrects estimates afterwards, the larger of what we reserved and what was used counts as
//! ours, so that an estimate that is off never looks like a stranger. A bucket that is full loses its refill: nothing is learnt then.

use std::time::Duration;

use tokio::time::Instant;

use super::Mark;

/// How long a figure counts, in seconds (the time after which it weighs 1/e).
const MEMORY: f64 = 40.0;
/// Between two looks at least: shorter ones are mostly noise.
const SHORTEST: Duration = Duration::from_millis(500);
/// Between two looks at most: nobody knows how often it was full meanwhile.
const LONGEST: Duration = Duration::from_secs(60);
/// Observed for this long, a share may be told.
const ENOUGH: f64 = 10.0;
/// Without anything learnt, a share halves in this time, in seconds; where calls wait before a bucket that is full, in the shorter one:
/// going faster is how it is found out, and a full bucket forgives it.
const FADES: f64 = 300.0;
const FADES_HELD: f64 = 15.0;

/// Times the reserved.
const MOST_SURCHARGE: f64 = 20.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Foreign {
    anchor: Option<Anchor>,
    /// Of this moment; it is not over.
    now: Option<Anchor>,
    /// What others took, and in how many seconds; both fade.
    amount: f64,
    seconds: f64,
    /// What was missing there, what we reserved and what was used in those seconds; all fade.
    drop: f64,
    reserved: f64,
    used: f64,
    /// Last told, per second.
    rate: f64,
    /// Of a limit of so much.
    of: f64,
    known: bool,
}

/// The mean of what the calls of a moment were told. One by one they would deceive: calls that leave together arrive in another
/// order, and the reply to the first of ours may count all of them.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    /// When the first of them was sent, and how much later they were on the whole, in seconds.
    first: Instant,
    later: f64,
    remaining: f64,
    reserved: f64,
    used: f64,
    /// How many.
    calls: f64,
    /// One of them found it full.
    full: bool,
}

/// One reply's word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) mark: Mark,
    pub(super) remaining: f64,
    pub(super) limit: f64,
    /// Refill per second; 0 in a fixed window.
    pub(super) refill: f64,
    /// Figures are multiples of this.
    pub(super) rounding: f64,
    /// Calls wait for this limit.
    pub(super) held: bool,
}

// === impl Foreign ===

impl Foreign {
    pub(super) fn look(&mut self, look: Look) {
        let Some(now) = &mut self.now else {
            self.now = Some(Anchor::of(&look));
            return;
        };
        let Some(time) = look.mark.at.checked_duration_since(now.first) else {
            return;
        };
        if time < SHORTEST {
            now.add(&look, time);
            return;
        }
        let over = *now;
        self.now = Some(Anchor::of(&look));
        if let Some(anchor) = self.anchor.replace(over) {
            self.compare(anchor, over, &look);
        }
    }

    fn compare(&mut self, anchor: Anchor, here: Anchor, look: &Look) {
        let refill = look.refill;
        let time = here.first - anchor.first;
        let seconds = (time.as_secs_f64() + here.later - anchor.later).max(1e-3);
        let fade = (-seconds / MEMORY).exp();
        let ours = (here.reserved - anchor.reserved).max(here.used - anchor.used);
        let drop = anchor.remaining - here.remaining + refill * seconds;
        // Full before or after: refill was lost, and the drop is not all that was taken.
        let lost = anchor.full || here.full;
        let window_ended = refill == 0.0 && here.remaining > anchor.remaining;
        if time > LONGEST || lost || window_ended {
            let half = if lost && look.held { FADES_HELD } else { FADES };
            let left = 0.5_f64.powf(seconds.min(FADES) / half);
            self.rate *= left;
            self.amount *= left;
            return;
        }
        self.amount = self.amount * fade + (drop - ours);
        self.seconds = self.seconds * fade + seconds;
        self.drop = self.drop * fade + drop;
        self.reserved = self.reserved * fade + here.reserved - anchor.reserved;
        self.used = self.used * fade + here.used - anchor.used;
        if self.seconds >= ENOUGH.min(MEMORY) {
            self.rate = (self.amount / self.seconds).max(0.0);
            self.of = look.limit;
            self.known = true;
        }
    }

    /// What others take of a limit of `rate` per second, 0 to 1; `None`: not known. When the limit has fallen since, they are
    /// held to it as well: their share is what it was, and not all that is left.
    pub(super) fn share(&self, rate: f64, limit: f64) -> Option<f64> {
        let fallen = (self.of / limit.max(1e-9)).max(1.0);
        self.known
            .then(|| (self.rate / (rate * fallen).max(1e-9)).clamp(0.0, 1.0))
    }

    /// What the provider charges in the end of what is used beyond the reserved: its share of the reserved; 0: nothing of it.
    pub(super) fn surcharge(&self) -> f64 {
        let beyond = self.used - self.reserved;
        if self.seconds < ENOUGH || self.reserved < 1.0 || beyond < 0.1 * self.reserved {
            return 0.0;
        }
        let charged = (self.drop - self.reserved).clamp(0.0, beyond);
        (charged / self.reserved).min(MOST_SURCHARGE)
    }

    /// Per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// The limit has changed: figures of before and after are not comparable, what was found stays.
    pub(super) fn again(&mut self) {
        (self.anchor, self.now) = (None, None);
    }

    pub(super) fn restore(&mut self, rate: f64, limit: f64) {
        (self.rate, self.of, self.known) = (rate.max(0.0), limit, true);
    }
}

// === impl Anchor ===

impl Anchor {
    fn of(look: &Look) -> Self {
        let mut anchor = Self {
            first: look.mark.at,
            later: 0.0,
            remaining: 0.0,
            reserved: 0.0,
            used: 0.0,
            calls: 0.0,
            full: false,
        };
        anchor.add(look, Duration::ZERO);
        anchor
    }

    fn add(&mut self, look: &Look, later: Duration) {
        self.calls += 1.0;
        let reserved = look.mark.after as f64;
        let mean = |mean: &mut f64, value: f64| *mean += (value - *mean) / self.calls;
        mean(&mut self.later, later.as_secs_f64());
        mean(&mut self.remaining, look.remaining);
        mean(&mut self.reserved, reserved);
        mean(&mut self.used, reserved + look.mark.corrected);
        // Our own call apart.
        let own = look.mark.amount as f64;
        self.full |= look.remaining >= look.limit - 0.01 * look.limit - own - look.rounding;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seconds` of `ours` per second beside `theirs`, in a bucket of 600 a minute that is half empty. The share told.
    fn after(seconds: u32, ours: f64, theirs: f64, corrected: f64) -> Option<f64> {
        let (start, mut foreign) = (Instant::now(), Foreign::default());
        let mut remaining = 300.0;
        let mut reserved = 0.0;
        for second in 1..=seconds {
            reserved += ours;
            remaining += 10.0 - ours - theirs;
            let mark = Mark {
                at: start + Duration::from_secs(second.into()),
                amount: 1,
                after: reserved as u64,
                before: 0,
                leaving: 0,
                corrected: corrected * f64::from(second),
                under_way: 0,
            };
            foreign.look(Look {
                mark,
                remaining,
                limit: 600.0,
                refill: 10.0,
                rounding: 1.0,
                held: false,
            });
        }
        foreign.share(10.0, 600.0)
    }

    #[test]
    fn a_stranger_is_found_and_measured() {
        assert_eq!(after(5, 7.0, 3.0, 0.0), None, "five seconds are too few");
        let share = after(60, 7.0, 3.0, 0.0).unwrap();
        assert!((share - 0.3).abs() < 0.01, "{share}");
    }

    #[test]
    fn calls_that_overtake_one_another_are_no_strangers() {
        let (start, mut foreign) = (Instant::now(), Foreign::default());
        let mut look = |seconds: f64, after: u64, remaining: f64| {
            let mark = Mark {
                at: start + Duration::from_secs_f64(seconds),
                amount: 1,
                after,
                before: 0,
                leaving: 0,
                corrected: 0.0,
                under_way: 0,
            };
            foreign.look(Look {
                mark,
                remaining,
                limit: 60.0,
                refill: 1.0,
                rounding: 1.0,
                held: false,
            });
        };
        // Twenty at once arrive in the opposite order; then one a second.
        for n in 1..=20_u32 {
            look(0.01 * f64::from(n), n.into(), 60.0 - f64::from(21 - n));
        }
        for n in 21..=60_u32 {
            look(f64::from(n - 20), n.into(), 40.0);
        }
        let share = foreign.share(1.0, 60.0).unwrap();
        assert!(share < 0.02, "{share}");
    }

    #[test]
    fn nobody_else_is_nobody() {
        assert!(after(60, 9.0, 0.0, 0.0).unwrap() < 0.001);
    }

    #[test]
    fn an_estimate_that_was_too_low_is_no_stranger() {
        // Each second we reserved 5, 8 were used, and the provider counts what was used.
        let (start, mut foreign) = (Instant::now(), Foreign::default());
        for second in 1..=60_u32 {
            let mark = Mark {
                at: start + Duration::from_secs(second.into()),
                amount: 5,
                after: u64::from(second) * 5,
                before: 0,
                leaving: 0,
                corrected: 3.0 * f64::from(second),
                under_way: 0,
            };
            let remaining = 300.0 + f64::from(second) * (10.0 - 8.0);
            foreign.look(Look {
                mark,
                remaining,
                limit: 600.0,
                refill: 10.0,
                rounding: 1.0,
                held: false,
            });
        }
        assert!(foreign.share(10.0, 600.0).unwrap() < 0.001);
        // 3 of 5: the provider charges all of it.
        assert!((foreign.surcharge() - 0.6).abs() < 0.01);
    }

    #[test]
    fn a_limit_that_falls_does_not_make_the_stranger_larger() {
        let mut foreign = Foreign::default();
        foreign.restore(3.6, 600.0);
        let share = |rate, limit| (foreign.share(rate, limit).unwrap() * 100.0).round();
        assert_eq!(share(10.0, 600.0), 36.0);
        assert_eq!(share(2.0, 120.0), 36.0);
        assert_eq!(
            share(100.0, 6_000.0),
            4.0,
            "but a raised one makes it smaller"
        );
    }

    #[test]
    fn a_share_fades_soon_where_calls_wait_before_a_full_bucket() {
        for (held, most) in [(true, 0.07), (false, 0.9)] {
            let (start, mut foreign) = (Instant::now(), Foreign::default());
            foreign.restore(9.0, 600.0);
            for second in 1..=60_u32 {
                let mark = Mark {
                    at: start + Duration::from_secs(second.into()),
                    amount: 1,
                    after: u64::from(second),
                    before: 0,
                    leaving: 0,
                    corrected: 0.0,
                    under_way: 0,
                };
                foreign.look(Look {
                    mark,
                    remaining: 600.0,
                    limit: 600.0,
                    refill: 10.0,
                    rounding: 1.0,
                    held,
                });
            }
            let share = foreign.share(10.0, 600.0).unwrap();
            assert!(share <= most && (held || share > 0.7), "{held}: {share}");
        }
    }

    #[test]
    fn a_full_bucket_says_nothing() {
        let (start, mut foreign) = (Instant::now(), Foreign::default());
        for second in 1..=60_u32 {
            let mark = Mark {
                at: start + Duration::from_secs(second.into()),
                amount: 1,
                after: u64::from(second),
                before: 0,
                leaving: 0,
                corrected: 0.0,
                under_way: 0,
            };
            foreign.look(Look {
                mark,
                remaining: 599.0,
                limit: 600.0,
                refill: 10.0,
                rounding: 1.0,
                held: false,
            });
        }
        assert_eq!(foreign.share(10.0, 600.0), None);
    }
}
