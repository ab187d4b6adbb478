//! Chat answers as bytes, whole and as a stream.

use std::fmt::Write;

use super::compose::Answer;
use crate::sim::{
    dice::Dice,
    wire::{Dialect, EventWriter, Events, push_json_str},
};

/// What every chunk and every answer carries.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: &'a str,
    pub(crate) fingerprint: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

/// The answer in one piece, pretty-printed as the API does.
pub(crate) fn whole(head: &Head<'_>, answers: &[Answer], dice: &mut Dice) -> String {
    let mut out = String::with_capacity(1024);
    let _ = write!(
        out,
        "{{\n  \"id\": \"{}\",\n  \"object\": \"chat.completion\",\n  \"created\": {},\n  \"model\": ",
        head.id, head.created
    );
    push_json_str(&mut out, head.model);
    out.push_str(",\n  \"choices\": [\n");
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        let _ = write!(
            out,
            "    {{\n      \"index\": {index},\n      \"message\": {{\n        \"role\": \"assistant\",\n        \
             \"content\": "
        );
        match answer {
            Answer::Text { prose, .. } => push_json_str(&mut out, &prose.text),
            Answer::Calls(calls) => {
                out.push_str("null,\n        \"tool_calls\": [\n");
                for (at, (name, args)) in calls.iter().enumerate() {
                    if at > 0 {
                        out.push_str(",\n");
                    }
                    let _ = write!(
                        out,
                        "          {{\n            \"id\": \"{}\",\n            \"type\": \"function\",\n            \
                         \"function\": {{\n              \"name\": ",
                        dice.id("call_", 24)
                    );
                    push_json_str(&mut out, name);
                    out.push_str(",\n              \"arguments\": ");
                    push_json_str(&mut out, &args.text);
                    out.push_str("\n            }\n          }");
                }
                out.push_str("\n        ]");
            }
        }
        let _ = write!(
            out,
            ",\n        \"refusal\": null,\n        \"annotations\": []\n      }},\n      \"logprobs\": null,\n      \
             \"finish_reason\": \"{}\"\n    }}",
            answer.finish_reason()
        );
    }
    out.push_str("\n  ],\n  \"usage\": ");
    usage(&mut out, head, "\n    ", "\n  ");
    let _ = write!(
        out,
        ",\n  \"service_tier\": \"default\",\n  \"system_fingerprint\": \"{}\"\n}}\n",
        head.fingerprint
    );
    out
}

/// Writes the chunks of one choice.
struct Chunks<'a> {
    events: &'a mut EventWriter,
    /// Up to the delta.
    open: String,
    /// Behind it.
    close: String,
}

/// The answer as a stream: role, content, finish reason for each choice, usage if asked for, `[DONE]`.
pub(crate) fn stream(
    head: &Head<'_>,
    answers: &[Answer],
    with_usage: bool,
    gap_ms: u64,
    dice: &mut Dice,
) -> Events {
    let mut prefix = String::with_capacity(220);
    let _ = write!(
        prefix,
        "data: {{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":",
        head.id, head.created
    );
    push_json_str(&mut prefix, head.model);
    let _ = write!(
        prefix,
        ",\"service_tier\":\"default\",\"system_fingerprint\":\"{}\",\"choices\":[",
        head.fingerprint
    );
    let tail = if with_usage {
        "],\"usage\":null}"
    } else {
        "]}"
    };

    let pieces = usize::try_from(head.completion_tokens)
        .unwrap_or(0)
        .saturating_add(4);
    let capacity = pieces.saturating_mul(prefix.len() + 96).min(1 << 26);
    let mut events = EventWriter::new(Dialect::Chat, capacity);
    for (index, answer) in answers.iter().enumerate() {
        let open = format!("{prefix}{{\"index\":{index},\"delta\":");
        let close = format!(",\"logprobs\":null,\"finish_reason\":null}}{tail}");
        let mut chunks = Chunks {
            events: &mut events,
            open,
            close,
        };
        chunks.answer(answer, dice);
        let last = format!(
            ",\"logprobs\":null,\"finish_reason\":\"{}\"}}{tail}",
            answer.finish_reason()
        );
        chunks.close = last;
        chunks.write(|out| out.push_str("{}"));
    }
    if with_usage {
        events.out.push_str(&prefix);
        events.out.push_str("],\"usage\":");
        usage(&mut events.out, head, "", "");
        events.out.push('}');
        events.end();
    }
    events.out.push_str("data: [DONE]");
    events.end();
    events.finish(gap_ms)
}

// === impl Chunks ===

impl Chunks<'_> {
    /// One chunk around a delta.
    fn write(&mut self, delta: impl FnOnce(&mut String)) {
        self.events.out.push_str(&self.open);
        delta(&mut self.events.out);
        self.events.out.push_str(&self.close);
        self.events.end();
    }

    fn answer(&mut self, answer: &Answer, dice: &mut Dice) {
        match answer {
            Answer::Text { prose, .. } => {
                self.write(|out| {
                    out.push_str("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}")
                });
                self.events.content_starts();
                for token in prose.iter() {
                    self.write(|out| {
                        out.push_str("{\"content\":");
                        push_json_str(out, token);
                        out.push('}');
                    });
                }
            }
            Answer::Calls(calls) => {
                self.write(|out| {
                    out.push_str("{\"role\":\"assistant\",\"content\":null,\"refusal\":null}")
                });
                self.events.content_starts();
                for (at, (name, args)) in calls.iter().enumerate() {
                    let id = dice.id("call_", 24);
                    self.write(|out| {
                        let _ = write!(
                            out,
                            "{{\"tool_calls\":[{{\"index\":{at},\"id\":\"{id}\",\"type\":\"function\",\
                             \"function\":{{\"name\":"
                        );
                        push_json_str(out, name);
                        out.push_str(",\"arguments\":\"\"}}]}");
                    });
                    for token in args.iter() {
                        self.write(|out| {
                            let _ = write!(
                                out,
                                "{{\"tool_calls\":[{{\"index\":{at},\"function\":{{\"arguments\":"
                            );
                            push_json_str(out, token);
                            out.push_str("}}]}");
                        });
                    }
                }
            }
        }
    }
}

fn usage(out: &mut String, head: &Head<'_>, inner: &str, outer: &str) {
    let (input, output) = (head.prompt_tokens, head.completion_tokens);
    let space = if inner.is_empty() { "" } else { " " };
    let _ = write!(
        out,
        "{{{inner}\"prompt_tokens\":{space}{input},{inner}\"completion_tokens\":{space}{output},{inner}\
         \"total_tokens\":{space}{},{inner}\"prompt_tokens_details\":{space}{{\"cached_tokens\":{space}0,\
         \"audio_tokens\":{space}0}},{inner}\"completion_tokens_details\":{space}{{\"reasoning_tokens\":{space}0,\
         \"audio_tokens\":{space}0,\"accepted_prediction_tokens\":{space}0,\"rejected_prediction_tokens\":{space}0}}\
         {outer}}}",
        input + output
    );
}
