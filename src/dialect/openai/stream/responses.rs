//! Streams whose events carry a `type`: the Responses API, images, speech, transcripts.

use super::{Machine, Meaning};
use crate::dialect::openai::usage::error_range;
use crate::json::{Cursor, Error, Raw};

/// The members that decide, wherever they stand in the event.
#[derive(Clone, Copy, Debug, Default)]
struct Parts<'a> {
    kind: Option<&'a [u8]>,
    delta: Option<Raw<'a>>,
    response: Option<Raw<'a>>,
    item: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
    usage: Option<Raw<'a>>,
}

impl Machine {
    /// One event of a Responses stream.
    pub(super) fn responses_event(
        &mut self,
        data: &[u8],
        name: Option<&[u8]>,
    ) -> Result<Meaning, Error> {
        let parts = self.parts(data, name)?;
        let error = parts.error.and_then(error_range);
        let Some(kind) = parts.kind else {
            // No type at all: some gateways in between send a bare error object.
            return Ok(error.map_or(Meaning::Lifecycle, Meaning::Error));
        };
        Ok(match kind {
            b"error" => Meaning::Error(error.unwrap_or(0..data.len())),
            b"response.failed" => {
                self.take_response(parts.response);
                Meaning::Error(failure(parts.response).unwrap_or(0..data.len()))
            }
            b"response.completed" | b"response.incomplete" | b"response.cancelled" => {
                self.take_response(parts.response);
                self.terminal = true;
                // It holds the whole answer, whether or not there was any text.
                self.semantic = true;
                Meaning::End
            }
            b"response.created" | b"response.in_progress" | b"response.queued" => {
                self.take_response(parts.response);
                Meaning::Lifecycle
            }
            b"keepalive" | b"ping" => Meaning::Lifecycle,
            b"response.output_item.added" if is_shell(parts.item) => Meaning::Lifecycle,
            b"response.content_part.added" | b"response.reasoning_summary_part.added" => {
                Meaning::Lifecycle
            }
            _ => self.progress(kind, parts.delta),
        })
    }

    /// One event of a stream of another endpoint; unknown makes are passed on as they are.
    pub(super) fn typed_event(
        &mut self,
        data: &[u8],
        name: Option<&[u8]>,
    ) -> Result<Meaning, Error> {
        let parts = self.parts(data, name)?;
        if let Some(range) = parts.error.and_then(error_range) {
            return Ok(Meaning::Error(range));
        }
        if let Some(usage) = parts.usage {
            self.take_usage(usage);
        }
        let kind = parts.kind.unwrap_or_default();
        let known: [&[u8]; 4] = [
            b"image_generation.",
            b"image_edit.",
            b"speech.audio.",
            b"transcript.text.",
        ];
        self.typed |= known.iter().any(|prefix| kind.starts_with(prefix));
        Ok(match kind {
            b"error" => Meaning::Error(0..data.len()),
            b"image_generation.completed"
            | b"image_edit.completed"
            | b"speech.audio.done"
            | b"transcript.text.done" => {
                (self.terminal, self.semantic) = (true, true);
                Meaning::End
            }
            _ => self.progress(kind, parts.delta),
        })
    }

    fn parts<'a>(&mut self, data: &'a [u8], name: Option<&'a [u8]>) -> Result<Parts<'a>, Error> {
        let mut parts = Parts::default();
        let mut cursor = Cursor::new(data);
        cursor.object(|cursor, key| {
            let value = cursor.value()?;
            match key {
                b"type" => parts.kind = value.inner(),
                b"delta" => parts.delta = Some(value),
                b"response" => parts.response = Some(value),
                b"item" => parts.item = Some(value),
                b"error" => parts.error = Some(value),
                b"usage" => parts.usage = Some(value),
                _ => self.take_header(key, value),
            }
            Ok(())
        })?;
        cursor.end()?;
        parts.kind = parts.kind.or(name);
        Ok(parts)
    }

    fn progress(&mut self, kind: &[u8], delta: Option<Raw<'_>>) -> Meaning {
        let Some(delta) = delta else {
            return Meaning::Semantic;
        };
        // Sound is not text; its transcript comes in events of its own.
        if !kind.ends_with(b"audio.delta") {
            self.output_chars += delta.inner().map_or(0, |text| text.len() as u64);
        }
        match delta.is_empty() {
            true => Meaning::Lifecycle,
            false => Meaning::Semantic,
        }
    }

    fn take_response(&mut self, response: Option<Raw<'_>>) {
        for member in response
            .and_then(|r| r.members().ok())
            .into_iter()
            .flatten()
            .flatten()
        {
            match member.raw_key() {
                b"usage" => {
                    self.take_usage(member.value);
                }
                key => self.take_header(key, member.value),
            }
        }
    }
}

/// The error object of a failed response, else the response.
fn failure(response: Option<Raw<'_>>) -> Option<std::ops::Range<usize>> {
    let response = response?;
    let error = response.get("error").and_then(error_range);
    Some(error.unwrap_or(response.range()))
}

/// Whether an added item is only the shell of a message or of reasoning to come, as a delta with
/// nothing but a role is.
fn is_shell(item: Option<Raw<'_>>) -> bool {
    item.and_then(|item| item.get("type"))
        .is_some_and(|kind| kind.is_str("message") || kind.is_str("reasoning"))
}
