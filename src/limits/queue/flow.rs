//! The calls of one app that wait in one lane.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::limits::Cost;

/// One app's line.
#[derive(Debug)]
pub(super) struct Flow<W> {
    /// In the order of arrival; the first and the last one are there, others may have left.
    items: VecDeque<Item<W>>,
    /// Of them, those who have left.
    left: usize,
    /// What all of them will take.
    pub(super) backlog: Cost,
    /// The same in the measure of turns.
    pub(super) units: f64,
    /// What is left of its turns; negative: taken in advance.
    pub(super) deficit: f64,
}

/// One that waits.
#[derive(Debug)]
pub(super) struct Item<W> {
    /// Grows with each arrival.
    pub(super) seq: u64,
    pub(super) since: Instant,
    pub(super) amounts: Cost,
    pub(super) cost: f64,
    /// `None`: has left. A place in the middle stays empty until it comes to an end of the line: closing it would move all behind it.
    pub(super) value: Option<W>,
}

// === impl Flow ===

impl<W> Default for Flow<W> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            left: 0,
            backlog: Cost::default(),
            units: 0.0,
            deficit: 0.0,
        }
    }
}

impl<W> Flow<W> {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Item<W>> {
        self.items.front()
    }

    pub(super) fn last(&self) -> Option<&Item<W>> {
        self.items.back()
    }

    /// All who wait.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &W> {
        self.items.iter().filter_map(|item| item.value.as_ref())
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Item<W>> {
        self.items.get(self.place(seq)?)
    }

    pub(super) fn push(&mut self, item: Item<W>) {
        if self.items.is_empty() {
            // Most lines are short, and there may be many.
            self.items.reserve_exact(1);
        }
        self.backlog.add(&item.amounts);
        self.units += item.cost;
        self.items.push_back(item);
    }

    /// Who has this number goes or leaves.
    pub(super) fn take(&mut self, seq: u64) -> Option<(Cost, f64, W)> {
        let place = self.place(seq)?;
        let item = self.items.get_mut(place)?;
        let value = item.value.take()?;
        let (amounts, cost) = (item.amounts, item.cost);
        self.backlog.sub(&amounts);
        self.units -= cost;
        self.left += 1;
        while self
            .items
            .pop_front_if(|item| item.value.is_none())
            .is_some()
        {
            self.left -= 1;
        }
        while self
            .items
            .pop_back_if(|item| item.value.is_none())
            .is_some()
        {
            self.left -= 1;
        }
        // Paid for by as many who have left.
        if self.left > self.items.len() / 2 {
            self.items.retain(|item| item.value.is_some());
            self.left = 0;
        }
        if self.items.is_empty() {
            self.rest();
        }
        Some((amounts, cost, value))
    }

    fn place(&self, seq: u64) -> Option<usize> {
        self.items.binary_search_by_key(&seq, |item| item.seq).ok()
    }

    /// Nobody waits: turns are not saved up, debts stay.
    fn rest(&mut self) {
        self.units = 0.0;
        self.deficit = self.deficit.min(0.0);
        // Thousands of apps may have waited once.
        self.items = VecDeque::new();
    }
}
