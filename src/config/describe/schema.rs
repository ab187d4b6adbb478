//! The JSON Schema, for editors.

use serde_json::{Map, Value, json};

use crate::config::table::{Key, Kind, ROOT, Section};

/// A text with a variable in it can be anything.
const VARIABLE: &str = r"\$\{";

/// JSON Schema (draft 2020-12) of the file.
pub fn schema() -> Value {
    let mut schema = section(&ROOT);
    if let Some(object) = schema.as_object_mut() {
        object.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        object.insert("title".to_owned(), json!("weir"));
    }
    schema
}

fn section(section: &Section) -> Value {
    let properties: Map<_, _> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: &[&str] = match section.name {
        "upstream" => &["name"],
        "route" => &["models", "targets"],
        "app" => &["name", "key"],
        _ => &[],
    };
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut value = shape(key.kind);
    if let Some(object) = value.as_object_mut() {
        object.insert("description".to_owned(), json!(key.doc));
        if let Some(default) = key.default {
            object.insert("default".to_owned(), literal(key.kind, default));
        }
    }
    value
}

fn literal(kind: Kind, default: &str) -> Value {
    if kind.is_quoted(default) {
        json!(default)
    } else {
        serde_json::from_str(default).unwrap_or(Value::Null)
    }
}

fn shape(kind: Kind) -> Value {
    let pattern =
        |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") });
    match kind {
        Kind::Listen { off } => pattern(if off {
            r"^unix:.+$|^.+:\d+$|^off$"
        } else {
            r"^unix:.+$|^.+:\d+$"
        }),
        Kind::Duration { .. } => pattern(r"^(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$"),
        Kind::Size { min, max } => json!({ "anyOf": [
            pattern(r"^\d+(\.\d+)?\s*([KMGkmg][Ii]?)?[Bb]$"),
            { "type": "integer", "minimum": min, "maximum": max },
        ] }),
        Kind::Count { min, max } => {
            numeric(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Kind::CountOr { word, min, max } => json!({ "anyOf": [
            { "const": word },
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": VARIABLE },
        ] }),
        Kind::Share => numeric(json!({ "type": "number", "minimum": 0, "maximum": 1 })),
        Kind::Word(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
        }
        Kind::Text(_) | Kind::Secret(_) => json!({ "type": "string", "minLength": 1 }),
        Kind::Texts(_) => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } })
        }
        Kind::Headers => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Rules => json!({ "type": "array", "items": { "type": "object" } }),
        Kind::Table(inner) => section(inner),
        Kind::Tables(inner) => json!({ "type": "array", "items": section(inner) }),
    }
}

/// A number, or a text with a variable that will be one.
fn numeric(number: Value) -> Value {
    json!({ "anyOf": [number, { "type": "string", "pattern": VARIABLE }] })
}
