//! A caller's body over a shared stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::flight::{Next, Seat};
use crate::call::{BodyError, End, Facts, How, ReplyBody};

/// Reads a flight's chunks from its first one. Dropping it gives up the seat.
struct Reader {
    seat: Seat,
    facts: Arc<Facts>,
}

/// The body of the caller that holds `seat`.
pub(super) fn of(seat: Seat) -> ReplyBody {
    let facts = Arc::new(Facts::default());
    ReplyBody::stream(
        Box::pin(Reader {
            seat,
            facts: Arc::clone(&facts),
        }),
        facts,
    )
}

// === impl Reader ===

impl Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.seat.poll_next(cx)) {
            Next::Chunk(chunk) => Some(Ok(Frame::data(chunk))),
            Next::End(end) => {
                self.facts.set(end);
                None
            }
            Next::Broken(error, end) => {
                self.facts.set(end);
                Some(Err(error))
            }
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The first word counts: after an end this says nothing.
        let usage = self.seat.leave();
        self.facts.set(End {
            how: How::CallerLeft,
            usage,
        });
    }
}
