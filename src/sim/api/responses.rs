//! `/v1/responses`: create (whole or as a stream of typed events), get, delete, cancel.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call,
    check::{self, Raw},
    compose::{Answer, Brief, Tool, any_object},
    responses_events,
};
use crate::sim::{
    error::ApiError,
    limits::Ask,
    models,
    text::{Directives, estimate},
    wire::Reply,
};

/// Stored responses before the oldest make room.
const MAX_STORED: usize = 10_000;

/// Responses that can be asked for again, with their input.
#[derive(Debug, Default)]
pub(crate) struct Responses(Mutex<Stored>);

#[derive(Debug, Default)]
struct Stored {
    order: VecDeque<String>,
    by_id: HashMap<String, (Value, Value)>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    instructions: Option<Value>,
    #[serde(borrow, default)]
    stream: Raw<'a>,
    #[serde(borrow, default)]
    temperature: Raw<'a>,
    #[serde(borrow, default)]
    top_p: Raw<'a>,
    #[serde(borrow, default)]
    max_output_tokens: Raw<'a>,
    #[serde(default)]
    tools: Option<Value>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    text: Option<Value>,
    #[serde(borrow, default)]
    store: Raw<'a>,
    #[serde(borrow, default)]
    background: Raw<'a>,
    #[serde(borrow, default)]
    previous_response_id: Raw<'a>,
    #[serde(default)]
    metadata: Option<Value>,
    #[serde(default)]
    parallel_tool_calls: Option<bool>,
}

pub(crate) fn create(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::model(body.model)?;
    let stored = &call.world.stores.responses;
    let previous = check::string(body.previous_response_id, "previous_response_id")?;
    if let Some(id) = previous
        .as_ref()
        .filter(|id| !stored.lock().by_id.contains_key(&***id))
    {
        return Err(
            ApiError::invalid(format!("Previous response with id '{id}' not found."))
                .param("previous_response_id")
                .code("previous_response_not_found"),
        );
    }
    let input = body
        .input
        .clone()
        .ok_or_else(|| ApiError::missing("input"))?;
    let (user, has_result) = last_words(&input)?;
    let temperature = check::decimal(body.temperature, "temperature", 0.0, 2.0)?.unwrap_or(1.0);
    let top_p = check::decimal(body.top_p, "top_p", 0.0, 1.0)?.unwrap_or(1.0);
    let max = check::integer(body.max_output_tokens, "max_output_tokens", 16, u32::MAX)?;
    let stream = check::flag(body.stream, "stream")?;
    let tools = functions(body.tools.as_ref(), body.tool_choice.as_ref())?;
    let brief = Brief {
        directives: Directives::read(&user),
        user: Cow::Owned(user),
        chosen: chosen(&tools, body.tool_choice.as_ref()),
        tools,
        has_result,
        schema: schema(body.text.as_ref())?,
        max_tokens: max.map(|max| max as usize),
    };
    let told = body
        .instructions
        .as_ref()
        .and_then(Value::as_str)
        .map_or(0, str::len);
    let input_tokens = 3 + estimate(told) + estimate(input.to_string().len());
    call.admit(&model, Ask::text(input_tokens, u64::from(max.unwrap_or(0))))?;
    let answer = brief.answer(call, 0);
    let output_tokens = answer.tokens();
    call.charge(&model, input_tokens, output_tokens);

    let facts = Facts {
        model: models::answered_as(&model),
        previous,
        temperature,
        top_p,
        max,
        input_tokens,
        output_tokens,
    };
    let directives = brief.directives;
    let response = object(call, body, &answer, &facts)?;
    if response["store"] == true {
        let id = response["id"].as_str().unwrap_or_default();
        stored.put(id, response.clone(), input);
    }
    let mut reply = if stream {
        Reply::events(responses_events::stream(
            &response,
            &answer,
            directives.event_ms,
        ))
    } else {
        Reply::json(format!("{response:#}"))
    };
    reply.delay = Duration::from_millis(directives.delay_ms);
    Ok(reply)
}

/// What was found out on the way to a response.
struct Facts<'a> {
    model: &'a str,
    previous: Option<Cow<'a, str>>,
    temperature: f64,
    top_p: f64,
    max: Option<u32>,
    input_tokens: u64,
    output_tokens: u64,
}

/// The finished response object.
fn object(
    call: &Call<'_>,
    body: Body<'_>,
    answer: &Answer,
    facts: &Facts<'_>,
) -> Result<Value, ApiError> {
    let mut dice = call.dice(1);
    let id = dice.hex_id("resp_", 50);
    let cut = matches!(answer, Answer::Text { cut: true, .. });
    let output = output(answer, &mut dice, cut);
    let plain_text = || json!({"format": {"type": "text"}, "verbosity": "medium"});
    Ok(json!({
        "id": id, "object": "response", "created_at": call.created(),
        "status": if cut { "incomplete" } else { "completed" },
        "background": check::flag(body.background, "background")?, "error": null,
        "incomplete_details": if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
        "instructions": body.instructions, "max_output_tokens": facts.max, "max_tool_calls": null,
        "model": facts.model, "output": output, "parallel_tool_calls": body.parallel_tool_calls.unwrap_or(true),
        "previous_response_id": facts.previous, "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null, "service_tier": "default",
        "store": body.store.is_none_or(|raw| raw.get() != "false"), "temperature": facts.temperature,
        "text": body.text.unwrap_or_else(plain_text),
        "tool_choice": body.tool_choice.unwrap_or_else(|| "auto".into()),
        "tools": body.tools.unwrap_or_else(|| json!([])), "top_logprobs": 0, "top_p": facts.top_p,
        "truncation": "disabled",
        "usage": {
            "input_tokens": facts.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": facts.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": facts.input_tokens + facts.output_tokens,
        },
        "user": null, "metadata": body.metadata.unwrap_or_else(|| json!({})),
    }))
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    Ok(Reply::json(format!(
        "{:#}",
        call.world.stores.responses.find(id)?.0
    )))
}

pub(crate) fn input_items(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let (_, input) = call.world.stores.responses.find(id)?;
    let mut dice = call.dice(5);
    let items = match input {
        Value::Array(items) => items,
        text => vec![
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}),
        ],
    };
    let items: Vec<Value> = items
        .into_iter()
        .map(|mut item| {
            if item.is_object() && item["id"].is_null() {
                item["id"] = dice.hex_id("msg_", 50).into();
            }
            item
        })
        .collect();
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let page = json!({
        "object": "list", "first_id": id(items.first()), "last_id": id(items.last()), "has_more": false, "data": items,
    });
    Ok(Reply::json(format!("{page:#}")))
}

pub(crate) fn delete(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    call.world.stores.responses.find(id)?;
    call.world.stores.responses.lock().remove(id);
    Ok(Reply::json(format!(
        "{:#}",
        json!({"id": id, "object": "response", "deleted": true})
    )))
}

pub(crate) fn cancel(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let (mut response, input) = call.world.stores.responses.find(id)?;
    if response["background"] != true {
        return Err(ApiError::invalid("Cannot cancel a synchronous response."));
    }
    response["status"] = "cancelled".into();
    call.world.stores.responses.put(id, response.clone(), input);
    Ok(Reply::json(format!("{response:#}")))
}

/// The last user's text, and whether the input ends in a tool's result.
fn last_words(input: &Value) -> Result<(String, bool), ApiError> {
    let items = match input {
        Value::String(text) => return Ok((text.clone(), false)),
        Value::Array(items) => items,
        other => {
            let got = if other.is_object() {
                "an object"
            } else {
                "a value of another type"
            };
            return Err(ApiError::invalid(format!(
                "Invalid type for 'input': expected one of a string or array of input items, but got {got} instead."
            ))
            .param("input")
            .code("invalid_type"));
        }
    };
    let user =
        items
            .iter()
            .rev()
            .find(|item| item["role"] == "user")
            .map(|item| match &item["content"] {
                Value::String(text) => text.clone(),
                Value::Array(parts) => parts
                    .iter()
                    .filter_map(|part| part["text"].as_str())
                    .collect::<Vec<_>>()
                    .join("\n"),
                _ => String::new(),
            });
    let has_result = items.last().is_some_and(|item| {
        item["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("_output"))
    });
    Ok((user.unwrap_or_default(), has_result))
}

fn functions(tools: Option<&Value>, choice: Option<&Value>) -> Result<Vec<Tool>, ApiError> {
    if choice.is_some_and(|choice| choice == "none") {
        return Ok(Vec::new());
    }
    let all = tools
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .enumerate();
    all.filter(|(_, tool)| tool["type"] == "function")
        .map(|(at, tool)| {
            let name = tool["name"]
                .as_str()
                .ok_or_else(|| ApiError::missing(&format!("tools[{at}].name")))?;
            Ok(Tool {
                name: name.to_owned(),
                parameters: tool["parameters"].clone(),
            })
        })
        .collect()
}

fn chosen(tools: &[Tool], choice: Option<&Value>) -> Option<String> {
    let choice = choice?;
    let required = || {
        tools
            .first()
            .filter(|_| choice == "required")
            .map(|tool| tool.name.clone())
    };
    choice["name"].as_str().map(str::to_owned).or_else(required)
}

fn schema(text: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let Some(format) = text.map(|text| &text["format"]) else {
        return Ok(None);
    };
    match format["type"].as_str() {
        Some("json_object") => Ok(Some(any_object())),
        Some("json_schema") if format["schema"].is_object() => Ok(Some(format["schema"].clone())),
        Some("json_schema") => Err(ApiError::missing("text.format.schema")),
        _ => Ok(None),
    }
}

fn output(answer: &Answer, dice: &mut crate::sim::dice::Dice, cut: bool) -> Vec<Value> {
    match answer {
        Answer::Text { prose, .. } => vec![json!({
            "id": dice.hex_id("msg_", 50), "type": "message", "status": if cut { "incomplete" } else { "completed" },
            "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": prose.text}],
            "role": "assistant",
        })],
        Answer::Calls(calls) => calls
            .iter()
            .map(|(name, args)| {
                json!({
                    "id": dice.hex_id("fc_", 50), "type": "function_call", "status": "completed",
                    "arguments": args.text, "call_id": dice.id("call_", 24), "name": name,
                })
            })
            .collect(),
    }
}

// === impl Responses ===

impl Responses {
    fn put(&self, id: &str, response: Value, input: Value) {
        let mut stored = self.lock();
        if stored
            .by_id
            .insert(id.to_owned(), (response, input))
            .is_none()
        {
            stored.order.push_back(id.to_owned());
        }
        if stored.order.len() > MAX_STORED
            && let Some(oldest) = stored.order.pop_front()
        {
            stored.by_id.remove(&oldest);
        }
    }

    fn find(&self, id: &str) -> Result<(Value, Value), ApiError> {
        self.lock().by_id.get(id).cloned().ok_or_else(|| {
            ApiError::invalid(format!("Response with id '{id}' not found."))
                .status(http::StatusCode::NOT_FOUND)
        })
    }

    pub(crate) fn clear(&self) {
        *self.lock() = Stored::default();
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stored ===

impl Stored {
    fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
        self.order.retain(|one| one != id);
    }
}
