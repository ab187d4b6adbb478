//! One app's allowance, and who waits for it.
//!
//! Whoever comes first goes first, interactive calls before batch. The first of the line looks when its turn is and sleeps
//! until then, or until something is given back; the others sleep until they are the first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    AllowanceView, Exceeded,
    books::{Ask, Before, Books, Marks, Waiter},
    clock::Clock,
};
use crate::config::App;

/// Calls of one app that may wait. More are refused at once: they would wait for minutes and hold memory.
const LONGEST_LINE: usize = 1_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Allowance {
    clock: Arc<Clock>,
    books: Mutex<Books>,
}

/// The answer to a call.
pub(super) enum Turn {
    Taken(Taken),
    /// Not yet. Look again when woken, or after this time; `None`: only something that ends can help.
    Wait(Option<Duration>),
}

/// What was taken. Dropped, it is settled as it was reserved.
#[derive(Debug)]
pub(super) struct Taken {
    from: Arc<Allowance>,
    marks: Marks,
    settled: bool,
}

/// A place in the line. Dropped, it is given up.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) line: Arc<Allowance>,
    pub(super) wake: Arc<Notify>,
    ask: Ask,
    ticket: u64,
}

// === impl Allowance ===

impl Allowance {
    pub(super) fn new(app: &App, clock: Arc<Clock>) -> Self {
        Self {
            clock,
            books: Mutex::new(Books::new(app)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of a new configuration. What was used stays used, and those who wait look again.
    pub(super) fn configure(&self, app: &App) {
        let mut books = self.lock();
        books.configure(app);
        books.wake_first();
    }

    /// Takes what a call needs if it is there. (Nobody waits where calls are rejected.)
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn take(self: &Arc<Self>, app: &App, ask: Ask) -> Result<Taken, Exceeded> {
        let (mut books, now) = (self.lock(), self.clock.now());
        books.fits_at_all(app, ask)?;
        match books.blocked(ask.tokens, Before::default(), now) {
            None => Ok(Taken::new(self, books.reserve(ask.tokens, now))),
            Some(blocked) => {
                let again = books.again(ask.tokens, &blocked, now);
                Err(books.exceeded(app, blocked.kind, again))
            }
        }
    }

    /// The same; where that does not go, a place in the line until `patience` is over.
    ///
    /// # Errors
    /// When waiting would be in vain, or the line is too long.
    pub(super) fn enter(
        self: &Arc<Self>,
        app: &App,
        ask: Ask,
        patience: Duration,
    ) -> Result<Result<Taken, Place>, Exceeded> {
        let (mut books, now) = (self.lock(), self.clock.now());
        books.fits_at_all(app, ask)?;
        let before = books.before(ask, None);
        let blocked = books.blocked(ask.tokens, before, now);
        if blocked.is_none() && before.calls == 0 {
            return Ok(Ok(Taken::new(self, books.reserve(ask.tokens, now))));
        }
        let long = books.lanes.iter().map(VecDeque::len).sum::<usize>() >= LONGEST_LINE;
        if let Some(blocked) = blocked
            && (long || blocked.least > patience || patience.is_zero())
        {
            return Err(books.exceeded(app, blocked.kind, blocked.told));
        }
        if long || patience.is_zero() {
            return Err(books.exceeded(app, books.any_kind(), None));
        }
        books.tickets += 1;
        let (ticket, wake) = (books.tickets, Arc::<Notify>::default());
        books.lanes[usize::from(ask.batch)].push_back(Waiter {
            ticket,
            tokens: ask.tokens,
            since: now.micros,
            wake: Arc::clone(&wake),
        });
        drop(books);
        Ok(Err(Place {
            line: Arc::clone(self),
            wake,
            ask,
            ticket,
        }))
    }

    /// Each number that is set, and how far it is used.
    pub(super) fn views(&self) -> Vec<AllowanceView> {
        let (mut books, now) = (self.lock(), self.clock.now());
        books.views(now)
    }

    /// Calls that wait, and how long the first of them has.
    pub(super) fn waiting(&self) -> (usize, Duration) {
        let (books, now) = (self.lock(), self.clock.now());
        let firsts = books.lanes.iter().filter_map(VecDeque::front);
        let since = firsts.map(|waiter| waiter.since).min();
        let oldest = since.map_or(0, |since| now.micros.saturating_sub(since));
        (
            books.lanes.iter().map(VecDeque::len).sum(),
            Duration::from_micros(oldest),
        )
    }

    /// Tokens of today.
    pub(super) fn used_today(&self) -> u64 {
        let now = self.clock.now();
        self.lock().day.used(now.unix)
    }

    /// Counts what an earlier process counted of this day.
    pub(super) fn restore(&self, day: u64, used: u64) {
        let now = self.clock.now();
        self.lock().day.restore(day, used, now.unix);
    }
}

// === impl Place ===

impl Place {
    /// Looks whether it is this call's turn.
    ///
    /// # Errors
    /// When it cannot come within `patience`.
    pub(super) fn turn(&self, app: &App, patience: Duration) -> Result<Turn, Exceeded> {
        let (mut books, now) = (self.line.lock(), self.line.clock.now());
        // The numbers may be others by now.
        books.fits_at_all(app, self.ask)?;
        let before = books.before(self.ask, Some(self.ticket));
        let blocked = books.blocked(self.ask.tokens, before, now);
        match blocked {
            None if before.calls == 0 => Ok(Turn::Taken(Taken::new(
                &self.line,
                books.reserve(self.ask.tokens, now),
            ))),
            Some(blocked) if patience.is_zero() || blocked.least > patience => {
                Err(books.exceeded(app, blocked.kind, blocked.told))
            }
            None if patience.is_zero() => Err(books.exceeded(app, books.any_kind(), None)),
            Some(blocked) if before.calls == 0 => Ok(Turn::Wait(blocked.told)),
            // Woken when it is the first.
            _ => Ok(Turn::Wait(None)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut books = self.line.lock();
        let ticket = self.ticket;
        let lane = &mut books.lanes[usize::from(self.ask.batch)];
        if let Ok(index) = lane.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            lane.remove(index);
            if lane.is_empty() {
                *lane = VecDeque::new();
            }
        }
        books.wake_first();
    }
}

// === impl Taken ===

impl Taken {
    fn new(from: &Arc<Allowance>, marks: Marks) -> Self {
        Self {
            from: Arc::clone(from),
            marks,
            settled: false,
        }
    }

    /// So many tokens were used.
    pub(super) fn settle(mut self, actual: u64) {
        self.end(Some(actual));
    }

    /// Nobody was asked, or nobody answered.
    pub(super) fn refund(mut self) {
        self.end(Some(0));
    }

    fn end(&mut self, actual: Option<u64>) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let (mut books, now) = (self.from.lock(), self.from.clock.now());
        books.settle(self.marks, actual, now);
        books.wake_first();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.end(None);
    }
}
