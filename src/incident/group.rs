//! The book's counts of one upstream, added up.

use std::{collections::BTreeMap, time::SystemTime};

use super::Facts;
use crate::{
    failures::{Bad, Failed, Good, Minute, Slot},
    triage::Class,
};

/// One upstream's share of the window.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) upstream: &'a str,
    pub(super) good: Vec<&'a Good>,
    pub(super) bad: Vec<&'a Bad>,
}

// === impl Group ===

impl<'a> Group<'a> {
    /// Of every upstream with calls in the window, by name.
    pub(super) fn all(facts: &'a Facts) -> Vec<Self> {
        let mut groups: BTreeMap<&str, Self> = BTreeMap::new();
        let new = |upstream| Self {
            upstream,
            good: Vec::new(),
            bad: Vec::new(),
        };
        for good in facts
            .book
            .good
            .iter()
            .filter(|good| !good.minutes.is_empty())
        {
            let name = good.upstream.as_str();
            groups
                .entry(name)
                .or_insert_with(|| new(name))
                .good
                .push(good);
        }
        for bad in &facts.book.bad {
            let name = bad.upstream.as_str();
            groups
                .entry(name)
                .or_insert_with(|| new(name))
                .bad
                .push(bad);
        }
        groups.into_values().collect()
    }

    /// Answers, streams that broke later among them.
    pub(super) fn heads(&self) -> u64 {
        self.good.iter().map(|good| good.count()).sum()
    }

    /// Upstream calls.
    pub(super) fn attempts(&self) -> u64 {
        let before_content = self.bad.iter().filter(|bad| !bad.after_content);
        self.heads() + before_content.map(|bad| bad.count()).sum::<u64>()
    }

    /// Failures that are not a caller's own mistake.
    pub(super) fn faults(&self) -> impl Iterator<Item = &'a Bad> {
        self.bad
            .iter()
            .copied()
            .filter(|bad| !bad.class.is_callers_mistake())
    }

    pub(super) fn fault_count(&self) -> u64 {
        self.faults().map(Bad::count).sum()
    }

    pub(super) fn mistake_count(&self) -> u64 {
        self.bad.iter().map(|bad| bad.count()).sum::<u64>() - self.fault_count()
    }

    /// First and last time of a fault.
    pub(super) fn span(&self) -> Option<(SystemTime, SystemTime)> {
        let slots = || self.faults().flat_map(|bad| &bad.slots);
        Some((
            slots().map(|s| s.first).min()?,
            slots().map(|s| s.last).max()?,
        ))
    }

    /// Good answers within some minutes, those of `key` only if one is told.
    pub(super) fn good_within(&self, from: Minute, to: Minute, key: Option<&str>) -> u64 {
        let good = self
            .good
            .iter()
            .filter(|good| key.is_none() || good.key.as_deref() == key);
        let minutes = good.flat_map(|good| &good.minutes);
        minutes
            .filter(|(m, _)| (from..=to).contains(m))
            .map(|(_, n)| u64::from(*n))
            .sum()
    }

    /// The last good answer, those of `key` only if one is told; not after the minute `to`.
    pub(super) fn last_good(&self, to: Minute, key: Option<&str>) -> Option<SystemTime> {
        let good = self
            .good
            .iter()
            .filter(|good| key.is_none() || good.key.as_deref() == key);
        good.filter_map(|good| {
            let end = good.minutes.last()?.0;
            // The last of all may have come after the window; then the minute is all that is known.
            match good.last {
                Some(last) if Minute::of(last) <= to => Some(last),
                _ => Some(end.start()),
            }
        })
        .max()
    }

    /// By class, the most frequent first; broken streams apart.
    pub(super) fn classes(&self) -> Vec<Classed<'a>> {
        let mut all: BTreeMap<(Class, bool), Classed<'a>> = BTreeMap::new();
        for bad in &self.bad {
            let name = (bad.class, bad.after_content);
            let new = || Classed {
                class: bad.class,
                after_content: bad.after_content,
                slots: Vec::new(),
                models: Vec::new(),
                last: &bad.last,
            };
            let classed = all.entry(name).or_insert_with(new);
            classed.slots.extend(&bad.slots);
            classed.models.push((&bad.model, bad.count()));
            if bad.last.at > classed.last.at {
                classed.last = &bad.last;
            }
        }
        let mut all: Vec<_> = all.into_values().collect();
        for classed in &mut all {
            classed.slots.sort_by_key(|slot| slot.first);
            classed
                .models
                .sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        }
        all.sort_by_key(|classed| {
            (
                classed.class.is_callers_mistake(),
                std::cmp::Reverse(classed.count()),
            )
        });
        all
    }
}

/// One class of failure at one upstream.
#[derive(Debug)]
pub(super) struct Classed<'a> {
    pub(super) class: Class,
    pub(super) after_content: bool,
    /// By time; never empty.
    pub(super) slots: Vec<&'a Slot>,
    /// The most frequent first.
    pub(super) models: Vec<(&'a String, u64)>,
    pub(super) last: &'a Failed,
}

// === impl Classed ===

impl Classed<'_> {
    pub(super) fn count(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.count)).sum()
    }

    pub(super) fn named(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.named)).sum()
    }
}
