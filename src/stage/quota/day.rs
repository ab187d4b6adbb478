//! A day's allowance: a calendar day in UTC.

const DAY: u64 = 86_400;

/// Plain data; times are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Day {
    /// `None`: counted, for a limit may be set again before the day ends, and not bounded.
    limit: Option<u64>,
    /// Since 1970.
    day: u64,
    used: u64,
    /// Of it, reserved and not settled.
    open: u64,
}

/// What was reserved, and on which day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    day: u64,
    amount: u64,
}

// === impl Day ===

impl Day {
    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub(super) fn used(&mut self, unix: u64) -> u64 {
        self.roll(unix);
        self.used
    }

    /// Counts what an earlier process counted of this day.
    pub(super) fn restore(&mut self, day: u64, used: u64, unix: u64) {
        self.roll(unix);
        if day == self.day {
            self.used = self.used.saturating_add(used);
        }
    }

    pub(super) fn fits(&mut self, amount: u64, unix: u64) -> bool {
        self.roll(unix);
        let limit = self.limit.unwrap_or(u64::MAX);
        amount == 0 || self.used.saturating_add(amount) <= limit
    }

    /// Seconds until `amount` fits, if nothing is given back.
    pub(super) fn wait(&mut self, before: u64, amount: u64, unix: u64) -> u64 {
        if self.fits(amount.saturating_add(before), unix) || amount == 0 {
            return 0;
        }
        DAY - unix % DAY
    }

    /// The same, if all that is reserved and not settled were given back now.
    pub(super) fn least_wait(&mut self, before: u64, amount: u64, unix: u64) -> u64 {
        self.roll(unix);
        let mut copy = self.clone();
        copy.used -= copy.open;
        copy.wait(before, amount, unix)
    }

    pub(super) fn reserve(&mut self, amount: u64, unix: u64) -> Mark {
        self.roll(unix);
        self.used = self.used.saturating_add(amount);
        self.open = self.open.saturating_add(amount);
        Mark {
            day: self.day,
            amount,
        }
    }

    /// What was given back of a day that is over is nobody's; what was used beyond the reservation is today's.
    pub(super) fn settle(&mut self, mark: Mark, actual: u64, unix: u64) {
        self.roll(unix);
        if mark.day == self.day {
            self.open = self.open.saturating_sub(mark.amount);
            self.used = self.used.saturating_sub(mark.amount.saturating_sub(actual));
        }
        self.used = self.used.saturating_add(actual.saturating_sub(mark.amount));
    }

    /// The day that it counts.
    pub(super) fn number(unix: u64) -> u64 {
        unix / DAY
    }

    /// A clock that is set back does not begin a day again.
    fn roll(&mut self, unix: u64) {
        let day = Self::number(unix);
        if day > self.day {
            (self.day, self.used, self.open) = (day, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY + DAY / 2;

    fn day(limit: u64) -> Day {
        let mut day = Day::default();
        day.set_limit(Some(limit));
        day
    }

    #[test]
    fn a_day_ends_at_midnight_in_utc() {
        let mut day = day(100);
        day.reserve(100, NOON);
        assert!(!day.fits(1, NOON + DAY / 2 - 1));
        assert_eq!(day.wait(0, 1, NOON), DAY / 2);
        assert_eq!(day.least_wait(0, 1, NOON), 0, "it may be given back");
        assert!(day.fits(100, NOON + DAY / 2));
        assert!(!day.fits(101, NOON + DAY / 2));
    }

    #[test]
    fn reservations_are_settled_on_their_own_day() {
        let mut day = day(100);
        let (kept, late, over) = (
            day.reserve(50, NOON),
            day.reserve(20, NOON),
            day.reserve(10, NOON),
        );
        day.settle(kept, 30, NOON);
        assert_eq!(day.used(NOON), 60);
        day.settle(late, 0, NOON + DAY);
        assert_eq!(day.used(NOON + DAY), 0);
        day.settle(over, 15, NOON + DAY);
        assert_eq!(day.used(NOON + DAY), 5);
        assert_eq!(day.open, 0);
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing() {
        let mut day = day(100);
        day.reserve(100, NOON);
        assert!(!day.fits(1, NOON - DAY));
        day.restore(Day::number(NOON) - 1, 50, NOON);
        assert_eq!(day.used(NOON), 100, "another day's count is not this one's");
    }
}
