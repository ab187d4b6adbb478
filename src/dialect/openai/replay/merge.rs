//! Puts the pieces of a stream back together, known members and unknown ones alike.

use bytes::Bytes;
use serde_json::Value;

use super::{Object, ReplayError, object};
use crate::sse::Event;

/// Members that name a thing: sent once, or repeated, but never in pieces.
const NAMES: [&str; 8] = [
    "id", "type", "role", "name", "object", "index", "format", "model",
];

/// Adds a delta's members to what is there. Strings grow, arrays grow (elements with an `index`
/// are joined with the one of the same index), objects are joined, the rest is replaced; a `null`
/// replaces nothing.
pub(super) fn merge(into: &mut Object, delta: Object) {
    for (key, piece) in delta {
        match into.get_mut(&key) {
            None => {
                let piece = match piece {
                    // Elements of one piece may already share an index.
                    Value::Array(pieces) => {
                        let mut items = Vec::new();
                        extend(&mut items, pieces);
                        items.into()
                    }
                    piece => piece,
                };
                into.insert(key, piece);
            }
            Some(whole) => join(whole, piece, NAMES.contains(&key.as_str())),
        }
    }
}

fn join(whole: &mut Value, piece: Value, is_name: bool) {
    match (whole, piece) {
        (_, Value::Null) => {}
        (Value::String(whole), Value::String(piece)) if is_name => {
            if whole.is_empty() {
                *whole = piece;
            }
        }
        (Value::String(whole), Value::String(piece)) => whole.push_str(&piece),
        (Value::Object(whole), Value::Object(piece)) => merge(whole, piece),
        (Value::Array(whole), Value::Array(piece)) => extend(whole, piece),
        (whole, piece) => *whole = piece,
    }
}

fn extend(whole: &mut Vec<Value>, pieces: Vec<Value>) {
    for piece in pieces {
        let index = piece.get("index").and_then(Value::as_u64);
        let same = index.and_then(|index| {
            whole
                .iter_mut()
                .find(|item| item.get("index").and_then(Value::as_u64) == Some(index))
        });
        match (same, piece) {
            (Some(Value::Object(item)), Value::Object(piece)) => merge(item, piece),
            (_, piece) => whole.push(piece),
        }
    }
}

/// What a chat or completion stream holds in all: head, choices by index, usage.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) head: Object,
    pub(super) choices: Vec<Object>,
    pub(super) usage: Option<Value>,
}

impl Merged {
    /// Reads all chunks. `delta` is the member whose pieces grow (all of a choice's, if `None`).
    pub(super) fn of(events: &[Event]) -> Result<Self, ReplayError> {
        let mut merged = Self::default();
        for event in events {
            if !event.data.trim_ascii().starts_with(b"[DONE]") {
                merged.chunk(&event.data)?;
            }
        }
        merged.choices.sort_by_key(index_of);
        Ok(merged)
    }

    fn chunk(&mut self, data: &Bytes) -> Result<(), ReplayError> {
        let mut chunk = object(data)?;
        // Random padding against guessing by size; means nothing.
        chunk.shift_remove("obfuscation");
        if let Some(usage) = chunk.shift_remove("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(usage);
        }
        let choices = match chunk.shift_remove("choices") {
            Some(Value::Array(choices)) => choices,
            _ => Vec::new(),
        };
        for (key, value) in chunk {
            let kept = self.head.entry(key).or_insert(Value::Null);
            if !value.is_null() {
                *kept = value;
            }
        }
        for choice in choices {
            let Value::Object(mut choice) = choice else {
                return Err(ReplayError::Shape("a choice is no object"));
            };
            let finish = choice.shift_remove("finish_reason");
            let index = index_of(&choice);
            let at = match self.choices.iter().position(|c| index_of(c) == index) {
                Some(at) => at,
                None => {
                    self.choices.push(Object::new());
                    self.choices.len() - 1
                }
            };
            merge(&mut self.choices[at], choice);
            if let Some(finish) = finish.filter(|finish| !finish.is_null()) {
                self.choices[at].insert("finish_reason".into(), finish);
            }
        }
        Ok(())
    }
}

fn index_of(choice: &Object) -> u64 {
    choice.get("index").and_then(Value::as_u64).unwrap_or(0)
}
