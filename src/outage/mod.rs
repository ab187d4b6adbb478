//! Outage detection: is it our network, our key, one model of theirs, or their whole API?
//!
//! Hears how every attempt ended, from [`Witness`](crate::witness::Witness). It tells; it decides nothing: circuits do.
//!
//! Each target has two sequential tests, over failures and over late first tokens, and each held key one over
//! refusals. When one of them raises or clears an alarm, all states are looked at together, and as few statements as
//! explain them are made.
//!
//! | file | holds |
//! | --- | --- |
//! | `test` | the sequential test |
//! | `latency`, `target`, `key` | what is tested of first tokens, targets and keys |
//! | `cause` | which class of failure says something, and about what |
//! | `attribute`, `slow`, `place` | whose outage it is |
//! | `evidence`, `report`, `tell` | what is told, and the words |
//!
//! Bounded: [`SLOTS`] targets have a state of their own, what comes later shares one per upstream; so many upstreams'
//! keys as there are places. A state is a few hundred bytes behind a lock of its own, held for some tens of nanoseconds.

mod attribute;
mod cause;
mod evidence;
mod key;
mod latency;
mod place;
mod report;
mod slow;
mod target;
mod tell;
mod test;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

pub use self::report::{Certainty, Change, Ending, Hook, Outage, TargetHealth, Verdict};

use self::{
    attribute::{Finding, KeySeen, Seen, attribute},
    cause::{Evidence, evidence},
    key::Key,
    place::Place,
    target::{Health, QUIET},
    tell::{ending, say},
};
use crate::{
    call::{RequestId, Target},
    config::Upstream,
    triage::Class,
};

/// Targets with a state of their own.
const SLOTS: usize = 4_096;
/// States that the targets beyond share, and states of keys.
const SHARED: usize = 256;
/// While an outage lasts, the picture is looked at again so often.
const LOOK: Duration = Duration::from_secs(1);
/// Targets that `/status` tells about.
const TOLD: usize = 200;

/// What is known of how the targets do.
pub struct Outages {
    began: Instant,
    slots: Box<[OnceLock<Box<Slot>>]>,
    keys: Box<[OnceLock<Arc<KeySlot>>]>,
    ongoing: Mutex<Vec<Finding>>,
    /// Something is in alarm.
    troubled: AtomicBool,
    /// When to look again, in milliseconds since the beginning.
    next_look: AtomicU64,
    hook: Option<Hook>,
}

struct Slot {
    state: Mutex<State>,
    key: Arc<KeySlot>,
}

struct State {
    health: Health,
    /// Of the latest attempt: a reload may have changed it.
    upstream: Arc<Upstream>,
    model: Arc<str>,
    /// The call whose failure was seen last.
    failed: Option<RequestId>,
}

struct KeySlot {
    key: Mutex<Key>,
    /// The upstream that was seen first; a place is shared only when there are more upstreams than places.
    upstream: Mutex<Arc<Upstream>>,
    /// Answers are of interest.
    suspect: AtomicBool,
}

// === impl Outages ===

impl Outages {
    /// Tells `hook` of each outage that begins or ends.
    #[must_use]
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// An attempt was answered; `first`: time to the first token of a stream.
    pub fn answered(&self, target: &Target, first: Option<Duration>) {
        self.answered_at(target, first, Instant::now());
    }

    /// An attempt of `call` failed; `repeated`: an SDK had sent that call before.
    pub fn failed(&self, target: &Target, class: Class, call: RequestId, repeated: bool) {
        self.failed_at(target, class, call, repeated, Instant::now());
    }

    fn answered_at(&self, target: &Target, first: Option<Duration>, now: Instant) {
        let slot = self.slot(target, now);
        let mut turned = {
            let mut state = lock(&slot.state);
            state.is_at(target);
            state.health.answered(first, now)
        };
        if slot.key.suspect.load(Relaxed) {
            let mut key = lock(&slot.key.key);
            turned |= key.answered(now);
            slot.key.suspect.store(key.suspect(), Relaxed);
        }
        self.after(turned, now);
    }

    fn failed_at(
        &self,
        target: &Target,
        class: Class,
        call: RequestId,
        repeated: bool,
        now: Instant,
    ) {
        let evidence = evidence(class, &target.upstream.key);
        if evidence == Evidence::Nothing {
            return;
        }
        let slot = self.slot(target, now);
        let turned = {
            let mut state = lock(&slot.state);
            state.is_at(target);
            let repeats = repeated || state.failed == Some(call);
            state.failed = Some(call);
            match evidence {
                Evidence::Target(cause) => state.health.failed(cause, class, repeats, now),
                Evidence::OwnKey | Evidence::Nothing => {
                    drop(state);
                    *lock(&slot.key.upstream) = Arc::clone(&target.upstream);
                    let mut key = lock(&slot.key.key);
                    let turned = key.refused(class, repeats, now);
                    slot.key.suspect.store(key.suspect(), Relaxed);
                    turned
                }
            }
        };
        self.after(turned, now);
    }

    /// The outages of this moment, the oldest first.
    pub fn ongoing(&self) -> Vec<Outage> {
        let now = Instant::now();
        self.look(now);
        let clock = SystemTime::now();
        let ongoing = lock(&self.ongoing);
        ongoing.iter().map(|f| Outage::of(f, now, clock)).collect()
    }

    /// How the targets do that were asked lately, those in trouble first.
    pub fn health(&self) -> Vec<TargetHealth> {
        self.health_at(Instant::now())
    }

    fn health_at(&self, now: Instant) -> Vec<TargetHealth> {
        self.look(now);
        let seen = self.seen(now);
        let ongoing = lock(&self.ongoing);
        let mut health: Vec<TargetHealth> = seen
            .iter()
            .filter(|seen| now.saturating_duration_since(seen.view.last) < QUIET)
            .map(|seen| TargetHealth::of(seen, &ongoing, now))
            .collect();
        drop(ongoing);
        let well = |verdict| matches!(verdict, Verdict::Fine | Verdict::Unknown);
        health.sort_by_key(|h| (well(h.verdict), h.last_attempt_seconds));
        health.truncate(TOLD);
        health
    }

    /// After an outcome: looks at the whole when something turned, and now and then while something is wrong.
    fn after(&self, turned: bool, now: Instant) {
        if turned {
            self.troubled.store(true, Relaxed);
            self.look(now);
        } else if self.troubled.load(Relaxed) {
            let time = self.millis(now);
            let next = self.next_look.load(Relaxed);
            let then = time + LOOK.as_millis() as u64;
            if time >= next
                && self
                    .next_look
                    .compare_exchange(next, then, Relaxed, Relaxed)
                    .is_ok()
            {
                self.look(now);
            }
        }
    }

    /// Looks at all states together; tells what has begun and what has ended.
    fn look(&self, now: Instant) {
        let mut changes = Vec::new();
        {
            let mut ongoing = lock(&self.ongoing);
            let quiet = self.drop_stale(now);
            let keys = self.keys_seen();
            let seen = self.seen(now);
            let mut findings = attribute(&seen, &keys, now);
            for finding in &mut findings {
                if let Some(before) = ongoing.iter().find(|f| f.is_same(finding)) {
                    finding.onset = finding.onset.min(before.onset);
                }
            }
            self.troubled
                .store(!findings.is_empty() || self.alarmed(), Relaxed);
            let clock = SystemTime::now();
            for ended in ongoing.iter() {
                if !findings.iter().any(|f| f.is_same(ended)) {
                    changes.push(Change {
                        outage: Outage::of(ended, now, clock),
                        ended: Some(ending(ended, &findings, &seen, quiet)),
                    });
                }
            }
            for begun in &findings {
                if !ongoing.iter().any(|f| f.is_same(begun)) {
                    changes.push(Change {
                        outage: Outage::of(begun, now, clock),
                        ended: None,
                    });
                }
            }
            *ongoing = findings;
        }
        for change in &changes {
            say(change);
            if let Some(hook) = &self.hook {
                hook(change);
            }
        }
    }

    /// Forgets alarms that nothing has been heard of for long; whether there were any.
    fn drop_stale(&self, now: Instant) -> bool {
        let mut dropped = false;
        for slot in self.used() {
            dropped |= lock(&slot.state).health.quiet(now);
        }
        for slot in self.keys.iter().filter_map(OnceLock::get) {
            let mut key = lock(&slot.key);
            dropped |= key.quiet(now);
            slot.suspect.store(key.suspect(), Relaxed);
        }
        dropped
    }

    fn seen(&self, now: Instant) -> Vec<Seen> {
        self.used()
            .map(|slot| {
                let refused = lock(&slot.key.key).refused_last();
                let state = lock(&slot.state);
                Seen {
                    refused,
                    place: Place::of(&state.upstream),
                    model: Arc::clone(&state.model),
                    view: state.health.view(now),
                }
            })
            .collect()
    }

    fn keys_seen(&self) -> Vec<KeySeen> {
        let slots = self.keys.iter().filter_map(OnceLock::get);
        slots
            .filter_map(|slot| {
                let view = lock(&slot.key).view()?;
                let place = Place::of(&lock(&slot.upstream));
                Some(KeySeen { place, view })
            })
            .collect()
    }

    fn alarmed(&self) -> bool {
        self.used().any(|slot| lock(&slot.state).health.alarmed())
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter_map(OnceLock::get)
            .map(|slot| &**slot)
    }

    fn slot(&self, target: &Target, now: Instant) -> &Slot {
        let id = target.id.0 as usize;
        let index = match id < SLOTS {
            true => id,
            false => SLOTS + usize::from(target.upstream.id.0) % SHARED,
        };
        self.slots[index].get_or_init(|| {
            Box::new(Slot {
                key: Arc::clone(self.key(&target.upstream, now)),
                state: Mutex::new(State {
                    health: Health::new(now),
                    upstream: Arc::clone(&target.upstream),
                    model: Arc::clone(&target.label),
                    failed: None,
                }),
            })
        })
    }

    /// The place of an upstream's key: its own as long as there are places.
    fn key(&self, upstream: &Arc<Upstream>, now: Instant) -> &Arc<KeySlot> {
        for slot in &self.keys {
            let key = slot.get_or_init(|| {
                Arc::new(KeySlot {
                    key: Mutex::new(Key::new(now)),
                    upstream: Mutex::new(Arc::clone(upstream)),
                    suspect: AtomicBool::new(false),
                })
            });
            let mut known = lock(&key.upstream);
            if known.name == upstream.name {
                *known = Arc::clone(upstream);
                return key;
            }
        }
        self.keys[usize::from(upstream.id.0) % SHARED]
            .get()
            .expect("the loop has filled every place")
    }

    fn millis(&self, now: Instant) -> u64 {
        let past = now.saturating_duration_since(self.began).as_millis();
        u64::try_from(past).unwrap_or(u64::MAX)
    }
}

impl Default for Outages {
    fn default() -> Self {
        let places = |n: usize| std::iter::repeat_with(OnceLock::new).take(n);
        Self {
            began: Instant::now(),
            slots: places(SLOTS + SHARED).collect(),
            keys: std::iter::repeat_with(OnceLock::new).take(SHARED).collect(),
            ongoing: Mutex::default(),
            troubled: AtomicBool::new(false),
            next_look: AtomicU64::new(0),
            hook: None,
        }
    }
}

impl fmt::Debug for Outages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outages")
            .field("ongoing", &lock(&self.ongoing).len())
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn is_at(&mut self, target: &Target) {
        if !Arc::ptr_eq(&self.upstream, &target.upstream) {
            self.upstream = Arc::clone(&target.upstream);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
