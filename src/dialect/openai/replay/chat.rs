//! Chat completions, whole and streamed.

use bytes::Bytes;
use serde_json::{Value, json};

use super::merge::Merged;
use super::{Chunks, Object, ReplayError, open_reply, told_usage, whole_stream};
use crate::dialect::Endpoint;
use crate::dialect::openai::Usage;

/// A whole chat completion as chunks, `[DONE]` included: for each choice its role, what else its
/// message holds, each tool call, and its finish reason.
///
/// # Errors
/// When it is no whole answer, holds sound (a stream has another format of it), or usage is
/// wanted and not told.
pub fn chat_to_stream(reply: &[u8], include_usage: bool) -> Result<Vec<Bytes>, ReplayError> {
    let (mut head, choices, usage) = open_reply(reply)?;
    head.insert("object".into(), "chat.completion.chunk".into());
    let mut chunks = Chunks {
        head,
        include_usage,
        events: Vec::new(),
    };
    for choice in choices {
        one_choice(choice, &mut chunks)?;
    }
    chunks.finish(usage)
}

fn one_choice(mut choice: Object, chunks: &mut Chunks) -> Result<(), ReplayError> {
    let Some(Value::Object(mut message)) = choice.shift_remove("message") else {
        return Err(ReplayError::Shape("a choice has no message"));
    };
    if message
        .shift_remove("audio")
        .is_some_and(|audio| !audio.is_null())
    {
        return Err(ReplayError::NotCarried("sound"));
    }
    let index = choice.shift_remove("index").unwrap_or_else(|| 0.into());
    let finish = choice.shift_remove("finish_reason").unwrap_or_default();
    let mut logprobs = choice.shift_remove("logprobs").unwrap_or_default();
    let delta = |delta: Object, logprobs: Value| json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null });

    let role = message
        .shift_remove("role")
        .unwrap_or_else(|| "assistant".into());
    let content = message.shift_remove("content").unwrap_or_default();
    let refusal = message.shift_remove("refusal").unwrap_or_default();
    let calls = message.shift_remove("tool_calls").unwrap_or_default();
    let mut first = Object::new();
    first.insert("role".into(), role);
    // A string that grows begins empty; one that never comes is null.
    let begun = if content.is_string() {
        "".into()
    } else {
        Value::Null
    };
    first.insert("content".into(), begun);
    first.insert("refusal".into(), Value::Null);
    chunks.choice(delta(first, Value::Null));

    // Reasoning and what else a vendor adds comes before the text, as it does live.
    message.retain(|_, value| !value.is_null());
    if !message.is_empty() {
        chunks.choice(delta(message, Value::Null));
    }
    for (key, value) in [("content", content), ("refusal", refusal)] {
        let empty = value.as_str().is_some_and(str::is_empty);
        if !value.is_null() && !empty {
            let piece = Object::from_iter([(key.to_owned(), value)]);
            chunks.choice(delta(piece, logprobs.take()));
        }
    }
    for (at, call) in calls.as_array().into_iter().flatten().enumerate() {
        let Value::Object(call) = call else {
            return Err(ReplayError::Shape("a tool call is no object"));
        };
        let mut piece = Object::from_iter([("index".to_owned(), at.into())]);
        piece.extend(call.clone());
        let piece = Object::from_iter([("tool_calls".to_owned(), json!([piece]))]);
        chunks.choice(delta(piece, Value::Null));
    }
    let mut last =
        json!({ "index": index, "delta": {}, "logprobs": logprobs, "finish_reason": finish });
    if let Value::Object(last) = &mut last {
        last.extend(choice);
    }
    chunks.choice(last);
    Ok(())
}

/// A chat stream, chunked anyhow, as the whole completion. `usage` stands in when the stream was
/// not asked to tell it.
///
/// # Errors
/// When the stream is not whole, holds sound, or no usage is known.
pub fn stream_to_chat(
    chunks: impl IntoIterator<Item = Bytes>,
    usage: Option<Usage>,
) -> Result<Bytes, ReplayError> {
    let events = whole_stream(Endpoint::ChatCompletions, chunks)?;
    let merged = Merged::of(&events)?;
    let mut reply = merged.head;
    reply.insert("object".into(), "chat.completion".into());
    let choices = merged.choices.into_iter().map(whole_choice);
    let choices = choices.collect::<Result<Vec<_>, _>>()?;
    reply.insert("choices".into(), choices.into());
    reply.insert("usage".into(), told_usage(merged.usage, usage)?);
    Ok(super::text(&reply.into()).into())
}

fn whole_choice(mut choice: Object) -> Result<Value, ReplayError> {
    let delta = match choice.shift_remove("delta") {
        Some(Value::Object(delta)) => delta,
        _ => Object::new(),
    };
    let finish = choice.shift_remove("finish_reason");
    let finish = finish.ok_or(ReplayError::NotWhole)?;
    let index = choice.shift_remove("index").unwrap_or_else(|| 0.into());
    let logprobs = choice.shift_remove("logprobs").unwrap_or_default();
    let mut whole = Object::new();
    whole.insert("index".into(), index);
    whole.insert("message".into(), whole_message(delta)?.into());
    whole.insert("logprobs".into(), logprobs);
    whole.insert("finish_reason".into(), finish);
    whole.extend(choice);
    Ok(whole.into())
}

fn whole_message(mut delta: Object) -> Result<Object, ReplayError> {
    if delta.get("audio").is_some_and(|audio| !audio.is_null()) {
        return Err(ReplayError::NotCarried("sound"));
    }
    let mut take = |key: &str| delta.shift_remove(key).unwrap_or_default();
    let (role, mut content) = (take("role"), take("content"));
    let (refusal, mut calls) = (take("refusal"), take("tool_calls"));
    let said = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    for call in calls.as_array_mut().into_iter().flatten() {
        if let Value::Object(call) = call {
            call.shift_remove("index");
        }
    }
    let called = calls.as_array().is_some_and(|calls| !calls.is_empty());
    // Whole answers have null where nothing was said beside a call or a refusal.
    if (called || said(&refusal)) && !said(&content) && !content.is_array() {
        content = Value::Null;
    }
    let mut message = Object::new();
    let role = if role.is_string() {
        role
    } else {
        "assistant".into()
    };
    message.insert("role".into(), role);
    message.insert("content".into(), content);
    message.insert(
        "refusal".into(),
        if said(&refusal) { refusal } else { Value::Null },
    );
    if called {
        message.insert("tool_calls".into(), calls);
    }
    delta.retain(|_, value| !value.is_null());
    message.extend(delta);
    Ok(message)
}
