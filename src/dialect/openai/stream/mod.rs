//! What each event of a stream means, and whether its end is a whole answer.
//!
//! One [`Machine`] per stream. It decides the commit point (first [`Meaning::Semantic`]) and, at
//! the end, whether what the caller got is an answer or the first half of one. Events are walked
//! by their members, so text that looks like JSON (`"finish_reason":"stop"` within an answer) is
//! text; nothing is allocated per event.

use std::ops::Range;

use super::envelope::CHARS_PER_TOKEN;
use super::usage::{ServiceTier, Usage, error_range};
use crate::dialect::Endpoint;
use crate::json::{Cursor, Error, Kind, Raw};
use crate::sse::{self, EventRef};

mod responses;

/// What an event means to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A keep-alive, or an event without data.
    Comment,
    /// The provider works on it; nothing a caller could use (`response.created`, a delta with
    /// only a role, no choices yet).
    Lifecycle,
    /// Progress a caller can see: text, tool calls, reasoning, a finish reason, usage.
    Semantic,
    /// The provider reports a failure inside the stream. The range within the event's data tells
    /// where its error object (or, without one, the whole event) stands.
    Error(Range<usize>),
    /// The data is not JSON. Clients may skip it or stumble; it is passed on.
    Malformed,
    /// `[DONE]`, `response.completed` and their like: the answer is whole. More may still come.
    End,
}

/// Follows one stream. Feed it every event in order.
#[derive(Clone, Debug)]
pub struct Machine {
    endpoint: Endpoint,
    /// Choices asked for.
    expected: u32,
    /// Choices that began and that gave a finish reason, one bit each.
    seen: u128,
    finished: u128,
    done: bool,
    terminal: bool,
    failed: bool,
    semantic: bool,
    /// The events name types whose last one we know.
    typed: bool,
    output_chars: u64,
    malformed: u32,
    sequence: Option<u64>,
    usage: Option<Usage>,
    service_tier: Option<ServiceTier>,
    model: Option<Box<str>>,
}

// === impl Machine ===

impl Machine {
    /// A machine for a stream of `endpoint` with `choices` (`n`) answers.
    pub const fn new(endpoint: Endpoint, choices: u32) -> Self {
        Self {
            endpoint,
            expected: choices,
            seen: 0,
            finished: 0,
            done: false,
            terminal: false,
            failed: false,
            semantic: false,
            typed: false,
            output_chars: 0,
            malformed: 0,
            sequence: None,
            usage: None,
            service_tier: None,
            model: None,
        }
    }

    /// Takes the next event and tells what it means.
    pub fn feed(&mut self, event: &EventRef<'_>) -> Meaning {
        if event.kind != sse::Kind::Message {
            return Meaning::Comment;
        }
        let data = event.data.trim_ascii();
        // The SDKs stop at anything that begins so.
        if data.starts_with(b"[DONE]") {
            self.done = true;
            return Meaning::End;
        }
        // Ranges count from the start of the data as the event has it.
        let data = event.data.as_ref();
        let read = match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => self.choices_event(data),
            Endpoint::Responses => self.responses_event(data, event.name),
            _ => self.typed_event(data, event.name),
        };
        let meaning = match read {
            Ok(Meaning::Error(range)) => Meaning::Error(range),
            Ok(_) if event.name == Some(b"error") => Meaning::Error(0..data.len()),
            Ok(meaning) => meaning,
            // Whatever stands there, its name says that it went wrong.
            Err(_) if event.name == Some(b"error") || is_list_of_error(data) => {
                Meaning::Error(0..data.len())
            }
            Err(_) => {
                self.malformed += 1;
                Meaning::Malformed
            }
        };
        match meaning {
            Meaning::Error(_) => self.failed = true,
            Meaning::Semantic => self.semantic = true,
            _ => {}
        }
        meaning
    }

    /// Whether the answer is whole if the stream ends now.
    ///
    /// Chat and completions: `[DONE]`, or a finish reason for every choice. Responses: one of its
    /// last events. Of a stream of unknown make every end is taken for a whole one.
    pub const fn complete_at_eof(&self) -> bool {
        if self.failed {
            return false;
        }
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => {
                self.seen != 0 && (self.done || self.all_finished())
            }
            Endpoint::Responses => self.terminal || (self.done && self.semantic),
            _ => self.terminal || self.done || !self.typed,
        }
    }

    const fn all_finished(&self) -> bool {
        self.seen & !self.finished == 0 && self.finished.count_ones() >= self.expected
    }

    /// Whether every choice told its finish reason.
    pub const fn saw_finish_reason(&self) -> bool {
        self.seen != 0 && self.all_finished()
    }

    /// Whether `[DONE]` came.
    pub const fn saw_done(&self) -> bool {
        self.done
    }

    /// Whether an error came within the stream.
    pub const fn failed(&self) -> bool {
        self.failed
    }

    /// Whether the first semantic event has come: the commit point.
    pub const fn first_semantic(&self) -> bool {
        self.semantic
    }

    /// Events so far whose data was not JSON.
    pub const fn malformed(&self) -> u32 {
        self.malformed
    }

    /// The last `sequence_number` seen; an error event of our own takes the next one.
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// Text of the answer so far, in bytes.
    pub const fn output_chars(&self) -> u64 {
        self.output_chars
    }

    /// Usage as told by the provider, when it was.
    pub const fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The told usage, else an estimate out of what has been seen: a cut stream is billed too.
    pub fn usage_or_estimate(&self, input_tokens: u64) -> Usage {
        self.usage.unwrap_or(Usage {
            input: input_tokens,
            output: self.output_chars.div_ceil(CHARS_PER_TOKEN),
            ..Usage::default()
        })
    }

    /// The class of service it is billed as.
    pub const fn service_tier(&self) -> Option<ServiceTier> {
        self.service_tier
    }

    /// The model that answers.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// One chunk of a chat or of a legacy completion.
    fn choices_event(&mut self, data: &[u8]) -> Result<Meaning, Error> {
        let mut progress = false;
        let mut error = None;
        let mut choice_error = None;
        // An error object without an envelope around it has a message and no choices.
        let (mut chunk, mut flat) = (false, false);
        let mut cursor = Cursor::new(data);
        cursor.object(|cursor, key| {
            chunk |= matches!(key, b"choices" | b"id");
            if key == b"choices" && cursor.kind() == Some(Kind::Array) {
                return cursor.array(|cursor| {
                    let (shows, broke) = self.choice(cursor)?;
                    progress |= shows;
                    choice_error = choice_error.take().or(broke);
                    Ok(())
                });
            }
            let value = cursor.value()?;
            match key {
                b"usage" => progress |= self.take_usage(value),
                b"x_groq" => {
                    if let Some(usage) = value.get("usage") {
                        self.take_usage(usage);
                    }
                }
                b"error" => error = error_range(value),
                b"message" | b"detail" if value.kind() == Kind::String => flat = !value.is_empty(),
                _ => self.take_header(key, value),
            }
            Ok(())
        })?;
        cursor.end()?;
        let flat = (flat && !chunk).then_some(0..data.len());
        Ok(match error.or(choice_error).or(flat) {
            Some(range) => Meaning::Error(range),
            None if progress => Meaning::Semantic,
            None => Meaning::Lifecycle,
        })
    }

    /// One choice of a chunk: whether it shows progress, and where it says that it broke off.
    fn choice(&mut self, cursor: &mut Cursor<'_>) -> Result<(bool, Option<Range<usize>>), Error> {
        let start = cursor.at();
        let (mut progress, mut finished, mut failed) = (false, false, false);
        let mut error = None;
        let mut index = 0;
        cursor.object(|cursor, key| {
            if matches!(key, b"delta" | b"message") && cursor.kind() == Some(Kind::Object) {
                progress |= self.delta(cursor)?;
                return Ok(());
            }
            let value = cursor.value()?;
            match key {
                b"index" => index = value.as_u64().unwrap_or(0).min(127),
                b"text" => progress |= self.take_text(value),
                b"finish_reason" if !value.is_empty() => {
                    (finished, progress) = (true, true);
                    // A reason that is a failure (OpenRouter's; DeepSeek's lack of capacity).
                    failed = value.is_str("error") || value.is_str("insufficient_system_resource");
                }
                b"error" => error = error_range(value),
                _ => {}
            }
            Ok(())
        })?;
        self.seen |= 1 << index;
        if finished {
            self.finished |= 1 << index;
        }
        if failed {
            error = error.or(Some(start..cursor.at()));
        }
        Ok((progress, error))
    }

    /// Any member but the role is progress when there is something in it, known or not.
    fn delta(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Error> {
        let mut progress = false;
        cursor.object(|cursor, key| {
            let value = cursor.value()?;
            match key {
                b"role" => {}
                b"tool_calls" | b"function_call" | b"audio" => {
                    if !value.is_empty() {
                        progress = true;
                        self.output_chars += arguments_len(value);
                    }
                }
                _ => progress |= self.take_text(value),
            }
            Ok(())
        })?;
        Ok(progress)
    }

    fn take_text(&mut self, value: Raw<'_>) -> bool {
        self.output_chars += value.inner().map_or(0, |text| text.len() as u64);
        !value.is_empty()
    }

    fn take_usage(&mut self, value: Raw<'_>) -> bool {
        if value.is_null() {
            return false;
        }
        let usage = Usage::of(value);
        self.usage = usage.or(self.usage);
        usage.is_some()
    }

    /// Members that many events repeat and that are read once.
    fn take_header(&mut self, key: &[u8], value: Raw<'_>) {
        match key {
            b"model" if self.model.is_none() => {
                self.model = value.as_str().map(|model| model.into_owned().into());
            }
            b"service_tier" => self.service_tier = ServiceTier::of(value).or(self.service_tier),
            b"sequence_number" => self.sequence = value.as_u64().or(self.sequence),
            _ => {}
        }
    }
}

/// Text of tool calls: their names and arguments, in one array or alone.
fn arguments_len(calls: Raw<'_>) -> u64 {
    let one = |call: Raw<'_>| -> u64 {
        let function = call
            .get("function")
            .or_else(|| call.get("custom"))
            .unwrap_or(call);
        ["name", "arguments", "input", "transcript"]
            .iter()
            .filter_map(|key| function.get(key)?.inner())
            .map(|text| text.len() as u64)
            .sum()
    };
    match calls.elements() {
        Ok(calls) => calls.flatten().map(one).sum(),
        Err(_) => one(calls),
    }
}

/// Google's gateways put their error objects into a list of one.
fn is_list_of_error(data: &[u8]) -> bool {
    data.trim_ascii_start()
        .strip_prefix(b"[")
        .and_then(|rest| rest.trim_ascii_start().strip_prefix(b"{"))
        .is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\"error\""))
}

#[cfg(test)]
mod tests;
