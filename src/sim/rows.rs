//! The recorded failures of real providers (`config/errors.jsonl`), by id.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;

const FILE: &str = include_str!("../../config/errors.jsonl");

/// One recorded failure. `status` 0 means that there was no HTTP answer at all.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// Its name, such as `openai-insufficient-quota`.
    pub id: String,
    /// Who answered so.
    pub provider: String,
    /// Where it was seen.
    pub endpoint: String,
    /// HTTP status, 0 for none.
    pub status: u16,
    /// Headers as they were on the wire.
    pub headers: BTreeMap<String, String>,
    /// Parsed JSON, or a string: HTML, plain text, raw stream frames.
    pub body: Value,
    /// What kind of failure it is.
    pub class: String,
    /// How far it reaches.
    pub scope: String,
    /// `sse`, `ndjson`, `websocket`, `object-in-200`, `network`; absent for a plain HTTP answer.
    #[serde(default)]
    pub transport: Option<String>,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows: Vec<Row> = FILE
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).expect("errors.jsonl is checked by a test"))
        .collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
});

/// All of them, by id.
#[must_use]
pub fn rows() -> &'static [Row] {
    &ROWS
}

/// The row of that id.
#[must_use]
pub fn row(id: &str) -> Option<&'static Row> {
    ROWS.binary_search_by(|row| row.id.as_str().cmp(id))
        .ok()
        .map(|at| &ROWS[at])
}

// === impl Row ===

impl Row {
    /// The body as bytes: JSON is pretty-printed as the API does, text and frames go as they are.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Value::String(text) => match self.transport.as_deref() {
                // What the recorder wrote behind the last frame is a remark and not a part of the stream.
                Some("sse") => text
                    .rsplit_once("\n\n<")
                    .map_or(text.clone(), |(frames, _)| format!("{frames}\n\n")),
                _ => text.clone(),
            }
            .into_bytes(),
            Value::Null => Vec::new(),
            value => serde_json::to_vec_pretty(value).unwrap_or_default(),
        }
    }

    /// `content-type`, told or by the kind of the body.
    #[must_use]
    pub fn content_type(&self) -> &str {
        let told = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        match (told, self.transport.as_deref(), &self.body) {
            (Some((_, value)), ..) => value,
            (None, Some("sse"), _) => "text/event-stream; charset=utf-8",
            (None, _, Value::String(text)) if text.trim_start().starts_with('<') => {
                "text/html; charset=UTF-8"
            }
            (None, _, Value::String(_)) => "text/plain; charset=utf-8",
            _ => "application/json",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_parses_has_a_sendable_status_and_is_found_by_its_id() {
        assert!(rows().len() > 300, "{}", rows().len());
        for one in rows() {
            assert_eq!(row(&one.id).unwrap().id, one.id);
            assert!(
                one.status == 0 || http::StatusCode::from_u16(one.status).is_ok(),
                "{}",
                one.id
            );
            for (name, value) in &one.headers {
                assert!(
                    http::HeaderName::try_from(name).is_ok()
                        && http::HeaderValue::try_from(value).is_ok()
                );
            }
        }
        assert!(row("no-such-row").is_none());
    }

    #[test]
    fn remarks_of_the_recorder_are_not_sent() {
        let row = row("openai-chat-stream-eof").unwrap();
        let text = String::from_utf8(row.bytes()).unwrap();
        assert!(text.ends_with("}]}\n\n"), "{text}");
    }
}
