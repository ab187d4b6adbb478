//! What the events of one stream say, while their bytes pass.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    call::Call,
    dialect::openai::{
        Usage, error,
        stream::{Machine, Meaning},
    },
    sse::{EventTooLarge, Inspector},
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

    /// The event that tells the caller that the stream broke.
    pub(super) fn error_event(&self, code: &str, message: &str) -> Bytes {
        error::error_event(self.call.endpoint, code, message, self.machine.sequence())
    }
}
