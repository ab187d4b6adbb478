//! A waiter's place: what it waits for, what it reads, and how it leaves.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Flight, Landed, State};
use crate::{
    call::{BodyError, End, How},
    dialect::openai::Usage,
};

/// A waiter's place in a flight. Gives up the place on drop.
pub(in crate::stage::cache) struct Seat {
    pub(super) flight: Arc<Flight>,
    pub(super) id: u64,
    pub(super) leader: bool,
}

/// What a reader finds.
#[derive(Debug)]
pub(in crate::stage::cache) enum Next {
    Chunk(Bytes),
    End(End),
    Broken(BodyError, End),
}

// === impl Seat ===

impl Seat {
    pub(in crate::stage::cache) fn is_leader(&self) -> bool {
        self.leader
    }

    pub(in crate::stage::cache) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Waits for the head.
    pub(in crate::stage::cache) fn poll_landed(&self, cx: &Context<'_>) -> Poll<Landed> {
        let mut state = self.flight.state();
        if let Some(landed) = &state.landed {
            return Poll::Ready(landed.clone());
        }
        state.wait(self.id, cx);
        Poll::Pending
    }

    /// Whether the usage of a whole answer is this one's to book: true for one of all, once.
    pub(in crate::stage::cache) fn pays(&self) -> bool {
        self.flight.state().pays(self.id)
    }

    /// The next chunk of the stream.
    pub(in crate::stage::cache) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut state = self.flight.state();
        let at = state.seat(self.id).unwrap_or(usize::MAX);
        let State {
            chunks,
            seats,
            end,
            first,
            ..
        } = &mut *state;
        let Some(place) = seats.get_mut(at) else {
            return Poll::Ready(Next::Broken(
                cut(),
                End {
                    how: How::CallerLeft,
                    usage: None,
                },
            ));
        };
        if place.cut {
            return Poll::Ready(Next::Broken(
                cut(),
                End {
                    how: How::CallerLeft,
                    usage: None,
                },
            ));
        }
        if let Some(chunk) = usize::try_from(place.next - *first)
            .ok()
            .and_then(|at| chunks.get(at))
        {
            let chunk = chunk.clone();
            place.next += 1;
            place.byte += chunk.len() as u64;
            state.trim();
            state.wake_driver(self.flight.max_bytes);
            return Poll::Ready(Next::Chunk(chunk));
        }
        if let Some((end, error)) = end.clone() {
            let usage = if state.pays(self.id) { end.usage } else { None };
            let end = End {
                how: end.how,
                usage,
            };
            return Poll::Ready(match error {
                None => Next::End(end),
                Some(error) => Next::Broken(error, end),
            });
        }
        place.wait(cx);
        Poll::Pending
    }

    /// Gives up the place; tells what was used when this was the last one, or it had come to its end.
    pub(in crate::stage::cache) fn leave(&self) -> Option<Usage> {
        let mut state = self.flight.state();
        let at = state.seat(self.id).ok()?;
        state.seats.remove(at);
        let pays = state.payer == self.id && !state.paid;
        if state.seats.is_empty() {
            state.closed = true;
            let (call_off, ended) = (
                state.call_off.take(),
                state.end.as_ref().and_then(|(end, _)| end.usage),
            );
            if let Some(waker) = state.driver.take() {
                waker.wake();
            }
            drop(state);
            // Outside the lock: it drops the upstream's body, which settles what others hold.
            let used = call_off.and_then(|call_off| call_off());
            return ended.or(used).filter(|_| pays);
        }
        if pays
            && let Some(heir) = state
                .seats
                .iter()
                .find(|place| !place.cut)
                .map(|place| place.id)
        {
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
        f.debug_struct("Seat")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn cut() -> BodyError {
    BodyError("it was read too slowly, and others waited".into())
}
