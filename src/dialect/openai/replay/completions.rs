//! Legacy completions, whole and streamed: the same object in both, its text in pieces.

use bytes::Bytes;
use serde_json::Value;

use super::merge::Merged;
use super::{Chunks, Object, ReplayError, open_reply, told_usage, whole_stream};
use crate::dialect::Endpoint;
use crate::dialect::openai::Usage;

/// A whole completion as chunks, `[DONE]` included.
///
/// # Errors
/// When it is no whole answer, or usage is wanted and not told.
pub fn completions_to_stream(reply: &[u8], include_usage: bool) -> Result<Vec<Bytes>, ReplayError> {
    let (head, choices, usage) = open_reply(reply)?;
    let mut chunks = Chunks {
        head,
        include_usage,
        events: Vec::new(),
    };
    for mut choice in choices {
        let mut last = Object::new();
        last.insert("text".into(), "".into());
        last.insert(
            "index".into(),
            choice.get("index").cloned().unwrap_or_else(|| 0.into()),
        );
        last.insert("logprobs".into(), Value::Null);
        let finish = choice.insert("finish_reason".into(), Value::Null);
        last.insert("finish_reason".into(), finish.unwrap_or_default());
        if choice.get("text").and_then(Value::as_str) != Some("") {
            chunks.choice(choice.into());
        }
        chunks.choice(last.into());
    }
    chunks.finish(usage)
}

/// A completion stream, chunked anyhow, as the whole completion.
///
/// # Errors
/// When the stream is not whole, or no usage is known.
pub fn stream_to_completions(
    chunks: impl IntoIterator<Item = Bytes>,
    usage: Option<Usage>,
) -> Result<Bytes, ReplayError> {
    let events = whole_stream(Endpoint::Completions, chunks)?;
    let merged = Merged::of(&events)?;
    let mut reply = merged.head;
    for choice in &merged.choices {
        if !choice.contains_key("finish_reason") {
            return Err(ReplayError::NotWhole);
        }
    }
    let choices = merged.choices.into_iter().map(Value::Object);
    reply.insert("choices".into(), choices.collect());
    reply.insert("usage".into(), told_usage(merged.usage, usage)?);
    Ok(super::text(&reply.into()).into())
}
