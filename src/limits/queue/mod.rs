//! Who is next: a fair order of those who wait for one pool. Plain data; the time comes in as an argument.
//!
//! Two lanes. The batch lane is served when nobody waits in the interactive one; a batch call that has waited for
//! [`AGEING`] takes its turns among the interactive ones. Within a lane apps take turns by deficit round robin, in the
//! measure of their weights; within an app the order is that of arrival. An app that had nobody waiting and has taken no
//! more than its share of late goes before those with a backlog, so that who asks for little hardly ever waits.
//!
//! How far a call may go into what is there ([`Standing`]) follows from the same books: an app over its share leaves some
//! for the others, and its turn comes after theirs for as long as it is.

mod amounts;
mod flow;
mod shares;
mod turns;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use self::{
    flow::{Flow, Item},
    shares::Shares,
};
use super::{Cost, bucket::Standing};

pub(super) use self::shares::AppRef;

/// A batch call that has waited for so long takes turns among the interactive ones.
pub(super) const AGEING: Duration = Duration::from_secs(10);
/// An aged batch call goes after so many interactive ones, at the latest.
const AGED_ONE_IN: u32 = 4;
/// The weight of aged batch calls, as a part of their app's.
const AGED_PART: f64 = 0.25;

/// Which line a call stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    Interactive,
    Batch,
}

/// Where a waiting call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    at: FlowId,
    seq: u64,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Front {
    pub(super) seat: Seat,
    pub(super) standing: Standing,
    list: List,
}

type FlowId = (u32, Lane);

/// The lists of flows with somebody waiting; a flow is in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// Interactive, and nobody of theirs waited before.
    Fresh,
    /// Interactive with a backlog, and aged batch.
    Turns,
    Batch,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Queue<W> {
    shares: Shares<Flow<W>>,
    lists: [VecDeque<FlowId>; 3],
    len: usize,
    batch: usize,
    next_seq: u64,
    /// What a usual call costs: the measure of a turn.
    unit: f64,
    /// When the next batch call has aged, at the earliest.
    ages: Option<Instant>,
    /// Interactive calls that went before an aged one.
    passed: u32,
}

// === impl Queue ===

impl<W> Queue<W> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            shares: Shares::new(now),
            lists: Default::default(),
            len: 0,
            batch: 0,
            next_seq: 0,
            unit: 1.0,
            ages: None,
            passed: 0,
        }
    }

    /// Those who wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Those of the batch lane, aged ones included.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// Apps with somebody waiting.
    pub(super) fn apps(&self) -> usize {
        let mut apps: Vec<u32> = self.lists.iter().flatten().map(|(app, _)| *app).collect();
        apps.sort_unstable();
        apps.dedup();
        apps.len()
    }

    /// Apps remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.shares.len()
    }

    /// Since when the one has waited who waits longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let heads = self.lists.iter().flatten();
        heads
            .filter_map(|id| Some(self.flow(*id)?.first()?.since))
            .min()
    }

    /// When a batch call ages; to be looked at again then.
    pub(super) fn ages(&self) -> Option<Instant> {
        self.ages
    }

    /// The app calls: it counts among those that share from now on.
    pub(super) fn seen(&mut self, app: &str, weight: u32, lane: Lane, now: Instant) -> AppRef {
        self.shares.seen(app, weight, lane, now)
    }

    /// A call of the app took `cost`, or gave some of it back.
    pub(super) fn charge(&mut self, app: AppRef, lane: Lane, cost: f64, now: Instant) {
        self.shares.charge(app, lane, cost, now);
    }

    /// How far a call of the app may go into what is there.
    pub(super) fn standing(&self, app: AppRef, lane: Lane, now: Instant) -> Standing {
        self.standing_of((app.index(), lane), false, now)
    }

    /// Lets `value` wait; it will take `amounts`, which is `cost` in the measure of turns.
    pub(super) fn push(
        &mut self,
        (app, lane): (AppRef, Lane),
        (amounts, cost): (Cost, f64),
        value: W,
        now: Instant,
    ) -> Seat {
        let seq = self.next_seq;
        self.next_seq += 1;
        let usual = self.unit;
        self.unit = usual + (cost.max(1.0) - usual) / if seq < 8 { 2.0 } else { 32.0 };
        let id = (app.index(), lane);
        let fresh = self.is_fresh(id, now);
        let unit = self.unit;
        let flow = self.shares.flow(id);
        let first = flow.is_empty();
        flow.push(Item {
            seq,
            since: now,
            amounts,
            cost,
            value: Some(value),
        });
        self.len += 1;
        if lane == Lane::Batch {
            self.batch += 1;
        }
        if first {
            let list = match (lane, fresh) {
                (Lane::Batch, _) => List::Batch,
                (Lane::Interactive, true) => List::Fresh,
                (Lane::Interactive, false) => List::Turns,
            };
            if list == List::Fresh {
                flow.deficit = flow.deficit.max(unit);
            }
            if lane == Lane::Batch {
                let at = now + AGEING;
                self.ages = Some(self.ages.map_or(at, |ages| ages.min(at)));
            }
            self.lists[list as usize].push_back(id);
        }
        Seat { at: id, seq }
    }

    /// Who is next; stays so until somebody comes, leaves or is charged.
    pub(super) fn front(&mut self, now: Instant) -> Option<Front> {
        self.age(now);
        if self.passed >= AGED_ONE_IN
            && let Some(id) = self.aged()
        {
            return self.front_of(id, List::Turns, now);
        }
        if let Some(id) = self.lists[List::Fresh as usize].front().copied() {
            return self.front_of(id, List::Fresh, now);
        }
        let list = match self.lists[List::Turns as usize].is_empty() {
            false => List::Turns,
            true => List::Batch,
        };
        let id = self.turn(list, now)?;
        self.front_of(id, list, now)
    }

    /// What waits there.
    pub(super) fn get(&self, seat: Seat) -> Option<(&Cost, &W)> {
        let item = self.flow(seat.at)?.get(seat.seq)?;
        Some((&item.amounts, item.value.as_ref()?))
    }

    /// The front goes: it pays with its turn.
    pub(super) fn pop(&mut self, front: Front, now: Instant) -> Option<(Cost, W)> {
        let id = front.seat.at;
        self.passed = match front.list {
            List::Turns if id.1 == Lane::Batch => 0,
            _ if self.aged().is_some() => self.passed + 1,
            _ => 0,
        };
        let (amounts, cost, value) = self.take(front.seat)?;
        let flow = self.shares.flow(id);
        flow.deficit -= cost;
        let (empty, spent) = (flow.is_empty(), flow.deficit <= 0.0);
        let aged = flow.first().is_some_and(|head| now >= head.since + AGEING);
        if !empty {
            match front.list {
                List::Fresh if spent => self.relist(id, List::Fresh, List::Turns),
                List::Turns if id.1 == Lane::Batch && !aged => {
                    self.relist(id, List::Turns, List::Batch);
                    self.ages = Some(self.ages.map_or(now, |ages| ages.min(now)));
                }
                list if spent => self.relist(id, list, list),
                _ => {}
            }
        }
        Some((amounts, value))
    }

    /// Who stands there leaves.
    pub(super) fn remove(&mut self, seat: Seat) -> Option<W> {
        self.take(seat).map(|(.., value)| value)
    }

    /// All who wait, in no order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &W> {
        let flows = self.lists.iter().flatten().filter_map(|id| self.flow(*id));
        flows.flat_map(Flow::iter)
    }

    /// The app, if it has called of late; else one that stands for any.
    pub(super) fn find(&self, app: &str) -> AppRef {
        self.shares.find(app)
    }

    /// The batch call that came last.
    pub(super) fn newest_batch(&self) -> Option<Seat> {
        let flows = self.lists[List::Batch as usize].iter();
        let last = flows.filter_map(|id| Some((self.flow(*id)?.last()?.seq, *id)));
        last.max_by_key(|(seq, _)| *seq)
            .map(|(seq, at)| Seat { at, seq })
    }

    /// The aged batch calls whose turn it is.
    fn aged(&self) -> Option<FlowId> {
        if self.batch == 0 {
            return None;
        }
        let mut turns = self.lists[List::Turns as usize].iter();
        turns.find(|id| id.1 == Lane::Batch).copied()
    }

    fn flow(&self, id: FlowId) -> Option<&Flow<W>> {
        self.shares.get(id)
    }

    /// Aged batch calls count less than their app's other ones.
    fn weight(&self, id: FlowId) -> f64 {
        let weight = f64::from(self.shares.weight(id.0));
        match id.1 {
            Lane::Interactive => weight,
            Lane::Batch => weight * AGED_PART,
        }
    }

    fn is_fresh(&self, id: FlowId, now: Instant) -> bool {
        id.1 == Lane::Interactive && !self.shares.is_over(id.0, self.unit, now)
    }

    fn standing_of(&self, id: FlowId, aged: bool, now: Instant) -> Standing {
        match id.1 {
            _ if self.shares.is_alone(id, now) => Standing::First,
            Lane::Batch if aged => Standing::Common,
            Lane::Batch => Standing::Last,
            Lane::Interactive if self.shares.is_over(id.0, self.unit, now) => Standing::Common,
            Lane::Interactive => Standing::First,
        }
    }

    fn front_of(&self, id: FlowId, list: List, now: Instant) -> Option<Front> {
        let head = self.flow(id)?.first()?;
        Some(Front {
            seat: Seat {
                at: id,
                seq: head.seq,
            },
            standing: self.standing_of(id, list == List::Turns, now),
            list,
        })
    }

    fn relist(&mut self, id: FlowId, from: List, to: List) {
        self.unlist(id, from);
        self.lists[to as usize].push_back(id);
    }

    /// Mostly it is one of the first.
    fn unlist(&mut self, id: FlowId, from: List) -> bool {
        let list = &mut self.lists[from as usize];
        let place = list.iter().position(|other| *other == id);
        place.and_then(|place| list.remove(place)).is_some()
    }

    fn take(&mut self, seat: Seat) -> Option<(Cost, f64, W)> {
        let flow = self.shares.get_mut(seat.at)?;
        let item = flow.take(seat.seq)?;
        if flow.is_empty() {
            let lists = [List::Fresh, List::Turns, List::Batch];
            lists.into_iter().any(|list| self.unlist(seat.at, list));
        }
        self.len -= 1;
        if seat.at.1 == Lane::Batch {
            self.batch -= 1;
        }
        Some(item)
    }
}
