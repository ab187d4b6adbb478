//! What went well: counts per minute and the last time, per target and per caller's key.
//!
//! On the path of every answered call, so there is no lock in it: a target finds its [`Tally`] once and keeps it; after that
//! an answer costs a look at the clock and two relaxed writes.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Minute, minute::REMEMBERED};
use crate::{
    call::{Fingerprint, Target},
    config::UpstreamKey,
    redact::redact,
};

/// Targets counted by themselves, at 12 KB each; further ones are counted together, per upstream.
const TALLIES: usize = 256;
/// Callers' keys remembered; a power of two. Two keys in one place forget each other, and then nothing is said of the
/// first one.
const KEYS: usize = 4_096;

/// Answers of one target with one key.
pub struct Tally {
    upstream: Arc<str>,
    model: Arc<str>,
    /// weir's own key; `None`: the callers' keys, or none.
    key: Option<Fingerprint>,
    /// Of the upstream: tells the places of its callers' keys apart.
    salt: u64,
    /// Unix time in milliseconds; 0: never.
    last: AtomicU64,
    /// By minute modulo a day: the minute in the upper half, its count in the lower.
    slots: Box<[AtomicU64]>,
}

/// All tallies, and when each caller's key was last seen to work.
pub(super) struct Answered {
    tallies: RwLock<HashMap<Name, Arc<Tally>>>,
    /// A part of the key's hash in the upper half, Unix seconds in the lower: one word, so that no reader sees one key
    /// with another's time.
    keys: Box<[AtomicU64]>,
    hasher: RandomState,
}

type Name = (Arc<str>, Arc<str>, Option<Fingerprint>);

/// Answers of one target within some minutes.
#[derive(Clone, Debug)]
pub struct Good {
    pub upstream: String,
    pub model: String,
    /// Fingerprint of weir's own key.
    pub key: Option<String>,
    pub minutes: Vec<(Minute, u32)>,
    /// The very last one, whenever that was.
    pub last: Option<SystemTime>,
}

// === impl Answered ===

impl Default for Answered {
    fn default() -> Self {
        Self {
            tallies: RwLock::default(),
            keys: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Answered {
    /// `target` answered a call of `caller`.
    pub(super) fn count(&self, target: &Target, caller: Fingerprint, now: SystemTime) {
        let tally = target.tally.get_or_init(|| self.tally(target));
        tally.count(now);
        if target.upstream.key == UpstreamKey::Passthrough {
            let (slot, tag) = self.place(tally.salt, caller);
            let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
            let word = tag << 32 | (seconds & 0xffff_ffff);
            if slot.load(Relaxed) != word {
                slot.store(word, Relaxed);
            }
        }
    }

    /// When a call with this caller's key was last answered by `upstream`, if that is still known.
    pub(super) fn worked(&self, upstream: &str, caller: Fingerprint) -> Option<SystemTime> {
        let (slot, tag) = self.place(self.hasher.hash_one(upstream), caller);
        let word = slot.load(Relaxed);
        let seconds = word & 0xffff_ffff;
        (word >> 32 == tag && seconds > 0).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Everything within these minutes.
    pub(super) fn within(&self, from: Minute, to: Minute) -> Vec<Good> {
        let tallies = self.tallies.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = tallies.values().cloned().collect();
        drop(tallies);
        let mut all: Vec<_> = all.iter().map(|tally| tally.within(from, to)).collect();
        all.sort_by(|a, b| (&a.upstream, &a.model, &a.key).cmp(&(&b.upstream, &b.model, &b.key)));
        all
    }

    fn tally(&self, target: &Target) -> Arc<Tally> {
        let upstream = &target.upstream;
        let key = match &upstream.key {
            UpstreamKey::Held(secret) => Some(Fingerprint::of(secret.expose().as_bytes())),
            UpstreamKey::Passthrough | UpstreamKey::None => None,
        };
        let mut name = (Arc::clone(&upstream.name), Arc::clone(&target.label), key);
        let mut tallies = self.tallies.write().unwrap_or_else(PoisonError::into_inner);
        if tallies.len() >= TALLIES && !tallies.contains_key(&name) {
            name.1 = Arc::from("other");
        }
        let (upstream, model) = (Arc::clone(&name.0), Arc::clone(&name.1));
        let salt = self.hasher.hash_one(&*upstream);
        let tally = || Arc::new(Tally::new(upstream, model, key, salt));
        // Renamed upstreams and changed keys could still be many: those that are too many are counted for nobody.
        if tallies.len() >= 2 * TALLIES && !tallies.contains_key(&name) {
            return tally();
        }
        Arc::clone(tallies.entry(name).or_insert_with(tally))
    }

    /// `salt`: the upstream's. A fingerprint is a good hash itself: one multiplication spreads both.
    fn place(&self, salt: u64, caller: Fingerprint) -> (&AtomicU64, u64) {
        let mixed = (caller.0 ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The tag of an empty place is 0; a key's never is.
        let tag = (mixed >> 16 & 0xffff_ffff) | 1;
        (&self.keys[(mixed >> 50) as usize % KEYS], tag)
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").finish_non_exhaustive()
    }
}

// === impl Tally ===

impl Tally {
    fn new(upstream: Arc<str>, model: Arc<str>, key: Option<Fingerprint>, salt: u64) -> Self {
        Self {
            salt,
            upstream,
            model,
            key,
            last: AtomicU64::new(0),
            slots: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn count(&self, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = since.as_secs() * 1_000 + u64::from(since.subsec_millis());
        self.last.store(millis, Relaxed);
        let minute = Minute::of(now).0;
        let slot = &self.slots[(minute % REMEMBERED) as usize];
        let mut seen = slot.load(Relaxed);
        while seen >> 32 != u64::from(minute) {
            let first = u64::from(minute) << 32 | 1;
            match slot.compare_exchange_weak(seen, first, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        slot.fetch_add(1, Relaxed);
    }

    fn within(&self, from: Minute, to: Minute) -> Good {
        let counted = |minute: u32| {
            let word = self.slots[(minute % REMEMBERED) as usize].load(Relaxed);
            let is_it = word >> 32 == u64::from(minute);
            is_it.then_some((Minute(minute), word as u32))
        };
        let from = from.max(to.oldest_remembered());
        let minutes = (from.0..=to.0).filter_map(counted).collect();
        let last = self.last.load(Relaxed);
        Good {
            upstream: self.upstream.to_string(),
            model: redact(&self.model).into_owned(),
            key: self.key.map(|key| key.to_string()),
            minutes,
            last: (last > 0).then(|| UNIX_EPOCH + Duration::from_millis(last)),
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally")
            .field("upstream", &self.upstream)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

// === impl Good ===

impl Good {
    /// All of them.
    pub fn count(&self) -> u64 {
        self.minutes.iter().map(|(_, n)| u64::from(*n)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    proptest! {
        #[test]
        fn every_answer_of_the_last_day_is_counted_once(mut times in prop::collection::vec(0_u64..200_000, 1..200)) {
            times.sort_unstable();
            let tally = Tally::new("u".into(), "m".into(), None, 0);
            for time in &times {
                tally.count(at(*time));
            }
            let last = Minute::of(at(times[times.len() - 1]));
            let good = tally.within(last.oldest_remembered(), last);
            let expected = times.iter().filter(|t| Minute::of(at(**t)) >= last.oldest_remembered()).count();
            prop_assert_eq!(good.count(), expected as u64);
            prop_assert_eq!(good.last, Some(at(times[times.len() - 1])));
        }
    }

    #[test]
    fn threads_that_meet_at_a_new_minute_lose_no_count() {
        let tally = Tally::new("u".into(), "m".into(), None, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for second in 0..6_000 {
                        tally.count(at(second));
                    }
                });
            }
        });
        // Threads may be some minutes apart, never a day.
        let good = tally.within(Minute::of(at(0)), Minute::of(at(6_000)));
        assert_eq!(good.count(), 24_000);
    }

    #[test]
    fn a_callers_key_is_known_to_work_only_where_it_did() {
        let answered = Answered::default();
        let (slot, tag) = answered.place(answered.hasher.hash_one("a"), Fingerprint(7));
        slot.store(tag << 32 | 5, Relaxed);
        assert_eq!(
            answered.worked("a", Fingerprint(7)),
            Some(UNIX_EPOCH + Duration::from_secs(5))
        );
        assert_eq!(answered.worked("b", Fingerprint(7)), None);
        assert_eq!(answered.worked("a", Fingerprint(8)), None);
    }
}
