//! The driver of a flight: makes the upstream call, keeps what is worth keeping, ends with its last caller.
//!
//! It runs in a task of its own on the leader's worker, where the upstream connection lives, so that no caller's
//! cancellation touches it. The upstream's body lies in a [`Slot`] between two polls: the last reader to leave
//! takes it out and drops it there and then, so that what was used is known when that reader's end is booked.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use memchr::memmem;
use tokio::time::Instant;

use super::{
    Unanswered,
    flight::{Flight, Head, Landed, Room},
    headers,
    key::{FlightKey, Shape},
    store::{CacheStore, Entry, Facts as EntryFacts},
};
use crate::{
    call::{BodyError, End, Facts, How, Learnt, Reply, ReplyBody, Watch},
    codec,
    config::CacheScope,
    dialect::Endpoint,
    error::Error,
    json::Raw,
    triage::Class,
};

/// A reader that holds up faster ones is cut off after this time. As long as a client's network may reasonably
/// hang, and far below any upstream's patience.
const STALL: Duration = Duration::from_secs(30);

/// One shared call.
pub(super) struct Driver {
    pub(super) flight: Arc<Flight>,
    pub(super) store: Arc<CacheStore>,
    pub(super) key: FlightKey,
    pub(super) shape: Shape,
    pub(super) scope: CacheScope,
    pub(super) max_bytes: usize,
}

/// Where the upstream's body lies while nobody polls it.
#[derive(Default)]
struct Slot {
    body: Mutex<Option<ReplyBody>>,
    end: Arc<Facts>,
}

/// Hears how the upstream's body ended.
struct Tell(Arc<Facts>);

/// What the upstream's body gave.
enum Got {
    Chunk(Bytes),
    Trailers,
    Error(BodyError),
    End,
    /// The last reader took it away.
    Taken,
}

// === impl Driver ===

impl Driver {
    /// Starts the flight on `answer`, the inner service's future.
    pub(super) fn launch<F>(self, answer: F)
    where
        F: Future<Output = Result<Reply, Error>> + Send + 'static,
    {
        let slot = Arc::new(Slot::default());
        let flight = Arc::clone(&self.flight);
        // `self` is the task's from the start: should it never run, its drop still tells the callers.
        let abort = tokio::spawn(self.drive(answer, Arc::clone(&slot))).abort_handle();
        flight.runs_on(Box::new(move || {
            abort.abort();
            slot.clear();
            slot.end.get().and_then(|end| end.usage)
        }));
    }

    async fn drive<F>(self, answer: F, slot: Arc<Slot>)
    where
        F: Future<Output = Result<Reply, Error>>,
    {
        match answer.await {
            Err(error) => self.flight.land(Landed::Failed(error)),
            Ok(reply) if reply.body.is_stream() => self.flow(reply, &slot).await,
            Ok(reply) => self.whole(reply),
        }
    }

    fn whole(&self, reply: Reply) {
        let Reply {
            status,
            headers,
            body,
            learnt,
            ..
        } = reply;
        let bytes = body.as_whole().cloned().unwrap_or_default();
        let stored = self.keep(status, &headers, &learnt, learnt.usage, &bytes);
        self.flight.land(Landed::Answer(Arc::new(Head {
            status,
            headers,
            learnt,
            whole: Some(bytes),
            stored,
        })));
    }

    async fn flow(&self, reply: Reply, slot: &Slot) {
        let Reply {
            status,
            headers,
            mut body,
            learnt,
            ..
        } = reply;
        body.on_end(Tell(Arc::clone(&slot.end)), None);
        slot.put(body);
        let head = Arc::new(Head {
            status,
            headers,
            learnt,
            whole: None,
            stored: false,
        });
        self.flight.land(Landed::Answer(Arc::clone(&head)));
        let mut open = true;
        let error = loop {
            match poll_fn(|cx| slot.poll(cx)).await {
                Got::Chunk(chunk) => {
                    let held = self.flight.push(chunk);
                    if open && !held.all {
                        open = false;
                        self.store.flights.close(&self.key, &self.flight);
                    }
                    if !held.room && self.room().await == Room::Deserted {
                        return;
                    }
                }
                Got::Trailers => {}
                Got::Error(error) => break Some(error),
                Got::End => break None,
                Got::Taken => return,
            }
        };
        let how = if error.is_some() {
            How::Broken(Class::StreamError)
        } else {
            How::Complete
        };
        let end = slot.end.get().unwrap_or(End { how, usage: None });
        if error.is_none()
            && end.how == How::Complete
            && let Some(bytes) = self.flight.all_chunks()
        {
            self.keep(head.status, &head.headers, &head.learnt, end.usage, &bytes);
        }
        self.flight.end(end, error);
    }

    async fn room(&self) -> Room {
        loop {
            match tokio::time::timeout(STALL, poll_fn(|cx| self.flight.poll_room(cx))).await {
                Ok(room) => return room,
                Err(_) => self.flight.cut_slowest(),
            }
        }
    }

    /// Stores a whole, successful answer; tells whether it did.
    fn keep(
        &self,
        status: StatusCode,
        head: &HeaderMap,
        learnt: &Learnt,
        usage: Option<crate::dialect::openai::Usage>,
        bytes: &Bytes,
    ) -> bool {
        // An answer in another form than was asked for is none that could be replayed.
        let is_events = is_event_stream(head);
        if status != StatusCode::OK || bytes.is_empty() || is_events != self.shape.is_stream() {
            return false;
        }
        let endpoint = self.flight.call.endpoint;
        let Some(body) = decoded(head, bytes, self.max_bytes)
            .filter(|body| is_complete(endpoint, is_events, body))
        else {
            return false;
        };
        let facts = EntryFacts {
            endpoint,
            shape: self.shape,
            headers: headers::kept(head, self.scope),
            content_type: head
                .get(header::CONTENT_TYPE)
                .cloned()
                .unwrap_or(headers::content_type(self.shape)),
            usage,
            learnt: learnt.clone(),
        };
        // Copied: the upstream's buffer may be much larger than the answer in it.
        let entry = Entry::new(facts, Bytes::copy_from_slice(&body), Instant::now());
        self.store.put(self.key.key, entry);
        true
    }
}

impl Drop for Driver {
    /// Whatever ended the task (its end, a panic below, its worker's): nobody waits for nothing.
    fn drop(&mut self) {
        self.flight.land(Landed::Failed(Unanswered::Lost.into()));
        let lost = BodyError("the shared call was lost".into());
        self.flight.end(
            End {
                how: How::Broken(Class::StreamError),
                usage: None,
            },
            Some(lost),
        );
        self.store.flights.close(&self.key, &self.flight);
    }
}

fn is_event_stream(head: &HeaderMap) -> bool {
    let kind = head
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    kind.len() >= 17 && kind[..17].eq_ignore_ascii_case(b"text/event-stream")
}

/// The body without its content coding; `None` when it is larger than `max` or cannot be undone.
fn decoded(head: &HeaderMap, bytes: &Bytes, max: usize) -> Option<Bytes> {
    if bytes.len() > max {
        return None;
    }
    match head.get(header::CONTENT_ENCODING) {
        None => Some(bytes.clone()),
        Some(encoding) => codec::decode_all(encoding.to_str().ok()?, bytes.clone(), max).ok(),
    }
}

/// A response may be incomplete, or have failed, under a 200 and with a proper end.
fn is_complete(endpoint: Endpoint, is_events: bool, body: &[u8]) -> bool {
    if endpoint != Endpoint::Responses {
        return true;
    }
    if is_events {
        // Neither can stand inside a JSON string: there, line ends and quotes are escaped.
        return memmem::find(body, b"\nevent: response.completed").is_some()
            || memmem::find(body, br#""type":"response.completed""#).is_some();
    }
    Raw::parse(body).is_ok_and(|reply| {
        reply
            .get("status")
            .is_none_or(|status| status.is_str("completed"))
    })
}

// === impl Slot ===

impl Slot {
    fn put(&self, body: ReplyBody) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// Drops the body, and with it the upstream call.
    fn clear(&self) {
        let body = self
            .body
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(body);
    }

    /// The lock is never waited for: but for the last reader's leaving nobody else takes it.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Got> {
        let mut slot = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(body) = slot.as_mut() else {
            return Poll::Ready(Got::Taken);
        };
        Poll::Ready(match ready!(std::pin::Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data().map_or(Got::Trailers, Got::Chunk),
            Some(Err(error)) => Got::Error(error),
            None => Got::End,
        })
    }
}

// === impl Tell ===

impl Watch for Tell {
    fn end(&mut self, end: &End) {
        self.0.set(*end);
    }
}
