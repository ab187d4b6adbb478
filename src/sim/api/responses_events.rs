//! The typed event sequence of a streamed response.

use serde_json::{Value, json};

use super::compose::Answer;
use crate::sim::wire::{Dialect, EventWriter, Events};

/// Writes events with their `sequence_number`.
struct Sequence {
    events: EventWriter,
    next: u64,
}

/// The stream of a finished response: created, in progress, its items piece by piece, completed.
pub(crate) fn stream(response: &Value, answer: &Answer, gap_ms: u64) -> Events {
    let mut out = Sequence {
        events: EventWriter::new(Dialect::Responses, 8192),
        next: 0,
    };
    let mut early = response.clone();
    early["status"] = "in_progress".into();
    early["output"] = json!([]);
    early["usage"] = Value::Null;
    early["incomplete_details"] = Value::Null;
    out.event("response.created", json!({"response": early}));
    out.event("response.in_progress", json!({"response": early}));
    let items = response["output"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for (at, item) in items.iter().enumerate() {
        match answer {
            Answer::Text { prose, .. } => out.message(at, item, prose.iter()),
            Answer::Calls(calls) => {
                if let Some((_, args)) = calls.get(at) {
                    out.call(at, item, args.iter());
                }
            }
        }
    }
    let last = if response["status"] == "incomplete" {
        "response.incomplete"
    } else {
        "response.completed"
    };
    out.event(last, json!({"response": response}));
    out.events.finish(gap_ms)
}

// === impl Sequence ===

impl Sequence {
    fn event(&mut self, kind: &str, members: Value) {
        let mut data = json!({"type": kind, "sequence_number": self.next});
        if let (Value::Object(data), Value::Object(members)) = (&mut data, members) {
            data.extend(members);
        }
        self.next += 1;
        self.events
            .out
            .push_str(&format!("event: {kind}\ndata: {data}"));
        self.events.end();
    }

    fn message<'a>(&mut self, at: usize, item: &Value, tokens: impl Iterator<Item = &'a str>) {
        let id = &item["id"];
        let part = &item["content"][0];
        let mut bare = item.clone();
        bare["status"] = "in_progress".into();
        bare["content"] = json!([]);
        let mut empty = part.clone();
        empty["text"] = "".into();
        let place = |more: Value| {
            let mut members = json!({"item_id": id, "output_index": at, "content_index": 0});
            if let (Value::Object(members), Value::Object(more)) = (&mut members, more) {
                members.extend(more);
            }
            members
        };
        self.event(
            "response.output_item.added",
            json!({"output_index": at, "item": bare}),
        );
        self.event("response.content_part.added", place(json!({"part": empty})));
        self.events.content_starts();
        for token in tokens {
            self.event(
                "response.output_text.delta",
                place(json!({"delta": token, "logprobs": []})),
            );
        }
        self.event(
            "response.output_text.done",
            place(json!({"text": part["text"], "logprobs": []})),
        );
        self.event("response.content_part.done", place(json!({"part": part})));
        self.event(
            "response.output_item.done",
            json!({"output_index": at, "item": item}),
        );
    }

    fn call<'a>(&mut self, at: usize, item: &Value, tokens: impl Iterator<Item = &'a str>) {
        let id = &item["id"];
        let mut bare = item.clone();
        bare["status"] = "in_progress".into();
        bare["arguments"] = "".into();
        self.event(
            "response.output_item.added",
            json!({"output_index": at, "item": bare}),
        );
        self.events.content_starts();
        for token in tokens {
            let members = json!({"item_id": id, "output_index": at, "delta": token});
            self.event("response.function_call_arguments.delta", members);
        }
        let members = json!({
            "item_id": id, "output_index": at, "name": item["name"], "arguments": item["arguments"],
        });
        self.event("response.function_call_arguments.done", members);
        self.event(
            "response.output_item.done",
            json!({"output_index": at, "item": item}),
        );
    }
}
