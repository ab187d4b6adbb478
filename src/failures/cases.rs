//! The calls remembered, in two rings: those in which a provider failed, and the others (callers' own mistakes, calls that
//! weir itself refused). However many of the others come, they push out none of the first.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Case, Conclusion, Failed};
use crate::call::RequestId;

/// Bounds of the ring of providers' failures: calls, and bytes. A usual case has 2 KB.
const GRAVE: Bounds = Bounds {
    cases: 1_536,
    bytes: 6 << 20,
};
/// Bounds of the other ring.
const DULL: Bounds = Bounds {
    cases: 512,
    bytes: 1 << 20,
};
/// Failures remembered of one call; more attempts than that are rare.
const FAILURES_OF_A_CALL: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Bounds {
    cases: usize,
    bytes: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Cases {
    all: HashMap<RequestId, Held>,
    grave: Ring,
    dull: Ring,
}

#[derive(Debug)]
struct Held {
    /// Shared with readers: they copy nothing under the lock.
    case: Arc<Case>,
    grave: bool,
    bytes: usize,
}

#[derive(Debug)]
struct Ring {
    bounds: Bounds,
    /// Oldest first.
    order: VecDeque<RequestId>,
    bytes: usize,
}

/// What was pushed out, to be dropped outside the lock.
pub(super) type Dropped = Vec<Arc<Case>>;

// === impl Cases ===

impl Default for Cases {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            grave: Ring::new(GRAVE),
            dull: Ring::new(DULL),
        }
    }
}

impl Cases {
    /// An attempt of a call failed. `grave`: not by the caller's own mistake; `begin` makes the case if there is none.
    pub(super) fn failed(
        &mut self,
        id: RequestId,
        grave: bool,
        begin: impl FnOnce() -> Case,
        failed: Failed,
    ) -> Dropped {
        let held = self.held(id, grave, begin);
        if held.case.failures.len() < FAILURES_OF_A_CALL {
            let more = failed.weight();
            let failures = &mut Arc::make_mut(&mut held.case).failures;
            // Most calls have one failure; room for four would be most of the memory.
            failures.reserve_exact(1);
            failures.push(failed);
            held.bytes += more;
            self.grow(id, more);
        }
        self.bound()
    }

    /// A call has ended. Without `begin`, one that has no case is of no interest.
    pub(super) fn concluded(
        &mut self,
        id: RequestId,
        begin: Option<impl FnOnce() -> Case>,
        conclusion: Conclusion,
    ) -> Dropped {
        let held = match (self.all.get_mut(&id), begin) {
            (Some(held), _) => held,
            (None, Some(begin)) => self.held(id, false, begin),
            (None, None) => return Dropped::new(),
        };
        let more = conclusion.weight();
        Arc::make_mut(&mut held.case).conclusion = Some(conclusion);
        held.bytes += more;
        self.grow(id, more);
        self.bound()
    }

    /// Whether there is a case of this call.
    pub(super) fn knows(&self, id: RequestId) -> bool {
        self.all.contains_key(&id)
    }

    /// All of them, in any order: sorted outside the lock.
    pub(super) fn unsorted(&self) -> Vec<Arc<Case>> {
        self.all
            .values()
            .map(|held| Arc::clone(&held.case))
            .collect()
    }

    fn held(&mut self, id: RequestId, grave: bool, begin: impl FnOnce() -> Case) -> &mut Held {
        let (ours, other) = match grave {
            true => (&mut self.grave, &mut self.dull),
            false => (&mut self.dull, &mut self.grave),
        };
        let held = self.all.entry(id).or_insert_with(|| {
            let case = begin();
            let bytes = case.weight();
            ours.push(id, bytes);
            Held {
                case: Arc::new(case),
                grave,
                bytes,
            }
        });
        if grave && !held.grave {
            other.remove(id, held.bytes);
            ours.push(id, held.bytes);
            held.grave = true;
        }
        held
    }

    fn grow(&mut self, id: RequestId, bytes: usize) {
        let grave = self.all.get(&id).is_some_and(|held| held.grave);
        let ring = if grave {
            &mut self.grave
        } else {
            &mut self.dull
        };
        ring.bytes += bytes;
    }

    fn bound(&mut self) -> Dropped {
        let mut dropped = Dropped::new();
        for ring in [&mut self.grave, &mut self.dull] {
            while ring.is_over()
                && let Some(oldest) = ring.order.pop_front()
            {
                if let Some(held) = self.all.remove(&oldest) {
                    ring.bytes -= held.bytes;
                    dropped.push(held.case);
                }
            }
        }
        dropped
    }
}

// === impl Ring ===

impl Ring {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            order: VecDeque::new(),
            bytes: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.order.len() > self.bounds.cases || self.bytes > self.bounds.bytes
    }

    fn push(&mut self, id: RequestId, bytes: usize) {
        self.order.push_back(id);
        self.bytes += bytes;
    }

    fn remove(&mut self, id: RequestId, bytes: usize) {
        // It came a moment ago.
        if let Some(at) = self.order.iter().rposition(|other| *other == id) {
            self.order.remove(at);
            self.bytes -= bytes;
        }
    }
}

/// Oldest first.
pub(super) fn sorted(mut cases: Vec<Arc<Case>>) -> Vec<Arc<Case>> {
    cases.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    cases
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn none() -> Option<fn() -> Case> {
        None
    }

    fn check(cases: &Cases) {
        for (ring, grave) in [(&cases.grave, true), (&cases.dull, false)] {
            assert!(!ring.is_over());
            let held: Vec<_> = cases
                .all
                .values()
                .filter(|held| held.grave == grave)
                .collect();
            assert_eq!(ring.order.len(), held.len());
            assert_eq!(
                ring.bytes,
                held.iter().map(|held| held.bytes).sum::<usize>()
            );
            assert_eq!(
                ring.bytes,
                held.iter().map(|held| held.case.weight()).sum::<usize>()
            );
        }
    }

    #[test]
    fn callers_mistakes_push_out_no_providers_failure() {
        let mut cases = Cases::default();
        let grave: Vec<_> = (0..GRAVE.cases).map(|_| RequestId::new()).collect();
        for id in &grave {
            cases.failed(*id, true, Case::example, Failed::example());
        }
        for _ in 0..5_000 {
            cases.failed(RequestId::new(), false, Case::example, Failed::example());
            cases.concluded(RequestId::new(), Some(Case::example), Conclusion::example());
        }
        check(&cases);
        let kept = grave
            .iter()
            .filter(|id| cases.all.contains_key(*id))
            .count();
        let fits = GRAVE.bytes / cases.all[&grave[grave.len() - 1]].bytes;
        assert_eq!(kept, GRAVE.cases.min(fits));
        assert_eq!(cases.dull.order.len().min(100), 100);
    }

    #[test]
    fn a_case_that_turns_grave_is_kept_with_the_grave_ones() {
        let mut cases = Cases::default();
        let id = RequestId::new();
        cases.failed(id, false, Case::example, Failed::example());
        cases.failed(id, true, Case::example, Failed::example());
        cases.concluded(id, none(), Conclusion::example());
        check(&cases);
        assert_eq!((cases.grave.order.len(), cases.dull.order.len()), (1, 0));
        assert_eq!(cases.unsorted()[0].failures.len(), 2);
    }

    #[test]
    fn a_usual_case_is_small_and_the_whole_book_is_bounded() {
        let mut case = Case::example();
        case.failures.push(Failed::example());
        case.conclusion = Some(Conclusion::example());
        let bytes = case.weight();
        assert!((500..4_096).contains(&bytes), "{bytes}");
        let mut cases = Cases::default();
        for _ in 0..4_000 {
            let mut failed = Failed::example();
            failed.headers = (0..40)
                .map(|n| (format!("x-{n}"), "v".repeat(256)))
                .collect();
            cases.failed(RequestId::new(), true, Case::example, failed);
        }
        check(&cases);
    }

    proptest! {
        #[test]
        fn bounds_hold_under_any_load(load in prop::collection::vec((0_usize..40, any::<bool>(), 0_u8..3), 1..400)) {
            let ids: Vec<_> = (0..40).map(|_| RequestId::new()).collect();
            let mut cases = Cases {
                grave: Ring::new(Bounds { cases: 10, bytes: 40_000 }),
                dull: Ring::new(Bounds { cases: 5, bytes: 8_000 }),
                ..Cases::default()
            };
            for (id, grave, what) in load {
                match what {
                    0 => cases.failed(ids[id], grave, Case::example, Failed::example()),
                    1 => cases.concluded(ids[id], none(), Conclusion::example()),
                    _ => cases.concluded(ids[id], Some(Case::example), Conclusion::example()),
                };
            }
            for (ring, grave) in [(&cases.grave, true), (&cases.dull, false)] {
                prop_assert!(!ring.is_over());
                let held = cases.all.values().filter(|held| held.grave == grave);
                prop_assert_eq!(ring.order.len(), held.clone().count());
                prop_assert_eq!(ring.bytes, held.map(|held| held.bytes).sum::<usize>());
            }
        }
    }
}
