//! A whole answer as a stream, and a stream as a whole answer, so that one cache entry serves
//! both asks.
//!
//! Not on the hot path, hence with JSON trees: what is not understood must be carried along all
//! the same. What cannot be carried is refused and never dropped; the cache then asks upstream.

mod chat;
mod completions;
mod merge;
mod responses;

pub use chat::{chat_to_stream, stream_to_chat};
pub use completions::{completions_to_stream, stream_to_completions};
pub use responses::{responses_to_stream, stream_to_responses};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Machine, Meaning, Usage};
use crate::dialect::Endpoint;
use crate::sse::{self, Decoder, Event, Kind};

type Object = Map<String, Value>;

/// Why an answer cannot be replayed in the other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It is not what the endpoint answers.
    #[error("the answer is not of the expected shape: {0}")]
    Shape(&'static str),
    /// It is an error, or broke off before its end.
    #[error("the answer is not a whole, successful one")]
    NotWhole,
    /// It holds something the other form has no place for.
    #[error("the other form cannot carry {0}")]
    NotCarried(&'static str),
    /// The other form needs something that it does not tell.
    #[error("the answer does not tell its {0}")]
    Missing(&'static str),
}

/// The whole answer as the events of a stream, for any endpoint that has both forms.
///
/// # Errors
/// When it cannot be carried.
pub fn to_stream(
    endpoint: Endpoint,
    reply: &[u8],
    include_usage: bool,
) -> Result<Vec<Bytes>, ReplayError> {
    match endpoint {
        Endpoint::ChatCompletions => chat_to_stream(reply, include_usage),
        Endpoint::Completions => completions_to_stream(reply, include_usage),
        Endpoint::Responses => responses_to_stream(reply),
        _ => Err(ReplayError::NotCarried("this endpoint")),
    }
}

/// The stream, chunked anyhow, as the whole answer. `usage` is used when the stream tells none.
///
/// # Errors
/// When it cannot be carried.
pub fn to_reply(
    endpoint: Endpoint,
    chunks: impl IntoIterator<Item = Bytes>,
    usage: Option<Usage>,
) -> Result<Bytes, ReplayError> {
    match endpoint {
        Endpoint::ChatCompletions => stream_to_chat(chunks, usage),
        Endpoint::Completions => stream_to_completions(chunks, usage),
        Endpoint::Responses => stream_to_responses(chunks),
        _ => Err(ReplayError::NotCarried("this endpoint")),
    }
}

/// The events with data of a stream that is whole and without error.
fn whole_stream(
    endpoint: Endpoint,
    chunks: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<Event>, ReplayError> {
    let mut decoder = Decoder::default();
    let mut machine = Machine::new(endpoint, 1);
    let mut events = Vec::new();
    let mut take = |event: Event| {
        match machine.feed(&event.as_ref()) {
            Meaning::Error(_) | Meaning::Malformed => return Err(ReplayError::NotWhole),
            _ if event.kind == Kind::Message => events.push(event),
            _ => {}
        }
        Ok(())
    };
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(event) = decoder.next_event().map_err(|_| ReplayError::NotWhole)? {
            take(event)?;
        }
    }
    let rest = decoder.into_rest();
    if !rest.is_empty() {
        take(Event::parse(rest))?;
    }
    // Stricter than at the wire: how many choices were asked for is not known here, so finish
    // reasons cannot tell that no further choice was to come.
    let ended = endpoint == Endpoint::Responses || machine.saw_done();
    if ended && machine.complete_at_eof() {
        Ok(events)
    } else {
        Err(ReplayError::NotWhole)
    }
}

fn object(bytes: &[u8]) -> Result<Object, ReplayError> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ReplayError::Shape("no JSON object")),
    }
}

/// The reply's own members, its choices, and its usage. An error in a reply is no answer.
fn open_reply(reply: &[u8]) -> Result<(Object, Vec<Object>, Option<Value>), ReplayError> {
    let mut reply = object(reply)?;
    if reply.get("error").is_some_and(|error| !error.is_null()) {
        return Err(ReplayError::NotWhole);
    }
    let Some(Value::Array(choices)) = reply.shift_remove("choices") else {
        return Err(ReplayError::Shape("no choices"));
    };
    let choices = choices.into_iter().map(|choice| match choice {
        Value::Object(choice) if choice.get("finish_reason").is_some_and(Value::is_string) => {
            Ok(choice)
        }
        Value::Object(_) => Err(ReplayError::NotWhole),
        _ => Err(ReplayError::Shape("a choice is no object")),
    });
    let choices = choices.collect::<Result<Vec<_>, _>>()?;
    let usage = reply.shift_remove("usage").filter(|usage| !usage.is_null());
    Ok((reply, choices, usage))
}

/// Writes the chunks of a chat or completion stream: the same head on each.
struct Chunks {
    head: Object,
    include_usage: bool,
    events: Vec<Bytes>,
}

impl Chunks {
    fn push(&mut self, choices: Vec<Value>, usage: Value) {
        let mut chunk = self.head.clone();
        chunk.insert("choices".into(), choices.into());
        if self.include_usage {
            chunk.insert("usage".into(), usage);
        }
        self.events.push(sse::data(&text(&chunk.into())));
    }

    fn choice(&mut self, choice: Value) {
        self.push(vec![choice], Value::Null);
    }

    fn finish(mut self, usage: Option<Value>) -> Result<Vec<Bytes>, ReplayError> {
        if self.include_usage {
            let usage = usage.ok_or(ReplayError::Missing("usage"))?;
            self.push(Vec::new(), usage);
        }
        self.events.push(sse::DONE);
        Ok(self.events)
    }
}

/// The usage a whole answer must tell: the stream's own, else the one given.
fn told_usage(told: Option<Value>, known: Option<Usage>) -> Result<Value, ReplayError> {
    let known = || {
        known.map(|usage| {
            serde_json::json!({
                "prompt_tokens": usage.input,
                "completion_tokens": usage.output,
                "total_tokens": usage.total(),
                "prompt_tokens_details": { "cached_tokens": usage.cached_input },
                "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
            })
        })
    };
    told.or_else(known).ok_or(ReplayError::Missing("usage"))
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests;
