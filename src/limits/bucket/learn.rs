//! What replies and refusals teach a bucket.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Bucket, Count, Foreign, Guess, HELD, LARGEST, Look, Mark, Pace, Past, Refusal, Reopened,
    Shutter, TELLING, TEXT_HOLDS, Window, guess,
};
use crate::limits::heard::Reading;

impl Bucket {
    /// A reply to the call that took `mark` tells this.
    pub fn heard(&mut self, mark: Mark, reading: &Reading, now: Instant) {
        self.stale();
        if let Some(window) = reading.window.filter(|window| !window.is_zero()) {
            self.lasts(window, now);
        }
        let limit = reading.limit.filter(|limit| (1..=LARGEST).contains(limit));
        let limit = limit.map(|limit| limit as f64);
        if let Some(limit) = limit
            && self
                .count
                .as_ref()
                .is_none_or(|count| count.heard_at() <= mark.at)
        {
            if self.told != Some(limit) {
                self.foreign.again();
            }
            self.told = Some(limit);
            (self.remembered, self.untold) = (false, 0);
            let stale = |at: Instant| now.saturating_duration_since(at) > TEXT_HOLDS;
            self.text = self.text.filter(|(_, _, at)| !stale(*at));
        }
        let (Some(law), Some(remaining)) = (self.law(), reading.remaining) else {
            return;
        };
        let taken = self.charged_since(mark);
        match &mut self.count {
            Some(count) => count.hear(law, mark, reading, taken, now),
            None => self.count = Count::new(law, mark, reading, taken, now),
        }
        if !self.kind.is_long()
            && !self.refills()
            && let Some(length) = self.span.hear(
                mark,
                remaining as f64,
                reading.reset,
                law.limit,
                self.window,
            )
        {
            self.lasts(length, now);
        }
        if self.span.is_longer(self.window) {
            self.lasts(self.kind.window(), now);
        }
        let slides = self.count.as_ref().is_some_and(|count| count.slides(law));
        if !self.kind.is_long() && !slides {
            self.foreign.look(Look {
                mark: self.as_charged(mark),
                remaining: remaining as f64,
                limit: law.limit,
                // Before that is certain, a window that gives nothing back until its end would look like a stranger.
                refill: if self.refills() { law.rate } else { 0.0 },
                rounding: f64::from(reading.rounding),
                held: self
                    .wanted
                    .is_some_and(|wanted| now.saturating_duration_since(wanted) < HELD),
            });
        }
    }

    /// The provider refused the call that took `mark`, for this limit, and what its reply's head told was heard. Whether it had room, as
    /// far as anybody knew. The caller settles too.
    pub fn refused(&mut self, mark: Mark, refusal: &Refusal, now: Instant) -> bool {
        self.stale();
        let amount = refusal.requested.map_or(mark.amount as f64, |n| n as f64);
        if self.limit().is_none() {
            self.first_told = Some(now);
        }
        let refusal = &Refusal {
            limit: refusal.limit.filter(|limit| (1..=LARGEST).contains(limit)),
            ..*refusal
        };
        if let Some(limit) = refusal.limit {
            self.text = Some((limit as f64, self.told, now));
            self.remembered = false;
        }
        let (limit, used) = (refusal.limit, refusal.used);
        let numbers = limit
            .zip(used)
            .map(|(limit, used)| limit as f64 - used as f64);
        let law = self.law();
        // What was left there, this call not counted.
        let left = numbers.or_else(|| {
            let count = self.count.as_mut()?;
            let heard = count.heard_at() == mark.at;
            heard
                .then(|| law.map(|law| count.level(law, now)))
                .flatten()
        });
        if let (Some(law), Some(used)) = (law, used) {
            let count = self
                .count
                .get_or_insert_with(|| Count::restored(law.limit, mark.at));
            let told = refusal
                .requested
                .map(|n| n as f64)
                .zip(refusal.wait)
                .filter(|_| limit.is_some());
            count.refused(law, mark, used as f64, told, self.taken, now);
        } else if let Some(law) = law
            && self.kind.is_long()
        {
            // A day is over: nothing is left until it is told to come back.
            let count = self.count.get_or_insert_with(|| Count::restored(0.0, now));
            count.empty(law, now, refusal.wait);
        }
        self.try_upwards(mark, refusal, now);
        if self.span.refused() {
            self.lasts(self.kind.window(), now);
        }
        let empty = left.is_some_and(|left| left < amount);
        // Where nobody tells by which law it comes back, the told time is the end of a window: of a bucket that refills refusals tell
        // all numbers, or headers do. Refused as soon as that was over, it was not.
        let over = |at| mark.at >= at && self.answered.is_none_or(|answered| answered < at);
        self.no_end |= self.renewed.is_some_and(over);
        let ends = self.told.is_none()
            && limit.is_some()
            && refusal.requested.is_none()
            && !(self.kind.is_long() || self.refills() || self.no_end);
        if let Some(wait) = refusal.wait.filter(|_| numbers.is_none() || !empty || ends) {
            self.renews |= ends;
            let longest = self.window + self.window / 10;
            let until = now + wait.min(longest);
            self.blocked = Some(self.blocked.map_or(until, |blocked| blocked.max(until)));
        }
        // Of whom nothing was known nothing was expected.
        let first = limit.is_some() && self.first_told.is_some_and(|at| mark.at <= at);
        if empty || first || self.kind.is_long() {
            return false;
        }
        let Some(shape) = self.shape(now) else {
            return false;
        };
        let felt = self.is_felt();
        let pace = self.pace.get_or_insert_with(|| Pace::new(shape, now));
        // Where the smallest burst was too much the guess is lower already: easing its rate as well would be too much of it.
        if felt && pace.is_least(shape) {
            return true;
        }
        pace.surprised(mark.at, shape, now)
    }

    /// What we reserved, and what was charged beyond it since `mark`.
    pub(super) fn charged_since(&self, mark: Mark) -> u64 {
        let more = self.corrected - mark.corrected;
        if self.produced {
            // What was under way then was in no count, and is charged by now or will be.
            let charged = self.taken.saturating_add(mark.under_way) as f64 + more;
            return charged.max(0.0) as u64;
        }
        let more = more.max(0.0);
        let charged = if self.peek().surcharge > 0.0 {
            more
        } else {
            0.0
        };
        self.taken.saturating_add(charged as u64)
    }

    /// Where the provider stood when it let that call in, of what it had charged by then.
    fn as_charged(&self, mark: Mark) -> Mark {
        let under_way = if self.produced { mark.under_way } else { 0 };
        Mark {
            after: mark.after.saturating_sub(under_way),
            ..mark
        }
    }

    /// The provider's window has ended: what went before does not count any more.
    pub(super) fn renew(&mut self, now: Instant) {
        self.stale();
        self.renewed = Some(now);
        self.ring = (!self.kind.is_long()).then(|| Window::new(self.window, now));
        self.count = self.count.take().filter(Count::is_by_headers);
    }

    /// The window has this length.
    pub(super) fn lasts(&mut self, window: Duration, now: Instant) {
        if window != self.window {
            self.stale();
            self.window = window;
            self.ring = (!self.kind.is_long()).then(|| Window::new(window, now));
            self.foreign.again();
        }
    }

    /// The last run was told a limit, and this one is not: it may be another one by now.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.stale();
        self.remembered = false;
        let Some(told) = self.told.take() else { return };
        (self.count, self.foreign) = (None, Foreign::default());
        // Of a day nothing is found by trying.
        self.guess = (!self.kind.is_long()).then(|| Guess::known(told, now));
    }

    /// A limit that no header tells is tried upwards, from what is known of it.
    pub(super) fn try_upwards(&mut self, mark: Mark, refusal: &Refusal, now: Instant) {
        if self.told.is_some() || self.kind.is_long() {
            return;
        }
        if let Some(limit) = refusal.limit {
            let limit = limit as f64;
            let same = self.guess.is_some_and(|guess| guess.begun_at(limit));
            match &mut self.guess {
                Some(guess) if same => guess.too_high(mark.at, now),
                _ => self.guess = Some(Guess::known(limit, now)),
            }
            self.trial.forget();
            return;
        }
        let window = self.window.as_secs_f64();
        let length = self.window;
        let lately = self
            .refused_lately
            .get_or_insert_with(|| Window::new(length, mark.at));
        let before = mark.before.saturating_sub(lately.sum(now));
        lately.take(mark.amount, now);
        let taken = (mark.after - mark.amount).saturating_sub(self.refused);
        self.refused = self.refused.saturating_add(mark.amount);
        let refused = guess::Refused {
            sent: mark.at,
            taken: taken as f64,
            within: before as f64,
            wanted: self.wanted.is_some_and(|wanted| wanted + HELD >= mark.at),
        };
        // Who refuses from the beginning has other reasons than what we send.
        let serves = self
            .answered
            .is_some_and(|at| now.saturating_duration_since(at) <= length);
        // Nothing was answered since the guess was made: those under way were refused as well, and it was none.
        let none = self
            .guess
            .is_some_and(|guess| refused.sent > guess.changed());
        if !serves && none {
            (self.guess, self.only_refuses) = (None, true);
            self.trial.forget();
        }
        if self.only_refuses || (self.guess.is_none() && refused.within < TELLING) {
            return;
        }
        let past = self.past(now);
        match &mut self.guess {
            // One that only went to see measures nothing.
            Some(guess) if self.trial.is_there(mark.after) => guess.pays(),
            Some(guess) => guess.refused(refused, window, now),
            None => {
                self.sure = serves;
                let most = past.most(Duration::ZERO).unwrap_or_default() * window;
                self.guess = Some(Guess::new(refused, most, now));
            }
        }
        let rate = self.peek().most.unwrap_or(1.0) / window.max(1e-3) / (mark.amount.max(1) as f64);
        let per = Duration::from_secs_f64((1.0 / rate.max(1e-3)).min(60.0));
        self.trial.shut(
            (mark.after, mark.amount, mark.at),
            refusal.wait,
            (per, past),
            now,
        );
    }

    /// What was refused was not refused for the rate: what was guessed of it is wrong.
    pub(in crate::limits) fn not_the_rate(&mut self) {
        if self.is_felt() {
            self.guess = None;
            self.stale();
            self.trial.forget();
        }
    }

    /// When a call may go that is to see whether the provider answers again; `None`: it does.
    pub(super) fn shut(&mut self, now: Instant) -> Option<Duration> {
        match self.trial.look(now) {
            Shutter::Open => None,
            Shutter::Wait(wait) => Some(wait),
            Shutter::Reopened(reopened) => {
                self.reopened(reopened, now);
                None
            }
        }
    }

    /// It does.
    pub(super) fn reopened(&mut self, shut: Reopened, now: Instant) {
        self.stale();
        let (window, passed) = (self.window.as_secs_f64(), self.passed());
        let found = shut.past.most(shut.lasted).map(|most| most * window);
        // It gives back one call in that time at least.
        let one = (self.taken as f64 / self.sent.max(1) as f64) * window;
        let open = now.saturating_duration_since(shut.since).as_secs_f64();
        let least = shut.past.all().max(one / open.max(0.1));
        if let Some(guess) = &mut self.guess {
            guess.reopened(found, (shut.lasted, least), passed, now);
        }
    }

    /// What passed since the beginning.
    pub(super) fn passed(&self) -> f64 {
        self.taken.saturating_sub(self.refused) as f64
    }

    /// The limit is only felt: no number of it was ever told.
    pub(in crate::limits) fn is_felt(&self) -> bool {
        self.told.is_none() && self.guess.is_some_and(|guess| guess.is_felt())
    }

    /// What passed lately, up to now.
    fn past(&mut self, now: Instant) -> Past {
        let (Some(ring), Some(lately)) = (&mut self.ring, &mut self.refused_lately) else {
            return Past::new(|_| 0.0);
        };
        Past::new(|age| {
            let from = now.checked_sub(Duration::from_secs_f32(age));
            from.map_or(0.0, |from| {
                (ring.since(from, now) - lately.since(from, now)).max(0.0)
            })
        })
    }
}
