//! The models of an account that share limits: their buckets, and who waits for them.
//!
//! Plain data under the account's lock. What a call takes is marked in every bucket, all or nothing.

mod expect;
mod learn;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    Bucket, Calibration, ConcurrencyView, Cost, Kind, QueueView, RefusalView,
    abiding::{Abiding, Begun},
    bucket::{Mark, Room, Standing},
    concurrency::Concurrency,
    overload::Overloads,
    patience::Patience,
    queue::{AppRef, Lane, Queue},
    waiter::{Timer, Waiting},
};
use crate::{
    config::{self, Limit},
    triage::{DayReset, Provider},
};

/// Requests that may be sent to a provider of which nothing is known, before it has answered any: so many, and twice as
/// many after each step of time. A refusal is heard before hundreds more follow.
const COLD: f64 = 20.0;
/// The same after it has refused, and still not answered anybody: whether it does now is found out by few.
const REFUSED: f64 = 2.0;
const COLD_STEP: Duration = Duration::from_millis(100);
/// Model names shown.
const MOST_MODELS: usize = 32;
/// What is told when nobody can know how long others take.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: Arc<str>,
    pub(super) models: Vec<Arc<str>>,
    pub(super) buckets: Vec<(Kind, Bucket)>,
    reset: DayReset,
    /// Output is charged when it is produced.
    produced: bool,
    set: config::Limits,
    pub(super) calibration: Calibration,
    pub(super) concurrency: Concurrency,
    overloads: Overloads,
    /// The provider's replies tell a bound.
    told: Option<u32>,
    pub(super) inflight: u32,
    abiding: Abiding,
    /// A limit was heard in a reply's head: refusals without numbers say nothing of concurrency then.
    heard: bool,
    cold: Option<Cold>,
    pub(super) queue: Queue<Waiting>,
    /// Who sleeps until somebody can go.
    pub(super) timer: Option<Timer>,
    /// When somebody can go, as far as is known.
    pub(super) wake: Option<Instant>,
    /// When those who wait give up.
    pub(super) patience: Patience,
    pub(super) last_refusal: Option<RefusalView>,
    /// When the first refusal came since somebody was answered, and the wait that the latest one told, if any.
    refuses: Option<(Instant, Option<Duration>)>,
    pub(super) used: Instant,
    /// How long a call takes.
    lasts: Duration,
}

/// Calls sent before the first answer, since the last refusal.
#[derive(Clone, Copy, Debug)]
struct Cold {
    first: Option<Instant>,
    sent: u32,
    /// That may be sent at once.
    few: f64,
}

/// What a call has taken.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) cost: Cost,
    /// Calls that were under way then, itself included.
    among: u32,
    begun: Begun,
    /// Of the buckets it counts in, mostly two or three.
    marks: Vec<(Kind, Mark)>,
    app: AppRef,
    lane: Lane,
    units: f64,
}

/// Why a call cannot go now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Gate {
    Open,
    /// After this time, as far as is known.
    In(Duration, Kind),
    /// When another call ends.
    Place,
    /// The limit is smaller than the call.
    Never(Kind, u64),
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(
        name: Arc<str>,
        provider: &Provider,
        set: config::Limits,
        now: Instant,
    ) -> Self {
        let mut pool = Self {
            name,
            models: Vec::new(),
            buckets: Vec::new(),
            reset: provider.day_reset,
            produced: provider.limiting.output_as_produced,
            set: config::Limits::default(),
            calibration: Calibration::default(),
            concurrency: Concurrency::default(),
            overloads: Overloads::default(),
            told: None,
            inflight: 0,
            abiding: Abiding::new(now),
            heard: false,
            cold: None,
            queue: Queue::new(now),
            timer: None,
            wake: None,
            patience: Patience::default(),
            last_refusal: None,
            refuses: None,
            used: now,
            lasts: UNKNOWN_WAIT,
        };
        // A refusal that tells no number is measured by what went before it: these count from the beginning.
        for kind in [Kind::Requests, Kind::Tokens] {
            pool.bucket(kind, now);
        }
        pool.configure(set, now);
        if !pool.knows_limits() && !provider.local {
            pool.cold = Some(Cold::new());
        }
        pool
    }

    /// Takes the numbers that are set.
    pub(super) fn configure(&mut self, set: config::Limits, now: Instant) {
        for kind in Kind::RATES {
            let (old, new) = (fixed(self.set.of(kind)), fixed(set.of(kind)));
            if old != new {
                self.bucket(kind, now).set(new.map(Into::into));
            }
        }
        self.set = set;
    }

    pub(super) fn model(&mut self, label: &Arc<str>) {
        if self.models.len() < MOST_MODELS && !self.models.contains(label) {
            self.models.push(Arc::clone(label));
        }
    }

    /// Nobody waits, and nobody is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.inflight == 0 && self.queue.is_empty()
    }

    /// The measure of turns: tokens where tokens are limited, else requests.
    pub(super) fn units(&self, cost: &Cost) -> f64 {
        let limited = self
            .buckets
            .iter()
            .filter(|(kind, bucket)| kind.counts_tokens() && bucket.is_limited());
        let tokens = limited.map(|(kind, _)| cost.of(*kind)).max();
        tokens.unwrap_or(cost.requests).max(1) as f64
    }

    /// Whether a call may go.
    pub(super) fn gate(&mut self, cost: &Cost, standing: Standing, now: Instant) -> Gate {
        if let Some(limit) = self.places(now)
            && self.inflight >= limit
        {
            return Gate::Place;
        }
        if let Some(wait) = self.cold.and_then(|cold| cold.wait(now)) {
            return Gate::In(wait, Kind::Concurrency);
        }
        self.rates(cost, standing, now)
    }

    /// The limit that a call never fits into.
    pub(super) fn too_large(&self, cost: &Cost) -> Option<(Kind, u64)> {
        self.buckets.iter().find_map(|(kind, bucket)| {
            let limit = bucket.never(cost.of(*kind), cost.certain(*kind))?;
            Some((*kind, limit))
        })
    }

    fn rates(&mut self, cost: &Cost, standing: Standing, now: Instant) -> Gate {
        let mut longest = None;
        for (kind, bucket) in &mut self.buckets {
            let amount = cost.of(*kind);
            if amount == 0 {
                continue;
            }
            if let Some(limit) = bucket.never(amount, cost.certain(*kind)) {
                return Gate::Never(*kind, limit);
            }
            match bucket.ask(amount, standing, now) {
                Room::Now => {}
                Room::In(wait) if longest.is_none_or(|(most, _)| wait > most) => {
                    longest = Some((wait, *kind));
                }
                Room::In(_) => {}
                Room::Never(limit) => return Gate::Never(*kind, limit),
            }
        }
        match longest {
            // Never at once, or the one who waits would spin.
            Some((wait, kind)) => Gate::In(wait.max(Duration::from_micros(1)), kind),
            None => Gate::Open,
        }
    }

    /// A call goes.
    pub(super) fn take(&mut self, cost: Cost, app: AppRef, lane: Lane, now: Instant) -> Taken {
        let mut marks = Vec::with_capacity(self.buckets.len());
        for (kind, bucket) in &mut self.buckets {
            let amount = cost.of(*kind);
            if amount > 0 {
                marks.push((*kind, bucket.take(amount, now)));
            }
        }
        let units = self.units(&cost);
        self.queue.charge(app, lane, units, now);
        self.inflight += 1;
        self.used = now;
        if let Some(cold) = &mut self.cold {
            cold.first.get_or_insert(now);
            cold.sent += 1;
        }
        Taken {
            at: now,
            cost,
            among: self.inflight,
            begun: self.abiding.begins(now),
            marks,
            app,
            lane,
            units,
        }
    }

    /// A call is over, and took `actual`.
    pub(super) fn settle(&mut self, taken: &Taken, actual: &Cost, now: Instant) {
        for (kind, bucket) in &mut self.buckets {
            if let Some(mark) = taken.mark(*kind) {
                bucket.settle(mark, actual.of(*kind), now);
            }
        }
        let units = match *actual == Cost::default() {
            true => 0.0,
            false => self.units(actual),
        };
        self.queue
            .charge(taken.app, taken.lane, units - taken.units, now);
        self.inflight = self.inflight.saturating_sub(1);
        self.abiding.ends(taken.begun, now);
        self.used = now;
        let lasted = now.saturating_duration_since(taken.at);
        self.lasts = self.lasts.mul_f64(0.9) + lasted.mul_f64(0.1);
    }

    /// Whether the provider has let somebody in who is under way still.
    pub(super) fn serves(&mut self, now: Instant) -> bool {
        self.abiding.any(now)
    }

    /// Calls of this pool that may be under way; `None`: any number.
    pub(super) fn places(&self, now: Instant) -> Option<u32> {
        match (self.told, self.concurrency.limit(now)) {
            (Some(told), Some(found)) => Some(told.min(found)),
            (told, found) => told.or(found),
        }
    }

    /// The number is the one that is set in the configuration.
    pub(super) fn is_set(&self, kind: Kind, limit: u64) -> bool {
        fixed(self.set.of(kind)).is_some_and(|set| u64::from(set.get()) == limit)
    }

    pub(super) fn limit_of(&self, kind: Kind) -> Option<u64> {
        let mut buckets = self.buckets.iter();
        buckets.find(|(other, _)| *other == kind)?.1.limit()
    }

    pub(super) fn concurrency_view(&self, set: Option<u32>, now: Instant) -> ConcurrencyView {
        let found = self.places(now);
        let limit = match (set, found) {
            (Some(set), Some(found)) => Some(set.min(found)),
            (set, found) => set.or(found),
        };
        ConcurrencyView {
            inflight: self.inflight,
            limit,
            learned: limit.is_some() && limit != set,
        }
    }

    pub(super) fn queue_view(&self, now: Instant) -> QueueView {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let oldest = self.queue.oldest();
        QueueView {
            interactive: count(self.queue.len() - self.queue.batch()),
            batch: count(self.queue.batch()),
            oldest_seconds: oldest
                .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64()),
            apps: count(self.queue.apps()),
        }
    }

    fn knows_limits(&self) -> bool {
        let mut buckets = self.buckets.iter();
        buckets.any(|(_, bucket)| bucket.is_limited())
    }

    fn bucket(&mut self, kind: Kind, now: Instant) -> &mut Bucket {
        let at = match self.buckets.iter().position(|(known, _)| *known == kind) {
            Some(at) => at,
            None => {
                let produced = self.produced && kind == Kind::OutputTokens;
                let bucket = Bucket::new(kind, self.reset, now).charged_as_produced(produced);
                self.buckets.push((kind, bucket));
                self.buckets.len() - 1
            }
        };
        &mut self.buckets[at].1
    }

    /// What a call took of a bucket; when that was not known yet, it takes it now.
    fn mark(&mut self, taken: &mut Taken, kind: Kind, now: Instant) -> Mark {
        taken.mark(kind).unwrap_or_else(|| {
            let mark = self.bucket(kind, now).take(taken.cost.of(kind), now);
            taken.marks.push((kind, mark));
            mark
        })
    }
}

// === impl Taken ===

impl Taken {
    fn mark(&self, kind: Kind) -> Option<Mark> {
        let mut marks = self.marks.iter();
        marks.find(|(of, _)| *of == kind).map(|(_, mark)| *mark)
    }
}

// === impl Cold ===

impl Cold {
    fn new() -> Self {
        Self {
            first: None,
            sent: 0,
            few: COLD,
        }
    }

    /// A call that went at `at` was refused. Those that went with it are refused for the same reason, and change no more.
    fn refused(self, at: Instant) -> Self {
        if self.first.is_none_or(|first| at < first) {
            return self;
        }
        Self {
            few: REFUSED,
            ..Self::new()
        }
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.first?);
        let doublings = (f64::from(self.sent + 1) / self.few).log2().max(0.0);
        let at = COLD_STEP.mul_f64(doublings.min(64.0));
        at.checked_sub(since).filter(|wait| !wait.is_zero())
    }
}

pub(super) fn fixed(limit: Limit) -> Option<std::num::NonZeroU32> {
    match limit {
        Limit::Auto => None,
        Limit::Fixed(limit) => Some(limit),
    }
}

/// Seconds since 1970.
pub(super) fn unix() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}
