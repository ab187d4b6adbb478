//! What a failure's body says, wherever its error object hides.
//!
//! Places, all seen in the wild: `error` as object, as string, in an array of one; flat `{message, code}`; `{detail}`
//! as text or list; `response.error`; `errors.data[]`; `choices[].error`; `result.error.error`; `metadata.raw` holding
//! another provider's body as text; `{detail: {…}}`, problem+json's `title`, `base_resp`, `error_msg`, a bare JSON string,
//! AWS' `__type` and `x-amzn-errortype`, Tencent's capitals. Streams: the data of SSE events and NDJSON lines. A body cut in the middle is
//! searched for its quoted fields instead of parsed.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::plain::{asks_more_than_the_limit, sentences};
use super::quoted::without_quotes;
use super::{Evidence, Transport, looks_like_html};

/// Bytes of the body that are read.
const BODY_READ: usize = 64 * 1024;
/// Nesting of error objects that is followed.
const DEPTH: u8 = 6;
/// Entries of one list that are read.
const ENTRIES: usize = 16;
/// Bytes of provider words that are kept.
const MESSAGE_KEPT: usize = 2048;

/// What the body is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// Nothing but blanks.
    #[default]
    Empty,
    /// An HTML page.
    Html,
    /// JSON, alone or in stream frames.
    Json,
    /// Stream frames without any data: comments, or a stream that just ended.
    Frames,
    /// Other text.
    Plain,
}

/// Everything that rules may ask of a body. Words are in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) shape: Shape,
    /// HTTP status that the body names, when it is a failure's.
    pub(super) status: Option<u16>,
    /// Codes, reasons and quota names.
    pub(super) codes: Vec<String>,
    /// Types and status words.
    pub(super) kinds: Vec<String>,
    /// `type` of the event or object at the top.
    pub(super) events: Vec<String>,
    /// Why an answer ended: finish, stop, block and incomplete reasons.
    pub(super) finishes: Vec<String>,
    /// All messages, blanks collapsed, one per line.
    pub(super) text: String,
    /// [`Self::text`] without what it quotes: a caller's own words, echoed by a refusal, are not the provider's.
    pub(super) unquoted: String,
    /// An error object (or flat error) was found.
    pub(super) has_error: bool,
    /// Waits named in fields of the body: in seconds or as points in time.
    pub(super) delays: Vec<String>,
    /// Waits named in fields of the body, in milliseconds.
    pub(super) delays_ms: Vec<String>,
    /// Headers of an inner answer, repeated in the body.
    pub(super) headers: Vec<(String, String)>,
    /// First message, as sent.
    pub(super) message: Option<String>,
    /// First code, as sent.
    pub(super) code: Option<String>,
    /// First type, as sent.
    pub(super) kind: Option<String>,
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

/// `s` cut to at most `most` bytes, at a character's edge.
pub(super) fn cut(s: &str, most: usize) -> &str {
    let mut end = s.len().min(most);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    &s[..end]
}

impl Facts {
    pub(super) fn read(evidence: &Evidence<'_>) -> Self {
        let bytes = &evidence.body[..evidence.body.len().min(BODY_READ)];
        let content_type = evidence
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let text = text.trim();
        let mut facts = Self::default();
        // AWS names the exception in a header, the body holds only its text.
        if let Some(name) = evidence.headers.get("x-amzn-errortype") {
            facts.exception(&String::from_utf8_lossy(name.as_bytes()));
        }
        if text.is_empty() {
            return facts;
        }
        if matches!(evidence.transport, Transport::Network(_)) {
            facts.plain(text);
        } else if looks_like_html(content_type, bytes) {
            facts.shape = Shape::Html;
            facts.message = title_of(text);
        } else if let Ok(root) = serde_json::from_str::<Value>(text) {
            facts.shape = Shape::Json;
            facts.root(&root);
            // Under an error's status every sentence is about the error, whatever its field is called.
            if facts.text.is_empty() && evidence.status >= 400 {
                sentences(&root)
                    .into_iter()
                    .for_each(|text| facts.say(text));
            }
        } else if !facts.frames(text) {
            if text.starts_with(['{', '[']) {
                facts.shape = Shape::Json;
                facts.fragment(text);
            } else if evidence.transport == Transport::StreamEvent {
                facts.shape = Shape::Frames;
            } else {
                facts.plain(text);
            }
        }
        facts.unquoted = without_quotes(&facts.text);
        if asks_more_than_the_limit(&facts.text) {
            facts.codes.push("requested>limit".to_owned());
        }
        facts
    }

    fn plain(&mut self, text: &str) {
        self.shape = Shape::Plain;
        self.say(text);
    }

    /// SSE frames and NDJSON lines. False when there is no such thing in it.
    fn frames(&mut self, text: &str) -> bool {
        let mut framed = false;
        for line in text.lines() {
            let line = line.trim();
            // llama.cpp has sent its failures in a field called `error`.
            let data = if let Some(data) = line
                .strip_prefix("data:")
                .or_else(|| line.strip_prefix("error:"))
            {
                framed = true;
                data.trim_start()
            } else if line.starts_with("event:") || line.starts_with("id:") || line.starts_with(':')
            {
                framed = true;
                continue;
            } else {
                line
            };
            if data.starts_with(['{', '['])
                && let Ok(value) = serde_json::from_str::<Value>(data)
            {
                framed = true;
                self.shape = Shape::Json;
                self.root(&value);
            }
        }
        if framed && self.shape == Shape::Empty {
            self.shape = Shape::Frames;
        }
        framed
    }

    /// A JSON body that was cut: its quoted fields, without their nesting.
    fn fragment(&mut self, text: &str) {
        static FIELD: OnceLock<Option<Regex>> = OnceLock::new();
        let field = FIELD.get_or_init(|| {
            Regex::new(r#""(message|msg|detail|error_msg|status_msg|code|type|status|reason|quotaId|retryDelay)"\s*:\s*(?:"((?:[^"\\]|\\.)*)"?|(\d+))"#)
                .ok()
        });
        for found in field
            .iter()
            .flat_map(|field| field.captures_iter(text))
            .take(4 * ENTRIES)
        {
            let value = found
                .get(2)
                .or_else(|| found.get(3))
                .map_or("", |value| value.as_str());
            let value =
                serde_json::from_str(&format!("\"{value}\"")).unwrap_or_else(|_| value.to_owned());
            self.has_error = true;
            match &found[1] {
                "message" | "msg" | "detail" | "error_msg" | "status_msg" => self.say(&value),
                "type" => self.kind(&value),
                "retryDelay" => self.delays.push(value),
                _ => self.code(&value),
            }
        }
    }

    fn root(&mut self, root: &Value) {
        if let Value::String(text) = root {
            self.has_error = true;
            self.say(text);
        }
        if let Some(event) = root.get("type").and_then(Value::as_str) {
            self.events.push(event.to_lowercase());
        }
        self.walk(root, DEPTH);
    }

    /// An envelope: looks for error objects and end reasons below it.
    fn walk(&mut self, value: &Value, depth: u8) {
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
        if let Some(error @ Value::Object(_)) = map.get("Error") {
            self.error(error, depth - 1);
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
    fn exception(&mut self, name: &str) {
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

    fn say(&mut self, text: &str) {
        if self.message.is_none() {
            self.message = Some(cut(text, MESSAGE_KEPT).to_owned());
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for (nth, word) in cut(text, BODY_READ).split_whitespace().enumerate() {
            if nth > 0 {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
    }

    fn code(&mut self, word: &str) {
        self.code.get_or_insert_with(|| cut(word, 200).to_owned());
        self.codes.push(word.to_lowercase());
    }

    fn kind(&mut self, word: &str) {
        // The envelope's own tag, which says nothing.
        if !word.eq_ignore_ascii_case("error") {
            self.kind.get_or_insert_with(|| cut(word, 200).to_owned());
            self.kinds.push(word.to_lowercase());
        }
    }

    fn status_number(&mut self, value: &Value) {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        if let Some(status @ 400..=599) = number {
            self.status = self.status.or(u16::try_from(status).ok());
        }
    }
}

/// The title of an HTML page.
fn title_of(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let title = page
        .get(from..from + lower[from..].find("</title>")?)?
        .trim();
    Some(cut(title, 200).to_owned())
}
