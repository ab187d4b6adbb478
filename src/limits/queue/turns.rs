//! Whose turn it is among those with a backlog, and how long that makes the line for somebody new.

use tokio::time::Instant;

use super::{AGEING, AppRef, FlowId, Lane, List, Queue};
use crate::limits::{Cost, bucket::Standing};

// === impl Queue ===

impl<W> Queue<W> {
    /// What would be taken before a new call of the app, which costs `cost`.
    pub(in crate::limits) fn ahead(
        &self,
        app: AppRef,
        lane: Lane,
        cost: f64,
        now: Instant,
    ) -> Cost {
        let id = (app.index(), lane);
        let mut ahead = Cost::default();
        let whole = |ahead: &mut Cost, list: List| {
            for flow in self.lists[list as usize]
                .iter()
                .filter_map(|id| self.flow(*id))
            {
                ahead.add(&flow.backlog);
            }
        };
        whole(&mut ahead, List::Fresh);
        let own = self.flow(id).filter(|flow| !flow.is_empty());
        if own.is_none() && lane == Lane::Interactive && self.is_fresh(id, now) {
            return ahead;
        }
        let list = match lane {
            Lane::Interactive => List::Turns,
            Lane::Batch => {
                whole(&mut ahead, List::Turns);
                List::Batch
            }
        };
        let mine = own.map_or(0.0, |flow| flow.units) + cost;
        let in_fresh = self.lists[List::Fresh as usize].contains(&id);
        if let Some(flow) = own.filter(|_| !in_fresh) {
            ahead.add(&flow.backlog);
        }
        let weight = self.weight(id);
        for other in self.lists[list as usize]
            .iter()
            .filter(|other| **other != id)
        {
            if let Some(flow) = self.flow(*other) {
                let turns = mine * self.weight(*other) / weight;
                let part = (turns / flow.units.max(1.0)).min(1.0);
                ahead.add(&flow.backlog.part(part));
            }
        }
        ahead
    }

    /// Whose turn it is in `list`. Those within their share come before those over it, who might have to wait for what
    /// these may take already.
    pub(super) fn turn(&mut self, list: List, now: Instant) -> Option<FlowId> {
        let ids = &self.lists[list as usize];
        if ids.len() <= 1 {
            return ids.front().copied();
        }
        let within = |id: &FlowId| self.standing_of(*id, true, now) == Standing::First;
        let any = ids.iter().any(within);
        let mut rounds = f64::INFINITY;
        for id in ids.iter().filter(|id| !any || within(id)) {
            let deficit = self.flow(*id).map_or(0.0, |flow| flow.deficit);
            if deficit > 0.0 {
                return Some(*id);
            }
            // Just above 0, whatever the rounding.
            rounds = rounds.min((1e-6 - deficit) / (self.unit * self.weight(*id)));
        }
        // Nobody has anything left of their turns: as many rounds at once as it takes until somebody has.
        let rounds = rounds.max(1.0);
        let credited: Vec<_> = ids
            .iter()
            .filter(|id| !any || within(id))
            .map(|id| (*id, rounds * self.unit * self.weight(*id)))
            .collect();
        let mut next = None;
        for (id, credit) in credited {
            let flow = self.shares.flow(id);
            flow.deficit += credit;
            if flow.deficit > 0.0 && next.is_none() {
                next = Some(id);
            }
        }
        next
    }

    /// Moves flows whose first batch call has aged among the interactive ones.
    pub(super) fn age(&mut self, now: Instant) {
        if self.ages.is_none_or(|at| at > now) {
            return;
        }
        self.ages = None;
        for id in std::mem::take(&mut self.lists[List::Batch as usize]) {
            let Some(head) = self.flow(id).and_then(|flow| flow.first()) else {
                continue;
            };
            let at = head.since + AGEING;
            if at <= now {
                self.lists[List::Turns as usize].push_back(id);
            } else {
                self.ages = Some(self.ages.map_or(at, |ages| ages.min(at)));
                self.lists[List::Batch as usize].push_back(id);
            }
        }
    }
}
