//! How long a call would have to wait.

use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use crate::limits::{
    Bucket, Cost, Kind,
    bucket::{Room, Standing},
};

/// The first of many calls are refused before the first of them is answered; who has answered nobody for so long may be out of service.
const DEAF: Duration = Duration::from_secs(2);
/// A wait that follows from what the provider tells is that long, or so much less.
const SURE: f64 = 0.95;
const SURE_WITHIN: Duration = Duration::from_secs(1);
/// A limit that is only felt may be so many times as high, a short while after.
const FAR: u32 = 4;
/// A call with nowhere else to go stands in a line that would be passed in so many times what it has. Whoever is served in a long line is
/// served shortly before giving up, so that its chance is one in so many or better. Any line could be stood in: at the end of it
/// everybody would have waited in vain for as long as possible.
const CHANCE: u32 = 2;
/// Steps in which the time until a queue has passed is found.
const STEPS: u64 = 64;
const MOST_STEPS: u64 = 256;

impl Pool {
    /// How long a call waits that comes now, and for what; `Err`: forever. `ahead`: what goes before it.
    pub(in crate::limits) fn expected(
        &self,
        ahead: &Cost,
        cost: &Cost,
        standing: Standing,
        now: Instant,
    ) -> Result<(Duration, Kind), (Kind, u64)> {
        self.time_to(ahead, cost, standing, now, false)
    }

    /// The same if those under way and those `ahead` give back what is usual, and nobody else wants what would be left for others;
    /// `None`: never.
    pub(in crate::limits) fn least(
        &self,
        ahead: &Cost,
        cost: &Cost,
        now: Instant,
    ) -> Option<Duration> {
        let least = self.time_to(ahead, cost, Standing::First, now, true);
        least.ok().map(|(least, _)| least)
    }

    /// The same without anybody ahead, as far as that is certain: clocks and roundings differ by a little, and guesses by much.
    pub(in crate::limits) fn surely(&self, cost: &Cost, now: Instant) -> Option<Duration> {
        let ahead = Cost::default();
        let (least, kind) = self
            .time_to(&ahead, cost, Standing::First, now, true)
            .ok()?;
        // Of a day little comes back at a time: who waits for it in vain keeps those away who come nearer to it.
        if kind.is_long() {
            return Some(least);
        }
        let bucket = self.buckets.iter().find(|(other, _)| *other == kind);
        Some(match bucket {
            _ if self.refuses_all(now).is_some() => least,
            Some((_, bucket)) if bucket.is_felt() => least / FAR,
            Some((_, bucket)) if bucket.is_guessed() => least / 2,
            // What is set is held to by ourselves, to the instant.
            Some((_, bucket)) if bucket.is_set() => least,
            _ => least.mul_f64(SURE).saturating_sub(SURE_WITHIN),
        })
    }

    /// The provider has refused everybody for some seconds and let nobody in: the wait that it tells each time. Who tells none may
    /// count over a minute, and let in those who wait for its end.
    pub(in crate::limits) fn refuses_all(&self, now: Instant) -> Option<Duration> {
        let (_, told) = self.refuses.filter(|(since, _)| now >= *since + DEAF)?;
        let told = told.filter(|told| !told.is_zero())?;
        let mut abiding = self.abiding;
        (!abiding.any(now)).then_some(told)
    }

    /// How many times what it has a call may wait that can go nowhere else.
    pub(in crate::limits) fn chance(&self, now: Instant) -> u32 {
        if self.refuses_all(now).is_some() {
            return 1;
        }
        let mut buckets = self.buckets.iter();
        match buckets.any(|(_, bucket)| bucket.is_felt()) {
            true => FAR,
            false => CHANCE,
        }
    }

    fn time_to(
        &self,
        ahead: &Cost,
        cost: &Cost,
        standing: Standing,
        now: Instant,
        hopeful: bool,
    ) -> Result<(Duration, Kind), (Kind, u64)> {
        let mut longest = (Duration::ZERO, Kind::Requests);
        if let Some(wait) = self.cold.and_then(|cold| cold.wait(now)) {
            longest = (wait, Kind::Concurrency);
        }
        for (kind, bucket) in &self.buckets {
            let amount = cost.of(*kind);
            if amount == 0 {
                continue;
            }
            let later = hopeful.then(|| bucket.given_back(now)).flatten();
            let share = if hopeful { bucket.used_share() } else { 1.0 };
            let before = (ahead.of(*kind) as f64 * share) as u64;
            let wait = passes(
                later.as_ref().unwrap_or(bucket),
                before,
                amount,
                standing,
                now,
            )
            .map_err(|limit| (*kind, limit))?;
            if wait > longest.0 {
                longest = (wait, *kind);
            }
        }
        if let Some(told) = self.refuses_all(now).filter(|_| !longest.1.is_long()) {
            if hopeful {
                // Each of those ahead is refused as well, and told to wait, before it is this one's turn.
                let ahead = u32::try_from(ahead.requests).unwrap_or(u32::MAX);
                longest.0 = longest.0.saturating_add(told.saturating_mul(ahead));
            } else {
                // Who is sent away is told the provider's own time: it may answer by then, and no better guess is known.
                longest.0 = longest.0.min(told);
            }
        }
        Ok(longest)
    }

    /// How long until a place is free, if calls go on to take as long as they did. `limit`: all places; `before`: those who
    /// wait for one.
    pub(in crate::limits) fn place_free(&self, limit: u32, before: usize) -> Duration {
        let rounds = (before + 1) as f64 / f64::from(limit.max(1));
        self.lasts.mul_f64(rounds).max(Duration::from_millis(1))
    }
}

/// When `amount` passes after `ahead` has.
fn passes(
    bucket: &Bucket,
    ahead: u64,
    amount: u64,
    standing: Standing,
    now: Instant,
) -> Result<Duration, u64> {
    let mut bucket = bucket.clone();
    // First of all: whether it fits at all.
    match bucket.ask(amount, standing, now) {
        Room::Never(limit) => return Err(limit),
        Room::Now if ahead == 0 => return Ok(Duration::ZERO),
        Room::In(wait) if ahead == 0 => return Ok(wait),
        Room::Now | Room::In(_) => {}
    }
    let limit = bucket.limit().unwrap_or(u64::MAX);
    let step = (limit / STEPS)
        .max(ahead / MOST_STEPS)
        .min(limit / 2)
        .max(1);
    let (mut left, mut at, mut steps) = (ahead, now, 0);
    while left > 0 && steps < 2 * MOST_STEPS {
        let next = step.min(left);
        match bucket.ask(next, Standing::First, at) {
            Room::Now => {}
            Room::In(wait) => at += wait,
            Room::Never(_) => break,
        }
        bucket.take(next, at);
        (left, steps) = (left - next, steps + 1);
    }
    if let Room::In(wait) = bucket.ask(amount, standing, at) {
        at += wait;
    }
    Ok(at.saturating_duration_since(now))
}
