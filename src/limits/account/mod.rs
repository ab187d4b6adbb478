//! One account at a provider: its pools, and the calls that may be under way in all of them together.
//!
//! One lock for all of it, held for a few hundred nanoseconds and never over an await. Whatever makes room (a settled call,
//! a refund, a higher limit, somebody who leaves) lets go whom it can before the lock is given back.

mod line;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::HashMap;
use tokio::time::Instant;

use super::{
    Cost,
    denied::Denied,
    patience::Crowd,
    pool::{Pool, Taken, fixed},
    queue::{Lane, Seat},
    registry::{RefusalHook, Refused},
    waiter::{Cell, Place, Step},
    ways::Identity,
};
use crate::{call::Target, config, dialect::openai::Envelope, triage::Provider};

/// See the module's documentation.
pub(super) struct Account {
    pub(super) upstream: Arc<str>,
    pub(super) base_url: String,
    /// Stands for the key, across restarts.
    pub(super) identity: String,
    /// What people see of it: nothing where there is only one.
    pub(super) shown: Option<String>,
    refusals: Option<RefusalHook>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) pools: HashMap<u32, Pool>,
    next: u32,
    pub(super) slots: Slots,
    set: config::Limits,
    /// Pools in which somebody waits, the one whose turn it is first.
    busy: Vec<u32>,
    /// Those who wait at any account.
    crowd: Crowd,
}

/// Calls under way in all pools.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) inflight: u32,
    pub(super) limit: Option<u32>,
}

/// A call that wants to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) app: &'a str,
    pub(super) weight: u32,
    pub(super) lane: Lane,
    pub(super) provider: &'a Provider,
    pub(super) envelope: &'a Envelope,
    pub(super) until: Instant,
    /// It can go nowhere else.
    pub(super) last: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Entered {
    Now(Taken),
    Wait(Seat, Arc<Cell>),
    Denied(Denied),
    /// The pool has been forgotten.
    Gone,
}

// === impl Account ===

impl Account {
    pub(super) fn new(
        upstream: Arc<str>,
        base_url: String,
        identity: String,
        shown: Option<String>,
        refusals: Option<RefusalHook>,
        crowd: Crowd,
    ) -> Self {
        let inner = Inner {
            crowd,
            ..Inner::default()
        };
        Self {
            upstream,
            base_url,
            identity,
            shown,
            refusals,
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn id(&self) -> Identity {
        (
            self.upstream.to_string(),
            self.base_url.clone(),
            self.identity.clone(),
        )
    }

    /// The provider refused a call to `target`. Not to be told under the lock.
    pub(super) fn refused(&self, target: &Target, refused: &Refused) {
        if let Some(hook) = &self.refusals {
            hook(target, refused);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of the pool wants to go.
    pub(super) fn enter(&self, id: u32, ask: &Ask<'_>, now: Instant) -> Entered {
        self.lock().enter(id, ask, now)
    }

    /// One that waits looks what became of it.
    pub(super) fn step(&self, place: &Place, now: Instant) -> Step {
        self.lock().step(place, now)
    }

    /// One that waits is not interested any more.
    pub(super) fn leave(&self, place: &Place, now: Instant) {
        let mut inner = self.lock();
        match place.cell.get() {
            Some(Ok(taken)) => inner.settle(place.pool, &taken, &Cost::default(), now),
            Some(Err(_)) => {}
            None => drop(inner.remove(place.pool, place.seat, now)),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("upstream", &self.upstream)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    /// Takes the numbers that are set.
    pub(super) fn configure(&mut self, set: config::Limits, now: Instant) {
        if self.set == set {
            return;
        }
        self.set = set;
        self.slots.limit = fixed(set.concurrency).map(Into::into);
        for pool in self.pools.values_mut() {
            pool.configure(set, now);
        }
        for id in self.busy.clone() {
            self.pump(id, now);
        }
    }

    /// The pool of this name; made by `make` when there is none.
    pub(super) fn pool(&mut self, name: &str, make: impl FnOnce(config::Limits) -> Pool) -> u32 {
        if let Some((id, _)) = self.pools.iter().find(|(_, pool)| &*pool.name == name) {
            return *id;
        }
        self.next += 1;
        self.pools.insert(self.next, make(self.set));
        self.next
    }

    /// A call is over.
    pub(super) fn settle(&mut self, id: u32, taken: &Taken, actual: &Cost, now: Instant) {
        self.slots.inflight = self.slots.inflight.saturating_sub(1);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.settle(taken, actual, now);
        }
        self.changed(id, now);
    }
}

// === impl Slots ===

impl Slots {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.inflight >= limit)
    }
}
