//! `POST /v1/completions`, the legacy endpoint.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call,
    check::{self, Raw},
    compose::{Answer, Brief},
};
use crate::sim::{
    error::ApiError,
    limits::Ask,
    text::{Directives, estimate},
    wire::{Dialect, EventWriter, Reply},
};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Raw<'a>,
    #[serde(default)]
    prompt: Option<Value>,
    #[serde(borrow, default)]
    stream: Raw<'a>,
    #[serde(default)]
    stream_options: Option<Value>,
    #[serde(borrow, default)]
    temperature: Raw<'a>,
    #[serde(borrow, default)]
    n: Raw<'a>,
    #[serde(borrow, default)]
    max_tokens: Raw<'a>,
    #[serde(default)]
    echo: bool,
}

pub(crate) fn create(call: &mut Call<'_>) -> Result<Reply, ApiError> {
    let body: Body<'_> = call.json()?;
    let model = check::model(body.model)?;
    let n = check::integer(body.n, "n", 1, 128)?.unwrap_or(1);
    // The endpoint's documented default, small as it is.
    let max = check::integer(body.max_tokens, "max_tokens", 0, u32::MAX)?.unwrap_or(16);
    check::decimal(body.temperature, "temperature", 0.0, 2.0)?;
    let stream = check::flag(body.stream, "stream")?;
    let prompts = prompts(body.prompt);
    let input: u64 = prompts
        .iter()
        .map(|prompt| estimate(prompt.len()).max(1))
        .sum();
    let count = prompts.len() as u64 * u64::from(n);
    call.admit(&model, Ask::text(input, u64::from(max) * count))?;

    let (mut choices, mut output, mut event_ms) = (Vec::new(), 0, 0);
    for prompt in &prompts {
        let directives = Directives::read(prompt);
        event_ms = event_ms.max(directives.event_ms);
        // A length that was asked for by directive is not cut by the default.
        let max = if body.max_tokens.is_none() {
            directives.tokens.unwrap_or(16)
        } else {
            max as usize
        };
        let brief = Brief {
            user: prompt.into(),
            directives,
            max_tokens: Some(max),
            ..Brief::default()
        };
        for _ in 0..n {
            let answer = brief.answer(call, choices.len() as u64);
            output += answer.tokens();
            let reason = answer.finish_reason();
            let Answer::Text { prose, .. } = answer else {
                continue;
            };
            choices.push((if body.echo { prompt.as_str() } else { "" }, prose, reason));
        }
    }
    call.charge(&model, input, output);
    let (id, created) = (call.dice(1).id("cmpl-", 29), call.created());
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let wrap = |choices: Value| json!({"id": id, "object": "text_completion", "created": created, "model": model, "choices": choices});
    let choice = |index: usize, text: &str, reason: Option<&str>| json!({"text": text, "index": index, "logprobs": null, "finish_reason": reason});
    if !stream {
        let all = choices.iter().enumerate();
        let all = all.map(|(at, (echo, prose, reason))| {
            choice(at, &format!("{echo}{}", prose.text), Some(reason))
        });
        let mut whole = wrap(all.collect());
        whole["usage"] = usage;
        return Ok(Reply::json(format!("{whole:#}\n")));
    }
    let mut events = EventWriter::new(Dialect::Chat, 4096);
    let mut event = |value: Value| {
        events.content_starts();
        events.out.push_str(&format!("data: {value}"));
        events.end();
    };
    for (at, (echo, prose, reason)) in choices.iter().enumerate() {
        let echoed = Some(*echo).filter(|echo| !echo.is_empty());
        for token in echoed.into_iter().chain(prose.iter()) {
            event(wrap(json!([choice(at, token, None)])));
        }
        event(wrap(json!([choice(at, "", Some(reason))])));
    }
    if body
        .stream_options
        .is_some_and(|options| options["include_usage"] == true)
    {
        let mut last = wrap(json!([]));
        last["usage"] = usage;
        event(last);
    }
    events.out.push_str("data: [DONE]");
    events.end();
    Ok(Reply::events(events.finish(event_ms)))
}

fn prompts(prompt: Option<Value>) -> Vec<String> {
    match prompt {
        Some(Value::String(one)) => vec![one],
        // Tokens of one prompt, or several prompts of either kind.
        Some(Value::Array(all)) if all.first().is_some_and(Value::is_number) => {
            vec!["tokn".repeat(all.len())]
        }
        Some(Value::Array(all)) if !all.is_empty() => {
            all.into_iter().flat_map(|one| prompts(Some(one))).collect()
        }
        _ => vec![String::new()],
    }
}
