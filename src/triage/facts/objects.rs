//! The walk through a JSON body: which object is the error, and what its fields say.

use serde_json::{Map, Value};

use super::{Facts, Quota};
use crate::triage::wait;

/// Nesting of error objects that is followed.
pub(super) const DEPTH: u8 = 6;
/// Entries of one list that are read.
pub(super) const ENTRIES: usize = 16;

// === impl Facts ===

impl Facts {
    /// An envelope: looks for error objects and end reasons below it.
    pub(super) fn walk(&mut self, value: &Value, depth: u8) {
        if depth == 0 {
            return;
        }
        if let Value::Array(list) = value {
            list.iter()
                .take(ENTRIES)
                .for_each(|item| self.walk(item, depth - 1));
            return;
        }
        let Value::Object(map) = value else { return };
        self.ends(map);
        let mut inner = false;
        match map.get("error") {
            Some(Value::String(text)) => {
                self.has_error = true;
                self.say(text);
                self.error_fields(map, depth);
                inner = true;
            }
            Some(error @ Value::Object(_)) => {
                self.error(error, depth - 1);
                inner = true;
            }
            Some(Value::Array(list)) if !list.is_empty() => {
                for item in list.iter().take(ENTRIES) {
                    match item {
                        Value::String(text) => self.say(text),
                        other => self.error(other, depth - 1),
                    }
                }
                self.has_error = true;
                inner = true;
            }
            _ => {}
        }
        for key in [
            "response",
            "Response",
            "result",
            "status_details",
            "errors",
            "data",
            "choices",
            "candidates",
            "promptFeedback",
        ] {
            if let Some(below @ (Value::Object(_) | Value::Array(_))) = map.get(key) {
                self.walk(below, depth - 1);
            }
        }
        // The last is how a run of an assistant failed.
        for key in ["Error", "last_error"] {
            if let Some(error @ Value::Object(_)) = map.get(key) {
                self.error(error, depth - 1);
            }
        }
        // A whole answer, kept in a line of a batch's results.
        if let (Some(_), Some(body @ Value::Object(_))) = (map.get("status_code"), map.get("body"))
        {
            self.walk(body, depth - 1);
        }
        self.base_resp(map);
        let flat = ["message", "Message", "msg", "error_msg"]
            .iter()
            .any(|key| map.get(*key).is_some_and(Value::is_string))
            || map.get("detail").is_some_and(|detail| !detail.is_null())
            || is_problem(map);
        if flat && !inner {
            self.error(value, depth - 1);
        }
        for key in ["statusCode", "status_code"] {
            if let Some(status) = map.get(key) {
                self.status_number(status);
            }
        }
    }

    /// `{"base_resp": {"status_code": 1008, "status_msg": "…"}}`, where zero is success.
    fn base_resp(&mut self, map: &Map<String, Value>) {
        let Some(Value::Object(base)) = map.get("base_resp") else {
            return;
        };
        let code = base.get("status_code").and_then(as_word);
        if let Some(code) = code.filter(|code| code != "0") {
            self.has_error = true;
            self.code(&code);
            if let Some(Value::String(text)) = base.get("status_msg") {
                self.say(text);
            }
        }
    }

    /// The name of an exception: `com.amazonaws.x#ThrottlingException`, or with an address after a colon.
    pub(super) fn exception(&mut self, name: &str) {
        let name = name.rsplit('#').next().unwrap_or(name);
        let name = name.split(':').next().unwrap_or(name).trim();
        if !name.is_empty() {
            self.kind(name);
        }
    }

    /// Why an answer ended, wherever a dialect says so.
    fn ends(&mut self, map: &Map<String, Value>) {
        for key in [
            "finish_reason",
            "finishReason",
            "stop_reason",
            "blockReason",
        ] {
            if let Some(Value::String(word)) = map.get(key) {
                self.finishes.push(word.to_lowercase());
            }
        }
        if let Some(Value::String(word)) = map
            .get("incomplete_details")
            .and_then(|details| details.get("reason"))
        {
            self.finishes.push(word.to_lowercase());
        }
        // A background answer, a run, a job: asked about, it tells that it was ended from outside.
        if let (Some(Value::String(_)), Some(Value::String(word))) =
            (map.get("object"), map.get("status"))
            && matches!(word.as_str(), "cancelled" | "expired")
        {
            self.finishes.push(word.clone());
        }
        if map.get("custom_id").is_some()
            && let Some(Value::String(word)) =
                map.get("result").and_then(|result| result.get("type"))
        {
            self.finishes.push(word.to_lowercase());
        }
    }

    /// An error object.
    fn error(&mut self, value: &Value, depth: u8) {
        let Value::Object(map) = value else { return };
        if depth == 0 {
            return;
        }
        self.has_error = true;
        self.error_fields(map, depth);
    }

    fn error_fields(&mut self, map: &Map<String, Value>, depth: u8) {
        if is_problem(map)
            && let Some(Value::String(title)) = map.get("title")
        {
            self.say(title);
        }
        for key in [
            "message",
            "Message",
            "msg",
            "error_msg",
            "detail",
            "error_description",
            "description",
        ] {
            match map.get(key) {
                Some(Value::String(text)) => self.say_or_unpack(text, depth),
                // The error itself, one level below.
                Some(below @ Value::Object(_)) => self.walk_or_error(below, depth - 1),
                Some(Value::Array(list)) => {
                    list.iter()
                        .take(ENTRIES)
                        .for_each(|item| self.error(item, depth - 1));
                }
                _ => {}
            }
        }
        for key in ["code", "Code", "error_code"] {
            if let Some(code) = map.get(key) {
                self.status_number(code);
                if let Some(word) = as_word(code) {
                    self.code(&word);
                }
            }
        }
        if let Some(Value::String(name)) = map.get("__type") {
            self.exception(name);
        }
        for key in [
            "reason",
            "error_type",
            "limit_source",
            "quotaId",
            "quotaMetric",
            "quota_limit",
            "quota_metric",
        ] {
            if let Some(Value::String(word)) = map.get(key) {
                self.codes.push(word.to_lowercase());
            }
        }
        for key in ["quotaValue", "quota_limit_value"] {
            if map.get(key).and_then(as_word).as_deref() == Some("0") {
                self.codes.push("limit=0".to_owned());
            }
        }
        self.quota(map);
        for key in ["type", "status"] {
            match map.get(key) {
                Some(Value::String(word)) => self.kind(word),
                Some(number @ Value::Number(_)) => self.status_number(number),
                _ => {}
            }
        }
        for key in ["http_code", "httpCode"] {
            if let Some(status) = map.get(key) {
                self.status_number(status);
            }
        }
        self.waits(map);
        if let Some(Value::Object(headers)) = map.get("headers") {
            let texts = headers
                .iter()
                .filter_map(|(name, value)| Some((name.to_lowercase(), as_word(value)?)));
            self.headers.extend(texts.take(ENTRIES));
        }
        match map.get("raw") {
            Some(Value::String(raw)) => self.say_or_unpack(raw, depth),
            Some(raw @ Value::Object(_)) => self.walk(raw, depth - 1),
            _ => {}
        }
        for key in [
            "error",
            "innererror",
            "inner_error",
            "innerError",
            "details",
            "metadata",
            "violations",
        ] {
            match map.get(key) {
                Some(below @ Value::Object(_)) => self.error(below, depth - 1),
                Some(Value::Array(list)) => {
                    list.iter()
                        .take(ENTRIES)
                        .for_each(|item| self.error(item, depth - 1));
                }
                _ => {}
            }
        }
    }

    /// A quota with its value, as in a violation or in the facts beside it.
    fn quota(&mut self, map: &Map<String, Value>) {
        let word = |keys: [&str; 2]| keys.iter().find_map(|key| map.get(*key).and_then(as_word));
        let value = word(["quotaValue", "quota_limit_value"]).and_then(|value| wait::count(&value));
        if value.is_some() && self.quotas.len() < ENTRIES {
            self.quotas.push(Quota {
                id: word(["quotaId", "quota_limit"]).unwrap_or_default(),
                metric: word(["quotaMetric", "quota_metric"]).unwrap_or_default(),
                value,
            });
        }
    }

    /// How long to wait, or until when.
    fn waits(&mut self, map: &Map<String, Value>) {
        for key in [
            "retryDelay",
            "retry_delay",
            "retry_after_seconds",
            "retry_after",
            "retryAfter",
            "retry_in",
            "resets_in_seconds",
            "resets_at",
            "reset_at",
            "estimated_time",
        ] {
            self.delays.extend(map.get(key).and_then(as_word));
        }
        for key in ["retry_after_ms", "retryAfterMs"] {
            self.delays_ms.extend(map.get(key).and_then(as_word));
        }
    }

    /// An object where a text was due: an envelope of its own, or the error object.
    fn walk_or_error(&mut self, value: &Value, depth: u8) {
        if value.get("error").is_some() {
            self.walk(value, depth);
        } else {
            self.error(value, depth);
        }
    }

    /// A text that may be another answer's body.
    fn say_or_unpack(&mut self, text: &str, depth: u8) {
        if depth > 1
            && text.trim_start().starts_with(['{', '['])
            && let Ok(value) = serde_json::from_str::<Value>(text)
        {
            self.walk(&value, depth - 1);
        } else {
            self.say(text);
        }
    }
}

/// The value as text, for what may come as a string or as a number.
fn as_word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Problem details (RFC 9457): a title beside a status or a detail.
fn is_problem(map: &Map<String, Value>) -> bool {
    map.get("title").is_some_and(Value::is_string)
        && (map.get("status").is_some_and(Value::is_number) || map.contains_key("detail"))
}
