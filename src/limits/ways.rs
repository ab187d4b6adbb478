//! Which account and which pool a call belongs to, and when these are forgotten.
//!
//! An account is an upstream and the holder of the key; a pool is the models of it that share limits. What was learnt of a
//! forgotten pool is put by, for the next call that needs it.

use std::sync::{Arc, PoisonError};

use foldhash::HashMap;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{
    Limits, SavedPool,
    account::Account,
    family,
    pool::{Pool, unix},
    registry::{MOST_SAVED, lock},
};
use crate::{
    call::{Call, Target, TargetId},
    config::{self, Upstream, UpstreamKey},
};

/// Ways from a target and a holder of keys to a pool. Beyond it, pools in which nobody waits and nothing is under way are
/// forgotten, those first that were used longest ago.
const MOST_POOLS: usize = 10_000;
/// Whose key pays; 0: there is only one.
pub(super) type Holder = u64;

/// Upstream, its address, and what stands for the key.
pub(super) type Identity = (String, String, String);

/// From a target to its pool.
pub(super) struct Way {
    pub(super) account: Arc<Account>,
    pub(super) pool: u32,
    /// With another one after a reload, the numbers may be others.
    upstream: Arc<Upstream>,
}

// === impl Limits ===

impl Limits {
    pub(super) fn way(&self, call: &Call, target: &Target, now: Instant) -> (Arc<Account>, u32) {
        let key = (target.id, holder(call, &target.upstream));
        let ways = self.ways.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = ways.get(&key)
            && Arc::ptr_eq(&way.upstream, &target.upstream)
        {
            return (Arc::clone(&way.account), way.pool);
        }
        drop(ways);
        self.find(call, target, now)
    }

    /// Finds or makes the pool.
    pub(super) fn find(&self, call: &Call, target: &Target, now: Instant) -> (Arc<Account>, u32) {
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
                self.refusals.clone(),
                self.crowd.clone(),
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
            account: Arc::clone(&account),
            pool: id,
            upstream: Arc::clone(upstream),
        };
        let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
        if ways.len() >= MOST_POOLS {
            self.forget(&mut ways, now);
        }
        ways.insert((target.id, holder), way);
        (account, id)
    }

    /// Makes room: half of the ways, those used longest ago, as far as nobody is on them.
    fn forget(&self, ways: &mut HashMap<(TargetId, Holder), Way>, now: Instant) {
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
                    let pool = inner.pools.remove(&way.pool);
                    self.put_by(&way.account, pool, now);
                }
            }
        }
        // Who has just found one of these and not entered yet finds it gone, and comes again.
        lock(&self.accounts).retain(|_, account| !account.lock().pools.is_empty());
    }

    /// The configuration has these upstreams from now on: what was learnt of other ones is put by.
    pub fn only(&self, upstreams: &[Arc<Upstream>]) {
        let is_known = |account: &Account| {
            upstreams.iter().any(|upstream| {
                let same = upstream.name == account.upstream
                    && upstream.base_url.to_string() == account.base_url;
                let caller = is_by_caller(upstream);
                same && caller == account.shown.is_some()
                    && (caller || identity(upstream, 0) == account.identity)
            })
        };
        let accounts = lock(&self.accounts);
        let gone = accounts.iter().filter(|(_, account)| !is_known(account));
        let gone: Vec<_> = gone.map(|(identity, _)| identity.clone()).collect();
        drop(accounts);
        *lock(&self.stale) = gone;
        self.drop_stale(Instant::now());
    }

    /// Forgets accounts that the configuration has no more, as soon as nobody is under way there.
    pub(super) fn drop_stale(&self, now: Instant) {
        let stale = std::mem::take(&mut *lock(&self.stale));
        if stale.is_empty() {
            return;
        }
        let mut accounts = lock(&self.accounts);
        let mut left = Vec::new();
        for identity in stale {
            let Some(account) = accounts.get(&identity).map(Arc::clone) else {
                continue;
            };
            let mut inner = account.lock();
            if !inner.pools.values().all(Pool::is_idle) {
                left.push(identity);
                continue;
            }
            // Who is about to enter one of these finds it gone, and comes again.
            for (_, pool) in inner.pools.drain() {
                self.put_by(&account, Some(pool), now);
            }
            accounts.remove(&identity);
        }
        drop(accounts);
        let mut ways = self.ways.write().unwrap_or_else(PoisonError::into_inner);
        ways.retain(|_, way| way.account.lock().pools.contains_key(&way.pool));
        drop(ways);
        lock(&self.stale).extend(left);
    }

    fn put_by(&self, account: &Account, pool: Option<Pool>, now: Instant) {
        let learnt = pool.and_then(|mut pool| kept(account, &mut pool, now, unix()));
        let Some(learnt) = learnt else { return };
        let mut saved = lock(&self.saved);
        if saved.len() < MOST_SAVED {
            saved.insert((account.id(), learnt.pool.clone()), learnt);
        }
    }
}

/// What is worth keeping of a pool.
pub(super) fn kept(
    account: &Account,
    pool: &mut Pool,
    now: Instant,
    unix: u64,
) -> Option<SavedPool> {
    let buckets: Vec<_> = pool
        .buckets
        .iter_mut()
        .filter_map(|(_, bucket)| bucket.saved(now, unix))
        .collect();
    let concurrency = pool.concurrency.limit(now);
    let calibration = pool.calibration;
    if buckets.is_empty() && concurrency.is_none() && calibration == Default::default() {
        return None;
    }
    Some(SavedPool {
        upstream: account.upstream.to_string(),
        base_url: account.base_url.clone(),
        account: account.identity.clone(),
        pool: pool.name.to_string(),
        buckets,
        concurrency,
        calibration,
    })
}

/// A caller's own key has limits of its own, unless numbers are set: these are the upstream's. One key may serve several organisations and
/// projects, as the caller's headers say, where the configuration does not.
fn holder(call: &Call, upstream: &Upstream) -> Holder {
    if !is_by_caller(upstream) {
        return 0;
    }
    let provider = &upstream.provider;
    let named = |header: &Option<HeaderName>, set: bool| {
        let header = header.as_ref().filter(|_| !set)?;
        call.headers.get(header)
    };
    let parts = [
        named(
            &provider.organization_header,
            upstream.organization.is_some(),
        ),
        named(&provider.project_header, upstream.project.is_some()),
    ];
    let key = call.credential.fingerprint.0;
    let holder = match parts {
        [None, None] => key,
        parts => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&key.to_le_bytes());
            for part in parts {
                let part = part.map_or(&b""[..], HeaderValue::as_bytes);
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            let mut first = [0; 8];
            hasher.finalize_xof().fill(&mut first);
            u64::from_le_bytes(first)
        }
    };
    // 0 stands for the only one.
    holder.max(1)
}

/// Whether this was learnt with the upstream as it is now.
pub(super) fn is_of(kept: &SavedPool, upstream: &Upstream) -> bool {
    let shared = identity(upstream, 0);
    *kept.upstream == *upstream.name
        && upstream.base_url == *kept.base_url
        && (kept.account == shared) != is_by_caller(upstream)
}

pub(super) fn is_by_caller(upstream: &Upstream) -> bool {
    upstream.key == UpstreamKey::Passthrough && upstream.limits == config::Limits::default()
}

/// Stands for the key in what is written down, and leads back to none.
fn identity(upstream: &Upstream, holder: Holder) -> String {
    const CONTEXT: &str = "weir 2026-11 the account of learnt limits";
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    match (&upstream.key, holder) {
        (UpstreamKey::Held(secret), _) => add(secret.expose().as_bytes()),
        (_, 0) => add(b"none"),
        (_, caller) => add(format!("caller {caller:016x}").as_bytes()),
    }
    // One key may serve several organisations and projects, each with limits of its own; headers may name them, or hold the key.
    for value in [&upstream.organization, &upstream.project] {
        add(value.as_ref().map_or(b"", |value| value.as_bytes()));
    }
    for (name, value) in &upstream.headers {
        add(name.as_str().as_bytes());
        add(value.as_bytes());
    }
    hasher.finalize().as_bytes()[..16]
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
