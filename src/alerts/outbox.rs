//! The queue of alerts: bounded, in order, honest about what it lost.

use std::collections::VecDeque;

use super::event::Event;

/// Alerts that wait. More than a receiver that is down should find when it comes back.
pub(super) const MAX: usize = 256;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Event>,
    /// Lost since the last one that was taken.
    missed: u64,
}

// === impl Outbox ===

impl Outbox {
    /// Adds an event; whether the oldest was dropped for it.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let full = self.waiting.len() >= MAX;
        if full && let Some(oldest) = self.waiting.pop_front() {
            self.lost(&oldest);
        }
        self.waiting.push_back(event);
        full
    }

    /// The oldest, which now says how many before it were lost.
    pub(super) fn take(&mut self) -> Option<Event> {
        let mut event = self.waiting.pop_front()?;
        event.missed_events = std::mem::take(&mut self.missed);
        Some(event)
    }

    /// An event that was taken did not arrive, and with it what it said of those before.
    pub(super) fn lost(&mut self, event: &Event) {
        self.missed = self.missed.saturating_add(1 + event.missed_events);
    }

    /// Events lost since the last one that was taken.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Forgets all; how many.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.waiting.len() as u64;
        self.waiting.clear();
        count
    }
}
