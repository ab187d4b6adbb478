//! The body of an answer that flows.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::{super::fail, events::Events};
use crate::{
    call::{Attempt, BodyError, End, Facts, How},
    triage::{Class, Transport},
    upstream::ResponseBody,
};

/// Where the bytes come from.
pub(super) enum Source {
    Plain(ResponseBody),
    /// It was compressed.
    Decoded(Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>),
}

/// An answer that flows.
///
/// Ends well, or with an error event (event streams), or with an error (other bytes: the connection is cut).
pub(super) struct Flow {
    /// Dropped at the end, so that the connection is free, or closed, at once.
    source: Option<Source>,
    out: VecDeque<Bytes>,
    /// `None`: bytes that have no events.
    events: Option<Box<Events>>,
    attempt: Attempt,
    idle: Duration,
    heard: Instant,
    timer: Pin<Box<Sleep>>,
    facts: Arc<Facts>,
    broken: Option<BodyError>,
    /// What is in `out` leaves now. Otherwise it waits for one turn of this worker, so that events that arrived
    /// together leave in one write: their connection hands them over one a turn.
    releasing: bool,
    /// Polls since the last chunk: more than in one turn, and the turn has brought nothing.
    yielded: u8,
    /// Bytes in `out`.
    queued: usize,
}

/// Gathered at most before it leaves.
const ENOUGH: usize = 16 * 1024;
/// hyper's server asks a body twice when its connection runs.
const POLLS_A_TURN: u8 = 2;
/// Chunks whose room is kept.
const KEPT: usize = 8;

// === impl Source ===

impl Source {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Arc<str>>>> {
        match self {
            Self::Plain(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|f| f.map_err(|e| Arc::from(e.to_string()))))
            }
            Self::Decoded(body) => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                Poll::Ready(frame.map(|f| f.map_err(|e| Arc::from(e.to_string()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Decoded(body) => body.is_end_stream(),
        }
    }

    pub(super) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Arc<str>>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }
}

// === impl Flow ===

impl Flow {
    /// An event stream that has passed its commit point; `held` leaves first.
    pub(super) fn events(
        source: Source,
        held: VecDeque<Bytes>,
        events: Events,
        attempt: &Attempt,
    ) -> Self {
        let mut flow = Self::bytes(source, held, attempt);
        flow.events = Some(Box::new(events));
        flow
    }

    /// Other bytes.
    pub(super) fn bytes(source: Source, held: VecDeque<Bytes>, attempt: &Attempt) -> Self {
        let idle = attempt.target.upstream.idle_timeout;
        let now = Instant::now();
        Self {
            source: Some(source),
            out: held,
            events: None,
            attempt: attempt.clone(),
            idle,
            heard: now,
            timer: Box::pin(tokio::time::sleep_until(now + idle)),
            facts: Arc::new(Facts::default()),
            broken: None,
            // The first content leaves at once.
            releasing: true,
            yielded: 0,
            queued: 0,
        }
    }

    /// Told how it ended.
    pub(super) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    fn end(&self, how: How) {
        self.facts.set(End {
            how,
            usage: self.events.as_ref().map(|events| events.usage()),
        });
    }

    /// Nothing more comes. `why`: it broke.
    fn finish(&mut self, why: Option<(Class, &str)>) {
        self.source = None;
        if let Some(events) = &mut self.events {
            events.finish(&mut self.out);
        }
        let Some(events) = &self.events else {
            match why {
                None => self.end(How::Complete),
                Some((class, what)) => {
                    self.end(How::Broken(class));
                    self.broken = Some(BodyError(what.into()));
                }
            }
            return;
        };
        if let Some(error) = events.error() {
            // The caller has the provider's own error event.
            let head = fail::Head {
                status: http::StatusCode::OK,
                headers: http::HeaderMap::new(),
            };
            let verdict = fail::verdict(&self.attempt, &head, &error.data, Transport::StreamEvent);
            self.out.extend(events.raising(error, &verdict));
            self.end(How::Broken(verdict.class));
        } else if events.whole() {
            // Whole is whole, even if the connection is cut after the last event.
            self.end(How::Complete);
        } else {
            let (class, what) = why.unwrap_or((
                Class::StreamError,
                "the stream ended before the answer was complete",
            ));
            let message = format!("{what}; the answer so far is incomplete");
            self.out
                .push_back(events.error_event(class.as_str(), &message));
            self.end(How::Broken(class));
        }
    }

    /// The next chunk that may leave.
    fn release(&mut self) -> Option<Bytes> {
        let chunk = self.out.pop_front();
        if self.out.is_empty() {
            (self.releasing, self.yielded, self.queued) = (false, 0, 0);
            // A burst's room is given back; that of an event or two is kept.
            if self.out.capacity() > KEPT {
                self.out = VecDeque::new();
            }
        }
        chunk
    }

    fn take(&mut self, chunk: Bytes) {
        self.heard = Instant::now();
        self.yielded = 0;
        self.queued += chunk.len();
        self.releasing |= self.queued >= ENOUGH;
        match &mut self.events {
            None => self.out.push_back(chunk),
            Some(events) => {
                if events.feed(chunk, &mut self.out).is_err() {
                    self.finish(Some((
                        Class::StreamError,
                        "an event of the stream is too large",
                    )));
                }
            }
        }
    }

    /// Whether the source has been silent too long. The timer is set anew only when it fires: a chunk
    /// costs no more than reading the clock.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let until = self.heard + self.idle;
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl Body for Flow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if (this.releasing || this.source.is_none())
                && let Some(chunk) = this.release()
            {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            let Some(source) = &mut this.source else {
                return Poll::Ready(this.broken.take().map(Err));
            };
            match source.poll_chunk(cx) {
                // Trailers are between the provider and weir.
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        this.take(chunk);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(upstream = %this.attempt.target.upstream.name, %error, "A stream broke.");
                    this.finish(Some((
                        Class::StreamError,
                        "the provider's stream broke off",
                    )));
                }
                Poll::Ready(None) => this.finish(None),
                Poll::Pending if !this.out.is_empty() => {
                    if this.yielded >= POLLS_A_TURN {
                        this.releasing = true;
                        continue;
                    }
                    this.yielded += 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    ready!(this.poll_idle(cx));
                    this.finish(Some((Class::Timeout, "the provider's stream fell silent")));
                }
            }
        }
    }
}

impl Drop for Flow {
    /// The caller left, unless it had all it needed: many clients hang up at `[DONE]`, and nobody asks for more of a
    /// body of a told length when that has come.
    fn drop(&mut self) {
        let whole = match &self.events {
            Some(events) => events.whole(),
            None => self.out.is_empty() && self.source.as_ref().is_some_and(Source::is_end_stream),
        };
        self.end(if whole {
            How::Complete
        } else {
            How::CallerLeft
        });
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("queued", &self.out.len())
            .finish_non_exhaustive()
    }
}
