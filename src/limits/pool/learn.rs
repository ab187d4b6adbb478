//! What replies and refusals teach a pool, and what the last run learnt.

use std::time::SystemTime;

use tokio::time::Instant;

use super::{Pool, Taken, unix};
use crate::{
    limits::{Kind, Reading, RefusalView, SavedPool, bucket::Refusal, concurrency::Why},
    triage::Class,
};

impl Pool {
    /// The head of the reply to a call tells this.
    pub(in crate::limits) fn heard<'a>(
        &mut self,
        taken: &mut Taken,
        readings: impl Iterator<Item = &'a Reading>,
        now: Instant,
    ) {
        for reading in readings {
            if reading.kind == Kind::Concurrency {
                self.told = reading.limit.and_then(|limit| u32::try_from(limit).ok());
                continue;
            }
            self.heard |= reading.limit.is_some() || reading.remaining.is_some();
            if self.heard {
                self.cold = None;
            }
            let mark = self.mark(taken, reading.kind, now);
            self.bucket(reading.kind, now).heard(mark, reading, now);
        }
    }

    /// The provider answered.
    pub(in crate::limits) fn answered(&mut self, taken: &Taken, now: Instant) {
        self.refuses = None;
        self.cold = None;
        self.overloads.answered(taken.among, now);
        self.concurrency.took(taken.among, now);
        self.concurrency.answered(taken.at, self.inflight, now);
        let places = self
            .places(now)
            .filter(|_| self.concurrency.is_doubted(now));
        // What so many calls at once would come to, each as long as calls are.
        let turns = places.map(|places| f64::from(places) / self.lasts.as_secs_f64().max(1e-3));
        for (kind, bucket) in &mut self.buckets {
            let Some(mark) = taken.mark(*kind) else {
                continue;
            };
            bucket.answered(mark, now);
            if let Some(turns) = turns {
                bucket.doubted(mark, turns, now);
            }
        }
    }

    /// The provider refused a call for `kind`; `None`: it does not say for what, or for the number of calls under way. Whether
    /// there was room, as far as anybody knew.
    pub(in crate::limits) fn refused(
        &mut self,
        taken: &mut Taken,
        (class, kind): (Class, Option<Kind>),
        refusal: &Refusal,
        why: Why,
        now: Instant,
    ) -> bool {
        let since = self.refuses.map_or(now, |(since, _)| since);
        self.refuses = Some((since, refusal.wait));
        // Whoever has only refused so far is as unknown as before.
        self.cold = self.cold.map(|cold| cold.refused(taken.at));
        let numbers = refusal.limit.is_some() || refusal.used.is_some() || refusal.wait.is_some();
        let told = refusal
            .limit
            .filter(|_| kind == Some(Kind::Concurrency))
            .and_then(|limit| u32::try_from(limit).ok());
        let kind = kind.filter(|kind| *kind != Kind::Concurrency);
        // Nothing was told: of the number of calls or of their rate.
        let doubtful = kind.is_some() && !numbers && !self.heard && why == Why::Limit;
        let number = doubtful && {
            let among = (taken.among, self.inflight.saturating_sub(1));
            self.concurrency.doubtful(taken.at, among, now)
        };
        let surprise = kind.is_some_and(|kind| {
            let mark = self.mark(taken, kind, now);
            let bucket = self.bucket(kind, now);
            if number {
                bucket.not_the_rate();
                return false;
            }
            bucket.refused(mark, refusal, now)
        });
        if let Some(told) = told {
            self.concurrency.told(taken.at, told, now);
        } else if kind.is_none() || (!numbers && !self.heard && !doubtful) {
            // Those who went before it count, and not those who have ended or come since.
            let left = self.inflight.saturating_sub(1);
            let among = match why {
                Why::Limit => taken.among,
                Why::Overload | Why::SlowDown => self.inflight,
            };
            if why != Why::Overload || !self.overloads.refused(taken.among, now) {
                self.concurrency.refused(taken.at, (among, left), why, now);
            }
        }
        if !class.is_rate_limit() {
            return surprise;
        }
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        self.last_refusal = Some(RefusalView {
            at,
            class: class.as_str().to_owned(),
            told_wait_seconds: refusal.wait.map(|wait| wait.as_secs_f64()),
            surprise,
        });
        surprise
    }

    /// The text of a refusal tells a limit, and nothing of what is left of it.
    pub(in crate::limits) fn told_limit(
        &mut self,
        taken: &mut Taken,
        kind: Kind,
        limit: u64,
        now: Instant,
    ) {
        if kind == Kind::Concurrency {
            return;
        }
        let reading = Reading {
            kind,
            limit: Some(limit),
            remaining: None,
            reset: None,
            window: None,
            rounding: 1,
        };
        let mark = self.mark(taken, kind, now);
        if self.limit_of(kind).is_none() {
            self.bucket(kind, now).heard(mark, &reading, now);
        }
    }

    /// The bucket that a refusal of this class is for, where it does not say.
    pub(in crate::limits) fn kind_of(&self, class: Class) -> Option<Kind> {
        let choices: &[Kind] = match class {
            Class::RateLimitedRequests => &[Kind::Requests, Kind::ProjectRequests],
            Class::RateLimitedTokens => &[
                Kind::Tokens,
                Kind::InputTokens,
                Kind::OutputTokens,
                Kind::ProjectTokens,
            ],
            Class::RateLimitedImages => &[Kind::Images],
            Class::RateLimitedDay => &[
                Kind::RequestsPerDay,
                Kind::TokensPerDay,
                Kind::TokensPerMonth,
            ],
            _ => return None,
        };
        let known = choices.iter().find(|kind| self.limit_of(**kind).is_some());
        known.or(choices.first()).copied()
    }

    /// What the last run learnt.
    pub(in crate::limits) fn restore(&mut self, saved: &SavedPool, now: Instant) {
        let unix = unix();
        for bucket in &saved.buckets {
            self.bucket(bucket.kind, now).restore(bucket, now, unix);
        }
        if let Some(limit) = saved.concurrency {
            self.concurrency.restore(limit, now);
        }
        self.calibration = saved.calibration;
        if self.knows_limits() {
            self.cold = None;
        }
    }
}
