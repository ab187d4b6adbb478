//! What was taken in the last window, exactly: at most the limit in every window of any offset.

use std::time::Duration;

use tokio::time::Instant;

/// Parts of a window. What was taken counts until the end of the part it was taken in has left the window, so that a full window is
/// passed in 65/64 of its length: never more than the limit, and less than it by a sixty-fifth at most.
const PARTS: u64 = 64;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Window {
    epoch: Instant,
    /// Nanoseconds of one part.
    part: u64,
    /// What was taken in the parts `newest - PARTS ..= newest`.
    taken: Box<[u64]>,
    newest: u64,
    /// When the newest part is over.
    over: Instant,
    sum: u64,
}

// === impl Window ===

impl Window {
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        let part = nanos(length).div_ceil(PARTS).max(1);
        Self {
            epoch: now,
            part,
            taken: vec![0; PARTS as usize + 1].into(),
            newest: 0,
            over: now + Duration::from_nanos(part),
            sum: 0,
        }
    }

    pub(super) fn sum(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.sum
    }

    /// What was taken since `from`, as far as it is in the window still; of the part in which that lies, evenly.
    pub(super) fn since(&mut self, from: Instant, now: Instant) -> f64 {
        self.advance(now);
        let from = nanos(from.saturating_duration_since(self.epoch));
        let first = from / self.part;
        let mut parts = self.newest.saturating_sub(PARTS).max(first)..=self.newest;
        let whole: u64 = parts
            .clone()
            .map(|part| self.taken[Self::place(part)])
            .sum();
        let cut = match parts.next() {
            Some(part) if part == first && part < self.newest => {
                let before = (from - first * self.part) as f64 / self.part as f64;
                self.taken[Self::place(part)] as f64 * before
            }
            _ => 0.0,
        };
        whole as f64 - cut
    }

    /// Of the sum, what is as old as the window, more or less.
    pub(super) fn leaving(&self) -> u64 {
        self.taken[Self::place(self.newest + 1)]
    }

    /// How long until `amount` more fits under `most`, if nobody else takes any; `amount <= most`.
    pub(super) fn wait(&mut self, amount: u64, most: u64, now: Instant) -> Duration {
        self.advance(now);
        let mut over = self.sum.saturating_add(amount).saturating_sub(most);
        if over == 0 {
            return Duration::ZERO;
        }
        for part in self.newest.saturating_sub(PARTS)..=self.newest {
            over = over.saturating_sub(self.taken[Self::place(part)]);
            if over == 0 {
                // Out when the window begins after the part's end.
                let leaves = Duration::from_nanos((part + 1 + PARTS) * self.part);
                return (self.epoch + leaves).saturating_duration_since(now);
            }
        }
        Duration::from_nanos((PARTS + 1) * self.part)
    }

    pub(super) fn take(&mut self, amount: u64, now: Instant) {
        self.advance(now);
        self.add(Self::place(self.newest), amount);
    }

    /// What was taken at `at` was `actual` and not `reserved`. Too long ago, a surcharge counts now: it was not counted then.
    pub(super) fn correct(&mut self, at: Instant, reserved: u64, actual: u64, now: Instant) {
        self.advance(now);
        // Mostly of the newest part: no division then.
        let newest = Duration::from_nanos(self.newest * self.part);
        let part = match at >= self.epoch + newest && at < self.over {
            true => self.newest,
            false => self.part_of(at),
        };
        let known = part + PARTS >= self.newest && part <= self.newest;
        let place = Self::place(if known { part } else { self.newest });
        if actual >= reserved {
            self.add(place, actual - reserved);
        } else if known {
            let back = (reserved - actual).min(self.taken[place]);
            self.taken[place] -= back;
            self.sum -= back;
        }
    }

    /// So much less, of what was taken last.
    pub(super) fn forgive(&mut self, mut amount: u64) {
        for part in (self.newest.saturating_sub(PARTS)..=self.newest).rev() {
            let back = amount.min(self.taken[Self::place(part)]);
            self.taken[Self::place(part)] -= back;
            (self.sum, amount) = (self.sum - back, amount - back);
        }
    }

    /// Never more than fits into the sum, so that parts and sum agree.
    fn add(&mut self, place: usize, amount: u64) {
        let amount = amount.min(u64::MAX - self.sum);
        self.taken[place] += amount;
        self.sum += amount;
    }

    fn part_of(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch)) / self.part
    }

    fn place(part: u64) -> usize {
        usize::try_from(part % (PARTS + 1)).unwrap_or(0)
    }

    fn advance(&mut self, now: Instant) {
        // Almost always: a part is a second long.
        if now < self.over {
            return;
        }
        let part = self.part_of(now);
        if part - self.newest > PARTS {
            self.taken.fill(0);
            self.sum = 0;
        } else {
            for gone in self.newest + 1..=part {
                self.sum -= std::mem::take(&mut self.taken[Self::place(gone)]);
            }
        }
        self.newest = part;
        let over = part.saturating_add(1).saturating_mul(self.part);
        self.over = self.epoch + Duration::from_nanos(over);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_waited_for_is_there() {
        let start = Instant::now();
        let mut window = Window::new(MINUTE, start);
        window.take(7, start);
        window.take(3, start + Duration::from_secs(10));
        let now = start + Duration::from_secs(20);
        assert_eq!(window.wait(1, 11, now), Duration::ZERO);
        let wait = window.wait(5, 10, now);
        assert!(
            wait > Duration::from_secs(40) && wait < Duration::from_secs(41),
            "{wait:?}"
        );
        assert_eq!(window.wait(5, 10, now + wait), Duration::ZERO);
        let wait = window.wait(9, 10, now);
        assert!(
            wait > Duration::from_secs(50) && wait < Duration::from_secs(52),
            "{wait:?}"
        );
    }

    #[test]
    fn a_refund_frees_the_part_it_was_taken_in_and_a_late_surcharge_counts_now() {
        let start = Instant::now();
        let mut window = Window::new(MINUTE, start);
        window.take(10, start);
        window.correct(start, 10, 4, start + Duration::from_secs(5));
        assert_eq!(window.sum(start + Duration::from_secs(5)), 4);
        let late = start + Duration::from_secs(100);
        window.correct(start, 4, 9, late);
        assert_eq!(window.sum(late), 5);
        window.correct(start, 4, 0, late);
        assert_eq!(
            window.sum(late),
            5,
            "what has left the window is not given back"
        );
    }

    proptest! {
        #[test]
        fn no_window_of_any_offset_holds_more(
            most in 1_u64..500, steps in prop::collection::vec((0_u64..4_000, 1_u64..80, 0_u64..100), 1..200),
        ) {
            let start = Instant::now();
            let (mut now, mut window) = (start, Window::new(MINUTE, start));
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (ms, amount, back) in steps {
                now += Duration::from_millis(ms);
                let amount = amount.min(most);
                if window.wait(amount, most, now).is_zero() {
                    window.take(amount, now);
                    // Some of it comes back at once or later.
                    let actual = amount - amount * back / 100;
                    window.correct(now, amount, actual, now);
                    taken.push((now, actual));
                }
                let within: u64 = taken.iter().filter(|(at, _)| *at + MINUTE > now).map(|(_, n)| n).sum();
                prop_assert!(within <= most, "{within} > {most}");
                prop_assert!(window.sum(now) >= within);
            }
        }
    }
}
