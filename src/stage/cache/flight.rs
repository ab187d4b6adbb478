//! Single-flight: identical calls in flight share one upstream call.
//!
//! Who waits for a flight holds a [`Seat`]. A seat is a guard: with the last one the flight ends at once,
//! and with it the upstream call; before that, nobody's leaving is felt by the others. Joining and ending are
//! decided under one lock, so nobody boards a flight that is being called off.
//!
//! A flight has its answer in one piece ([`Landed`]), or as a stream whose chunks lie here until all have read
//! them. While all of them fit `max_bytes` they stay, for those who join late and for the store. Once they do
//! not, nobody joins any more, what all have read is dropped, and the driver waits for the slowest reader
//! ([`Room`]).
//!
//! Plain data under one mutex, held for a few statements: no tower, no HTTP body. `share` drives it, `body`
//! reads it.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::key::{FlightKey, Prefix};
use crate::{
    call::{BodyError, Call, End, How, Learnt},
    dialect::openai::Usage,
    error::Error,
};

/// Of the map of flights: a power of two, some times the cores of any machine.
const SHARDS: usize = 64;

type Shard = HashMap<FlightKey, Arc<Flight>, BuildHasherDefault<Prefix>>;

/// Every flight that can be joined.
pub(super) struct Flights(Box<[Mutex<Shard>]>);

/// One upstream call and those who wait for it.
pub(super) struct Flight {
    /// The leader's call: its deadline grows with those who join.
    pub(super) call: Arc<Call>,
    max_bytes: usize,
    state: Mutex<State>,
}

/// A waiter's place in a flight. Gives up the place on drop.
pub(super) struct Seat {
    flight: Arc<Flight>,
    id: u64,
    leader: bool,
}

/// The head of an answer, and its body when it came whole.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) learnt: Learnt,
    /// `None`: it streams.
    pub(super) whole: Option<Bytes>,
    /// It is in the store.
    pub(super) stored: bool,
}

/// What a flight has come to.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    Answer(Arc<Head>),
    Failed(Error),
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Next {
    Chunk(Bytes),
    End(End),
    Broken(BodyError, End),
}

/// What a flight holds after a chunk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Every chunk is still here.
    pub(super) all: bool,
    /// No reader is too far behind for the next one.
    pub(super) room: bool,
}

/// Whether the driver may go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    /// Nobody is left.
    Deserted,
}

/// Ends what a flight runs on: the driver's task, and the upstream's body in its slot.
pub(super) type CallOff = Box<dyn FnOnce() -> Option<Usage> + Send>;

struct State {
    landed: Option<Landed>,
    chunks: VecDeque<Bytes>,
    /// Number of the first chunk in `chunks`.
    first: u64,
    /// Bytes that have come.
    bytes: u64,
    /// All chunks are still here.
    keeps_all: bool,
    end: Option<(End, Option<BodyError>)>,
    seats: Vec<Place>,
    next_id: u64,
    /// Who is told the usage: one of all, so that it is booked once.
    payer: u64,
    paid: bool,
    closed: bool,
    driver: Option<Waker>,
    call_off: Option<CallOff>,
}

struct Place {
    id: u64,
    /// Number of the chunk it reads next, and the bytes before it.
    next: u64,
    byte: u64,
    cut: bool,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Flights ===

impl Flights {
    pub(super) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub(super) fn len(&self) -> usize {
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
    pub(super) fn board<T>(
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
    pub(super) fn close(&self, key: &FlightKey, flight: &Arc<Flight>) {
        let mut shard = self.shard(key);
        if shard.get(key).is_some_and(|now| Arc::ptr_eq(now, flight)) {
            shard.remove(key);
        }
    }
}

// === impl Flight ===

impl Flight {
    /// A flight of its own, with its leader seated. Nobody else joins unless it is entered in a [`Flights`].
    pub(super) fn led_by(call: &Arc<Call>, max_bytes: usize) -> Seat {
        let state = State {
            landed: None,
            chunks: VecDeque::new(),
            first: 0,
            bytes: 0,
            keeps_all: true,
            end: None,
            seats: vec![Place::new(0)],
            next_id: 1,
            payer: 0,
            paid: false,
            closed: false,
            driver: None,
            call_off: None,
        };
        let flight = Arc::new(Self { call: Arc::clone(call), max_bytes, state: Mutex::new(state) });
        Seat { flight, id: 0, leader: true }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn join(self: &Arc<Self>, call: &Call) -> Option<Seat> {
        let mut state = self.state();
        if state.closed || !state.keeps_all || state.seats.is_empty() {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.seats.push(Place::new(id));
        self.call.deadline.extend(&call.deadline);
        Some(Seat { flight: Arc::clone(self), id, leader: false })
    }

    /// How to end it when the last one has left. Called at once when that has happened already.
    pub(super) fn runs_on(&self, call_off: CallOff) {
        let mut state = self.state();
        if state.seats.is_empty() {
            drop(state);
            call_off();
        } else {
            state.call_off = Some(call_off);
        }
    }

    /// Everybody hears of `landed`. The first word counts.
    pub(super) fn land(&self, landed: Landed) {
        let mut state = self.state();
        if state.landed.is_none() {
            // A failed flight takes nobody on: who comes now asks anew.
            state.closed |= matches!(landed, Landed::Failed(_));
            state.landed = Some(landed);
            state.wake_all();
        }
    }

    /// A chunk has come.
    pub(super) fn push(&self, chunk: Bytes) -> Held {
        let mut state = self.state();
        state.bytes += chunk.len() as u64;
        state.chunks.push_back(chunk);
        if state.bytes > self.max_bytes as u64 {
            state.keeps_all = false;
        }
        state.trim();
        state.wake_all();
        Held { all: state.keeps_all, room: state.has_room(self.max_bytes) }
    }

    /// Waits until the slowest reader is less than `max_bytes` behind.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Room> {
        let mut state = self.state();
        if state.seats.is_empty() {
            return Poll::Ready(Room::Deserted);
        }
        if state.has_room(self.max_bytes) {
            return Poll::Ready(Room::Yes);
        }
        state.driver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Cuts off the readers that hold up a faster one; the fastest sets the pace and stays.
    pub(super) fn cut_slowest(&self) {
        let mut state = self.state();
        let (bytes, max) = (state.bytes, self.max_bytes as u64);
        let fastest = state.seats.iter().map(|place| place.byte).max();
        for place in &mut state.seats {
            place.cut |= bytes - place.byte > max && Some(place.byte) < fastest;
        }
        state.trim();
        state.wake_all();
    }

    /// The stream has ended; `error` when it must not look complete.
    pub(super) fn end(&self, end: End, error: Option<BodyError>) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some((end, error));
            state.closed = true;
            state.wake_all();
        }
    }

    /// All chunks, when all are here.
    pub(super) fn all_chunks(&self) -> Option<Bytes> {
        let state = self.state();
        if !state.keeps_all {
            return None;
        }
        let mut whole = Vec::with_capacity(usize::try_from(state.bytes).ok()?);
        for chunk in &state.chunks {
            whole.extend_from_slice(chunk);
        }
        Some(whole.into())
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flight").field("call", &self.call.id).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn wake_all(&mut self) {
        for place in &mut self.seats {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    /// Bytes that the slowest reader has not read.
    fn lag(&self) -> u64 {
        let slowest = self.seats.iter().filter(|place| !place.cut).map(|place| place.byte).min();
        self.bytes - slowest.unwrap_or(self.bytes)
    }

    fn has_room(&self, max_bytes: usize) -> bool {
        self.keeps_all || self.lag() <= max_bytes as u64
    }

    /// Drops what all have read, unless all is kept.
    fn trim(&mut self) {
        if self.keeps_all {
            return;
        }
        let next = self.first + self.chunks.len() as u64;
        let slowest = self.seats.iter().filter(|place| !place.cut).map(|place| place.next).min().unwrap_or(next);
        while self.first < slowest
            && self.chunks.pop_front().is_some()
        {
            self.first += 1;
        }
    }

    fn wake_driver(&mut self, max_bytes: usize) {
        if self.driver.is_some()
            && self.lag() <= max_bytes as u64
            && let Some(waker) = self.driver.take()
        {
            waker.wake();
        }
    }
}

// === impl Place ===

impl Place {
    const fn new(id: u64) -> Self {
        Self { id, next: 0, byte: 0, cut: false, waker: None }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

// === impl Seat ===

impl Seat {
    pub(super) fn is_leader(&self) -> bool {
        self.leader
    }

    pub(super) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the head.
    pub(super) fn poll_landed(&self, cx: &Context<'_>) -> Poll<Landed> {
        let mut state = self.flight.state();
        if let Some(landed) = &state.landed {
            return Poll::Ready(landed.clone());
        }
        state.wait(self.id, cx);
        Poll::Pending
    }

    /// Whether the usage of a whole answer is this one's to book: true for one of all, once.
    pub(super) fn pays(&self) -> bool {
        self.flight.state().pays(self.id)
    }

    /// The next chunk of the stream.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut state = self.flight.state();
        let State { chunks, seats, end, first, .. } = &mut *state;
        let Some(place) = seats.iter_mut().find(|place| place.id == self.id) else {
            return Poll::Ready(Next::Broken(cut(), End { how: How::CallerLeft, usage: None }));
        };
        if place.cut {
            return Poll::Ready(Next::Broken(cut(), End { how: How::CallerLeft, usage: None }));
        }
        if let Some(chunk) = usize::try_from(place.next - *first).ok().and_then(|at| chunks.get(at)) {
            let chunk = chunk.clone();
            place.next += 1;
            place.byte += chunk.len() as u64;
            state.trim();
            state.wake_driver(self.flight.max_bytes);
            return Poll::Ready(Next::Chunk(chunk));
        }
        if let Some((end, error)) = end.clone() {
            let usage = if state.pays(self.id) { end.usage } else { None };
            let end = End { how: end.how, usage };
            return Poll::Ready(match error {
                None => Next::End(end),
                Some(error) => Next::Broken(error, end),
            });
        }
        place.wait(cx);
        Poll::Pending
    }

    /// Gives up the place; tells what was used when this was the last one, or it had come to its end.
    pub(super) fn leave(&mut self) -> Option<Usage> {
        let mut state = self.flight.state();
        let at = state.seats.iter().position(|place| place.id == self.id)?;
        state.seats.swap_remove(at);
        let pays = state.payer == self.id && !state.paid;
        if state.seats.is_empty() {
            state.closed = true;
            let (call_off, ended) = (state.call_off.take(), state.end.as_ref().and_then(|(end, _)| end.usage));
            if let Some(waker) = state.driver.take() {
                waker.wake();
            }
            drop(state);
            // Outside the lock: it drops the upstream's body, which settles what others hold.
            let used = call_off.and_then(|call_off| call_off());
            return ended.or(used).filter(|_| pays);
        }
        if pays && let Some(heir) = state.seats.first().map(|place| place.id) {
            state.payer = heir;
        }
        state.trim();
        let max = self.flight.max_bytes;
        state.wake_driver(max);
        None
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("id", &self.id).finish_non_exhaustive()
    }
}

impl State {
    /// Whether `id` books the usage; from then on nobody does.
    fn pays(&mut self, id: u64) -> bool {
        let pays = self.payer == id && !self.paid;
        self.paid |= pays;
        pays
    }

    fn wait(&mut self, id: u64, cx: &Context<'_>) {
        if let Some(place) = self.seats.iter_mut().find(|place| place.id == id) {
            place.wait(cx);
        }
    }
}

fn cut() -> BodyError {
    BodyError("it was read too slowly, and others waited".into())
}
