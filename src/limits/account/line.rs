//! The line before a pool: who is let in at once, who stands in it, who goes next, and who waits in vain.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Ask, Entered, Inner, Slots};
use crate::{
    limits::{
        Cost, Denied,
        denied::{expected, later, never},
        patience::MOST_WAITING,
        pool::{Gate, Pool},
        queue::{AppRef, Lane, Seat},
        waiter::{Cell, Place, Step, Timer, Waiting},
    },
    triage::Class,
};

/// Of those who are refused together, so many are told a time of their own; the rest that of the last of them.
const OWN_TIMES: usize = 32;

/// What a look at the front of a queue led to.
enum Next {
    Went,
    /// These wait in vain.
    Refuse(Vec<Seat>),
    Blocked,
}

// === impl Inner ===

impl Inner {
    pub(super) fn enter(&mut self, id: u32, ask: &Ask<'_>, now: Instant) -> Entered {
        let full = self.slots.is_full();
        let Some(pool) = self.pools.get_mut(&id) else {
            return Entered::Gone;
        };
        let app = pool.queue.seen(ask.app, ask.weight, ask.lane, now);
        let cost = Cost::reserve(ask.provider, ask.envelope, &pool.calibration);
        if pool.queue.is_empty() {
            let standing = pool.queue.standing(app, ask.lane, now);
            let gate = match full {
                true => Gate::Place,
                false => pool.gate(&cost, standing, now),
            };
            match gate {
                Gate::Open => {
                    self.slots.inflight += 1;
                    return Entered::Now(pool.take(cost, app, ask.lane, now));
                }
                Gate::Never(kind, limit) => {
                    return Entered::Denied(never(pool, &cost, kind, limit));
                }
                Gate::In(wait, kind) if now + wait > ask.until => {
                    let least = match ask.last {
                        true => pool.surely(&cost, now),
                        false => pool.least(&Cost::default(), &cost, now),
                    };
                    if least.is_none_or(|least| now + least > ask.until) {
                        return Entered::Denied(later(pool, &cost, kind, wait));
                    }
                }
                Gate::In(..) | Gate::Place => {}
            }
        } else if let Some(denied) = self.hopeless(id, (app, ask.lane), &cost, ask, now) {
            return Entered::Denied(denied);
        }
        self.queue_up(id, ask, app, cost, now)
    }

    /// Why it would be in vain to stand in line behind those who do.
    fn hopeless(
        &mut self,
        id: u32,
        who: (AppRef, Lane),
        cost: &Cost,
        ask: &Ask<'_>,
        now: Instant,
    ) -> Option<Denied> {
        let limit = self.slots.limit;
        let pool = self.pools.get_mut(&id)?;
        let denied = expected(pool, limit, who, cost, now);
        let late = |wait: Option<Duration>| wait.is_none_or(|wait| now + wait > ask.until);
        let vain = late(denied.retry_after) || pool.refuses_all(now).is_some();
        if vain && denied.class != Class::RateLimitedConcurrency {
            let ahead = pool.queue.ahead(who.0, who.1, pool.units(cost), now);
            let line = pool.least(&ahead, cost, now);
            let line = line.map(|line| {
                if ask.last {
                    line / pool.chance(now)
                } else {
                    line
                }
            });
            if late(line) || late(pool.surely(cost, now)) {
                return Some(denied);
            }
        }
        if pool.queue.len() < MOST_WAITING && !self.crowd.is_full() {
            return None;
        }
        // A batch call has time.
        let newest = pool
            .queue
            .newest_batch()
            .filter(|_| who.1 == Lane::Interactive);
        let Some(newest) = newest else {
            return Some(denied.at_least(Duration::from_millis(100)));
        };
        self.deny(id, &[newest], now);
        None
    }

    fn queue_up(
        &mut self,
        id: u32,
        ask: &Ask<'_>,
        app: AppRef,
        cost: Cost,
        now: Instant,
    ) -> Entered {
        let Some(pool) = self.pools.get_mut(&id) else {
            return Entered::Gone;
        };
        let cell = Arc::<Cell>::default();
        let waiting = Waiting {
            cell: Arc::clone(&cell),
            until: ask.until,
            app,
            lane: ask.lane,
            last: ask.last,
            _counted: self.crowd.joined(),
        };
        let units = pool.units(&cost);
        let seat = pool
            .queue
            .push((app, ask.lane), (cost, units), waiting, now);
        pool.patience.add(ask.until, ask.last, seat);
        if !self.busy.contains(&id) {
            self.busy.push(id);
        }
        self.pump(id, now);
        match cell.get() {
            Some(Ok(taken)) => Entered::Now(taken),
            Some(Err(denied)) => Entered::Denied(denied),
            None => Entered::Wait(seat, cell),
        }
    }

    pub(super) fn step(&mut self, place: &Place, now: Instant) -> Step {
        let over = |cell: &Cell| cell.get().map(Step::Done);
        if let Some(done) = over(&place.cell) {
            return done;
        }
        if now >= place.until {
            let limit = self.slots.limit;
            let left = self.remove(place.pool, place.seat, now);
            let denied = match (left, self.pools.get_mut(&place.pool)) {
                (Some((cost, left)), Some(pool)) => {
                    expected(pool, limit, (left.app, left.lane), &cost, now)
                }
                _ => Denied::lost(),
            };
            return Step::Done(Err(denied.at_least(Duration::from_millis(1))));
        }
        let Some(pool) = self.pools.get_mut(&place.pool) else {
            return Step::Done(Err(Denied::lost()));
        };
        let duty = pool
            .timer
            .as_ref()
            .is_none_or(|timer| Arc::ptr_eq(&timer.cell, &place.cell));
        if !duty {
            return Step::Sleep(place.until);
        }
        pool.timer = Some(Timer {
            cell: Arc::clone(&place.cell),
            at: place.until,
        });
        if pool.wake.is_some_and(|wake| wake <= now) {
            self.pump(place.pool, now);
            if let Some(done) = over(&place.cell) {
                return done;
            }
        }
        let Some(pool) = self.pools.get_mut(&place.pool) else {
            return Step::Done(Err(Denied::lost()));
        };
        let at = pool.wake.map_or(place.until, |wake| wake.min(place.until));
        pool.timer = Some(Timer {
            cell: Arc::clone(&place.cell),
            at,
        });
        Step::Sleep(at)
    }

    /// Takes somebody out of the queue; those behind may go then.
    pub(super) fn remove(&mut self, id: u32, seat: Seat, now: Instant) -> Option<(Cost, Waiting)> {
        let pool = self.pools.get_mut(&id)?;
        let cost = *pool.queue.get(seat)?.0;
        let waiting = pool.queue.remove(seat)?;
        pool.gone(seat, &waiting);
        self.pump(id, now);
        Some((cost, waiting))
    }

    /// There may be room in the pool, and a place in the account.
    pub(in crate::limits) fn changed(&mut self, id: u32, now: Instant) {
        if self.busy.is_empty() {
            return;
        }
        if self.slots.limit.is_none() {
            return self.pump(id, now);
        }
        // A place goes to the pools in turn.
        for _ in 0..self.busy.len() {
            let Some(id) = self.busy.first().copied() else {
                return;
            };
            let before = self.slots.inflight;
            self.busy.rotate_left(1);
            self.pump(id, now);
            if self.slots.is_full() && self.slots.inflight != before {
                return;
            }
        }
    }

    /// Lets go everybody of the pool who can.
    pub(super) fn pump(&mut self, id: u32, now: Instant) {
        loop {
            let Some(pool) = self.pools.get_mut(&id) else {
                return;
            };
            match next(pool, &mut self.slots, now) {
                Next::Went => {}
                Next::Refuse(seats) => self.deny(id, &seats, now),
                Next::Blocked => break,
            }
        }
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        if pool.queue.is_empty() {
            (pool.timer, pool.wake) = (None, None);
            self.busy.retain(|other| *other != id);
            return;
        }
        pool.on_duty(now);
    }

    /// Tells those who stand there that they wait in vain.
    fn deny(&mut self, id: u32, seats: &[Seat], now: Instant) {
        let limit = self.slots.limit;
        let Some(pool) = self.pools.get_mut(&id) else {
            return;
        };
        let mut last = None;
        for (place, seat) in seats.iter().enumerate() {
            let Some(cost) = pool.queue.get(*seat).map(|(cost, _)| *cost) else {
                continue;
            };
            let Some(waiting) = pool.queue.remove(*seat) else {
                continue;
            };
            let denied = last
                .filter(|_| place >= OWN_TIMES)
                .unwrap_or_else(|| expected(pool, limit, (waiting.app, waiting.lane), &cost, now));
            last = Some(denied);
            pool.gone(*seat, &waiting);
            waiting
                .cell
                .set(Err(denied.at_least(Duration::from_millis(1))));
        }
    }
}

/// The first of the queue goes, if it can.
fn next(pool: &mut Pool, slots: &mut Slots, now: Instant) -> Next {
    let Some(front) = pool.queue.front(now) else {
        return Next::Blocked;
    };
    let Some((cost, until, last)) = pool
        .queue
        .get(front.seat)
        .map(|(cost, waiting)| (*cost, waiting.until, waiting.last))
    else {
        return Next::Blocked;
    };
    let gate = match slots.is_full() {
        true => Gate::Place,
        false => pool.gate(&cost, front.standing, now),
    };
    pool.wake = pool.queue.ages();
    match gate {
        Gate::Open => {
            let Some((cost, waiting)) = pool.queue.pop(front, now) else {
                return Next::Blocked;
            };
            let taken = pool.take(cost, waiting.app, waiting.lane, now);
            slots.inflight += 1;
            pool.gone(front.seat, &waiting);
            waiting.cell.set(Ok(taken));
            Next::Went
        }
        Gate::Never(..) => Next::Refuse(vec![front.seat]),
        Gate::In(wait, _) => {
            let at = now + wait;
            if pool.patience.ends().is_some_and(|ends| ends < at) {
                let vain = in_vain(pool, (front.seat, until, last), &cost, wait, now);
                if !vain.is_empty() {
                    return Next::Refuse(vain);
                }
            }
            pool.wake = Some(pool.wake.map_or(at, |wake| wake.min(at)));
            Next::Blocked
        }
        Gate::Place => Next::Blocked,
    }
}

/// Who waits in vain while the front has to. Nobody overtakes it, so nobody goes before it; it goes earlier when others give something
/// back, or leaves.
fn in_vain(
    pool: &Pool,
    (front, until, last): (Seat, Instant, bool),
    cost: &Cost,
    wait: Duration,
    now: Instant,
) -> Vec<Seat> {
    let least = pool.least(&Cost::default(), cost, now).unwrap_or(wait);
    let own = match last {
        true => pool.surely(cost, now).unwrap_or(least),
        false => least,
    };
    if until < now + own {
        return vec![front];
    }
    // Where everybody is refused, the front is as well, and told to wait.
    let behind = least + pool.refuses_all(now).unwrap_or_default();
    let mut vain = pool
        .patience
        .before(now + behind / pool.chance(now), now + behind);
    vain.retain(|seat| *seat != front);
    vain
}
