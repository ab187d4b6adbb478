//! From chunks to events that own their bytes.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::parse::{EventRef, Finder, Kind};
use super::{EventTooLarge, MAX_EVENT_BYTES};

/// An event with its bytes. Shares the chunk's memory when it came in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// All its bytes, the empty line that ends it included: what to pass on.
    pub raw: Bytes,
    /// Its data; several `data` lines are joined by LF.
    pub data: Bytes,
    /// The `event` field.
    pub name: Option<Bytes>,
    /// The `id` field.
    pub id: Option<Bytes>,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// Takes chunks, split anywhere, and gives events.
#[derive(Debug)]
pub struct Decoder {
    finder: Finder,
    chunks: VecDeque<Bytes>,
    /// An event's beginning, when it spans chunks.
    tail: BytesMut,
    limit: usize,
    first: bool,
}

// === impl Decoder ===

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_EVENT_BYTES)
    }
}

impl Decoder {
    /// A decoder that takes no event larger than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            finder: Finder::new(),
            chunks: VecDeque::new(),
            tail: BytesMut::new(),
            limit,
            first: true,
        }
    }

    /// Adds a chunk as it came from the wire.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// The next whole event; `None` until more is pushed.
    ///
    /// # Errors
    /// When an event is too large; nothing further can be read after that.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLarge> {
        while let Some(chunk) = self.chunks.front_mut() {
            let found = self.finder.find(chunk);
            let len = found.unwrap_or(chunk.len());
            if self.tail.len() + len > self.limit {
                return Err(EventTooLarge { limit: self.limit });
            }
            let raw = if found.is_some() && self.tail.is_empty() {
                chunk.split_to(len)
            } else {
                self.tail.extend_from_slice(&chunk[..len]);
                chunk.advance(len);
                Bytes::new()
            };
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            if found.is_some() {
                let raw = match raw.is_empty() {
                    false => raw,
                    true => std::mem::take(&mut self.tail).freeze(),
                };
                let first = std::mem::take(&mut self.first);
                return Ok(Some(Event::own(raw, first)));
            }
        }
        Ok(None)
    }

    /// All bytes that belong to no whole event yet: left over when this is the end of the
    /// stream, to be passed on all the same when it is not.
    pub fn into_rest(mut self) -> Bytes {
        if self.tail.is_empty() && self.chunks.len() == 1 {
            return self.chunks.pop_front().unwrap_or_default();
        }
        for chunk in self.chunks {
            self.tail.extend_from_slice(&chunk);
        }
        self.tail.freeze()
    }
}

// === impl Event ===

impl Event {
    /// Reads one block of lines as an event, whether or not an empty line ends it.
    pub fn parse(raw: Bytes) -> Self {
        Self::own(raw, true)
    }

    fn own(raw: Bytes, first: bool) -> Self {
        let EventRef {
            data,
            name,
            id,
            retry,
            kind,
            ..
        } = EventRef::parse(&raw, first);
        let data = match data {
            Cow::Borrowed(data) => raw.slice_ref(data),
            Cow::Owned(data) => data.into(),
        };
        let (name, id) = (
            name.map(|name| raw.slice_ref(name)),
            id.map(|id| raw.slice_ref(id)),
        );
        Self {
            raw,
            data,
            name,
            id,
            retry,
            kind,
        }
    }

    /// The same event, borrowed.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            raw: &self.raw,
            data: Cow::Borrowed(&self.data),
            name: self.name.as_deref(),
            id: self.id.as_deref(),
            retry: self.retry,
            kind: self.kind,
        }
    }
}
