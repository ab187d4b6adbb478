//! How many calls may be under way at once, where the provider does not say: found by trying.
//!
//! Unbounded until a refusal. Of a wave that is refused in part, those who were let in are the number itself, in whatever order they
//! arrived; of an overload a part of those under way stays allowed, and the number rises quickly to just below where it was refused.
//! From there it is tried higher: at growing intervals where tries fail, in growing steps where they hold.
//! A refusal of much fewer calls than are allowed is trouble of the provider's, and says nothing of how many it takes
//! otherwise. A number that the provider told in a refusal is held to in the same way: it may be another one tomorrow.
//! When nobody has needed the bound for long, it is forgotten. Plain data; the time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Left of those under way after a refusal.
const CUT: f64 = 0.7;
/// Left when the provider asks to slow down.
const HARD_CUT: f64 = 0.5;
/// An overload passes, and is mostly made by others: it bounds nobody to less than this.
const OVERLOADED_LEAST: f64 = 4.0;
/// Each answer at the bound raises it by so many calls, or by this part of it when that is more.
const RISE: f64 = 1.0 / 4.0;
/// Share of the bound that is in use when it is needed.
const NEAR: f64 = 0.75;
/// What another run found is so much of a ceiling.
const BELOW: f64 = 0.95;
/// Short of the ceiling by this part of it, or by one call.
const SHORT: f64 = 0.03;
/// Between tries above the ceiling.
const TRY_FIRST: Duration = Duration::from_secs(30);
const TRY_LONGEST: Duration = Duration::from_secs(600);
/// After a try that has held for so long, the next one.
const HELD: Duration = Duration::from_secs(10);
/// While it is not certain that it is the number, each try says more of that.
const TRY_SOON: Duration = Duration::from_secs(5);
/// How far above; twice as far after each try that has held.
const TRY_BY: f64 = 0.1;
const TRY_BY_MOST: f64 = 1.0;
/// A refusal of fewer calls than this part of the bound tells little of their number.
const FEW: f64 = 0.5;
/// How long it counts how many were under way when a call was sent that was answered: twice this at most.
const RECENT: Duration = Duration::from_secs(10);
/// Refused with fewer than this part of those that were answered lately, a call was not one too many.
const FEWER: f64 = 0.85;
/// Where calls are refused only when more are under way than were ever answered, and so often in a row, it is their number.
const CERTAIN: u8 = 3;
/// Not needed for so long, the bound is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// In which words a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Too many, of what it does not say.
    Limit,
    /// The provider has more to do than it can.
    Overload,
    /// Slow down.
    SlowDown,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Concurrency {
    bound: Option<Bound>,
    /// The most with which a call was answered, of this time and the one before, and when this one began.
    most: [u32; 2],
    began: Option<Instant>,
    /// Refusals in a row that only their number explains.
    explained: u8,
    /// Refusals in a row that it does not, and when the last one was heard of.
    against: Option<(u8, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    limit: f64,
    /// Where it was refused.
    ceiling: f64,
    /// Refusals of calls that were sent before are of the same wave.
    cut: Instant,
    /// Nothing was answered since: who is under way then is who was let in.
    wave: bool,
    /// When it may be tried higher.
    next_try: Instant,
    interval: Duration,
    /// How far above the ceiling the next try goes.
    step: f64,
    /// When it last held somebody back, or nearly.
    needed: Instant,
}

// === impl Concurrency ===

impl Concurrency {
    /// What another run found.
    pub(super) fn restore(&mut self, limit: u32, now: Instant) {
        self.explained = CERTAIN;
        self.bound = Some(Bound::new(
            f64::from(limit.max(1)),
            f64::from(limit.max(1)) / BELOW,
            now,
        ));
    }

    /// A call was answered that was sent as one of `among`.
    pub(super) fn took(&mut self, among: u32, now: Instant) {
        self.turn(now);
        self.most[0] = self.most[0].max(among);
    }

    /// A call that had been sent as one of `among` was refused, and not told for what: it may be the number of calls or their rate. Whether
    /// it is certain that it is the number.
    pub(super) fn doubtful(
        &mut self,
        sent: Instant,
        (among, left): (u32, u32),
        now: Instant,
    ) -> bool {
        self.turn(now);
        let most = self.most[0].max(self.most[1]);
        if f64::from(among) < FEWER * f64::from(most) {
            // More were answered: it is the rate, and was before.
            (self.explained, self.bound) = (0, None);
            return false;
        }
        if among <= most.max(1) {
            self.unexplained(sent, now);
            return self.explained >= CERTAIN;
        }
        let below = f64::from(among - 1);
        match &mut self.bound {
            Some(bound) if now < bound.needed + FORGET => {
                if sent < bound.cut {
                    if self.explained <= 1 {
                        bound.lets_in(f64::from(left).max(1.0));
                    }
                    return self.explained >= CERTAIN;
                }
                bound.failed(bound.limit > bound.ceiling, now);
                (bound.limit, bound.ceiling) = (below, below + 1.0);
            }
            bound => {
                let most = f64::from(left).max(1.0);
                *bound = Some(Bound::new(most, most, now));
            }
        }
        self.explained = self.explained.saturating_add(1);
        self.against = None;
        if self.explained < CERTAIN
            && let Some(bound) = &mut self.bound
        {
            bound.next_try = now + TRY_SOON;
        }
        self.explained >= CERTAIN
    }

    /// Whether a call was refused a moment ago with more under way than were ever answered: for their number, or for their rate.
    pub(super) fn is_doubted(&self, now: Instant) -> bool {
        let lately = |bound: Bound| now.saturating_duration_since(bound.cut) <= RECENT;
        (1..CERTAIN).contains(&self.explained) && self.bound.is_some_and(lately)
    }

    /// What is certain is tried seldom.
    fn held(&self) -> Duration {
        match self.explained {
            1..CERTAIN => TRY_SOON,
            _ => HELD,
        }
    }

    /// Refused with no more under way than were answered. Once that is a place which was not free there yet; again and again it is none.
    fn unexplained(&mut self, sent: Instant, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) <= RECENT;
        let before = self.against.filter(|(_, at)| lately(*at));
        // Of the same wave.
        if before.is_some_and(|(_, at)| sent <= at) {
            return;
        }
        let count = before.map_or(0, |(count, _)| count);
        self.against = Some((count + 1, now));
        if count + 1 >= CERTAIN {
            (self.explained, self.bound, self.against) = (0, None, None);
        }
    }

    fn turn(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        if now >= began + RECENT {
            let gone = now >= began + RECENT * 2;
            self.most = [0, if gone { 0 } else { self.most[0] }];
            self.began = Some(now);
        }
    }

    /// A refusal told the number itself.
    pub(super) fn told(&mut self, sent: Instant, limit: u32, now: Instant) {
        let limit = f64::from(limit.max(1));
        match &mut self.bound {
            Some(bound) if now < bound.needed + FORGET => {
                if sent < bound.cut {
                    return;
                }
                // Refused above the told number: that try has failed. Refused at it: others may use the account.
                bound.failed(bound.limit > limit + 0.5, now);
                (bound.limit, bound.ceiling) = (limit, limit);
            }
            bound => *bound = Some(Bound::new(limit, limit, now)),
        }
    }

    /// Calls at once; `None`: as many as come.
    pub(super) fn limit(&self, now: Instant) -> Option<u32> {
        let bound = self.bound.as_ref()?;
        (now < bound.needed + FORGET).then_some(bound.limit.max(1.0) as u32)
    }

    /// A call was refused that had been sent at `sent` as one of `under_way`; `left`: those under way now without it.
    pub(super) fn refused(
        &mut self,
        sent: Instant,
        (under_way, left): (u32, u32),
        why: Why,
        now: Instant,
    ) {
        // A lone call was not one too many.
        if under_way <= 1 {
            return;
        }
        let (under_way, left) = (f64::from(under_way), f64::from(left).max(1.0));
        let (part, least) = match why {
            Why::Limit => (CUT, 1.0),
            Why::Overload => (CUT, OVERLOADED_LEAST),
            Why::SlowDown => (HARD_CUT, 1.0),
        };
        match &mut self.bound {
            Some(bound) if now < bound.needed + FORGET => {
                if sent >= bound.cut {
                    bound.refused(under_way, (part, least), why, now);
                } else if why == Why::Limit {
                    bound.lets_in(left);
                }
            }
            bound if why == Why::Limit => *bound = Some(Bound::new(left, left, now)),
            bound => {
                *bound = Some(Bound::new(
                    (under_way * part).max(least),
                    under_way.max(least),
                    now,
                ))
            }
        }
    }

    /// A call was answered while `under_way` were, itself included.
    pub(super) fn answered(&mut self, sent: Instant, under_way: u32, now: Instant) {
        let held_for = self.held();
        let Some(bound) = &mut self.bound else { return };
        if now >= bound.needed + FORGET {
            self.bound = None;
            return;
        }
        bound.wave = false;
        // Only who is at the bound learns whether there is more. One call may just have ended, and more of them where they
        // come in waves.
        let under_way = f64::from(under_way) + 1.0;
        if under_way < bound.limit * NEAR {
            return;
        }
        bound.needed = now;
        if sent < bound.cut {
            return;
        }
        let known = (bound.ceiling - (bound.ceiling * SHORT).max(1.0)).max(1.0);
        if bound.limit < known {
            // About a round of calls raises it by a quarter.
            bound.limit = (bound.limit + (RISE / bound.limit.max(1.0)).max(RISE)).min(known);
        } else if now >= bound.next_try && under_way >= bound.limit {
            // What was tried last has held since.
            let held = bound.limit > bound.ceiling;
            bound.ceiling = bound.ceiling.max(bound.limit);
            if held {
                (bound.interval, bound.step) = (TRY_FIRST, (bound.step * 2.0).min(TRY_BY_MOST));
            }
            bound.limit = (bound.ceiling * (1.0 + bound.step)).max(bound.ceiling + 1.0);
            bound.next_try = now + held_for;
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
            wave: true,
            next_try: now + TRY_FIRST,
            interval: TRY_FIRST,
            step: TRY_BY,
            needed: now,
        }
    }

    /// As one of `under_way`.
    fn refused(&mut self, under_way: f64, (part, least): (f64, f64), why: Why, now: Instant) {
        // More were never tried than the bound allowed, or those under way, if these were fewer.
        let reached = under_way.min(self.limit).max(1.0);
        let tried = self.limit > self.ceiling;
        let lately = now < self.cut + HELD;
        self.failed(tried, now);
        self.limit = if reached <= self.limit * FEW {
            let limit = self.limit * part;
            limit.max(reached).max(least).min(self.limit)
        } else if why == Why::Limit && tried && reached > self.ceiling {
            self.ceiling
        } else if why == Why::Limit && !lately {
            // The place of one who was answered may not have been free there yet.
            (reached - 1.0).max(1.0)
        } else {
            self.ceiling = reached.max(least);
            (reached * part).max(least).min(self.limit)
        };
    }

    /// Others of a refused wave: `left` of it are under way still.
    fn lets_in(&mut self, left: f64) {
        if self.wave && left < self.limit {
            (self.limit, self.ceiling) = (left, left);
        }
    }

    /// Refused; `tried`: above what had held before.
    fn failed(&mut self, tried: bool, now: Instant) {
        if tried {
            self.interval = (self.interval * 2).min(TRY_LONGEST);
        }
        (self.cut, self.needed, self.step) = (now, now, TRY_BY);
        self.next_try = now + self.interval;
    }
}

#[cfg(test)]
mod tests;
