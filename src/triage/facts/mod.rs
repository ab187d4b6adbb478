//! What a failure's body says, wherever its error object hides.
//!
//! Places, all seen in the wild: `error` as object, as string, in an array of one; flat `{message, code}`; `{detail}`
//! as text or list; `response.error`; `errors.data[]`; `choices[].error`; `result.error.error`; `metadata.raw` holding
//! another provider's body as text; `{detail: {…}}`, problem+json's `title`, `base_resp`, `error_msg`, a bare JSON string,
//! AWS' `__type` and `x-amzn-errortype`, Tencent's capitals. Streams: the data of SSE events and NDJSON lines. A body cut in the middle is
//! searched for its quoted fields instead of parsed.

mod objects;

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use self::objects::{DEPTH, ENTRIES};
use super::plain::{asks_more_than_the_limit, sentences};
use super::quoted::without_quotes;
use super::{Evidence, Transport, looks_like_html};

/// Bytes of the body that are read.
const BODY_READ: usize = 64 * 1024;
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
    /// Quotas that are named with their value.
    pub(super) quotas: Vec<Quota>,
    /// Headers of an inner answer, repeated in the body.
    pub(super) headers: Vec<(String, String)>,
    /// First message, as sent.
    pub(super) message: Option<String>,
    /// First code, as sent.
    pub(super) code: Option<String>,
    /// First type, as sent.
    pub(super) kind: Option<String>,
}

/// A quota as Google tells it; names as they came, empty where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota {
    pub(super) id: String,
    pub(super) metric: String,
    pub(super) value: Option<u64>,
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
