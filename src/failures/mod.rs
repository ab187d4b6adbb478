//! The book of recent failures: what went wrong in which call, for `weir explain`, `weir incident` and operators.
//!
//! Written by [`Witness`](crate::witness::Witness) and by `stage::record`, kept in memory, bounded. It holds facts and
//! names: no key, no prompt, no words of the provider's that could quote one.
//!
//! | part | holds | bound |
//! | --- | --- | --- |
//! | `cases` | single calls with all that is known of them | 2,048 calls, 7 MB |
//! | `series` | counts of failures per minute, first and last request ids | a day, 5 MB |
//! | `answered` | counts of answers per minute; no lock | a day, 256 targets at 12 KB |
//! | `effects` | what it meant for callers, per minute | a day |
//! | `change` | changes of circuits | 512 |
//!
//! A failing call takes the one lock three times, for some hundred nanoseconds: what costs more (texts, what is pushed out) is
//! made and dropped outside of it. A call that went well takes none.

mod answered;
mod case;
mod cases;
mod change;
mod effects;
mod minute;
mod seen;
mod series;

pub use self::{
    answered::{Good, Tally},
    case::{Case, Conclusion, Failed},
    change::Change,
    effects::{Effects, Ended},
    minute::{Minute, REMEMBERED},
    seen::Seen,
    series::{Bad, Id, Slot},
};

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use self::{answered::Answered, cases::Cases, effects::AllEffects, series::AllSeries};
use crate::{
    call::{Attempt, Call, Fingerprint},
    error::Failure,
    stage::breaker::Transition,
    triage::{Class, Verdict},
};

/// Changes of circuits remembered.
const CHANGES: usize = 512;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Failures {
    book: Mutex<Book>,
    answered: Answered,
}

#[derive(Debug, Default)]
struct Book {
    cases: Cases,
    series: AllSeries,
    effects: AllEffects,
    changes: VecDeque<Change>,
}

/// A part of the book, copied out.
#[derive(Clone, Debug)]
pub struct Extract {
    pub good: Vec<Good>,
    pub bad: Vec<Bad>,
    pub effects: Effects,
    /// Oldest first.
    pub changes: Vec<Change>,
    /// Oldest first.
    pub cases: Vec<Arc<Case>>,
    /// Counts of failures before it have been forgotten for want of room.
    pub whole_from: Option<Minute>,
}

// === impl Failures ===

impl Failures {
    /// An attempt was answered.
    pub fn answered(&self, attempt: &Attempt) {
        let caller = attempt.call.credential.fingerprint;
        self.answered
            .count(&attempt.target, caller, SystemTime::now());
    }

    /// An attempt failed.
    pub fn failed(&self, attempt: &Attempt, failure: &Failure) {
        self.note(attempt, failure.verdict.class, Failed::of(attempt, failure));
    }

    /// A stream broke after its first content; `verdict`: what its end was judged to be.
    pub fn broke(&self, attempt: &Attempt, verdict: &Verdict, request_id: Option<&str>) {
        let failed = Failed::broken(attempt, verdict, request_id);
        self.note(attempt, verdict.class, failed);
    }

    fn note(&self, attempt: &Attempt, class: Class, failed: Failed) {
        let call = &attempt.call;
        let name = series::Name {
            upstream: Arc::clone(&attempt.target.upstream.name),
            model: Arc::clone(&attempt.target.label),
            class,
            after_content: failed.after_content,
        };
        let (now, grave, latest) = (failed.at, !class.is_callers_mistake(), failed.clone());
        let mut book = self.lock();
        let replaced = book.series.count(name, latest, now);
        let dropped = book.cases.failed(call.id, grave, || Case::of(call), failed);
        drop(book);
        drop((replaced, dropped));
    }

    /// A call has ended that may have met a failure, an open circuit or a refusal. `failed`: not well. `conclusion` is
    /// asked for only when it will be of interest.
    pub fn concluded(
        &self,
        call: &Call,
        failed: bool,
        ended: Ended,
        conclusion: impl FnOnce() -> Conclusion,
    ) {
        let minute = Minute::of(SystemTime::now());
        let mut book = self.lock();
        let known = book.cases.knows(call.id);
        if !(known || failed || ended.moved || ended.attempts > 1) {
            return;
        }
        book.effects.count(ended, minute);
        drop(book);
        if !(known || failed) {
            return;
        }
        let conclusion = conclusion();
        let begin = failed.then_some(|| Case::of(call));
        let dropped = self.lock().cases.concluded(call.id, begin, conclusion);
        drop(dropped);
    }

    /// A circuit has changed its state.
    pub fn changed(&self, transition: &Transition) {
        let change = Change::of(transition);
        let mut book = self.lock();
        if book.changes.len() >= CHANGES {
            book.changes.pop_front();
        }
        book.changes.push_back(change);
    }

    /// The case of a call of ours, by its id or by a provider's id of one of its attempts.
    pub fn find(&self, id: &str) -> Option<Case> {
        let cases = self.recent();
        let of_ours = cases.iter().find(|case| case.id == id);
        let of_theirs = || {
            let named = |failed: &Failed| failed.provider_request_id.as_deref() == Some(id);
            cases
                .iter()
                .rev()
                .find(|case| case.failures.iter().any(named))
        };
        of_ours.or_else(of_theirs).map(|case| Case::clone(case))
    }

    /// All cases, oldest first.
    pub fn recent(&self) -> Vec<Arc<Case>> {
        let cases = self.lock().cases.unsorted();
        cases::sorted(cases)
    }

    /// Everything within these minutes, both included; not before the minute from which on it is whole. `with_cases`: the single calls, too.
    pub fn within(&self, from: Minute, to: Minute, with_cases: bool) -> Extract {
        let book = self.lock();
        let whole_from = book.series.whole_from();
        let from = whole_from.map_or(from, |whole| whole.max(from));
        let within = |at: SystemTime| (from..=to).contains(&Minute::of(at));
        let extract = Extract {
            good: Vec::new(),
            bad: book.series.within(from, to),
            effects: book.effects.within(from, to),
            changes: book
                .changes
                .iter()
                .filter(|c| within(c.at))
                .cloned()
                .collect(),
            cases: if with_cases {
                book.cases.unsorted()
            } else {
                Vec::new()
            },
            whole_from,
        };
        drop(book);
        let mut cases = extract.cases;
        cases.retain(|case| within(case.at));
        Extract {
            good: self.answered.within(from, to),
            cases: cases::sorted(cases),
            ..extract
        }
    }

    /// When a call with this caller's key was last answered by `upstream`, if that is still known.
    pub fn worked(&self, upstream: &str, caller: &str) -> Option<SystemTime> {
        let caller = u64::from_str_radix(caller, 16).ok()?;
        self.answered.worked(upstream, Fingerprint(caller))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
