//! One app's books: its numbers, what is used of them, who waits, and what stands in a call's way.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    AllowanceView, Exceeded, Kind,
    clock::Now,
    day::{self, Day},
    pace::{Pace, burst},
    window::{self, Window},
};
use crate::config::{App, OnLimit};

/// How fast the share of its reservations that an app really uses is learnt.
const LEARNING: f64 = 0.1;

/// One app's numbers, what is used of them, and who waits. Plain data; the time comes in as an argument.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) pace: Option<Pace>,
    pub(super) requests: Option<Window>,
    pub(super) tokens: Option<Window>,
    pub(super) day: Day,
    pub(super) concurrency: Option<NonZeroU32>,
    pub(super) running: u32,
    /// Interactive, batch.
    pub(super) lanes: [VecDeque<Waiter>; 2],
    pub(super) tickets: u64,
    /// Of what is reserved, the share that is used in the end.
    pub(super) used_share: f64,
    /// How long a call takes, in microseconds.
    pub(super) lasts: f64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) tokens: u64,
    pub(super) since: u64,
    pub(super) wake: Arc<Notify>,
}

/// What one call takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) tokens: u64,
    pub(super) batch: bool,
}

/// What was reserved for a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// When, in microseconds.
    at: u64,
    tokens: u64,
    minute: Option<window::Mark>,
    day: day::Mark,
}

/// Why a call cannot go now.
pub(super) struct Blocked {
    pub(super) kind: Kind,
    /// No sooner than this, whatever is given back.
    pub(super) least: Duration,
    /// Then, if nothing is given back; `None`: nobody knows.
    pub(super) told: Option<Duration>,
    /// The same for all but tokens of the minute.
    pub(super) other: Duration,
}

/// Who goes first.
#[derive(Clone, Copy, Default)]
pub(super) struct Before {
    pub(super) calls: u32,
    pub(super) tokens: u64,
}

// === impl Books ===

impl Books {
    /// Full ones.
    pub(super) fn new(app: &App) -> Self {
        let mut books = Self {
            pace: None,
            requests: None,
            tokens: None,
            day: Day::default(),
            concurrency: None,
            running: 0,
            lanes: Default::default(),
            tickets: 0,
            used_share: 1.0,
            lasts: 0.0,
        };
        books.configure(app);
        books
    }

    pub(super) fn configure(&mut self, app: &App) {
        // Who may wait is spread over the minute. Who may not would only be refused by that, with most of the quota left.
        let paced = app
            .requests_per_minute
            .filter(|_| app.on_limit == OnLimit::Wait);
        if self.pace.as_ref().map(Pace::limit) != paced {
            self.pace = paced.map(Pace::new);
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
    pub(super) fn fits_at_all(&self, app: &App, ask: Ask) -> Result<(), Exceeded> {
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
    pub(super) fn before(&self, ask: Ask, ticket: Option<u64>) -> Before {
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
        above.chain(own).fold(Before::default(), Before::and)
    }

    /// Whatever stands in the way of a call behind `before`; the kind is that of the longest wait.
    pub(super) fn blocked(&mut self, tokens: u64, before: Before, now: Now) -> Option<Blocked> {
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
                other: Duration::ZERO,
            });
            if kind != Kind::TokensPerMinute {
                sum.other = sum.other.max(told);
            }
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
                other: Duration::ZERO,
            }),
            blocked => blocked,
        }
    }

    /// When a call that is rejected now may come again: calls under way give room back as others did, when they have lasted as long.
    pub(super) fn again(&mut self, tokens: u64, blocked: &Blocked, now: Now) -> Option<Duration> {
        let told = blocked.told?;
        if blocked.kind != Kind::TokensPerMinute || self.running == 0 || self.lasts <= 0.0 {
            return Some(told);
        }
        let back = 1.0 - self.used_share;
        let window = self.tokens.as_mut()?;
        let likely = Duration::from_micros(window.likely_wait(back, tokens, now.micros));
        let over = Duration::from_micros(self.lasts as u64);
        Some(told.min(likely.max(over).max(blocked.other)))
    }

    /// Takes what a call needs; nothing is in its way.
    pub(super) fn reserve(&mut self, tokens: u64, now: Now) -> Marks {
        if let Some(pace) = &self.pace {
            pace.take();
        }
        if let Some(window) = &mut self.requests {
            let mark = window.reserve(1, now.micros);
            // A request is what it is: nothing of it is ever given back.
            window.settle(mark, 1, now.micros);
        }
        self.running += 1;
        let minute = self.tokens.as_mut();
        Marks {
            at: now.micros,
            tokens,
            minute: minute.map(|window| window.reserve(tokens, now.micros)),
            day: self.day.reserve(tokens, now.unix),
        }
    }

    /// A call has ended; `None`: what it used is not known.
    pub(super) fn settle(&mut self, marks: Marks, actual: Option<u64>, now: Now) {
        self.running = self.running.saturating_sub(1);
        let used = actual.unwrap_or(marks.tokens);
        if let (Some(window), Some(mark)) = (&mut self.tokens, marks.minute) {
            window.settle(mark, used, now.micros);
        }
        self.day.settle(marks.day, used, now.unix);
        if marks.tokens > 0 && actual.is_some() {
            let share = (used as f64 / marks.tokens as f64).min(1.0);
            self.used_share += (share - self.used_share) * LEARNING;
            let lasted = now.micros.saturating_sub(marks.at) as f64;
            let known = if self.lasts > 0.0 { self.lasts } else { lasted };
            self.lasts = known + (lasted - known) * LEARNING;
        }
    }

    pub(super) fn exceeded(
        &self,
        app: &App,
        kind: Kind,
        retry_after: Option<Duration>,
    ) -> Exceeded {
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

    /// Each number that is set, and how far it is used.
    pub(super) fn views(&mut self, now: Now) -> Vec<AllowanceView> {
        let waiting = self.lanes.iter().flatten();
        let line = waiting.fold(Before::default(), Before::and);
        let mut views = Vec::new();
        let paced = self.pace.as_ref().map(|pace| burst(pace.limit()));
        let mut add = |kind: Kind, quota: u64, used: u64, next: Option<Duration>| {
            let paced = paced.filter(|_| kind == Kind::RequestsPerMinute);
            views.push(AllowanceView {
                kind: kind.as_str().to_owned(),
                quota,
                used,
                remaining: quota.saturating_sub(used),
                burst: paced.map_or(quota, |burst| burst.get().into()),
                next_in_seconds: next.map(|next| next.as_secs_f64()),
            });
        };
        if let Some(window) = &mut self.requests {
            window.tidy(now.micros);
            let (limit, used) = (window.limit(), window.used(now.micros));
            let room = Duration::from_micros(window.wait(line.calls.into(), 1, now.micros));
            let turn = self.pace.as_ref().map(|pace| pace.wait(line.calls));
            let next = room.max(turn.unwrap_or_default());
            add(Kind::RequestsPerMinute, limit, used, Some(next));
        }
        if let Some(window) = &mut self.tokens {
            window.tidy(now.micros);
            let (limit, used) = (window.limit(), window.used(now.micros));
            let next = Duration::from_micros(window.wait(line.tokens, 1, now.micros));
            add(Kind::TokensPerMinute, limit, used, Some(next));
        }
        if let Some(limit) = self.day.limit() {
            let next = Duration::from_secs(self.day.wait(line.tokens, 1, now.unix));
            add(
                Kind::TokensPerDay,
                limit,
                self.day.used(now.unix),
                Some(next),
            );
        }
        if let Some(limit) = self.concurrency {
            let next = (self.running < limit.get() && line.calls == 0).then_some(Duration::ZERO);
            add(
                Kind::Concurrency,
                limit.get().into(),
                self.running.into(),
                next,
            );
        }
        views
    }

    /// Of a call that only others in the line are in the way of.
    pub(super) fn any_kind(&self) -> Kind {
        match (&self.requests, &self.tokens, self.day.limit()) {
            (Some(_), ..) => Kind::RequestsPerMinute,
            (_, Some(_), _) => Kind::TokensPerMinute,
            (.., Some(_)) => Kind::TokensPerDay,
            _ => Kind::Concurrency,
        }
    }

    pub(super) fn wake_first(&self) {
        if let Some(waiter) = self.lanes.iter().find_map(VecDeque::front) {
            waiter.wake.notify_one();
        }
    }
}

// === impl Before ===

impl Before {
    fn and(self, waiter: &Waiter) -> Self {
        Self {
            calls: self.calls + 1,
            tokens: self.tokens.saturating_add(waiter.tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::breaker::tests::support::app;

    /// Went wrong: a minute was told, although the calls under way were to give most of their room back within a tenth of a second.
    #[test]
    fn who_is_rejected_is_told_when_calls_under_way_are_expected_to_give_room_back() {
        let app = app(1, [0, 1_000, 0]);
        let mut books = Books::new(&app);
        let at = |ms: u64| Now {
            micros: ms * 1_000,
            unix: 0,
        };
        let rejected = |books: &mut Books, ms| {
            let blocked = books.blocked(400, Before::default(), at(ms)).unwrap();
            books.again(400, &blocked, at(ms)).unwrap()
        };
        // Nothing is known yet of how long a call takes and what it uses.
        let marks = [(); 2].map(|()| books.reserve(400, at(0)));
        assert_eq!(rejected(&mut books, 10), Duration::from_millis(59_990));
        for marks in marks {
            books.settle(marks, Some(4), at(100));
        }
        for n in 0..40 {
            let marks = books.reserve(400, at(200 * n));
            books.settle(marks, Some(4), at(200 * n + 100));
        }
        let _under_way = [(); 2].map(|()| books.reserve(400, at(8_000)));
        assert_eq!(rejected(&mut books, 8_010), Duration::from_millis(100));
        // Where calls use what they have reserved, nothing comes back.
        books.used_share = 1.0;
        assert!(rejected(&mut books, 8_010) > Duration::from_secs(50));
    }
}
