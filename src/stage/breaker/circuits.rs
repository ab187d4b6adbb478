//! All circuits of the process: one per target, and gates over credentials.
//!
//! A *gate* is a circuit that exists only while it is not closed: opened by the first failure that speaks for a whole key,
//! project or organisation, and removed when it has recovered. While nothing of the kind is wrong, which is nearly
//! always, an attempt pays one short lock of its target's shard at its beginning and one at its end.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{
    CircuitOpen, CircuitStatus, Hook, Transition,
    circuit::{Outcome, State, Ticket},
    effect::Opens,
    entry::{Asking, Entry, News},
    gates::GateKey,
    members::{Caller, Members},
    permit::Permit,
};
use crate::{
    call::{Attempt, Call, Target, TargetId},
    config,
    triage::Scope,
};

const SHARDS: usize = 16;
/// Circuits of targets in one shard; 10,000 in all. Beyond it the longest unused one is forgotten.
const SHARD_MAX: usize = 625;
/// Gates. Beyond it the longest unused one is forgotten: one call then finds out again.
const GATES_MAX: usize = 4096;

/// Gates that an attempt has passed.
pub(super) type GateTickets = Vec<(GateKey, Ticket)>;

type Shard = Mutex<HashMap<TargetId, Entry>>;

/// All circuits of the process. Made once; survives reloads.
pub struct Circuits {
    rules: ArcSwap<config::Breaker>,
    targets: [Shard; SHARDS],
    gates: Mutex<HashMap<GateKey, Entry>>,
    /// How many gates there are: none is asked for while it is 0.
    gate_count: AtomicUsize,
    /// How many gates there were.
    births: AtomicU32,
    members: Members,
    hook: Option<Hook>,
}

// === impl Circuits ===

impl Circuits {
    /// All closed.
    pub fn new(rules: config::Breaker) -> Self {
        Self {
            rules: ArcSwap::from_pointee(rules),
            targets: std::array::from_fn(|_| Mutex::default()),
            gates: Mutex::default(),
            gate_count: AtomicUsize::new(0),
            births: AtomicU32::new(0),
            members: Members::default(),
            hook: None,
        }
    }

    /// `hook` hears of every change of state.
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// New rules, from the next outcome on. What is open stays open.
    pub fn reconfigure(&self, rules: config::Breaker) {
        self.rules.store(Arc::new(rules));
        self.members.forget_seen();
    }

    /// Lets an attempt through, or says what is open.
    ///
    /// # Errors
    /// The circuit in the way. Another target may do; this one does not before `retry_after`.
    pub fn admit(self: &Arc<Self>, attempt: &Attempt) -> Result<Permit, CircuitOpen> {
        let now = Instant::now();
        let target = &attempt.target;
        let caller = self.members.caller(&target.upstream, &attempt.call);
        let asking = Asking {
            target,
            patience: attempt
                .last
                .then(|| attempt.max_wait.min(attempt.call.deadline.left(now))),
        };
        let mut changes = Vec::new();
        let admitted = if self.gate_count.load(Ordering::Acquire) == 0 {
            self.admit_target(now, asking, &mut changes)
                .map(|ticket| (ticket, Vec::new()))
        } else {
            self.admit_gated(now, asking, caller, &mut changes)
        };
        self.announce(changes);
        let (ticket, gates) = admitted?;
        Ok(Permit::new(
            Arc::clone(self),
            Arc::clone(target),
            caller,
            now,
            ticket,
            gates,
        ))
    }

    /// Whether an attempt would be let through now. Takes nothing.
    pub fn is_available(&self, target: &Target, call: &Call) -> bool {
        let now = Instant::now();
        if self.gate_count.load(Ordering::Acquire) != 0 {
            let caller = self.members.caller(&target.upstream, call);
            let keys = self.members.gate_keys(target, caller);
            let gates = lock(&self.gates);
            if keys
                .iter()
                .filter_map(|key| gates.get(key))
                .any(|gate| gate.circuit.peek(now).is_err())
            {
                return false;
            }
        }
        lock(self.shard(target.id))
            .get(&target.id)
            .is_none_or(|entry| entry.circuit.peek(now).is_ok())
    }

    /// Everything that is not closed.
    pub fn snapshot(&self, now: Instant) -> Vec<CircuitStatus> {
        self.refresh(now);
        let mut all: Vec<_> = lock(&self.gates)
            .values()
            .filter_map(|gate| gate.status(now))
            .collect();
        for shard in &self.targets {
            all.extend(lock(shard).values().filter_map(|entry| entry.status(now)));
        }
        all.sort_by(|a, b| (&a.upstream, &a.key).cmp(&(&b.upstream, &b.key)));
        all
    }

    /// Ends recoveries whose time is over, so that the hook hears of it though no call comes. Before metrics are read.
    pub fn refresh(&self, now: Instant) {
        let mut changes = Vec::new();
        if self.gate_count.load(Ordering::Acquire) != 0 {
            let mut gates = lock(&self.gates);
            changes.extend(gates.values_mut().filter_map(|gate| gate.refresh(now)));
            self.sweep(&mut gates);
        }
        for shard in &self.targets {
            changes.extend(
                lock(shard)
                    .values_mut()
                    .filter_map(|entry| entry.refresh(now)),
            );
        }
        self.announce(changes);
    }

    /// The next call through each open gate of this upstream (or of all) is a probe, whatever the time. How many gates.
    /// For `weir credit topped-up`.
    pub fn probe_now(&self, upstream: Option<&str>) -> usize {
        let now = Instant::now();
        let mut gates = lock(&self.gates);
        let wanted = gates
            .values_mut()
            .filter(|gate| upstream.is_none() || gate.upstream() == upstream);
        wanted
            .map(|gate| usize::from(gate.circuit.probe_now(now)))
            .sum()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.targets.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether nothing is or was wrong anywhere.
    #[cfg(test)]
    pub(super) fn is_spotless(&self) -> bool {
        let of_targets = |shard: &Shard| lock(shard).values().all(|e| e.circuit.is_spotless());
        lock(&self.gates).is_empty() && self.targets.iter().all(of_targets)
    }

    pub(super) fn rules(&self) -> arc_swap::Guard<Arc<config::Breaker>> {
        self.rules.load()
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// The end of an attempt, for its target's circuit.
    pub(super) fn settle_target(
        &self,
        now: Instant,
        target: &Target,
        ticket: Ticket,
        outcome: Outcome,
        news: Option<News<'_>>,
    ) {
        // Nothing to say, and nothing held: no lock.
        if matches!(outcome, Outcome::Neutral | Outcome::Untouched) && !ticket.is_probe() {
            return;
        }
        let rules = self.rules();
        let mut shard = lock(self.shard(target.id));
        let entry = shard
            .entry(target.id)
            .or_insert_with(|| Entry::new(now, &rules, Scope::Model, None));
        let change = entry.settle(now, ticket, outcome, news, &rules);
        drop(shard);
        self.announce(change);
    }

    /// The end of an attempt, for the gates that it has passed.
    pub(super) fn settle_gates(
        &self,
        now: Instant,
        tickets: &GateTickets,
        outcome: Outcome,
        news: Option<News<'_>>,
    ) {
        if tickets.is_empty() {
            return;
        }
        let rules = self.rules();
        let mut gates = lock(&self.gates);
        let mut changes = Vec::new();
        for (key, ticket) in tickets {
            if let Some(gate) = gates.get_mut(key) {
                changes.extend(gate.settle(now, *ticket, outcome, news, &rules));
            }
        }
        if !changes.is_empty() {
            self.sweep(&mut gates);
        }
        drop(gates);
        self.announce(changes);
    }

    /// A failure speaks for more than its target. `held`: gates that the attempt had passed, which have heard of it.
    pub(super) fn open_gate(
        &self,
        now: Instant,
        began: Instant,
        caller: Caller,
        opens: Opens,
        news: News<'_>,
        held: &GateTickets,
    ) {
        let (key, scope, name) = self.members.gate_for(news.target, caller, opens.reach);
        let rules = self.rules();
        let mut gates = lock(&self.gates);
        // One that it had passed and that is there no more has recovered since: this is news.
        if held.iter().any(|(passed, _)| *passed == key) && gates.contains_key(&key) {
            return;
        }
        let full = gates.len() >= GATES_MAX && !gates.contains_key(&key);
        let forgotten = if full { evict(&mut gates) } else { None };
        let gate = gates.entry(key).or_insert_with(|| {
            // Tickets of an earlier gate of this name are none of this one's.
            let number = self.births.fetch_add(1, Ordering::Relaxed);
            Entry::new(now, &rules, scope, Some(name)).numbered(number)
        });
        let change = gate.hear_of(now, began, (opens.pace, opens.told), news);
        self.sweep(&mut gates);
        drop(gates);
        self.announce(forgotten.into_iter().chain(change));
    }

    /// All or nothing: no probe is taken from one circuit when another refuses.
    fn admit_gated(
        &self,
        now: Instant,
        asking: Asking<'_>,
        caller: Caller,
        changes: &mut Vec<Transition>,
    ) -> Result<(Ticket, GateTickets), CircuitOpen> {
        let keys = self.members.gate_keys(asking.target, caller);
        let mut gates = lock(&self.gates);
        for key in &keys {
            if let Some(gate) = gates.get_mut(key)
                && !gate.is_open_to(now, asking)
            {
                // Asked in earnest, for a recovering gate counts those that it refuses.
                gate.admit(now, asking).0?;
            }
        }
        let ticket = self.admit_target(now, asking, changes)?;
        let mut tickets = Vec::new();
        for key in keys {
            let Some(gate) = gates.get_mut(&key) else {
                continue;
            };
            let (admitted, change) = gate.admit(now, asking);
            changes.extend(change);
            // It was asked under the same lock: it admits.
            tickets.extend(admitted.ok().map(|ticket| (key, ticket)));
        }
        if !changes.is_empty() {
            self.sweep(&mut gates);
        }
        Ok((ticket, tickets))
    }

    fn admit_target(
        &self,
        now: Instant,
        asking: Asking<'_>,
        changes: &mut Vec<Transition>,
    ) -> Result<Ticket, CircuitOpen> {
        let target = asking.target;
        let mut shard = lock(self.shard(target.id));
        if shard.len() >= SHARD_MAX && !shard.contains_key(&target.id) {
            changes.extend(evict(&mut shard));
        }
        let entry = match shard.entry(target.id) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Entry::new(now, &self.rules(), Scope::Model, None))
            }
        };
        let (admitted, change) = entry.admit(now, asking);
        changes.extend(change);
        admitted
    }

    /// Removes gates that have recovered.
    fn sweep(&self, gates: &mut HashMap<GateKey, Entry>) {
        gates.retain(|_, gate| gate.circuit.state() != State::Closed);
        self.gate_count.store(gates.len(), Ordering::Release);
    }

    fn shard(&self, id: TargetId) -> &Shard {
        &self.targets[id.0 as usize % SHARDS]
    }

    fn announce(&self, changes: impl IntoIterator<Item = Transition>) {
        for change in changes {
            tracing::debug!(
                upstream = %change.target.upstream.name, scope = %change.scope, class = %change.class,
                from = %change.from, to = %change.to, "A circuit changed its state."
            );
            if let Some(hook) = &self.hook {
                hook(&change);
            }
        }
    }
}

impl std::fmt::Debug for Circuits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Circuits")
            .field("rules", &self.rules())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets the longest unused circuit, healthy ones first.
fn evict<K: Clone + Eq + std::hash::Hash>(entries: &mut HashMap<K, Entry>) -> Option<Transition> {
    let oldest = entries
        .iter()
        .min_by_key(|(_, entry)| (!entry.circuit.is_spotless(), entry.used));
    let key = oldest.map(|(key, _)| key.clone())?;
    entries.remove(&key)?.forgotten()
}
