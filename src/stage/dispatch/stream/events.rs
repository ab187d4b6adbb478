//! What the events of one stream say, while their bytes pass.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    call::Call,
    dialect::openai::{
        Usage, error,
        stream::{Machine, Meaning},
    },
    json,
    sse::{EventTooLarge, Inspector},
    triage::Verdict,
};

/// Follows a stream: knows whether it has begun, failed, and is whole.
///
/// Bytes leave with the end of their event: if the stream breaks, the caller has seen whole events only, and
/// the error event that follows is read as one.
#[derive(Debug)]
pub(super) struct Events {
    call: Arc<Call>,
    machine: Machine,
    inspector: Inspector,
    /// The beginning of an event that is not complete.
    pending: Vec<Bytes>,
    error: Option<InBand>,
}

/// An error event.
#[derive(Clone, Debug)]
pub(super) struct InBand {
    /// The event's data.
    pub(super) data: Bytes,
    /// Where its error object stands.
    pub(super) range: Range<usize>,
    /// It came after the commit point.
    late: bool,
}

// === impl Events ===

impl Events {
    pub(super) fn new(call: &Arc<Call>) -> Self {
        Self {
            call: Arc::clone(call),
            machine: Machine::new(call.endpoint, call.envelope.choices),
            inspector: Inspector::default(),
            pending: Vec::new(),
            error: None,
        }
    }

    /// Reads the events that end in `chunk` and moves what may leave to `out`.
    ///
    /// # Errors
    /// When an event is larger than we read; the stream cannot be followed further.
    pub(super) fn feed(
        &mut self,
        chunk: Bytes,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), EventTooLarge> {
        let (machine, error) = (&mut self.machine, &mut self.error);
        let done = self.inspector.feed(&chunk, |event| {
            let late = machine.first_semantic();
            if let Meaning::Error(range) = machine.feed(&event)
                && error.is_none()
            {
                *error = Some(InBand {
                    data: Bytes::copy_from_slice(&event.data),
                    range,
                    late,
                });
            }
        })?;
        if done == chunk.len() && self.pending.is_empty() {
            out.push_back(chunk);
            return Ok(());
        }
        if done > 0 {
            out.extend(self.pending.drain(..));
            out.push_back(chunk.slice(..done));
        }
        if done < chunk.len() {
            self.pending.push(chunk.slice(done..));
        }
        Ok(())
    }

    /// The stream has ended: an event that lacks its last empty line is read too, and its bytes leave
    /// if they make the answer whole.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        let (machine, error) = (&mut self.machine, &mut self.error);
        self.inspector.finish(|event| {
            let late = machine.first_semantic();
            if let Meaning::Error(range) = machine.feed(&event)
                && error.is_none()
            {
                *error = Some(InBand {
                    data: Bytes::copy_from_slice(&event.data),
                    range,
                    late,
                });
            }
        });
        if self.whole() {
            out.extend(self.pending.drain(..));
        }
        self.pending = Vec::new();
    }

    /// Whether the commit point has been passed.
    pub(super) fn committed(&self) -> bool {
        self.machine.first_semantic()
    }

    /// Whether an end now is the end of a whole answer.
    pub(super) fn whole(&self) -> bool {
        self.machine.complete_at_eof()
    }

    /// An error event before the commit point.
    pub(super) fn early_error(&self) -> Option<InBand> {
        self.error.as_ref().filter(|error| !error.late).cloned()
    }

    /// Any error event.
    pub(super) fn error(&self) -> Option<&InBand> {
        self.error.as_ref()
    }

    /// Told by the provider, else estimated from what has passed.
    pub(super) fn usage(&self) -> Usage {
        self.machine
            .usage_or_estimate(self.call.envelope.estimate_input_tokens())
    }

    /// What makes the official SDKs raise, when the provider's own event does not: some of them hand an `error` event
    /// of the Responses API, and a `response.failed`, to the app like any other, and end as if all were well. It
    /// repeats the provider's code and words.
    pub(super) fn raising(&self, error: &InBand, verdict: &Verdict) -> Option<Bytes> {
        let raises = json::Raw::parse(&error.data)
            .ok()
            .and_then(|data| data.get("error"))
            .is_some_and(|object| object.as_bool() != Some(false) && !object.is_empty());
        if raises || self.machine.saw_done() {
            return None;
        }
        let code = verdict.code.as_deref().unwrap_or(verdict.class.as_str());
        let message = verdict
            .provider_message
            .as_deref()
            .unwrap_or("the provider reported an error inside its stream");
        let (endpoint, sequence) = (self.call.endpoint, self.machine.sequence());
        let object = error.data.get(error.range.clone()).unwrap_or_default();
        let is_object = object.trim_ascii().first() == Some(&b'{');
        Some(if is_object && json::Raw::parse(object).is_ok() {
            error::error_event_of(endpoint, object, code, message, sequence)
        } else {
            error::error_event(endpoint, code, message, sequence)
        })
    }

    /// The event that tells the caller that the stream broke.
    pub(super) fn error_event(&self, code: &str, message: &str) -> Bytes {
        error::error_event(self.call.endpoint, code, message, self.machine.sequence())
    }
}
