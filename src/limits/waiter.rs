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
    account::Account,
    denied::Denied,
    patience::Counted,
    pool::{Pool, Taken},
    queue::{AppRef, Lane, Seat},
};

/// What is known of one that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) cell: Arc<Cell>,
    pub(super) until: Instant,
    pub(super) app: AppRef,
    pub(super) lane: Lane,
    /// It can go nowhere else.
    pub(super) last: bool,
    /// Among all who wait.
    pub(super) _counted: Counted,
}

/// Where a waiting call finds what became of it. Written under the account's lock.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Boxed: most of those who wait have none yet.
    outcome: Mutex<Option<Result<Box<Taken>, Denied>>>,
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
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.map(Box::new));
        self.notify.notify_one();
    }

    pub(super) fn get(&self) -> Option<Result<Taken, Denied>> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = outcome.as_ref()?;
        Some(
            outcome
                .as_ref()
                .map(|taken| (**taken).clone())
                .map_err(|denied| *denied),
        )
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

// === impl Pool ===

impl Pool {
    /// Somebody sleeps for all: those who have nobody, or too long a sleeper, get one.
    pub(super) fn on_duty(&mut self, now: Instant) {
        let Some(wake) = self.wake else { return };
        match &mut self.timer {
            Some(timer) if timer.at <= wake => {}
            Some(timer) => {
                timer.at = wake;
                timer.cell.wake();
            }
            None => {
                let front = self.queue.front(now);
                let first = front.and_then(|front| self.queue.get(front.seat));
                if let Some((_, waiting)) = first {
                    waiting.cell.wake();
                }
            }
        }
    }

    /// Who leaves does not sleep for others any more, and is out of patience with nobody.
    pub(super) fn gone(&mut self, seat: Seat, waiting: &Waiting) {
        self.patience.remove(waiting.until, waiting.last, seat);
        let timer = self.timer.as_ref();
        if timer.is_some_and(|timer| Arc::ptr_eq(&timer.cell, &waiting.cell)) {
            self.timer = None;
        }
    }
}
