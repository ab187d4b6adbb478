//! Failures counted: per target, class and minute, with the provider's first and last request ids.
//!
//! The cases themselves are too few for a long outage; these counts cover a day whatever the traffic.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use super::{Failed, Minute};
use crate::{redact::redact, triage::Class};

/// Targets × classes counted by themselves; further ones are counted as model `other`, or dropped.
const SERIES: usize = 512;
/// Minutes with a failure, of all series together: at most 5 MB. Beyond it the oldest are forgotten.
const SLOTS: usize = 16_384;
/// Longer ids of providers are cut.
const LONGEST_ID: usize = 128;

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) upstream: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) class: Class,
    pub(super) after_content: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    all: HashMap<Name, Line>,
    slots: usize,
    /// Minutes before it are no longer all there.
    whole_from: Option<Minute>,
}

#[derive(Debug)]
struct Line {
    /// Oldest first.
    slots: VecDeque<Slot>,
    last: Failed,
}

/// The failures of one minute.
#[derive(Clone, Debug)]
pub struct Slot {
    pub minute: Minute,
    pub count: u32,
    /// How many had an id of the provider's: those came from the provider itself.
    pub named: u32,
    pub first: SystemTime,
    pub last: SystemTime,
    pub first_id: Option<Id>,
    pub last_id: Option<Id>,
}

/// A provider's request id, and when its answer came.
#[derive(Clone, Debug)]
pub struct Id {
    pub id: Box<str>,
    pub at: SystemTime,
}

/// The failures of one target and class within some minutes.
#[derive(Clone, Debug)]
pub struct Bad {
    pub upstream: String,
    pub model: String,
    pub class: Class,
    /// Streams that broke after their first content: their attempts are counted as answered, too.
    pub after_content: bool,
    /// Oldest first; never empty.
    pub slots: Vec<Slot>,
    /// The latest failure of all, perhaps after these minutes.
    pub last: Failed,
}

// === impl AllSeries ===

impl AllSeries {
    /// Counts one failure. Returns what it replaces, to be dropped outside the lock.
    pub(super) fn count(
        &mut self,
        mut name: Name,
        failed: Failed,
        now: SystemTime,
    ) -> Option<Failed> {
        let minute = Minute::of(now);
        if !self.all.contains_key(&name) && self.all.len() >= SERIES {
            self.forget_old(minute);
            if self.all.len() >= SERIES {
                name.model = Arc::from("other");
                if !self.all.contains_key(&name) && self.all.len() >= SERIES + SERIES / 4 {
                    self.whole_from = Some(minute);
                    return None;
                }
            }
        }
        let id = failed.provider_request_id.as_deref().map(|id| Id {
            id: id.chars().take(LONGEST_ID).collect::<String>().into(),
            at: now,
        });
        let (line, replaced) = match self.all.get_mut(&name) {
            Some(line) => {
                let replaced = std::mem::replace(&mut line.last, failed);
                (line, Some(replaced))
            }
            None => {
                let line = Line {
                    slots: VecDeque::new(),
                    last: failed,
                };
                (self.all.entry(name).or_insert(line), None)
            }
        };
        // A clock that was set back counts in the latest minute.
        match line.slots.back_mut() {
            Some(slot) if slot.minute >= minute => slot.add(id, now),
            _ => {
                line.slots.push_back(Slot::new(minute, id, now));
                self.slots += 1;
                self.bound(minute);
            }
        }
        replaced
    }

    /// Everything within these minutes, and the minute from which on nothing is missing.
    pub(super) fn within(&self, from: Minute, to: Minute) -> Vec<Bad> {
        let mut all: Vec<_> = self
            .all
            .iter()
            .filter_map(|(name, line)| {
                let within = |slot: &&Slot| (from..=to).contains(&slot.minute);
                let slots: Vec<_> = line.slots.iter().filter(within).cloned().collect();
                (!slots.is_empty()).then(|| Bad {
                    upstream: name.upstream.to_string(),
                    model: redact(&name.model).into_owned(),
                    class: name.class,
                    after_content: name.after_content,
                    slots,
                    last: line.last.clone(),
                })
            })
            .collect();
        let name = |bad: &Bad| {
            (
                bad.upstream.clone(),
                bad.model.clone(),
                bad.class,
                bad.after_content,
            )
        };
        all.sort_by_key(name);
        all
    }

    /// Before it something was forgotten for want of room.
    pub(super) fn whole_from(&self) -> Option<Minute> {
        self.whole_from
    }

    fn bound(&mut self, now: Minute) {
        if self.slots <= SLOTS {
            return;
        }
        self.forget_old(now);
        while self.slots > SLOTS {
            let fronts = self.all.values_mut();
            let oldest =
                fronts.min_by_key(|line| line.slots.front().map_or(now, |slot| slot.minute));
            let Some(slot) = oldest.and_then(|line| line.slots.pop_front()) else {
                return;
            };
            self.slots -= 1;
            self.whole_from = self.whole_from.max(Some(Minute(slot.minute.0 + 1)));
        }
        self.all.retain(|_, line| !line.slots.is_empty());
    }

    fn forget_old(&mut self, now: Minute) {
        let oldest = now.oldest_remembered();
        for line in self.all.values_mut() {
            while line.slots.front().is_some_and(|slot| slot.minute < oldest) {
                line.slots.pop_front();
                self.slots -= 1;
            }
        }
        self.all.retain(|_, line| !line.slots.is_empty());
    }
}

// === impl Slot ===

impl Slot {
    fn new(minute: Minute, id: Option<Id>, now: SystemTime) -> Self {
        Self {
            minute,
            count: 1,
            named: u32::from(id.is_some()),
            first: now,
            last: now,
            first_id: id.clone(),
            last_id: id,
        }
    }

    fn add(&mut self, id: Option<Id>, now: SystemTime) {
        self.count = self.count.saturating_add(1);
        self.last = now;
        if id.is_some() {
            self.named = self.named.saturating_add(1);
            if self.first_id.is_none() {
                self.first_id.clone_from(&id);
            }
            self.last_id = id;
        }
    }
}

// === impl Bad ===

impl Bad {
    /// All of them.
    pub fn count(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.count)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn name(model: u16, class: Class) -> Name {
        Name {
            upstream: "u".into(),
            model: format!("m{model}").into(),
            class,
            after_content: false,
        }
    }

    fn failed(id: Option<&str>) -> Failed {
        Failed {
            provider_request_id: id.map(str::to_owned),
            ..Failed::example()
        }
    }

    #[test]
    fn first_and_last_ids_are_those_of_the_window() {
        let mut series = AllSeries::default();
        for (second, id) in [(0, "a"), (30, "b"), (60, "c"), (200, "d"), (300, "e")] {
            series.count(name(0, Class::Overloaded), failed(Some(id)), at(second));
        }
        let found = series.within(Minute::of(at(60)), Minute::of(at(240)));
        let ids: Vec<_> = found[0]
            .slots
            .iter()
            .filter_map(|s| s.first_id.as_ref())
            .map(|id| &*id.id)
            .collect();
        assert_eq!((ids, found[0].count()), (vec!["c", "d"], 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn counts_add_up_and_bounds_hold(
            mut load in prop::collection::vec((0_u64..400_000, 0_u16..1_000, any::<bool>()), 1..1500)
        ) {
            load.sort_unstable();
            let mut series = AllSeries::default();
            for (n, (second, model, named)) in load.iter().enumerate() {
                series.count(name(*model, Class::Timeout), failed(named.then_some("req_1")), at(*second));
                prop_assert!(series.all.len() <= SERIES + SERIES / 4 && series.slots <= SLOTS);
                if n % 100 == 0 {
                    let slots: usize = series.all.values().map(|line| line.slots.len()).sum();
                    prop_assert_eq!(series.slots, slots);
                }
            }
            let last = Minute::of(at(load[load.len() - 1].0));
            let from = last.oldest_remembered().max(series.whole_from().unwrap_or_default());
            let found = series.within(from, last);
            let expected = load.iter().filter(|(s, ..)| Minute::of(at(*s)) >= from);
            prop_assert_eq!(found.iter().map(Bad::count).sum::<u64>(), expected.clone().count() as u64);
            let named: u64 = found.iter().flat_map(|b| &b.slots).map(|s| u64::from(s.named)).sum();
            prop_assert_eq!(named, expected.filter(|(.., named)| *named).count() as u64);
        }
    }

    #[test]
    fn the_oldest_minutes_go_when_there_are_too_many() {
        let mut series = AllSeries::default();
        // 40 models, each failing every minute of ten hours: more than there is room for.
        for minute in 0..600 {
            for model in 0..40 {
                series.count(name(model, Class::Timeout), failed(None), at(minute * 60));
            }
        }
        assert!(series.slots <= SLOTS);
        let whole_from = series.whole_from().unwrap();
        let found = series.within(whole_from, Minute::of(at(600 * 60)));
        let minutes = u64::from(Minute::of(at(599 * 60)).0 - whole_from.0 + 1);
        assert_eq!(found.iter().map(Bad::count).sum::<u64>(), 40 * minutes);
        assert!(minutes > 400, "{minutes}");
    }
}
