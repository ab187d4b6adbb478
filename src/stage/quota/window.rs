//! A minute's allowance, exact: in every 60 seconds of any offset no more is booked than the quota.
//!
//! Plain data. Times are microseconds of the stage's clock and come in as arguments; locks are the caller's.
//!
//! What is reserved is booked at once and corrected when it is known: less is given back, more is owed. What is owed is
//! booked as soon as there is room, before anything new is let through, so that calls whose answers are larger than what
//! they declared cost the app its next calls and not the quota its meaning.

use std::collections::VecDeque;

/// The window's length.
const WINDOW: u64 = 60_000_000;
/// Bookings of the same second share a slot, which ends as late as the latest of them: some room comes back up to a second
/// late, none too early, and a busy window has some sixty slots.
const SLOT: u64 = 1_000_000;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Window {
    limit: u64,
    /// In the order of time.
    slots: VecDeque<Slot>,
    /// All that is in the slots.
    booked: u64,
    /// Of it, reservations that are not settled.
    open: u64,
    /// Used beyond what was reserved, not booked yet.
    owed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The latest booking in it.
    last: u64,
    booked: u64,
    open: u64,
}

/// What was reserved, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    at: u64,
    amount: u64,
}

// === impl Window ===

impl Window {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            slots: VecDeque::new(),
            booked: 0,
            open: 0,
            owed: 0,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Another limit from now on; what was used stays used.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Booked and owed.
    pub(super) fn used(&mut self, now: u64) -> u64 {
        self.roll(now);
        self.booked.saturating_add(self.owed)
    }

    /// Whether `amount` may be reserved.
    pub(super) fn fits(&mut self, amount: u64, now: u64) -> bool {
        self.roll(now);
        amount == 0 || (self.owed == 0 && self.booked.saturating_add(amount) <= self.limit)
    }

    /// Reserves, whatever [`fits`](Self::fits) says.
    pub(super) fn reserve(&mut self, amount: u64, now: u64) -> Mark {
        self.roll(now);
        self.book(now, amount, amount);
        Mark { at: now, amount }
    }

    /// It is known what was used.
    pub(super) fn settle(&mut self, mark: Mark, actual: u64, now: u64) {
        self.roll(now);
        let less = mark.amount.saturating_sub(actual);
        if let Ok(index) = self.place(mark.at) {
            let slot = &mut self.slots[index];
            slot.open -= mark.amount;
            slot.booked -= less;
            self.open -= mark.amount;
            self.booked -= less;
        }
        let more = actual.saturating_sub(mark.amount);
        self.owed = self.owed.saturating_add(more);
        self.pay(now);
    }

    /// Time until `amount` fits behind `before` others, if nothing is given back.
    pub(super) fn wait(&mut self, before: u64, amount: u64, now: u64) -> u64 {
        if before == 0 && self.fits(amount, now) {
            return 0;
        }
        let mut copy = self.clone();
        copy.owed = copy.owed.saturating_add(before);
        copy.time_to(amount, now)
    }

    /// The same, if all that is reserved and not settled were given back now.
    pub(super) fn least_wait(&mut self, before: u64, amount: u64, now: u64) -> u64 {
        if before == 0 && self.fits(amount, now) {
            return 0;
        }
        let mut copy = self.clone();
        copy.give_back(1.0);
        copy.owed = copy.owed.saturating_add(before);
        copy.pay(now);
        // A debt that is paid earlier, but all at once, may take longer to be forgotten.
        copy.time_to(amount, now)
            .min(self.wait(before, amount, now))
    }

    /// The same for the next one, if of what is reserved and not settled `part` were given back now.
    pub(super) fn likely_wait(&mut self, part: f64, amount: u64, now: u64) -> u64 {
        let mut copy = self.clone();
        copy.give_back(part);
        copy.pay(now);
        copy.time_to(amount, now).min(self.wait(0, amount, now))
    }

    fn give_back(&mut self, part: f64) {
        for slot in &mut self.slots {
            let back = ((slot.open as f64 * part) as u64).min(slot.open);
            slot.booked -= back;
            slot.open -= back;
            self.booked -= back;
            self.open -= back;
        }
    }

    /// Gives memory back when nothing is booked.
    pub(super) fn tidy(&mut self, now: u64) {
        self.roll(now);
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    fn time_to(mut self, amount: u64, now: u64) -> u64 {
        // Each minute pays a minute's worth of what is owed; only the last steps are gone one by one.
        let minutes = (self.owed / self.limit.max(1)).saturating_sub(1);
        self.owed -= minutes * self.limit;
        let mut at = now;
        while !self.fits(amount, at) {
            let Some(slot) = self.slots.front() else {
                // More than the limit: the caller has seen to it.
                break;
            };
            at = at.max(slot.last + WINDOW);
        }
        (at - now).saturating_add(minutes.saturating_mul(WINDOW))
    }

    /// Forgets what is a window old, and books what is owed when its time comes.
    fn roll(&mut self, now: u64) {
        while let Some(slot) = self.slots.front().copied() {
            let end = slot.last + WINDOW;
            if end > now {
                break;
            }
            self.slots.pop_front();
            self.booked -= slot.booked;
            self.open -= slot.open;
            self.pay(end);
        }
        self.pay(now);
    }

    fn pay(&mut self, at: u64) {
        let amount = self.owed.min(self.limit.saturating_sub(self.booked));
        if amount > 0 {
            self.owed -= amount;
            self.book(at, amount, 0);
        }
    }

    fn book(&mut self, at: u64, amount: u64, open: u64) {
        if amount == 0 {
            return;
        }
        match self.place(at) {
            Ok(index) => {
                let slot = &mut self.slots[index];
                slot.last = slot.last.max(at);
                slot.booked += amount;
                slot.open += open;
            }
            Err(index) => self.slots.insert(
                index,
                Slot {
                    last: at,
                    booked: amount,
                    open,
                },
            ),
        }
        self.booked += amount;
        self.open += open;
    }

    /// The slot of that time, or where it would stand.
    fn place(&self, at: u64) -> Result<usize, usize> {
        self.slots
            .binary_search_by_key(&(at / SLOT), |slot| slot.last / SLOT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_minute_is_a_minute() {
        let mut window = Window::new(100);
        assert!(window.fits(100, 0) && !window.fits(101, 0));
        window.reserve(60, 0);
        window.reserve(40, 30 * SECOND);
        assert!(!window.fits(1, 60 * SECOND - 1));
        assert_eq!(window.wait(0, 60, 31 * SECOND), 29 * SECOND);
        assert_eq!(window.wait(0, 61, 31 * SECOND), 59 * SECOND);
        assert!(window.fits(60, 60 * SECOND) && !window.fits(61, 60 * SECOND));
        assert!(window.fits(0, 31 * SECOND), "nothing always fits");
    }

    #[test]
    fn what_was_not_used_is_there_again_at_once() {
        let mut window = Window::new(100);
        let mark = window.reserve(100, 0);
        assert_eq!(window.least_wait(0, 100, SECOND), 0);
        window.settle(mark, 10, 2 * SECOND);
        assert_eq!(window.used(2 * SECOND), 10);
        assert!(window.fits(90, 2 * SECOND));
        assert_eq!(window.least_wait(0, 100, 2 * SECOND), 58 * SECOND);
    }

    #[test]
    fn what_was_used_beyond_is_paid_back_before_the_next() {
        let mut window = Window::new(100);
        let mark = window.reserve(10, 0);
        // Three minutes' worth.
        window.settle(mark, 300, SECOND);
        assert_eq!(window.used(SECOND), 300);
        assert!(!window.fits(1, SECOND));
        let wait = window.wait(0, 1, SECOND);
        assert!(
            (120 * SECOND..=182 * SECOND).contains(&wait),
            "{} s",
            wait / SECOND
        );
        assert!(!window.fits(1, wait));
        assert!(window.fits(1, SECOND + wait));
    }

    #[test]
    fn a_reservation_that_outlives_the_window_is_settled_without_it() {
        let mut window = Window::new(100);
        let mark = window.reserve(100, 0);
        assert!(window.fits(100, 60 * SECOND));
        window.settle(mark, 50, 61 * SECOND);
        assert_eq!(window.used(61 * SECOND), 0);
        window.settle(mark, 130, 61 * SECOND);
        assert_eq!(window.used(61 * SECOND), 30);
    }

    #[test]
    fn an_idle_window_holds_nothing() {
        let mut window = Window::new(1_000);
        for second in 0..100 {
            window.reserve(1, second * SECOND);
        }
        assert!(window.slots.len() <= 61);
        window.tidy(200 * SECOND);
        assert_eq!((window.slots.capacity(), window.used(200 * SECOND)), (0, 0));
    }

    proptest! {
        /// Calls of any size at any time, settled to any number after any time, or never: in no minute is more booked
        /// than the quota, and all that was used is booked or owed.
        #[test]
        fn no_minute_holds_more_than_the_quota(
            limit in 1_u64..500,
            steps in prop::collection::vec((0_u64..20_000_000, 1_u64..200, prop::option::of((0_usize..4, 0_u64..600))), 1..150),
        ) {
            let mut window = Window::new(limit);
            let (mut now, mut running) = (0, VecDeque::new());
            // What is counted at which time: of a call what it reserved, less what it gave back, at its admission.
            let mut counted: Vec<(u64, u64)> = Vec::new();
            for (pause, amount, settled) in steps {
                now += pause;
                let owed = { window.roll(now); window.owed };
                if window.fits(amount, now) {
                    prop_assert_eq!(owed, 0, "debts come first");
                    running.push_back((counted.len(), window.reserve(amount, now)));
                    counted.push((now, amount));
                }
                if let Some((after, actual)) = settled && let Some((index, mark)) = running.remove(after) {
                    let before = window.used(now);
                    let there = window.place(mark.at).is_ok();
                    window.settle(mark, actual, now);
                    counted[index].1 = actual.min(mark.amount);
                    let change = i128::from(window.used(now)) - i128::from(before);
                    let expected = i128::from(actual) - i128::from(mark.amount);
                    prop_assert_eq!(change, if there { expected } else { expected.max(0) });
                }
                prop_assert!(window.booked <= limit);
                prop_assert_eq!(window.booked, window.slots.iter().map(|slot| slot.booked).sum::<u64>());
                prop_assert_eq!(window.open, window.slots.iter().map(|slot| slot.open).sum::<u64>());
                prop_assert!(window.slots.len() <= 62);
                let told = window.wait(0, amount, now);
                if amount <= limit {
                    prop_assert!(window.clone().fits(amount, now + told), "a told wait is long enough");
                    prop_assert!(window.least_wait(0, amount, now) <= told);
                }
                for (from, _) in &counted {
                    let sum: u64 = counted.iter().filter(|(at, _)| (*from..from + WINDOW).contains(at)).map(|(_, n)| n).sum();
                    prop_assert!(sum <= limit, "{} from {}", sum, from);
                }
            }
        }
    }
}
