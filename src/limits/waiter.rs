//! One call that waits: the slot in which it finds its turn, and the guard that takes it out of the queue when it leaves.
//!
//! There is no task behind a queue. Whoever changes something lets go whom it can; for what only time changes, one of those
//! who wait sleeps until then, and hands that duty on when it leaves.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    Kind,
    account::Account,
    pool::Taken,
    queue::{AppRef, Lane, Seat},
};
use crate::triage::Class;

/// Why a call cannot go within the time it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Denied {
    /// `rate_limited_*`, or `request_too_large_for_limit`, which no waiting cures.
    pub class: Class,
    /// When it would fit; `None`: never.
    pub retry_after: Option<std::time::Duration>,
    /// The limit that binds.
    pub kind: Kind,
    /// Its capacity, where it is known.
    pub limit: Option<u64>,
    /// The number is set in the configuration; else it was learnt.
    pub set: bool,
    /// What the call was expected to take of it.
    pub asked: u64,
}

/// What is known of one that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) cell: Arc<Cell>,
    pub(super) until: Instant,
    pub(super) app: AppRef,
    pub(super) lane: Lane,
}

/// Where a waiting call finds what became of it. Written under the account's lock.
#[derive(Debug, Default)]
pub(super) struct Cell {
    outcome: Mutex<Option<Result<Taken, Denied>>>,
    notify: Notify,
}

/// The one that sleeps for all.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) cell: Arc<Cell>,
    pub(super) at: Instant,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    Done(Result<Taken, Denied>),
    Sleep(Instant),
}

/// A place in the queue; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) account: Arc<Account>,
    pub(super) pool: u32,
    pub(super) seat: Seat,
    pub(super) cell: Arc<Cell>,
    pub(super) until: Instant,
    pub(super) done: bool,
}

// === impl Cell ===

impl Cell {
    pub(super) fn set(&self, outcome: Result<Taken, Denied>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.notify.notify_one();
    }

    pub(super) fn get(&self) -> Option<Result<Taken, Denied>> {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look again.
    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }
}

// === impl Place ===

impl Place {
    /// Waits for its turn.
    ///
    /// # Errors
    /// When it does not come in time; as soon as that is known.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it has taken nothing.
    pub(super) async fn turn(mut self) -> Result<Taken, Denied> {
        loop {
            match self.account.step(&self, Instant::now()) {
                Step::Done(outcome) => {
                    self.done = true;
                    return outcome;
                }
                // Either way: look again.
                Step::Sleep(at) => drop(timeout_at(at, self.cell.notify.notified()).await),
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.done {
            self.account.leave(self, Instant::now());
        }
    }
}
