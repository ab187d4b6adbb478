//! A bucket shown to people, and kept for the next run.

use std::time::Duration;

use tokio::time::Instant;

use super::{Bucket, Count, Guess, Pace};
use crate::limits::{BucketView, SavedBucket, Source};

/// What was learnt of a limit is worth remembering for so many seconds.
const REMEMBERED: u64 = 7 * 86_400;

impl Bucket {
    /// For people; `None` while nothing is known.
    pub fn view(&mut self, now: Instant) -> Option<BucketView> {
        let facts = self.facts();
        let (limit, law) = (facts.most?, facts.law);
        let level = self
            .count
            .as_mut()
            .zip(law)
            .map(|(count, law)| count.level(law, now));
        let in_window = facts.strict.then_some(()).and(self.ring.as_mut());
        let in_window = in_window.map(|ring| limit - ring.sum(now) as f64);
        let remaining = level
            .unwrap_or(limit)
            .min(in_window.unwrap_or(limit))
            .clamp(0.0, limit);
        let full_in = match (self.count.as_mut(), law) {
            (Some(count), Some(law)) => count.full_in(law, now),
            _ => Duration::from_secs_f64(
                (limit - remaining) / limit.max(1.0) * self.window.as_secs_f64(),
            ),
        };
        let burst = self.shape(now).map_or(limit, |shape| {
            self.pace
                .get_or_insert_with(|| Pace::new(shape, now))
                .burst()
        });
        Some(BucketView {
            kind: self.kind,
            capacity: limit as u64,
            remaining: remaining as u64,
            source: facts.source,
            burst: burst.min(limit) as u64,
            foreign_share: self.foreign_share(),
            reserved: self.reserved,
            full_in_seconds: (full_in.as_secs_f64() * 1e3).round() / 1e3,
        })
    }

    /// What others take of the provider's limit, 0 to 1.
    pub fn foreign_share(&self) -> Option<f64> {
        let law = self.law()?;
        self.foreign.share(law.rate, law.limit)
    }

    /// For the next run; `None`: nothing worth keeping. `unix`: seconds since 1970.
    pub fn saved(&mut self, now: Instant, unix: u64) -> Option<SavedBucket> {
        let (limit, source) = self.learnt()?;
        let law = self.law()?;
        let level = self.count.as_mut().map(|count| count.level(law, now));
        let sum = self.ring.as_mut().map_or(0, |ring| ring.sum(now)) as f64;
        Some(SavedBucket {
            kind: self.kind,
            limit: limit as u64,
            source,
            burst: self.pace.as_ref().and_then(Pace::learnt),
            used: level.map_or(sum, |level| (law.limit - level).max(0.0)),
            foreign_share: self.foreign_share(),
            heard_at: unix,
        })
    }

    /// What the last run learnt. Too old, it is forgotten.
    pub fn restore(&mut self, saved: &SavedBucket, now: Instant, unix: u64) {
        self.stale();
        let passed = unix.saturating_sub(saved.heard_at);
        if passed > REMEMBERED || saved.limit == 0 {
            return;
        }
        let limit = saved.limit as f64;
        self.remembered = true;
        match saved.source {
            Source::Tried | Source::Refusal => {
                self.guess = Some(match saved.source {
                    Source::Tried => Guess::restored(limit, now),
                    _ => Guess::known(limit, now),
                });
                if saved.source == Source::Refusal {
                    self.text = Some((limit, None, now));
                }
            }
            _ => self.told = Some(limit),
        }
        let Some(law) = self.law() else { return };
        let left = limit - (saved.used - law.rate * passed as f64).max(0.0);
        if !law.fixed && (self.kind.is_long() || self.told.is_some()) {
            self.count = Some(Count::restored(left, now));
        }
        if let Some(share) = saved.foreign_share.filter(|_| passed < 3_600) {
            self.foreign.restore(share * law.rate, law.limit);
        }
        if let (Some(burst), Some(shape)) = (saved.burst, self.shape(now)) {
            let pace = self.pace.get_or_insert_with(|| Pace::new(shape, now));
            pace.restore(burst, shape, now);
        }
    }
}
