//! The response body: sends what it has at the pace it was told, and ends the way it was told.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{conn::Conn, dice::Dice, fault::Spread, journal::Entry, wire::Events};

/// How long bytes already written get to leave before a reset, which would throw them away.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The HTTP message is whole (though its content may not be).
    Whole,
    /// The connection closes inside the message.
    Drop,
    /// The connection is reset inside the message.
    Reset,
    /// Never.
    Stall,
}

/// Bytes and how they go.
#[derive(Debug)]
pub(crate) enum Script {
    /// In one piece, of a message of the told length.
    Whole { bytes: Bytes, length: u64 },
    /// In pieces of a size, chunked.
    Pieces { bytes: Bytes, size: usize },
    /// Event by event.
    Play(Box<Play>),
    /// The same bytes again and again.
    Repeat { bytes: Bytes, gap: Duration },
}

/// A stream being played.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) events: Events,
    pub(crate) at: usize,
    /// Events that are sent.
    pub(crate) until: usize,
    /// Sent after the last one: half an event, or an error event.
    pub(crate) coda: Option<Bytes>,
    /// Sent before the event at that place.
    pub(crate) insert: Option<(usize, Bytes)>,
    pub(crate) first: Duration,
    pub(crate) gap: Option<Spread>,
    pub(crate) each: Duration,
    pub(crate) dice: Dice,
}

/// The body of every answer.
pub(crate) struct SimBody {
    script: Script,
    end: End,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The pause before the next piece has been made.
    rested: bool,
    over: bool,
    entry: Entry,
    conn: Conn,
    close_after: Option<Duration>,
}

// === impl SimBody ===

impl SimBody {
    pub(crate) fn new(
        script: Script,
        end: End,
        entry: Entry,
        conn: Conn,
        close_after: Option<Duration>,
    ) -> Self {
        let over =
            matches!(&script, Script::Whole { bytes, .. } if bytes.is_empty()) && end == End::Whole;
        let mut body = Self {
            script,
            end,
            sleep: None,
            rested: false,
            over,
            entry,
            conn,
            close_after,
        };
        if over {
            body.entry.settle();
        }
        body
    }

    fn send(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.rested = false;
        self.entry.sent(bytes.len());
        // hyper does not ask again once a body of known length is through.
        if self.end == End::Whole && matches!(&self.script, Script::Whole { .. }) {
            self.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn finish(&mut self) {
        self.over = true;
        self.entry.settle();
    }
}

impl Script {
    /// The pause before the next piece.
    fn pause(&mut self) -> Duration {
        match self {
            Self::Play(play) => play.pause(),
            Self::Repeat { gap, .. } => *gap,
            Self::Whole { .. } | Self::Pieces { .. } => Duration::ZERO,
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Whole { bytes, .. } => {
                Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())
            }
            Self::Pieces { bytes, size } => {
                let piece = bytes.split_to((*size).min(bytes.len()));
                Some(piece).filter(|piece| !piece.is_empty())
            }
            Self::Play(play) => play.next(),
            Self::Repeat { bytes, .. } => Some(bytes.clone()),
        }
    }
}

impl Play {
    fn pause(&mut self) -> Duration {
        if self.at >= self.until && self.coda.is_none() {
            return Duration::ZERO;
        }
        let first = if self.at == 0 { self.first } else { self.each };
        first
            + self
                .gap
                .map_or(Duration::ZERO, |gap| gap.draw(&mut self.dice))
    }

    fn next(&mut self) -> Option<Bytes> {
        if self
            .insert
            .as_ref()
            .is_some_and(|(place, _)| *place == self.at)
        {
            return self.insert.take().map(|(_, bytes)| bytes);
        }
        if self.at < self.until {
            self.at += 1;
            return self.events.get(self.at - 1);
        }
        self.coda.take()
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if !this.rested && this.sleep.is_none() {
            let pause = this.script.pause();
            if !pause.is_zero() {
                this.sleep = Some(Box::pin(tokio::time::sleep(pause)));
            }
        }
        if let Some(sleep) = &mut this.sleep {
            ready!(sleep.as_mut().poll(cx));
            this.sleep = None;
            this.rested = true;
        }
        if let Some(bytes) = this.script.next() {
            return this.send(bytes);
        }
        match this.end {
            End::Whole => {
                this.finish();
                Poll::Ready(None)
            }
            // Nothing wakes this; hyper drops the body when the client leaves.
            End::Stall => Poll::Pending,
            End::Drop | End::Reset => {
                // The first time here hyper still holds the last pieces: let them leave.
                if !this.rested {
                    this.rested = true;
                    let mut sleep = Box::pin(tokio::time::sleep(BEFORE_RESET));
                    let waiting = sleep.as_mut().poll(cx).is_pending();
                    this.sleep = Some(sleep);
                    if waiting {
                        return Poll::Pending;
                    }
                }
                if this.end == End::Reset {
                    this.conn.reset();
                }
                this.finish();
                Poll::Ready(Some(Err(io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    "the simulated fault",
                ))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match &self.script {
            _ if self.over => SizeHint::with_exact(0),
            Script::Whole { length, .. } => SizeHint::with_exact(*length),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for SimBody {
    fn drop(&mut self) {
        if let Some(wait) = self.close_after.filter(|_| self.over) {
            self.conn.close_after(wait);
        }
    }
}
