//! A value that satisfies a JSON Schema: arguments of tool calls, structured output.
//!
//! Covers what OpenAI's strict mode allows and the common rest: `$ref`, `anyOf`, `oneOf`, `allOf`, `enum`, `const`,
//! bounds, formats, patterns. Recursion ends as soon as the schema lets it.

use regex_syntax::hir::{Hir, HirKind};
use serde_json::{Map, Value, json};

use super::{dice::Dice, text::Prose};

/// Below this depth optional members are left out and arrays are as short as they may be.
const DEEP: usize = 6;
/// Below this depth a schema that demands ever more is given up on.
const TOO_DEEP: usize = 48;

/// Makes values for one schema.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    root: &'a Value,
    /// The user's text: an enum value named in it is chosen.
    hint: &'a str,
    dice: Dice,
}

// === impl Maker ===

impl<'a> Maker<'a> {
    pub(crate) fn new(root: &'a Value, hint: &'a str, dice: Dice) -> Self {
        Self { root, hint, dice }
    }

    /// A value for the whole schema.
    pub(crate) fn make(&mut self) -> Value {
        self.value(self.root, 0)
    }

    fn value(&mut self, schema: &'a Value, depth: usize) -> Value {
        let Some(object) = schema.as_object().filter(|_| depth < TOO_DEEP) else {
            return Value::Null;
        };
        if let Some(target) = object
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| self.resolve(path))
        {
            return self.value(target, depth + 1);
        }
        if let Some(value) = object.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(values)) = object.get("enum") {
            return self.choose(values);
        }
        if let Some(all @ [_, ..]) = list(object, "allOf") {
            return self.merged(object, all, depth);
        }
        if let Some(variants @ [_, ..]) = list(object, "anyOf").or_else(|| list(object, "oneOf")) {
            return self.variant(variants, depth);
        }
        let told = match object.get("type") {
            Some(Value::String(name)) => name.as_str(),
            Some(Value::Array(names)) => {
                let names = || names.iter().filter_map(Value::as_str);
                let pick = if depth >= DEEP {
                    names().find(|name| *name == "null")
                } else {
                    None
                };
                pick.or_else(|| names().find(|name| *name != "null"))
                    .unwrap_or("null")
            }
            _ if object.contains_key("properties") => "object",
            _ if object.contains_key("items") => "array",
            _ => "string",
        };
        match told {
            "object" => self.object(object, depth),
            "array" => self.array(object, depth),
            "integer" => json!(self.number(object, true) as i64),
            "number" => json!(self.number(object, false)),
            "boolean" => Value::Bool(self.dice.below(2) == 1),
            "null" => Value::Null,
            _ => Value::String(self.string(object)),
        }
    }

    fn resolve(&self, path: &str) -> Option<&'a Value> {
        self.root.pointer(path.strip_prefix('#')?)
    }

    fn choose(&mut self, values: &'a [Value]) -> Value {
        let named = values.iter().find(|value| {
            value
                .as_str()
                .is_some_and(|text| !text.is_empty() && self.hint.contains(text))
        });
        let drawn = self.dice.below(values.len());
        named
            .or_else(|| values.get(drawn))
            .cloned()
            .unwrap_or_default()
    }

    fn variant(&mut self, variants: &'a [Value], depth: usize) -> Value {
        // Deep down only what does not go deeper; null first.
        let flat = |schema: &&Value| {
            matches!(
                schema.get("type").and_then(Value::as_str),
                Some("null" | "string" | "integer" | "number" | "boolean")
            )
        };
        let is_null = |schema: &&Value| schema.get("type").and_then(Value::as_str) == Some("null");
        let chosen = if depth >= DEEP {
            variants
                .iter()
                .find(is_null)
                .or_else(|| variants.iter().find(flat))
                .or(variants.first())
        } else {
            variants
                .iter()
                .find(|schema| !is_null(schema))
                .or(variants.first())
        };
        chosen.map_or(Value::Null, |schema| self.value(schema, depth + 1))
    }

    fn merged(&mut self, own: &'a Map<String, Value>, all: &'a [Value], depth: usize) -> Value {
        // Members of all of them together; for anything but objects the last one decides.
        let mut merged = Map::new();
        let mut last = Value::Null;
        for schema in all {
            match self.value(schema, depth + 1) {
                Value::Object(members) => merged.extend(members),
                other => last = other,
            }
        }
        if own.contains_key("properties")
            && let Value::Object(members) = self.object(own, depth)
        {
            merged.extend(members);
        }
        if merged.is_empty() {
            last
        } else {
            Value::Object(merged)
        }
    }

    fn object(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Value {
        let required: Vec<&str> = list(schema, "required")
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut members = Map::new();
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                if depth < DEEP || required.contains(&name.as_str()) {
                    members.insert(name.clone(), self.value(property, depth + 1));
                }
            }
        }
        for name in required {
            if !members.contains_key(name) {
                members.insert(name.to_owned(), json!("value"));
            }
        }
        Value::Object(members)
    }

    fn array(&mut self, schema: &'a Map<String, Value>, depth: usize) -> Value {
        let bound = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
        };
        if let Some(each) = list(schema, "prefixItems") {
            return Value::Array(
                each.iter()
                    .map(|item| self.value(item, depth + 1))
                    .collect(),
            );
        }
        let least = bound("minItems").unwrap_or(0);
        let wanted = if depth >= DEEP {
            least
        } else {
            least.max(1 + self.dice.below(2))
        };
        let count = wanted.min(bound("maxItems").unwrap_or(usize::MAX));
        let items = schema.get("items").unwrap_or(&Value::Null);
        let mut values: Vec<Value> = Vec::with_capacity(count);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        for _ in 0..count.saturating_mul(if unique { 8 } else { 1 }) {
            if values.len() == count {
                break;
            }
            let value = if items.is_object() {
                self.value(items, depth + 1)
            } else {
                json!("item")
            };
            if !unique || !values.contains(&value) {
                values.push(value);
            }
        }
        Value::Array(values)
    }

    fn number(&mut self, schema: &Map<String, Value>, whole: bool) -> f64 {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let step = bound("multipleOf")
            .filter(|step| *step > 0.0)
            .unwrap_or(if whole { 1.0 } else { 0.5 });
        let low =
            bound("minimum").or_else(|| bound("exclusiveMinimum").map(|low| low + step * 0.5));
        let high =
            bound("maximum").or_else(|| bound("exclusiveMaximum").map(|high| high - step * 0.5));
        let (low, high) = match (low, high) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, low + 100.0 * step),
            (None, Some(high)) => (high.min(0.0) - 100.0 * step, high),
            (None, None) => (0.0, 100.0 * step),
        };
        let drawn = low + self.dice.unit() * (high - low);
        let on_step = (drawn / step).round() * step;
        if on_step < low {
            (low / step).ceil() * step
        } else if on_step > high {
            let below = (high / step).floor() * step;
            // Bounds closer than a step: the bound itself, which only a schema without solution forbids.
            if below < low { low } else { below }
        } else {
            on_step
        }
    }

    fn string(&mut self, schema: &Map<String, Value>) -> String {
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Ok(hir) = regex_syntax::parse(pattern)
        {
            let mut text = String::new();
            self.matching(&hir, &mut text);
            return text;
        }
        match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => {
                return format!("2026-01-{:02}T12:00:00Z", 1 + self.dice.below(28));
            }
            Some("date") => return format!("2026-01-{:02}", 1 + self.dice.below(28)),
            Some("time") => return "12:00:00Z".into(),
            Some("duration") => return "PT1H".into(),
            Some("email") => return "someone@example.com".into(),
            Some("hostname") => return "example.com".into(),
            Some("ipv4") => return "192.0.2.1".into(),
            Some("ipv6") => return "2001:db8::1".into(),
            Some("uri" | "url") => return "https://example.com/".into(),
            Some("uuid") => {
                let hex = self.dice.hex_id("", 32);
                return format!(
                    "{}-{}-4{}-8{}-{}",
                    &hex[..8],
                    &hex[8..12],
                    &hex[13..16],
                    &hex[17..20],
                    &hex[20..]
                );
            }
            _ => {}
        }
        let bound = |name: &str| {
            schema
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
        };
        let words = 2 + self.dice.below(3);
        let mut text = Prose::filler(&mut self.dice, words).text;
        text.pop();
        while text.len() < bound("minLength").unwrap_or(0) {
            text.push('x');
        }
        text.truncate(bound("maxLength").unwrap_or(usize::MAX));
        text
    }

    /// The shortest text an expression matches, with drawn alternatives.
    fn matching(&mut self, hir: &Hir, out: &mut String) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(class) => {
                let first = match class {
                    regex_syntax::hir::Class::Unicode(class) => {
                        class.ranges().last().map(|range| range.start())
                    }
                    regex_syntax::hir::Class::Bytes(class) => {
                        class.ranges().last().map(|range| range.start().into())
                    }
                };
                out.push(first.unwrap_or('x'));
            }
            HirKind::Repetition(repetition) => {
                for _ in 0..repetition.min {
                    self.matching(&repetition.sub, out);
                }
            }
            HirKind::Capture(capture) => self.matching(&capture.sub, out),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.matching(part, out)),
            HirKind::Alternation(parts) => {
                let drawn = self.dice.below(parts.len());
                self.matching(&parts[drawn], out);
            }
        }
    }
}

fn list<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a [Value]> {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
}

#[cfg(test)]
#[path = "tests/schema.rs"]
mod tests;
