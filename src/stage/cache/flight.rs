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

mod map;
mod seat;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub(super) use self::{
    map::Flights,
    seat::{Next, Seat},
};
use crate::{
    call::{BodyError, Call, End, Learnt},
    dialect::openai::Usage,
    error::Error,
};

/// One upstream call and those who wait for it.
pub(super) struct Flight {
    /// The leader's call: its deadline grows with those who join.
    pub(super) call: Arc<Call>,
    max_bytes: usize,
    state: Mutex<State>,
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
    /// In the order of their ids.
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
        let flight = Arc::new(Self {
            call: Arc::clone(call),
            max_bytes,
            state: Mutex::new(state),
        });
        Seat {
            flight,
            id: 0,
            leader: true,
        }
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
        Some(Seat {
            flight: Arc::clone(self),
            id,
            leader: false,
        })
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
        Held {
            all: state.keeps_all,
            room: state.has_room(self.max_bytes),
        }
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
        f.debug_struct("Flight")
            .field("call", &self.call.id)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// Whether `id` books the usage; from then on nobody does.
    fn pays(&mut self, id: u64) -> bool {
        let pays = self.payer == id && !self.paid;
        self.paid |= pays;
        pays
    }

    /// Where `id` sits.
    fn seat(&self, id: u64) -> Result<usize, usize> {
        self.seats.binary_search_by_key(&id, |place| place.id)
    }

    fn wait(&mut self, id: u64, cx: &Context<'_>) {
        if let Ok(at) = self.seat(id)
            && let Some(place) = self.seats.get_mut(at)
        {
            place.wait(cx);
        }
    }

    fn wake_all(&mut self) {
        for place in &mut self.seats {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    /// Bytes that the slowest reader has not read.
    fn lag(&self) -> u64 {
        let slowest = self
            .seats
            .iter()
            .filter(|place| !place.cut)
            .map(|place| place.byte)
            .min();
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
        let slowest = self
            .seats
            .iter()
            .filter(|place| !place.cut)
            .map(|place| place.next)
            .min()
            .unwrap_or(next);
        while self.first < slowest && self.chunks.pop_front().is_some() {
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
        Self {
            id,
            next: 0,
            byte: 0,
            cut: false,
            waker: None,
        }
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}
