//! The calls of one app that wait in one lane.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::limits::Cost;

/// One app's line.
#[derive(Debug)]
pub(super) struct Flow<W> {
    /// In the order of arrival.
    pub(super) items: VecDeque<Item<W>>,
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
    pub(super) value: W,
}

// === impl Flow ===

impl<W> Default for Flow<W> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            backlog: Cost::default(),
            units: 0.0,
            deficit: 0.0,
        }
    }
}

impl<W> Flow<W> {
    /// Nobody waits: turns are not saved up, debts stay.
    pub(super) fn rest(&mut self) {
        self.units = 0.0;
        self.deficit = self.deficit.min(0.0);
        // Thousands of apps may have waited once.
        self.items = VecDeque::new();
    }
}
