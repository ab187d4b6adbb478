//! Calls that have been under way for so long that they were let in: a refusal does not take that long.
//!
//! Three counters by age instead of a list of calls: a call moves from one to the next as time goes on.

use std::time::Duration;

use tokio::time::Instant;

/// A call that is older than one of these, and younger than two, counts or not; beyond that it counts.
const SPAN: Duration = Duration::from_millis(250);

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Abiding {
    began: Instant,
    /// The span that it is, from the beginning on.
    turn: u64,
    /// Begun in this span, in the one before, and earlier.
    under_way: [u32; 3],
}

/// When a call began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun(u64);

// === impl Abiding ===

impl Abiding {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            turn: 0,
            under_way: [0; 3],
        }
    }

    pub(super) fn begins(&mut self, now: Instant) -> Begun {
        self.turn(now);
        self.under_way[0] += 1;
        Begun(self.turn)
    }

    pub(super) fn ends(&mut self, begun: Begun, now: Instant) {
        self.turn(now);
        let age = usize::try_from(self.turn - begun.0).unwrap_or(usize::MAX);
        let count = &mut self.under_way[age.min(2)];
        *count = count.saturating_sub(1);
    }

    /// Whether one has been there for long.
    pub(super) fn any(&mut self, now: Instant) -> bool {
        self.turn(now);
        self.under_way[2] > 0
    }

    fn turn(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_millis() / SPAN.as_millis();
        let turn = u64::try_from(since).unwrap_or(u64::MAX).max(self.turn);
        let [new, recent, old] = self.under_way;
        self.under_way = match turn - self.turn {
            0 => return,
            1 => [0, new, recent + old],
            _ => [0, 0, new + recent + old],
        };
        self.turn = turn;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a list of all calls: who is older than two spans is seen, who is younger than one is not.
        #[test]
        fn it_tells_old_calls_from_new_ones(steps in prop::collection::vec((0_u64..400, any::<bool>(), 0_usize..8), 1..100)) {
            let mut now = Instant::now();
            let (mut abiding, mut calls) = (Abiding::new(now), Vec::new());
            for (ms, begins, which) in steps {
                now += Duration::from_millis(ms);
                if begins {
                    calls.push((abiding.begins(now), now));
                } else if which < calls.len() {
                    abiding.ends(calls.swap_remove(which).0, now);
                }
                let older = |span: Duration| calls.iter().any(|(_, at)| now - *at >= span);
                let any = abiding.any(now);
                prop_assert!(any || !older(SPAN * 2));
                prop_assert!(!any || older(SPAN));
            }
            for (begun, _) in calls {
                abiding.ends(begun, now);
            }
            prop_assert!(!abiding.any(now + SPAN * 2));
        }
    }
}
