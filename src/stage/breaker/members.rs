//! Which organisation and project a key belongs to, as far as replies have told.
//!
//! An organisation out of credit closes every key of it, but a key does not say whose it is. Providers do: in headers
//! of their replies (`openai-organization`, `openai-project`). What they say is remembered here, bounded.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderValue;

use crate::{
    call::{Call, Fingerprint, Target},
    config::{Upstream, UpstreamKey},
    redact,
};

/// Keys remembered in each of two generations; the older one is dropped when the younger is full.
const GENERATION: usize = 2048;
/// Slots of the filter that keeps replies with nothing new away from the lock.
const SLOTS: usize = 1024;
/// With these a caller says which account of its key a call belongs to.
const ACCOUNT: [&str; 2] = ["openai-organization", "openai-project"];
/// Longer names than any provider has are not believed.
const LONGEST_NAME: usize = 256;

/// A provider's address: the same account may be configured as several upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Base(u64);

/// A key in use at some provider, without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holder(u64);

/// Who asks: the caller's key, and the account that it wants charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) key: Fingerprint,
    /// The organisation and project that the call names, hashed; 0: none. One key may pay from several.
    account: u64,
}

/// Whose a key is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) organization: Option<Arc<str>>,
    pub(super) project: Option<Arc<str>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Members {
    hasher: RandomState,
    generations: Mutex<[HashMap<(Base, Holder), Membership>; 2]>,
    seen: Box<[AtomicU64]>,
}

// === impl Members ===

impl Default for Members {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            generations: Mutex::default(),
            seen: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Members {
    /// The address of `upstream`.
    pub(super) fn base(&self, upstream: &Upstream) -> Base {
        let host = upstream
            .base_url
            .authority()
            .map_or("", |authority| authority.as_str());
        Base(self.hasher.hash_one(host.to_ascii_lowercase()))
    }

    /// Who makes `call`, as `upstream` sees it. What callers say of accounts goes no further where the key is weir's own.
    pub(super) fn caller(&self, upstream: &Upstream, call: &Call) -> Caller {
        let key = call.credential.fingerprint;
        if upstream.key != UpstreamKey::Passthrough {
            return Caller { key, account: 0 };
        }
        let named = ACCOUNT.map(|name| call.headers.get(name).map(HeaderValue::as_bytes));
        let account = match named {
            [None, None] => 0,
            named => self.hasher.hash_one(named),
        };
        Caller { key, account }
    }

    /// The key in use: weir's own, or the caller's.
    pub(super) fn holder(&self, upstream: &Upstream, caller: Caller) -> Holder {
        Holder(match &upstream.key {
            UpstreamKey::Held(secret) => self.hasher.hash_one(("held", secret.expose())),
            UpstreamKey::Passthrough => {
                self.hasher
                    .hash_one(("caller", caller.key.0, caller.account))
            }
            UpstreamKey::None => self.hasher.hash_one(("none", &*upstream.name)),
        })
    }

    /// What is known of a key.
    pub(super) fn of(&self, base: Base, holder: Holder) -> Membership {
        let generations = self.lock();
        let found = generations
            .iter()
            .find_map(|known| known.get(&(base, holder)));
        found.cloned().unwrap_or_default()
    }

    /// A reply told whose the key is. Cheap when it is nothing new, which is nearly always.
    pub(super) fn learn(
        &self,
        target: &Target,
        caller: Caller,
        organization: Option<&str>,
        project: Option<&str>,
    ) {
        let upstream = &*target.upstream;
        let caller = if upstream.key == UpstreamKey::Passthrough {
            caller
        } else {
            Caller::default()
        };
        let is_key = |name: &str| match &upstream.key {
            UpstreamKey::Held(secret) => name.contains(secret.expose()),
            UpstreamKey::Passthrough => Fingerprint::of(name.as_bytes()) == caller.key,
            UpstreamKey::None => false,
        };
        let name = |name: Option<&str>| {
            name.filter(|n| !n.is_empty() && n.len() <= LONGEST_NAME)
                // A key in its place is nobody's name, and would be shown.
                .filter(|n| redact::id(n).is_some() && !is_key(n))
                .map(Arc::<str>::from)
        };
        // The upstream's address in memory stands for its key and base URL: shorter to hash. A reload clears the filter.
        let fact = self.hasher.hash_one((
            std::ptr::from_ref(upstream) as usize,
            caller.key.0,
            caller.account,
            organization,
            project,
        )) | 1;
        let slot = &self.seen[fact as usize / 2 % SLOTS];
        if slot.load(Ordering::Relaxed) == fact {
            return;
        }
        let (organization, project) = (name(organization), name(project));
        if organization.is_none() && project.is_none() {
            return;
        }
        let key = (self.base(upstream), self.holder(upstream, caller));
        let mut generations = self.lock();
        if generations[0].len() >= GENERATION && !generations[0].contains_key(&key) {
            let [young, old] = &mut *generations;
            *old = mem::take(young);
            self.forget_seen();
        }
        let older = generations[1].get(&key).cloned();
        let known = generations[0]
            .entry(key)
            .or_insert_with(|| older.unwrap_or_default());
        known.organization = organization.or_else(|| known.organization.take());
        known.project = project.or_else(|| known.project.take());
        drop(generations);
        slot.store(fact, Ordering::Relaxed);
    }

    /// After a reload: upstreams may stand at other addresses in memory.
    pub(super) fn forget_seen(&self) {
        for slot in &self.seen {
            slot.store(0, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, [HashMap<(Base, Holder), Membership>; 2]> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
