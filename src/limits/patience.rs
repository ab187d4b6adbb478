//! How long those have who wait: who gives up first, and how many may wait at all.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::queue::Seat;

/// Calls that may wait in one pool. A pool that serves a hundred in a second serves so many within a minute or so: what ends a wait is
/// the time that a call has, and not this.
pub(super) const MOST_WAITING: usize = 8_192;
/// In all pools together.
pub(super) const MOST_IN_ALL: usize = 32_768;

/// When those who wait in a pool give up, in that order. Those who can go nowhere else stand apart: they wait where others would not.
#[derive(Debug, Default)]
pub(super) struct Patience {
    last: BTreeSet<(Instant, Seat)>,
    others: BTreeSet<(Instant, Seat)>,
}

/// How many wait, in all pools together.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<AtomicUsize>);

/// One of them; dropped, it waits no more.
#[derive(Debug)]
pub(super) struct Counted(Crowd);

// === impl Patience ===

impl Patience {
    pub(super) fn add(&mut self, until: Instant, last: bool, seat: Seat) {
        self.of(last).insert((until, seat));
    }

    pub(super) fn remove(&mut self, until: Instant, last: bool, seat: Seat) {
        self.of(last).remove(&(until, seat));
    }

    /// When the first one gives up.
    pub(super) fn ends(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, Seat)>| set.first().map(|(until, _)| *until);
        match (first(&self.last), first(&self.others)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Who gives up before `last`, having nowhere else to go, or before `others`.
    pub(super) fn before(&self, last: Instant, others: Instant) -> Vec<Seat> {
        let last = self.last.iter().take_while(|(until, _)| *until < last);
        let others = self.others.iter().take_while(|(until, _)| *until < others);
        last.chain(others).map(|(_, seat)| *seat).collect()
    }

    fn of(&mut self, last: bool) -> &mut BTreeSet<(Instant, Seat)> {
        if last {
            &mut self.last
        } else {
            &mut self.others
        }
    }
}

// === impl Crowd ===

impl Crowd {
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MOST_IN_ALL
    }

    /// Another one.
    pub(super) fn joined(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

// === impl Counted ===

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::queue::{Lane, Queue};

    #[test]
    fn who_gives_up_first_is_known_without_a_look_at_all() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        let mut patience = Patience::default();
        let mut seats = Vec::new();
        for n in 0..100_u64 {
            let who = queue.seen("shop", 1, Lane::Interactive, now);
            let seat = queue.push((who, Lane::Interactive), (Default::default(), 1.0), n, now);
            let until = now + Duration::from_secs(1 + (n * 37) % 100);
            patience.add(until, n % 2 == 0, seat);
            seats.push((until, n % 2 == 0, seat));
        }
        assert_eq!(patience.ends(), Some(now + Duration::from_secs(1)));
        let (soon, later) = (now + Duration::from_secs(10), now + Duration::from_secs(50));
        let mut early = patience.before(soon, later);
        early.sort();
        let mut expected: Vec<_> = seats.clone();
        expected.retain(|(until, last, _)| *until < if *last { soon } else { later });
        let mut expected: Vec<_> = expected.into_iter().map(|(.., seat)| seat).collect();
        expected.sort();
        assert_eq!(early, expected);
        for (until, last, seat) in seats {
            patience.remove(until, last, seat);
        }
        assert_eq!(patience.ends(), None);
    }

    #[test]
    fn who_is_gone_is_not_counted_any_more() {
        let crowd = Crowd::default();
        let all: Vec<_> = (0..MOST_IN_ALL).map(|_| crowd.joined()).collect();
        assert!(crowd.is_full());
        drop(all);
        assert_eq!(crowd.0.load(Ordering::Relaxed), 0);
    }
}
