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
    family,
    pool::{Pool, fixed, unix},
    queue::Lane,
    waiter::Place,
};
use crate::{
    call::{Call, Target, TargetId},
    config::{self, Priority, Upstream, UpstreamKey},
    triage::Class,
};

/// Ways from a target and a holder of keys to a pool. Beyond it, pools in which nobody waits and nothing is under way are
/// forgotten, those first that were used longest ago.
const MOST_POOLS: usize = 10_000;
/// Pools of the last run that wait for their first use.
const MOST_SAVED: usize = 10_000;

/// Called after each wait, with its length. Must not block.
pub type WaitHook = Arc<dyn Fn(&Target, Duration) + Send + Sync>;

/// The limits of all accounts.
#[derive(Default)]
pub struct Limits {
    ways: RwLock<HashMap<(TargetId, Holder), Way>>,
    accounts: Mutex<HashMap<Identity, Arc<Account>>>,
    saved: Mutex<HashMap<(Identity, String), SavedPool>>,
    hook: Option<WaitHook>,
}

/// Whose key pays; 0: there is only one.
type Holder = u64;

/// Upstream, its address, and what stands for the key.
type Identity = (String, String, String);

/// From a target to its pool.
#[derive(Clone)]
struct Way {
    account: Arc<Account>,
    pool: u32,
    /// With another one after a reload, the numbers may be others.
    upstream: Arc<Upstream>,
}

// === impl Limits ===

impl Limits {
    /// `hook` hears of every wait.
    #[must_use]
    pub fn with_hook(mut self, hook: WaitHook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Takes what `call` will count at `target`; waits for it in fair order, until `until` at the latest.
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
    ) -> Result<Reservation, Denied> {
        let began = Instant::now();
        let (account, pool, entered) = self.enter(call, target, until, began);
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

    /// How long `call` would wait for `target` now; `None`: it never fits.
    pub fn expected_wait(&self, call: &Call, target: &Target) -> Option<Duration> {
        let now = Instant::now();
        let way = self.way(call, target, now);
        let mut inner = way.account.lock();
        let places = inner.slots.limit;
        let full = places.is_some_and(|limit| inner.slots.inflight >= limit);
        let Some(pool) = inner.pools.get_mut(&way.pool) else {
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

    /// Everything, for people.
    pub fn views(&self) -> Vec<PoolView> {
        let now = Instant::now();
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
            let shown = holder_unknown(upstream).then(|| kept.account.clone());
            let account = Account::new(
                Arc::clone(&upstream.name),
                String::new(),
                String::new(),
                shown,
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
                let buckets: Vec<_> = pool
                    .buckets
                    .iter_mut()
                    .filter_map(|(_, bucket)| bucket.saved(now, unix))
                    .collect();
                let concurrency = pool.concurrency.limit(now);
                let calibration = pool.calibration;
                if buckets.is_empty() && concurrency.is_none() && calibration == Default::default()
                {
                    continue;
                }
                pools.push(SavedPool {
                    upstream: account.upstream.to_string(),
                    base_url: account.base_url.clone(),
                    account: account.identity.clone(),
                    pool: pool.name.to_string(),
                    buckets,
                    concurrency,
                    calibration,
                });
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
        until: Instant,
        now: Instant,
    ) -> (Arc<Account>, u32, Entered) {
        let ask = Ask {
            app: &call.app.name,
            weight: call.app.weight.get(),
            lane: lane(call),
            provider: &target.upstream.provider,
            envelope: &call.envelope,
            until,
        };
        let mut way = self.way(call, target, now);
        let mut entered = way.account.enter(way.pool, &ask, now);
        if matches!(entered, Entered::Gone) {
            way = self.find(call, target, now);
            entered = way.account.enter(way.pool, &ask, now);
        }
        (way.account, way.pool, entered)
    }

    fn way(&self, call: &Call, target: &Target, now: Instant) -> Way {
        let key = (target.id, holder(call, &target.upstream));
        let ways = self.ways.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = ways.get(&key)
            && Arc::ptr_eq(&way.upstream, &target.upstream)
        {
            return way.clone();
        }
        drop(ways);
        self.find(call, target, now)
    }

    /// Finds or makes the pool.
    fn find(&self, call: &Call, target: &Target, now: Instant) -> Way {
        let upstream = &target.upstream;
        let holder = holder(call, upstream);
        let identity = (
            upstream.name.to_string(),
            upstream.base_url.to_string(),
            identity(upstream, holder),
        );
        // Held until the account has a pool: empty accounts are forgotten.
        let mut accounts = lock(&self.accounts);
        let account = accounts.entry(identity.clone()).or_insert_with(|| {
            let shown = (holder != 0).then(|| format!("{holder:016x}"));
            Arc::new(Account::new(
                Arc::clone(&upstream.name),
                identity.1.clone(),
                identity.2.clone(),
                shown,
            ))
        });
        let account = Arc::clone(account);
        let name = pool_name(target);
        let mut inner = account.lock();
        inner.configure(upstream.limits, now);
        let id = inner.pool(&name, |set| {
            let mut pool = Pool::new(Arc::from(&*name), &upstream.provider, set, now);
            let kept = lock(&self.saved).remove(&(identity, name.clone()));
            if let Some(kept) = kept {
                pool.restore(&kept, now);
            }
            pool
        });
        if let Some(pool) = inner.pools.get_mut(&id) {
            pool.model(&target.label);
        }
        drop(inner);
        drop(accounts);
        let way = Way {
            account,
            pool: id,
            upstream: Arc::clone(upstream),
        };
        let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
        if ways.len() >= MOST_POOLS {
            self.forget(&mut ways);
        }
        ways.insert((target.id, holder), way.clone());
        way
    }

    /// Makes room: half of the ways, those used longest ago, as far as nobody is on them.
    fn forget(&self, ways: &mut HashMap<(TargetId, Holder), Way>) {
        let mut idle: Vec<_> = ways
            .iter()
            .filter_map(|(key, way)| {
                let inner = way.account.lock();
                let pool = inner.pools.get(&way.pool);
                let used = pool.map(|pool| pool.is_idle().then_some(pool.used));
                // Gone already: at once.
                used.map_or(Some((None, *key)), |used| Some((Some(used?), *key)))
            })
            .collect();
        idle.sort_unstable();
        idle.truncate(MOST_POOLS / 2);
        for (_, key) in idle {
            if let Some(way) = ways.remove(&key) {
                let mut inner = way.account.lock();
                if inner.pools.get(&way.pool).is_some_and(Pool::is_idle) {
                    inner.pools.remove(&way.pool);
                }
            }
        }
        // Who has just found one of these and not entered yet finds it gone, and comes again.
        lock(&self.accounts).retain(|_, account| !account.lock().pools.is_empty());
    }

    fn all(&self) -> Vec<Arc<Account>> {
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
    match call.directives.batch || call.app.priority == Priority::Batch {
        true => Lane::Batch,
        false => Lane::Interactive,
    }
}

/// Each caller's own key has limits of its own, unless numbers are set: these are the upstream's.
fn holder_unknown(upstream: &Upstream) -> bool {
    upstream.key == UpstreamKey::Passthrough && upstream.limits == config::Limits::default()
}

/// Whether this was learnt with the upstream as it is now.
fn is_of(kept: &SavedPool, upstream: &Upstream) -> bool {
    *kept.upstream == *upstream.name
        && upstream.base_url == *kept.base_url
        && match holder_unknown(upstream) {
            true => kept.account != "none",
            false => kept.account == identity(upstream, 0),
        }
}

fn holder(call: &Call, upstream: &Upstream) -> Holder {
    // 0 stands for the only one.
    if holder_unknown(upstream) {
        call.credential.fingerprint.0.max(1)
    } else {
        0
    }
}

/// Stands for the key in what is written down, and leads back to none.
fn identity(upstream: &Upstream, holder: Holder) -> String {
    const CONTEXT: &str = "weir 2026-11 the account of learnt limits";
    let hash = match (&upstream.key, holder) {
        (UpstreamKey::Held(secret), _) => blake3::derive_key(CONTEXT, secret.expose().as_bytes()),
        (_, 0) => return "none".to_owned(),
        (_, caller) => blake3::derive_key(CONTEXT, format!("caller {caller:016x}").as_bytes()),
    };
    hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Models beyond those that are told apart share the pool of their label.
fn pool_name(target: &Target) -> String {
    match () {
        () if target.model.is_empty() => "*".to_owned(),
        () if target.label == target.model => {
            family(&target.upstream.provider, &target.model).into_owned()
        }
        () => target.label.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
