//! Responses, whole and streamed. The last event of the stream holds the whole answer, so one
//! way is a matter of cutting it out; the other way tells it step by step.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Object, ReplayError, object, whole_stream};
use crate::dialect::Endpoint;
use crate::json::Raw;
use crate::sse;

/// The answer in a stream's last event, byte for byte.
///
/// # Errors
/// When the stream is not whole or its last event lacks the answer.
pub fn stream_to_responses(chunks: impl IntoIterator<Item = Bytes>) -> Result<Bytes, ReplayError> {
    let events = whole_stream(Endpoint::Responses, chunks)?;
    for event in events.iter().rev() {
        let Ok(data) = Raw::parse(&event.data) else {
            continue;
        };
        let ends = ["response.completed", "response.incomplete"];
        if data
            .get("type")
            .is_some_and(|kind| ends.iter().any(|end| kind.is_str(end)))
        {
            let response = data
                .get("response")
                .ok_or(ReplayError::Missing("response"))?;
            return Ok(event.data.slice(response.range()));
        }
    }
    Err(ReplayError::NotWhole)
}

/// A whole response as the events that would have told it.
///
/// # Errors
/// When it is not `completed` or `incomplete`, or not of the shape of a response.
pub fn responses_to_stream(reply: &[u8]) -> Result<Vec<Bytes>, ReplayError> {
    let response = object(reply)?;
    let last = match response.get("status").and_then(Value::as_str) {
        Some("completed") => "response.completed",
        Some("incomplete") => "response.incomplete",
        _ => return Err(ReplayError::NotWhole),
    };
    let Some(Value::Array(output)) = response.get("output") else {
        return Err(ReplayError::Shape("no output"));
    };
    let mut begun = response.clone();
    begun.insert("status".into(), "in_progress".into());
    begun.insert("output".into(), json!([]));
    for key in ["usage", "completed_at", "incomplete_details"] {
        if let Some(value) = begun.get_mut(key) {
            *value = Value::Null;
        }
    }
    let mut events = Events::default();
    for name in ["response.created", "response.in_progress"] {
        events.push(name, &json!({ "response": begun }));
    }
    for (index, item) in output.iter().enumerate() {
        let Value::Object(item) = item else {
            return Err(ReplayError::Shape("an output item is no object"));
        };
        Item {
            index,
            item,
            events: &mut events,
        }
        .tell()?;
    }
    events.push(last, &json!({ "response": response }));
    Ok(events.written)
}

/// Numbers the events.
#[derive(Debug, Default)]
struct Events {
    written: Vec<Bytes>,
}

impl Events {
    fn push(&mut self, name: &str, members: &Value) {
        let mut event = json!({ "type": name, "sequence_number": self.written.len() });
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members.clone());
        }
        self.written.push(sse::named(name, &super::text(&event)));
    }
}

/// One output item being told.
struct Item<'a> {
    index: usize,
    item: &'a Object,
    events: &'a mut Events,
}

// === impl Item ===

impl Item<'_> {
    fn tell(mut self) -> Result<(), ReplayError> {
        let kind = self.text_of("type");
        let mut shell = self.item.clone();
        for (key, value) in &mut shell {
            match (key.as_str(), &value) {
                ("status", _) => *value = "in_progress".into(),
                ("content" | "summary", Value::Array(_)) => *value = json!([]),
                ("arguments" | "input" | "code", Value::String(_)) => *value = "".into(),
                // What a hosted tool gave is known at its end only.
                ("result" | "results" | "outputs" | "output", _) => *value = Value::Null,
                _ => {}
            }
        }
        let at = json!({ "output_index": self.index });
        self.push(
            "response.output_item.added",
            &at,
            json!({ "item": shell }),
            false,
        );
        match kind.as_str() {
            "message" => self.parts("content")?,
            "reasoning" => {
                self.parts("summary")?;
                self.parts("content")?;
            }
            "function_call" => self.grown("response.function_call_arguments", "arguments"),
            "custom_tool_call" => self.grown("response.custom_tool_call_input", "input"),
            "mcp_call" => {
                self.grown("response.mcp_call_arguments", "arguments");
                self.steps("response.mcp_call", &["in_progress", "completed"]);
            }
            "web_search_call" | "file_search_call" => self.steps(
                &format!("response.{kind}"),
                &["in_progress", "searching", "completed"],
            ),
            "image_generation_call" => self.steps(
                "response.image_generation_call",
                &["in_progress", "generating", "completed"],
            ),
            "code_interpreter_call" => {
                self.steps("response.code_interpreter_call", &["in_progress"]);
                self.grown("response.code_interpreter_call_code", "code");
                self.steps(
                    "response.code_interpreter_call",
                    &["interpreting", "completed"],
                );
            }
            // An item of another kind is told by its beginning and its end.
            _ => {}
        }
        let item = json!({ "item": self.item });
        self.push("response.output_item.done", &at, item, false);
        Ok(())
    }

    fn text_of(&self, key: &str) -> String {
        let value = self.item.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    }

    fn push(&mut self, name: &str, at: &Value, more: Value, with_id: bool) {
        let mut members = Object::new();
        if with_id {
            members.insert(
                "item_id".into(),
                self.item.get("id").cloned().unwrap_or_default(),
            );
        }
        for part in [at.clone(), more] {
            if let Value::Object(part) = part {
                members.extend(part);
            }
        }
        self.events.push(name, &members.into());
    }

    fn steps(&mut self, name: &str, steps: &[&str]) {
        let at = json!({ "output_index": self.index });
        for step in steps {
            self.push(&format!("{name}.{step}"), &at, json!({}), true);
        }
    }

    /// A text that grows: in one delta, then whole.
    fn grown(&mut self, name: &str, key: &str) {
        let text = self.text_of(key);
        let at = json!({ "output_index": self.index });
        if !text.is_empty() {
            self.push(
                &format!("{name}.delta"),
                &at,
                json!({ "delta": text }),
                true,
            );
        }
        let mut done = json!({ key: text });
        if name == "response.function_call_arguments" {
            done["name"] = self.text_of("name").into();
        }
        self.push(&format!("{name}.done"), &at, done, true);
    }

    fn parts(&mut self, key: &str) -> Result<(), ReplayError> {
        let Some(Value::Array(parts)) = self.item.get(key) else {
            return Ok(());
        };
        for (index, part) in parts.iter().enumerate() {
            let Value::Object(part) = part else {
                return Err(ReplayError::Shape("a content part is no object"));
            };
            self.part(key, index, part);
        }
        Ok(())
    }

    fn part(&mut self, list: &str, index: usize, part: &Object) {
        let (around, place) = match list {
            "summary" => ("response.reasoning_summary_part", "summary_index"),
            _ => ("response.content_part", "content_index"),
        };
        let at = json!({ "output_index": self.index, place: index });
        let mut empty = part.clone();
        for (key, value) in &mut empty {
            match key.as_str() {
                "text" | "refusal" => *value = "".into(),
                "annotations" | "logprobs" if value.is_array() => *value = json!([]),
                _ => {}
            }
        }
        self.push(
            &format!("{around}.added"),
            &at,
            json!({ "part": empty }),
            true,
        );
        let (name, key) = match part.get("type").and_then(Value::as_str) {
            Some("output_text") => ("response.output_text", "text"),
            Some("refusal") => ("response.refusal", "refusal"),
            Some("summary_text") => ("response.reasoning_summary_text", "text"),
            Some("reasoning_text") => ("response.reasoning_text", "text"),
            _ => ("", ""),
        };
        if !name.is_empty() {
            self.part_text(name, key, &at, part);
        }
        self.push(
            &format!("{around}.done"),
            &at,
            json!({ "part": part }),
            true,
        );
    }

    fn part_text(&mut self, name: &str, key: &str, at: &Value, part: &Object) {
        let text = part.get(key).cloned().unwrap_or_default();
        let mut delta = json!({ "delta": text });
        let mut done = json!({ key: text });
        if name == "response.output_text" {
            let logprobs = part.get("logprobs").cloned().unwrap_or_else(|| json!([]));
            delta["logprobs"] = logprobs.clone();
            done["logprobs"] = logprobs;
        }
        if text.as_str().is_some_and(|text| !text.is_empty()) {
            self.push(&format!("{name}.delta"), at, delta, true);
        }
        let annotations = part.get("annotations").and_then(Value::as_array);
        for (index, annotation) in annotations.into_iter().flatten().enumerate() {
            let more = json!({ "annotation_index": index, "annotation": annotation });
            self.push("response.output_text.annotation.added", at, more, true);
        }
        self.push(&format!("{name}.done"), at, done, true);
    }
}
