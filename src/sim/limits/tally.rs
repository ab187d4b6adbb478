//! What really happened, for judging those who had to guess it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::Serialize;
use tokio::time::Instant;

use super::settings::LimitKind;

const MINUTE: Duration = Duration::from_secs(60);

/// Counters of one pool, or of all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Calls let in.
    pub admitted: u64,
    /// Calls refused, by the limit that refused them.
    pub refused: BTreeMap<LimitKind, u64>,
    /// Of these, how many were larger than the limit itself.
    pub too_large: u64,
    /// Tokens charged at admission.
    pub tokens_charged: u64,
    /// Tokens of calls that ended, by their real usage; by the estimate where none came.
    pub tokens_used: u64,
    /// Under way now.
    pub under_way: u64,
    /// Most under way at once.
    pub most_under_way: u64,
    /// Calls of other consumers let in.
    pub foreign_admitted: u64,
    /// Calls of other consumers refused.
    pub foreign_refused: u64,
    /// Tokens other consumers were charged.
    pub foreign_tokens: u64,
    /// Most calls let in within any minute, other consumers' too. Of several pools: of the busiest.
    pub peak_requests: u64,
    /// Most tokens charged at admission within any minute, other consumers' too. Of several pools: of the busiest.
    pub peak_tokens: u64,
}

/// The most within any minute.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    // Of one millisecond each, so that there are 60,000 of them at most.
    taken: VecDeque<(Instant, u64)>,
    sum: u64,
    pub(crate) most: u64,
}

// === impl Tally ===

impl Tally {
    /// Calls refused, whatever the limit.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.admitted += other.admitted;
        for (kind, count) in &other.refused {
            *self.refused.entry(*kind).or_default() += count;
        }
        self.too_large += other.too_large;
        self.tokens_charged += other.tokens_charged;
        self.tokens_used += other.tokens_used;
        self.under_way += other.under_way;
        self.most_under_way = self.most_under_way.max(other.most_under_way);
        self.foreign_admitted += other.foreign_admitted;
        self.foreign_refused += other.foreign_refused;
        self.foreign_tokens += other.foreign_tokens;
        self.peak_requests = self.peak_requests.max(other.peak_requests);
        self.peak_tokens = self.peak_tokens.max(other.peak_tokens);
    }
}

// === impl Peak ===

impl Peak {
    pub(crate) fn add(&mut self, amount: u64, now: Instant) {
        while let Some((at, amount)) = self.taken.front() {
            if *at + MINUTE > now {
                break;
            }
            self.sum -= amount;
            self.taken.pop_front();
        }
        self.sum += amount;
        match self.taken.back_mut() {
            Some((at, last)) if now.duration_since(*at) < Duration::from_millis(1) => {
                *last += amount;
            }
            _ => self.taken.push_back((now, amount)),
        }
        self.most = self.most.max(self.sum);
    }
}
