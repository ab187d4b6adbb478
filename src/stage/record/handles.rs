//! Metric handles of one kind of call, resolved once per thread and kept: finding a metric by its labels costs
//! more than counting.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    rc::Rc,
    sync::Arc,
};

use prometheus::{Histogram, IntCounter};

use super::Outcome;
use crate::{
    call::{CacheStatus, Call, Learnt, Target},
    config::App,
    dialect::Endpoint,
    telemetry::{Metrics, OperationHandles},
};

/// Kinds remembered per thread; reached only when a configuration is reloaded very often.
const MAX_KINDS: usize = 4096;

/// Handles of one kind of call.
#[derive(Debug)]
pub(super) struct Handles {
    pub(super) requests: IntCounter,
    pub(super) duration: Histogram,
    pub(super) cache: IntCounter,
    /// Absent when no target was reached.
    pub(super) target: Option<TargetHandles>,
    /// What the key's addresses belong to: as long as it is held, no other thing can have the same address.
    _pinned: Pinned,
}

type Pinned = (
    Arc<Metrics>,
    Arc<App>,
    Option<Arc<str>>,
    Option<Arc<Target>>,
);

#[derive(Debug)]
pub(super) struct TargetHandles {
    pub(super) first_token: Histogram,
    pub(super) operation: OperationHandles,
}

/// Addresses and small numbers.
#[derive(PartialEq, Eq)]
struct Key([usize; 4], u32);

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_usize(word);
        }
        state.write_u32(self.1);
    }
}

/// Enough for addresses: multiplies and rotates. The keys are ours, nobody chooses them.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_usize(value as usize);
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0.rotate_left(23) ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

thread_local! {
    static KINDS: RefCell<HashMap<Key, Rc<Handles>, BuildHasherDefault<Mix>>> = RefCell::default();
}

/// The handles for a call that ended with `outcome`.
pub(super) fn of(
    metrics: &Arc<Metrics>,
    call: &Call,
    learnt: &Learnt,
    outcome: Outcome,
) -> Rc<Handles> {
    let address = |target: &Arc<Target>| Arc::as_ptr(target).addr();
    let addresses = [
        Arc::as_ptr(metrics).addr(),
        Arc::as_ptr(&call.app).addr(),
        learnt
            .route
            .as_ref()
            .map_or(0, |route| route.as_ptr().addr()),
        learnt.target.as_ref().map_or(0, address),
    ];
    let small = (outcome as u32) << 16 | (call.endpoint as u32) << 8 | learnt.cache as u32;
    let key = Key(addresses, small);
    KINDS.with_borrow_mut(|kinds| {
        if let Some(handles) = kinds.get(&key) {
            return Rc::clone(handles);
        }
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        let handles = Rc::new(Handles::new(metrics, call, learnt, outcome));
        kinds.insert(key, Rc::clone(&handles));
        handles
    })
}

// === impl Handles ===

impl Handles {
    fn new(metrics: &Arc<Metrics>, call: &Call, learnt: &Learnt, outcome: Outcome) -> Self {
        let route = learnt.route.as_deref().unwrap_or("none");
        let (model, upstream) = learnt
            .target
            .as_ref()
            .map_or(("other", "none"), |t| (&*t.label, &*t.upstream.name));
        let outcome = outcome.as_str();
        let labels = [&*call.app.name, route, model, upstream, outcome];
        Self {
            requests: metrics.requests.with_label_values(&labels),
            duration: metrics
                .duration
                .with_label_values(&[route, upstream, outcome]),
            cache: metrics
                .cache_requests
                .with_label_values(&[CacheStatus::as_str(learnt.cache)]),
            target: learnt.target.as_ref().map(|target| TargetHandles {
                first_token: metrics.first_token.with_label_values(&[upstream, model]),
                operation: metrics.operation_of(target, Endpoint::as_str(call.endpoint)),
            }),
            _pinned: (
                Arc::clone(metrics),
                Arc::clone(&call.app),
                learnt.route.clone(),
                learnt.target.clone(),
            ),
        }
    }
}
