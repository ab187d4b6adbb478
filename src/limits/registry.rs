//! The limits of all accounts. Made once; survives reloads.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    BucketView, PoolView, Reservation, Saved, SavedPool,
    account::{Account, Ask, Entered},
    denied::{Denied, expected},
    patience::Crowd,
    pool::{Pool, fixed, unix},
    queue::Lane,
    waiter::Place,
    ways::{Holder, Identity, Way, is_by_caller, is_of, kept},
};
use crate::{
    call::{Call, Target, TargetId},
    config::{Priority, Upstream},
    triage::Class,
};

/// Pools of the last run, and forgotten ones, that wait for their next use.
pub(super) const MOST_SAVED: usize = 10_000;

/// Called after each wait, with its length. Must not block.
pub type WaitHook = Arc<dyn Fn(&Target, Duration) + Send + Sync>;

/// Called when a provider has refused a call for a limit. Must not block.
pub type RefusalHook = Arc<dyn Fn(&Target, &Refused) + Send + Sync>;

/// A provider's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub class: Class,
    /// There was room, as far as anybody knew.
    pub surprise: bool,
}

/// The limits of all accounts.
#[derive(Default)]
pub struct Limits {
    pub(super) ways: RwLock<foldhash::HashMap<(TargetId, Holder), Way>>,
    pub(super) accounts: Mutex<HashMap<Identity, Arc<Account>>>,
    pub(super) saved: Mutex<HashMap<(Identity, String), SavedPool>>,
    hook: Option<WaitHook>,
    /// All who wait.
    pub(super) crowd: Crowd,
    pub(super) refusals: Option<RefusalHook>,
    /// Accounts of upstreams that the configuration has no more, while somebody is under way there.
    pub(super) stale: Mutex<Vec<Identity>>,
}

// === impl Limits ===

impl Limits {
    /// `hook` hears of every wait.
    #[must_use]
    pub fn with_hook(mut self, hook: WaitHook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// `hook` hears of every refusal of a provider's.
    #[must_use]
    pub fn on_refusal(mut self, hook: RefusalHook) -> Self {
        self.refusals = Some(hook);
        self
    }

    /// Takes what `call` will count at `target`; waits for it in fair order, until `until` at the latest. `last`: it can go nowhere else,
    /// so that it waits where its chance is even; else it is refused as soon as it probably waits in vain.
    ///
    /// # Errors
    /// When it cannot go in time; as soon as that is known.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it has taken nothing.
    pub async fn admit(
        &self,
        call: &Arc<Call>,
        target: &Arc<Target>,
        until: Instant,
        last: bool,
    ) -> Result<Reservation, Denied> {
        let began = Instant::now();
        let (account, pool, entered) = self.enter(call, target, (until, last), began);
        let outcome = match entered {
            Entered::Now(taken) => Ok(taken),
            Entered::Denied(denied) => Err(denied),
            Entered::Gone => Err(Denied::lost()),
            Entered::Wait(seat, cell) => {
                let account = Arc::clone(&account);
                let place = Place {
                    account,
                    pool,
                    seat,
                    cell,
                    until,
                    done: false,
                };
                let outcome = place.turn().await;
                let waited = began.elapsed();
                if !waited.is_zero() {
                    call.meter.wait(waited);
                    if let Some(hook) = &self.hook {
                        hook(target, waited);
                    }
                }
                outcome
            }
        };
        let (call, target) = (Arc::clone(call), Arc::clone(target));
        outcome.map(|taken| Reservation::new(account, pool, target, call, taken))
    }

    /// From now on these numbers are set, for those who wait already too.
    pub fn configure(&self, upstreams: &[Arc<Upstream>]) {
        let now = Instant::now();
        for account in self.all() {
            let same = |upstream: &&Arc<Upstream>| {
                upstream.name == account.upstream && upstream.base_url == *account.base_url
            };
            if let Some(upstream) = upstreams.iter().find(same) {
                account.lock().configure(upstream.limits, now);
            }
        }
    }

    /// How long `call` would wait for `target` now; `None`: it never fits.
    pub fn expected_wait(&self, call: &Call, target: &Target) -> Option<Duration> {
        let now = Instant::now();
        let (account, pool) = self.way(call, target, now);
        let mut inner = account.lock();
        let places = inner.slots.limit;
        let full = places.is_some_and(|limit| inner.slots.inflight >= limit);
        let Some(pool) = inner.pools.get_mut(&pool) else {
            return Some(Duration::ZERO);
        };
        let cost =
            super::Cost::reserve(&target.upstream.provider, &call.envelope, &pool.calibration);
        let who = (pool.queue.find(&call.app.name), lane(call));
        let denied = expected(pool, places, who, &cost, now);
        let crowded = full || pool.places(now).is_some_and(|limit| pool.inflight >= limit);
        match denied.class {
            // Only a place is missing, and there is one.
            Class::RateLimitedConcurrency if !crowded && pool.queue.is_empty() => {
                Some(Duration::ZERO)
            }
            _ => denied.retry_after,
        }
    }

    /// Whether calls of ours are under way at `target`, which it may have let in, and whether it has let in one of them for certain.
    pub fn under_way(&self, call: &Call, target: &Target) -> (bool, bool) {
        let now = Instant::now();
        let (account, pool) = self.way(call, target, now);
        let mut inner = account.lock();
        let pool = inner.pools.get_mut(&pool);
        pool.map_or((false, false), |pool| (pool.inflight > 0, pool.serves(now)))
    }

    /// Everything, for people.
    pub fn views(&self) -> Vec<PoolView> {
        let now = Instant::now();
        self.drop_stale(now);
        let mut views = Vec::new();
        for account in self.all() {
            let mut inner = account.lock();
            let set = inner.slots.limit;
            for pool in inner.pools.values_mut() {
                views.push(view(&account, pool, set, now));
            }
        }
        views.sort_by(|a, b| {
            (&a.upstream, &a.account, &a.pool).cmp(&(&b.upstream, &b.account, &b.pool))
        });
        views
    }

    /// What the last run learnt of these upstreams and no call has used since, for people.
    pub fn remembered(&self, upstreams: &[Arc<Upstream>]) -> Vec<PoolView> {
        let now = Instant::now();
        let kept: Vec<SavedPool> = lock(&self.saved).values().cloned().collect();
        let view_of = |kept: &SavedPool| {
            let upstream = upstreams.iter().find(|upstream| is_of(kept, upstream))?;
            let shown = is_by_caller(upstream).then(|| kept.account.clone());
            let account = Account::new(
                Arc::clone(&upstream.name),
                String::new(),
                String::new(),
                shown,
                None,
                Crowd::default(),
            );
            let name = Arc::from(&*kept.pool);
            let mut pool = Pool::new(name, &upstream.provider, upstream.limits, now);
            pool.restore(kept, now);
            let set = fixed(upstream.limits.concurrency).map(Into::into);
            let view = view(&account, &mut pool, set, now);
            (!view.buckets.is_empty() || view.concurrency.limit.is_some()).then_some(view)
        };
        kept.iter().filter_map(view_of).collect()
    }

    /// Everything worth keeping for the next run; what the last run left and nobody has used since as well.
    pub fn saved(&self) -> Saved {
        let (now, unix) = (Instant::now(), unix());
        let mut pools: Vec<SavedPool> = lock(&self.saved).values().cloned().collect();
        for account in self.all() {
            for pool in account.lock().pools.values_mut() {
                pools.extend(kept(&account, pool, now, unix));
            }
        }
        Saved { pools }
    }

    /// What the last run kept; pools take it when they are first used.
    pub fn restore(&self, saved: Saved) {
        let mut all = lock(&self.saved);
        for pool in saved.pools.into_iter().take(MOST_SAVED) {
            let identity = (
                pool.upstream.clone(),
                pool.base_url.clone(),
                pool.account.clone(),
            );
            all.insert((identity, pool.pool.clone()), pool);
        }
    }

    fn enter(
        &self,
        call: &Call,
        target: &Target,
        (until, last): (Instant, bool),
        now: Instant,
    ) -> (Arc<Account>, u32, Entered) {
        let ask = Ask {
            app: &call.app.name,
            weight: call.app.weight.get(),
            lane: lane(call),
            provider: &target.upstream.provider,
            envelope: &call.envelope,
            until,
            last,
        };
        let (mut account, mut pool) = self.way(call, target, now);
        let mut entered = account.enter(pool, &ask, now);
        if matches!(entered, Entered::Gone) {
            (account, pool) = self.find(call, target, now);
            entered = account.enter(pool, &ask, now);
        }
        (account, pool, entered)
    }

    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        lock(&self.accounts).values().map(Arc::clone).collect()
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("accounts", &lock(&self.accounts).len())
            .finish_non_exhaustive()
    }
}

fn view(account: &Account, pool: &mut Pool, set: Option<u32>, now: Instant) -> PoolView {
    let mut buckets: Vec<BucketView> = pool
        .buckets
        .iter_mut()
        .filter_map(|(_, bucket)| bucket.view(now))
        .collect();
    buckets.sort_by_key(|bucket| bucket.kind);
    let foreign = buckets.iter().filter_map(|bucket| bucket.foreign_share);
    PoolView {
        upstream: account.upstream.to_string(),
        pool: pool.name.to_string(),
        models: pool.models.iter().map(ToString::to_string).collect(),
        account: account.shown.clone(),
        foreign_share: foreign.reduce(f64::max),
        buckets,
        concurrency: pool.concurrency_view(set, now),
        queue: pool.queue_view(now),
        last_refusal: pool.last_refusal.clone(),
    }
}

/// The line in which a call stands.
fn lane(call: &Call) -> Lane {
    match call.priority() {
        Priority::Batch => Lane::Batch,
        Priority::Interactive => Lane::Interactive,
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
