//! `POST /v1/chat/completions`. The hot path: the body is read once, unknown members are skipped unread, and the
//! answer is written as text.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    Call,
    chat_render::{self, Head},
    check::{self, Raw},
    compose::{Answer, Brief, Tool, any_object},
};
use crate::sim::{
    error::ApiError,
    limits::Ask,
    models::{self, Mode, Model},
    text::{Directives, estimate},
    wire::Reply,
};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(borrow, default)]
    messages: Raw<'a>,
    #[serde(borrow, default)]
    stream: Raw<'a>,
    #[serde(borrow, default)]
    stream_options: Raw<'a>,
    #[serde(borrow, default)]
    temperature: Raw<'a>,
    #[serde(borrow, default)]
    top_p: Raw<'a>,
    #[serde(borrow, default)]
    n: Raw<'a>,
    #[serde(borrow, default)]
    max_tokens: Raw<'a>,
    #[serde(borrow, default)]
    max_completion_tokens: Raw<'a>,
    #[serde(borrow, default)]
    tools: Raw<'a>,
    #[serde(borrow, default)]
    tool_choice: Raw<'a>,
    #[serde(borrow, default)]
    response_format: Raw<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Raw<'a>,
    #[serde(borrow, default)]
    content: Raw<'a>,
}

#[derive(Deserialize)]
struct ContentPart<'a> {
    #[serde(borrow, default)]
    text: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// What the messages come to.
struct Talk<'a> {
    user: Cow<'a, str>,
    ends_in_result: bool,
    tokens: u64,
}

/// How the answer is wanted.
struct Wanted {
    n: u32,
    stream: bool,
    usage: bool,
    max: Option<u32>,
}

pub(crate) fn create(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::model(body.model)?;
    let known = chat_model(call, &model)?;
    let talk = read_messages(body.messages)?;
    let wanted = wanted(&body, known.map_or(0, |known| known.max_output))?;
    fits_context(call, &talk, known.map_or(0, |known| known.context))?;
    let directives = Directives::read(&talk.user);
    let (tools, chosen) = tools(&body)?;
    let brief = Brief {
        user: talk.user,
        directives,
        tools,
        chosen,
        has_result: talk.ends_in_result,
        schema: schema(body.response_format)?,
        max_tokens: wanted.max.and_then(|max| usize::try_from(max).ok()),
    };
    let n = u64::from(wanted.n);
    let most = u64::from(wanted.max.unwrap_or(0)) * n;
    call.admit(&model, Ask::text(talk.tokens, most))?;

    let answers: Vec<Answer> = (0..n).map(|place| brief.answer(call, place)).collect();
    let output = answers.iter().map(Answer::tokens).sum();
    call.charge(&model, talk.tokens, output);
    let mut dice = call.dice(1);
    let head = Head {
        id: dice.id("chatcmpl-", 29),
        created: call.created(),
        model: models::answered_as(&model),
        fingerprint: dice.hex_id("fp_", 10),
        prompt_tokens: talk.tokens,
        completion_tokens: output,
    };
    let gap_ms = brief.directives.event_ms;
    let mut reply = if wanted.stream {
        Reply::events(chat_render::stream(
            &head,
            &answers,
            wanted.usage,
            gap_ms,
            &mut dice,
        ))
    } else {
        Reply::json(chat_render::whole(&head, &answers, &mut dice))
    };
    reply.delay = Duration::from_millis(brief.directives.delay_ms);
    Ok(reply)
}

/// The model, if it is one of ours and not for another endpoint; `None` for a name that is merely allowed.
fn chat_model(call: &Call<'_>, model: &str) -> Result<Option<&'static Model>, ApiError> {
    if !call.world.knows_model(model) {
        return Err(ApiError::model_not_found(model));
    }
    let known = models::find(model);
    if known.is_some_and(|known| known.mode != Mode::Chat) {
        return Err(ApiError::invalid(
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use \
             v1/completions?",
        )
        .status(http::StatusCode::NOT_FOUND)
        .param("model"));
    }
    Ok(known)
}

fn wanted(body: &Body<'_>, largest: u32) -> Result<Wanted, ApiError> {
    check::decimal(body.temperature, "temperature", 0.0, 2.0)?;
    check::decimal(body.top_p, "top_p", 0.0, 1.0)?;
    let n = check::integer(body.n, "n", 1, 128)?.unwrap_or(1);
    let stream = check::flag(body.stream, "stream")?;
    if body.stream_options.is_some() && !stream {
        return Err(ApiError::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
        .param("stream_options"));
    }
    let options = body
        .stream_options
        .map(|raw| serde_json::from_str::<StreamOptions>(raw.get()));
    let usage = options
        .and_then(Result::ok)
        .unwrap_or_default()
        .include_usage;
    Ok(Wanted {
        n,
        stream,
        usage,
        max: max_tokens(body, largest)?,
    })
}

fn fits_context(call: &Call<'_>, talk: &Talk<'_>, context: u32) -> Result<(), ApiError> {
    if !call.world.enforce_context || context == 0 || talk.tokens <= u64::from(context) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "This model's maximum context length is {context} tokens. However, your messages resulted in {} tokens. Please \
         reduce the length of the messages.",
        talk.tokens
    ))
    .param("messages")
    .code("context_length_exceeded"))
}

fn read_messages(raw: Raw<'_>) -> Result<Talk<'_>, ApiError> {
    let raw = raw.ok_or_else(|| ApiError::missing("messages"))?;
    let Ok(messages) = serde_json::from_str::<Vec<Message<'_>>>(raw.get()) else {
        return Err(wrong_messages(raw));
    };
    if messages.is_empty() {
        return Err(ApiError::invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        )
        .param("messages")
        .code("empty_array"));
    }
    let mut talk = Talk {
        user: Cow::Borrowed(""),
        ends_in_result: false,
        tokens: 3,
    };
    for (at, message) in messages.iter().enumerate() {
        let name = || format!("messages[{at}].role");
        let role =
            check::string(message.role, &name())?.ok_or_else(|| ApiError::missing(&name()))?;
        if !matches!(
            &*role,
            "system" | "assistant" | "user" | "function" | "tool" | "developer"
        ) {
            return Err(ApiError::invalid(format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', \
                 and 'developer'."
            ))
            .param(name())
            .code("invalid_value"));
        }
        talk.tokens += 4 + estimate(message.content.map_or(0, |content| content.get().len()));
        talk.ends_in_result = matches!(&*role, "tool" | "function");
        if role == "user" {
            talk.user = content_text(message.content, at)?;
        } else if role == "assistant" && at + 1 == messages.len() {
            // A conversation that ends in an answer goes on in text.
            talk.ends_in_result = true;
        }
    }
    Ok(talk)
}

fn content_text(raw: Raw<'_>, at: usize) -> Result<Cow<'_, str>, ApiError> {
    let Some(raw) = raw else {
        return Ok(Cow::Borrowed(""));
    };
    if let Some(text) = check::text(raw) {
        return Ok(text);
    }
    let Ok(parts) = serde_json::from_str::<Vec<ContentPart<'_>>>(raw.get()) else {
        let name = format!("messages[{at}].content");
        return Err(ApiError::invalid(format!(
            "Invalid type for '{name}': expected one of a string or array of objects, but got {} instead.",
            check::type_of(raw)
        ))
        .param(name)
        .code("invalid_type"));
    };
    let texts = parts
        .iter()
        .filter_map(|part| part.text.and_then(check::text));
    Ok(Cow::Owned(texts.collect::<Vec<_>>().join("\n")))
}

fn wrong_messages(raw: &RawValue) -> ApiError {
    match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        Err(_) => ApiError::wrong_type("messages", "an array of objects", check::type_of(raw)),
        Ok(items) => {
            let wrong = items
                .iter()
                .enumerate()
                .find(|(_, item)| !item.get().starts_with('{'));
            let (at, got) = wrong.map_or((0, "null"), |(at, item)| (at, check::type_of(item)));
            ApiError::wrong_type(&format!("messages[{at}]"), "an object", got)
        }
    }
}

fn max_tokens(body: &Body<'_>, largest: u32) -> Result<Option<u32>, ApiError> {
    let new = check::integer(
        body.max_completion_tokens,
        "max_completion_tokens",
        1,
        u32::MAX,
    )?;
    let old = check::integer(body.max_tokens, "max_tokens", 1, u32::MAX)?;
    let name = if new.is_some() {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    let max = new.or(old);
    match max {
        Some(max) if largest > 0 && max > largest => Err(ApiError::invalid(format!(
            "{name} is too large: {max}. This model supports at most {largest} completion tokens, whereas you provided \
             {max}."
        ))
        .param(name)
        .code("invalid_value")),
        max => Ok(max),
    }
}

fn tools(body: &Body<'_>) -> Result<(Vec<Tool>, Option<String>), ApiError> {
    let Some(raw) = body.tools else {
        return Ok((Vec::new(), None));
    };
    let Ok(Value::Array(all)) = serde_json::from_str(raw.get()) else {
        return Err(ApiError::wrong_type(
            "tools",
            "an array of objects",
            check::type_of(raw),
        ));
    };
    if all.len() > 128 {
        return Err(ApiError::invalid(format!(
            "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length \
             {} instead.",
            all.len()
        ))
        .param("tools")
        .code("array_above_max_length"));
    }
    let mut tools = Vec::with_capacity(all.len());
    for (at, mut tool) in all.into_iter().enumerate() {
        if tool["type"] != "function" {
            continue;
        }
        let mut function = tool["function"].take();
        let Some(name) = function["name"].as_str().map(str::to_owned) else {
            return Err(ApiError::missing(&format!("tools[{at}].function.name")));
        };
        tools.push(Tool {
            name,
            parameters: function["parameters"].take(),
        });
    }
    let choice: Value = body
        .tool_choice
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    if choice == "none" {
        tools.clear();
    }
    let chosen = choice["function"]["name"].as_str().map(str::to_owned);
    if let Some(name) = chosen
        .as_ref()
        .filter(|name| !tools.iter().any(|tool| tool.name == **name))
    {
        return Err(ApiError::invalid(format!(
            "Tool choice 'function' '{name}' not found in 'tools' parameter."
        ))
        .param("tool_choice"));
    }
    let required = (choice == "required")
        .then(|| tools.first().map(|tool| tool.name.clone()))
        .flatten();
    Ok((tools, chosen.or(required)))
}

fn schema(raw: Raw<'_>) -> Result<Option<Value>, ApiError> {
    let Some(raw) = raw else { return Ok(None) };
    let mut format: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(any_object())),
        Some("json_schema") if format["json_schema"]["schema"].is_object() => {
            Ok(Some(format["json_schema"]["schema"].take()))
        }
        Some("json_schema") => Err(ApiError::missing("response_format.json_schema")),
        Some(other) => Err(ApiError::invalid(format!(
            "Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'."
        ))
        .param("response_format.type")
        .code("invalid_value")),
        None => Err(ApiError::wrong_type("response_format", "an object", check::type_of(raw))),
    }
}
