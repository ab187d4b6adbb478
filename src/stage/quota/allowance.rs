//! One app's allowance, and who waits for it.
//!
//! Whoever comes first goes first, interactive calls before batch. The first of the line looks when its turn is and sleeps
//! until then, or until something is given back; the others sleep until they are the first.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    AllowanceView, Exceeded, Kind,
    clock::{Clock, Now},
    day::{self, Day},
    pace::Pace,
    window::{self, Window},
};
use crate::config::App;

/// Calls of one app that may wait. More are refused at once: they would wait for minutes and hold memory.
const LONGEST_LINE: usize = 1_000;
/// How fast the share of its reservations that an app really uses is learnt.
const LEARNING: f64 = 0.1;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Allowance {
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    pace: Option<Pace>,
    requests: Option<Window>,
    tokens: Option<Window>,
    day: Day,
    concurrency: Option<NonZeroU32>,
    running: u32,
    /// Interactive, batch.
    lanes: [VecDeque<Waiter>; 2],
    tickets: u64,
    /// Of what is reserved, the share that is used in the end.
    used_share: f64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    tokens: u64,
    since: u64,
    wake: Arc<Notify>,
}

/// What one call takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) tokens: u64,
    pub(super) batch: bool,
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
    tokens: u64,
    minute: Option<window::Mark>,
    day: day::Mark,
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

/// Why a call cannot go now.
struct Blocked {
    kind: Kind,
    /// No sooner than this, whatever is given back.
    least: Duration,
    /// Then, if nothing is given back; `None`: nobody knows.
    told: Option<Duration>,
}

/// Who goes first.
#[derive(Clone, Copy, Default)]
struct Before {
    calls: u32,
    tokens: u64,
}

// === impl Allowance ===

impl Allowance {
    pub(super) fn new(app: &App, clock: Arc<Clock>) -> Self {
        let mut inner = Inner {
            pace: None,
            requests: None,
            tokens: None,
            day: Day::default(),
            concurrency: None,
            running: 0,
            lanes: Default::default(),
            tickets: 0,
            used_share: 1.0,
        };
        inner.configure(app);
        Self {
            clock,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of a new configuration. What was used stays used, and those who wait look again.
    pub(super) fn configure(&self, app: &App) {
        let mut inner = self.lock();
        inner.configure(app);
        inner.wake_first();
    }

    /// Takes what a call needs if it is there. (Nobody waits where calls are rejected.)
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn take(self: &Arc<Self>, app: &App, ask: Ask) -> Result<Taken, Exceeded> {
        let (mut inner, now) = (self.lock(), self.clock.now());
        inner.fits_at_all(app, ask)?;
        match inner.blocked(ask.tokens, Before::default(), now) {
            None => Ok(inner.take(self, ask.tokens, now)),
            Some(blocked) => Err(inner.exceeded(app, blocked.kind, blocked.told)),
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
        let (mut inner, now) = (self.lock(), self.clock.now());
        inner.fits_at_all(app, ask)?;
        let before = inner.before(ask, None);
        let blocked = inner.blocked(ask.tokens, before, now);
        if blocked.is_none() && before.calls == 0 {
            return Ok(Ok(inner.take(self, ask.tokens, now)));
        }
        let long = inner.lanes.iter().map(VecDeque::len).sum::<usize>() >= LONGEST_LINE;
        if let Some(blocked) = blocked
            && (long || blocked.least > patience || patience.is_zero())
        {
            return Err(inner.exceeded(app, blocked.kind, blocked.told));
        }
        if long || patience.is_zero() {
            return Err(inner.exceeded(app, inner.any_kind(), None));
        }
        inner.tickets += 1;
        let (ticket, wake) = (inner.tickets, Arc::<Notify>::default());
        inner.lanes[usize::from(ask.batch)].push_back(Waiter {
            ticket,
            tokens: ask.tokens,
            since: now.micros,
            wake: Arc::clone(&wake),
        });
        drop(inner);
        Ok(Err(Place {
            line: Arc::clone(self),
            wake,
            ask,
            ticket,
        }))
    }

    /// Each number that is set, and how far it is used.
    pub(super) fn views(&self) -> Vec<AllowanceView> {
        let (mut inner, now) = (self.lock(), self.clock.now());
        let inner = &mut *inner;
        let mut views = Vec::new();
        let mut add = |kind: Kind, quota: u64, used: u64| {
            views.push(AllowanceView {
                kind: kind.as_str().to_owned(),
                quota,
                used,
                remaining: quota.saturating_sub(used),
            });
        };
        for (kind, window) in [
            (Kind::RequestsPerMinute, &mut inner.requests),
            (Kind::TokensPerMinute, &mut inner.tokens),
        ] {
            if let Some(window) = window {
                window.tidy(now.micros);
                add(kind, window.limit(), window.used(now.micros));
            }
        }
        if let Some(limit) = inner.day.limit() {
            add(Kind::TokensPerDay, limit, inner.day.used(now.unix));
        }
        if let Some(limit) = inner.concurrency {
            add(Kind::Concurrency, limit.get().into(), inner.running.into());
        }
        views
    }

    /// Calls that wait, and how long the first of them has.
    pub(super) fn waiting(&self) -> (usize, Duration) {
        let (inner, now) = (self.lock(), self.clock.now());
        let firsts = inner.lanes.iter().filter_map(VecDeque::front);
        let since = firsts.map(|waiter| waiter.since).min();
        let oldest = since.map_or(0, |since| now.micros.saturating_sub(since));
        (
            inner.lanes.iter().map(VecDeque::len).sum(),
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

// === impl Inner ===

impl Inner {
    fn configure(&mut self, app: &App) {
        if self.pace.as_ref().map(Pace::limit) != app.requests_per_minute {
            self.pace = app.requests_per_minute.map(Pace::new);
        }
        let minute = |window: &mut Option<Window>, limit: Option<NonZeroU32>| {
            let limit = limit.map(|limit| u64::from(limit.get()));
            match (window.as_mut(), limit) {
                (Some(window), Some(limit)) => window.set_limit(limit),
                (_, limit) => *window = limit.map(Window::new),
            }
        };
        minute(&mut self.requests, app.requests_per_minute);
        minute(&mut self.tokens, app.tokens_per_minute);
        self.day.set_limit(app.tokens_per_day.map(Into::into));
        self.concurrency = app.concurrency;
    }

    /// # Errors
    /// When the call alone is larger than an allowance.
    fn fits_at_all(&self, app: &App, ask: Ask) -> Result<(), Exceeded> {
        let limits = [
            (
                Kind::TokensPerMinute,
                self.tokens.as_ref().map(Window::limit),
            ),
            (Kind::TokensPerDay, self.day.limit()),
        ];
        for (kind, limit) in limits {
            if limit.is_some_and(|limit| ask.tokens > limit) {
                return Err(Exceeded {
                    app: Arc::clone(&app.name),
                    kind,
                    limit: limit.unwrap_or_default(),
                    asked: Some(ask.tokens),
                    retry_after: None,
                });
            }
        }
        Ok(())
    }

    /// Those whose turn is before that of a call, or of the waiter with this `ticket`.
    fn before(&self, ask: Ask, ticket: Option<u64>) -> Before {
        let own = &self.lanes[usize::from(ask.batch)];
        let above = if ask.batch { self.lanes[0].len() } else { 0 };
        let first = above == 0
            && own
                .front()
                .is_none_or(|waiter| Some(waiter.ticket) == ticket);
        if first {
            return Before::default();
        }
        let above = self.lanes[0].iter().take(above);
        let own = own
            .iter()
            .take_while(|waiter| Some(waiter.ticket) != ticket);
        above
            .chain(own)
            .fold(Before::default(), |sum, waiter| Before {
                calls: sum.calls + 1,
                tokens: sum.tokens.saturating_add(waiter.tokens),
            })
    }

    /// Whatever stands in the way of a call behind `before`; the kind is that of the longest wait.
    fn blocked(&mut self, tokens: u64, before: Before, now: Now) -> Option<Blocked> {
        let mut blocked: Option<Blocked> = None;
        let mut add = |kind, least: Duration, told: Duration| {
            if told.is_zero() {
                return;
            }
            let longest = blocked.as_ref().is_none_or(|b| b.told < Some(told));
            let sum = blocked.get_or_insert(Blocked {
                kind,
                least,
                told: Some(told),
            });
            sum.least = sum.least.max(least);
            if longest {
                (sum.kind, sum.told) = (kind, Some(told));
            }
        };
        if let Some(pace) = &self.pace {
            let wait = pace.wait(before.calls);
            add(Kind::RequestsPerMinute, wait, wait);
        }
        let (micros, unix) = (now.micros, now.unix);
        if let Some(window) = &mut self.requests {
            let wait = Duration::from_micros(window.wait(before.calls.into(), 1, micros));
            add(Kind::RequestsPerMinute, wait, wait);
        }
        // Those before are expected to give back as much as others did; those that run may give back all.
        let expected = (before.tokens as f64 * self.used_share) as u64;
        if let Some(window) = &mut self.tokens {
            let told = window.wait(before.tokens, tokens, micros);
            let least = window.least_wait(expected, tokens, micros);
            let [least, told] = [least, told].map(Duration::from_micros);
            add(Kind::TokensPerMinute, least, told);
        }
        let told = self.day.wait(before.tokens, tokens, unix);
        let least = self.day.least_wait(expected, tokens, unix);
        let [least, told] = [least, told].map(Duration::from_secs);
        add(Kind::TokensPerDay, least, told);
        let full = self
            .concurrency
            .is_some_and(|limit| self.running >= limit.get());
        match blocked {
            None if full => Some(Blocked {
                kind: Kind::Concurrency,
                least: Duration::ZERO,
                told: None,
            }),
            blocked => blocked,
        }
    }

    fn take(&mut self, from: &Arc<Allowance>, tokens: u64, now: Now) -> Taken {
        if let Some(pace) = &self.pace {
            pace.take();
        }
        if let Some(window) = &mut self.requests {
            let mark = window.reserve(1, now.micros);
            // A request is what it is: nothing of it is ever given back.
            window.settle(mark, 1, now.micros);
        }
        self.running += 1;
        Taken {
            from: Arc::clone(from),
            tokens,
            minute: self
                .tokens
                .as_mut()
                .map(|window| window.reserve(tokens, now.micros)),
            day: self.day.reserve(tokens, now.unix),
            settled: false,
        }
    }

    fn exceeded(&self, app: &App, kind: Kind, retry_after: Option<Duration>) -> Exceeded {
        let limit = match kind {
            Kind::RequestsPerMinute => self.requests.as_ref().map(Window::limit),
            Kind::TokensPerMinute => self.tokens.as_ref().map(Window::limit),
            Kind::TokensPerDay => self.day.limit(),
            Kind::Concurrency => self.concurrency.map(|limit| limit.get().into()),
        };
        Exceeded {
            app: Arc::clone(&app.name),
            kind,
            limit: limit.unwrap_or_default(),
            asked: None,
            retry_after,
        }
    }

    /// Of a call that only others in the line are in the way of.
    fn any_kind(&self) -> Kind {
        match (&self.requests, &self.tokens, self.day.limit()) {
            (Some(_), ..) => Kind::RequestsPerMinute,
            (_, Some(_), _) => Kind::TokensPerMinute,
            (.., Some(_)) => Kind::TokensPerDay,
            _ => Kind::Concurrency,
        }
    }

    fn wake_first(&self) {
        if let Some(waiter) = self.lanes.iter().find_map(VecDeque::front) {
            waiter.wake.notify_one();
        }
    }
}

// === impl Place ===

impl Place {
    /// Looks whether it is this call's turn.
    ///
    /// # Errors
    /// When it cannot come within `patience`.
    pub(super) fn turn(&self, app: &App, patience: Duration) -> Result<Turn, Exceeded> {
        let (mut inner, now) = (self.line.lock(), self.line.clock.now());
        // The numbers may be others by now.
        inner.fits_at_all(app, self.ask)?;
        let before = inner.before(self.ask, Some(self.ticket));
        let blocked = inner.blocked(self.ask.tokens, before, now);
        match blocked {
            None if before.calls == 0 => {
                Ok(Turn::Taken(inner.take(&self.line, self.ask.tokens, now)))
            }
            Some(blocked) if patience.is_zero() || blocked.least > patience => {
                Err(inner.exceeded(app, blocked.kind, blocked.told))
            }
            None if patience.is_zero() => Err(inner.exceeded(app, inner.any_kind(), None)),
            Some(blocked) if before.calls == 0 => Ok(Turn::Wait(blocked.told)),
            // Woken when it is the first.
            _ => Ok(Turn::Wait(None)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.line.lock();
        let ticket = self.ticket;
        let lane = &mut inner.lanes[usize::from(self.ask.batch)];
        if let Ok(index) = lane.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            lane.remove(index);
            if lane.is_empty() {
                *lane = VecDeque::new();
            }
        }
        inner.wake_first();
    }
}

// === impl Taken ===

impl Taken {
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
        let (mut inner, now) = (self.from.lock(), self.from.clock.now());
        inner.running = inner.running.saturating_sub(1);
        let used = actual.unwrap_or(self.tokens);
        if let (Some(window), Some(mark)) = (&mut inner.tokens, self.minute) {
            window.settle(mark, used, now.micros);
        }
        inner.day.settle(self.day, used, now.unix);
        if self.tokens > 0 && actual.is_some() {
            let share = (used as f64 / self.tokens as f64).min(1.0);
            inner.used_share += (share - inner.used_share) * LEARNING;
        }
        inner.wake_first();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.end(None);
    }
}
