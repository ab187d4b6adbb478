//! The book of recent failures: what went wrong in which call, for `weir explain`, `weir incident` and operators.
//!
//! Written by [`Witness`](crate::witness::Witness) on the failure path only, kept in memory, bounded by number. It holds
//! facts and names: no key, no prompt, no words of the provider's that could quote one.

mod case;
mod seen;

pub use self::{
    case::{Case, Conclusion, Failed},
    seen::Seen,
};

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    call::{Attempt, Call, RequestId},
    error::Failure,
};

/// Calls remembered.
const CASES: usize = 2_048;
/// Failures remembered of one call; more attempts than that are rare.
const FAILURES_OF_A_CALL: usize = 16;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Failures {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    cases: HashMap<RequestId, Case>,
    /// Oldest first.
    order: VecDeque<RequestId>,
}

// === impl Failures ===

impl Failures {
    /// An attempt failed.
    pub fn failed(&self, attempt: &Attempt, failure: &Failure) {
        let failed = Failed::of(attempt, failure);
        let mut book = self.lock();
        let failures = &mut book.case(&attempt.call).failures;
        if failures.len() < FAILURES_OF_A_CALL {
            failures.push(failed);
        }
    }

    /// A call has ended; `failed`: not well. One that met no failure is of no interest.
    pub fn concluded(&self, call: &Call, failed: bool, conclusion: Conclusion) {
        let mut book = self.lock();
        let case = match failed {
            false => match book.cases.get_mut(&call.id) {
                Some(case) => case,
                None => return,
            },
            true => book.case(call),
        };
        case.conclusion = Some(conclusion);
    }

    /// The case of a call of ours, by its id or by a provider's id of one of its attempts.
    pub fn find(&self, id: &str) -> Option<Case> {
        let book = self.lock();
        let of_ours = book.cases.values().find(|case| case.id == id);
        let of_theirs = || {
            book.order.iter().rev().find_map(|ours| {
                let case = book.cases.get(ours)?;
                let named = |failed: &Failed| failed.provider_request_id.as_deref() == Some(id);
                case.failures.iter().any(named).then_some(case)
            })
        };
        of_ours.or_else(of_theirs).cloned()
    }

    /// All cases, oldest first.
    pub fn recent(&self) -> Vec<Case> {
        let book = self.lock();
        let cases = book.order.iter().filter_map(|id| book.cases.get(id));
        cases.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    /// The case of a call, begun now if there is none.
    fn case(&mut self, call: &Call) -> &mut Case {
        if !self.cases.contains_key(&call.id) {
            if self.order.len() >= CASES
                && let Some(oldest) = self.order.pop_front()
            {
                self.cases.remove(&oldest);
            }
            self.order.push_back(call.id);
        }
        self.cases.entry(call.id).or_insert_with(|| Case::of(call))
    }
}
