//! What endpoints hand back, and how JSON and event streams are written.
//!
//! Answers are written as text, not built as trees: an answer of the chat endpoint costs one buffer.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::error::ApiError;

/// An endpoint's answer, before faults and pacing touch it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) payload: Payload,
    /// Before the head, because the request asked for it.
    pub(crate) delay: Duration,
}

/// The body of a [`Reply`].
#[derive(Debug)]
pub(crate) enum Payload {
    Whole(Bytes),
    /// Bytes sent in pieces of that size, as speech is.
    Pieces(Bytes, usize),
    Events(Events),
}

/// Which kind of stream, for faults that must speak its language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `data:` lines only, ended by `[DONE]`.
    Chat,
    /// `event:` and `data:` lines, ended by `response.completed`.
    Responses,
}

/// A rendered stream: all bytes in one buffer, cut into events.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    pub(crate) dialect: Dialect,
    pub(crate) bytes: Bytes,
    ends: Vec<u32>,
    /// Events before the first one with content: a role, lifecycle events.
    pub(crate) preface: usize,
    /// Gap between events that the request itself asked for.
    pub(crate) gap_ms: u64,
}

/// Writes [`Events`].
#[derive(Debug)]
pub(crate) struct EventWriter {
    dialect: Dialect,
    pub(crate) out: String,
    ends: Vec<u32>,
    preface: Option<usize>,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn json(body: String) -> Self {
        Self::whole("application/json", body.into())
    }

    pub(crate) fn whole(content_type: &'static str, bytes: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            headers: Vec::new(),
            payload: Payload::Whole(bytes),
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn events(events: Events) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/event-stream; charset=utf-8",
            headers: vec![("cache-control", "no-cache".into())],
            payload: Payload::Events(events),
            delay: Duration::ZERO,
        }
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let body = error.body();
        Self {
            status: error.status,
            headers: error.headers(),
            ..Self::json(body)
        }
    }
}

// === impl Events ===

impl Events {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The event at that place, its blank line included.
    pub(crate) fn get(&self, at: usize) -> Option<Bytes> {
        let end = *self.ends.get(at)? as usize;
        let start = if at == 0 {
            0
        } else {
            self.ends[at - 1] as usize
        };
        Some(self.bytes.slice(start..end))
    }
}

// === impl EventWriter ===

impl EventWriter {
    pub(crate) fn new(dialect: Dialect, capacity: usize) -> Self {
        Self {
            dialect,
            out: String::with_capacity(capacity),
            ends: Vec::new(),
            preface: None,
        }
    }

    /// Ends the event whose `data: …` (or `event: …`) was written to `out`.
    pub(crate) fn end(&mut self) {
        self.out.push_str("\n\n");
        self.ends
            .push(u32::try_from(self.out.len()).unwrap_or(u32::MAX));
    }

    /// From here on events carry content.
    pub(crate) fn content_starts(&mut self) {
        self.preface.get_or_insert(self.ends.len());
    }

    pub(crate) fn finish(self, gap_ms: u64) -> Events {
        let preface = self.preface.unwrap_or(self.ends.len());
        Events {
            dialect: self.dialect,
            bytes: self.out.into(),
            ends: self.ends,
            preface,
            gap_ms,
        }
    }
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_json_str(out: &mut String, text: &str) {
    out.push('"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[clean_from..at]);
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
        clean_from = at + 1;
    }
    out.push_str(&text[clean_from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_string_reads_back_as_itself(text in any::<String>()) {
            let mut out = String::new();
            push_json_str(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
