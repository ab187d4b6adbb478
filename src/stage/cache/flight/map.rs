//! Every flight that can be joined, by key.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Flight, Seat, lock};
use crate::{
    call::Call,
    stage::cache::key::{FlightKey, Prefix},
};

/// Of the map of flights: a power of two, some times the cores of any machine.
const SHARDS: usize = 64;

type Shard = HashMap<FlightKey, Arc<Flight>, BuildHasherDefault<Prefix>>;

/// Every flight that can be joined.
pub(in crate::stage::cache) struct Flights(Box<[Mutex<Shard>]>);

// === impl Flights ===

impl Flights {
    pub(in crate::stage::cache) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(in crate::stage::cache) fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &FlightKey) -> MutexGuard<'_, Shard> {
        lock(&self.0[key.key.shard(SHARDS)])
    }

    /// A seat in the flight for `key`, or in a new one led by `call`.
    ///
    /// `recheck` looks into the store once more before a new flight begins: another one may have landed there
    /// since the caller looked. Under the same lock, so that there is no gap between the two.
    ///
    /// # Errors
    /// With what `recheck` has found; nobody is seated.
    pub(in crate::stage::cache) fn board<T>(
        &self,
        key: FlightKey,
        call: &Arc<Call>,
        max_bytes: usize,
        recheck: impl FnOnce() -> Option<T>,
    ) -> Result<Seat, T> {
        let mut shard = self.shard(&key);
        if let Some(seat) = shard.get(&key).and_then(|flight| flight.join(call)) {
            return Ok(seat);
        }
        if let Some(found) = recheck() {
            return Err(found);
        }
        let seat = Flight::led_by(call, max_bytes);
        shard.insert(key, Arc::clone(&seat.flight));
        Ok(seat)
    }

    /// Nobody joins `flight` any more; those in it stay.
    pub(in crate::stage::cache) fn close(&self, key: &FlightKey, flight: &Arc<Flight>) {
        let mut shard = self.shard(key);
        if shard.get(key).is_some_and(|now| Arc::ptr_eq(now, flight)) {
            shard.remove(key);
        }
    }
}
