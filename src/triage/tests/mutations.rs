//! A failure keeps its verdict whatever a stranger changes that means nothing: ids, numbers, key order, case, blanks,
//! added fields and headers, the notation of waits.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use super::super::*;
use super::{Row, corpus, rows_of};

/// What is done to a row.
#[derive(Clone, Debug)]
pub(super) struct Mutation {
    numbers: Option<u32>,
    reversed: bool,
    case: u8,
    blanks: u8,
    fields: bool,
    headers: bool,
    waits: u8,
    pretty: bool,
    ids: Option<u32>,
}

pub(super) fn mutation() -> impl Strategy<Value = Mutation> {
    (
        proptest::option::of(any::<u32>()),
        any::<bool>(),
        0_u8..5,
        0_u8..4,
        any::<bool>(),
        any::<bool>(),
        0_u8..7,
        any::<bool>(),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(
            |(numbers, reversed, case, blanks, fields, headers, waits, pretty, ids)| Mutation {
                numbers,
                reversed,
                case,
                blanks,
                fields,
                headers,
                waits,
                pretty,
                ids,
            },
        )
}

/// What is found and replaced in messages: ids, models, told waits, counts, sizes.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"\b(org|proj|user|req|resp|run|thread|rs|toolu)([-_])\w+",
        r"\b(gpt-[\w.-]*\w|claude-[\w.-]*\w|gemini-[\w.-]*\w)",
        r"\b(try again|retry) (in|after) [\d.]+(ms|s\b| seconds?)",
        r"\b(Limit|Used|Requested|Current)(:? )[1-9][\d,]*",
        r"\b[1-9]\d{3,6} (tokens|bytes)",
    ]
    .map(|pattern| Regex::new(pattern).unwrap())
    .into()
});

impl Mutation {
    /// Another notation of a wait, and its length.
    fn wait(&self) -> Option<(&'static str, Duration)> {
        let (text, ms) = match self.waits {
            1 => ("1m26.4s", 86_400),
            2 => ("7 seconds", 7_000),
            3 => ("350ms", 350),
            4 => ("2 minutes", 120_000),
            5 => ("0.4s", 400),
            6 => ("1 hour 5 min", 3_900_000),
            _ => return None,
        };
        Some((text, Duration::from_millis(ms)))
    }

    fn words(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let replace = |text: &mut String, regex: &Regex, with: &dyn Fn(&Captures<'_>) -> String| {
            *text = regex
                .replace_all(text, |found: &Captures<'_>| with(found))
                .into_owned();
        };
        if let Some(seed) = self.ids {
            replace(&mut text, &PATTERNS[0], &|found| {
                format!("{}{}{seed:x}Zq", &found[1], &found[2])
            });
            replace(&mut text, &PATTERNS[1], &|_| format!("model-{seed:x}.x"));
        }
        if let Some((wait, _)) = self.wait() {
            replace(&mut text, &PATTERNS[2], &|found| {
                format!("{} {} {wait}", &found[1], &found[2])
            });
        }
        if let Some(seed) = self.numbers {
            // Zero means "no access" and stays.
            replace(&mut text, &PATTERNS[3], &|found| {
                let number = seed % 90_000 + 1;
                let comma = if seed % 3 == 0 {
                    format!("{},000", number % 900 + 1)
                } else {
                    number.to_string()
                };
                format!("{}{}{comma}", &found[1], &found[2])
            });
            replace(&mut text, &PATTERNS[4], &|found| {
                format!("{} {}", seed % 900_000 + 1_000, &found[1])
            });
        }
        match self.case {
            // Rules fold ASCII only.
            _ if !text.is_ascii() => {}
            1 => text = text.to_uppercase(),
            2 => text = text.to_lowercase(),
            4 => {
                let upper = |(at, c): (usize, char)| {
                    if at % 2 == 0 {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                };
                text = text.chars().enumerate().map(upper).collect();
            }
            _ => {}
        }
        match self.blanks {
            1 => text = text.replace(' ', "  "),
            2 => text = format!(" {}\n", text.replace(". ", ".\r\n ")),
            3 => text = text.replace(' ', "\n\t"),
            _ => {}
        }
        text
    }

    fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut pairs: Vec<(String, Value)> = map
                    .iter()
                    .map(|(key, value)| (key.clone(), self.value(key, value)))
                    .collect();
                if self.fields && !matches!(key, "headers" | "violations") {
                    pairs.push((
                        "x_new".to_owned(),
                        json!({"note": "rate limit quota billing", "n": [1, null]}),
                    ));
                    pairs.push((
                        "doc_url".to_owned(),
                        json!("https://example.com/billing/quota"),
                    ));
                }
                if self.reversed {
                    pairs.reverse();
                }
                Value::Object(pairs.into_iter().collect::<Map<_, _>>())
            }
            Value::Array(list) => {
                Value::Array(list.iter().map(|value| self.value(key, value)).collect())
            }
            Value::String(text)
                if matches!(key, "message" | "error" | "raw" | "detail" | "msg") =>
            {
                // A body inside the body stays JSON.
                if text.starts_with('{') {
                    value.clone()
                } else {
                    Value::String(self.words(text))
                }
            }
            Value::String(text)
                if self.case == 3 && matches!(key, "code" | "type" | "status" | "reason") =>
            {
                Value::String(text.to_uppercase())
            }
            other => other.clone(),
        }
    }

    pub(super) fn body(&self, row: &Row) -> Vec<u8> {
        match &row.json["body"] {
            Value::String(text) if row.transport() == Transport::StreamEvent => {
                self.frames(text).into_bytes()
            }
            Value::String(text) => self.page(text).into_bytes(),
            body => {
                let body = self.value("", body);
                if self.pretty {
                    serde_json::to_vec_pretty(&body)
                } else {
                    serde_json::to_vec(&body)
                }
                .unwrap()
            }
        }
    }

    /// Stream frames: other line ends, no blank after the colon, a comment before, the data reordered.
    fn frames(&self, text: &str) -> String {
        let lines = text.lines().map(|line| match line.strip_prefix("data: ") {
            Some(data) => {
                let data = serde_json::from_str(data).map_or_else(
                    |_| data.to_owned(),
                    |value: Value| self.value("", &value).to_string(),
                );
                format!("data:{}{data}", if self.pretty { "" } else { " " })
            }
            None => line.to_owned(),
        });
        let end = if self.blanks == 2 { "\r\n" } else { "\n" };
        let frames = lines.collect::<Vec<_>>().join(end);
        if self.headers && text.contains("data:") {
            format!(": ping{end}{end}{frames}{end}{end}")
        } else {
            frames
        }
    }

    fn page(&self, text: &str) -> String {
        match (self.case, self.blanks) {
            (1, _) => text.to_uppercase(),
            (_, 1) => format!("\n  {text}\n"),
            (_, 2) => text.replace('\n', "\r\n"),
            _ => text.to_owned(),
        }
    }

    pub(super) fn headers(&self, row: &Row) -> http::HeaderMap {
        let mut headers = row.headers();
        if self.headers {
            for (name, value) in [
                ("date", "Mon, 31 Aug 2026 13:30:00 GMT"),
                ("x-new-header", "quota"),
                ("via", "1.1 proxy"),
                ("strict-transport-security", "max-age=31536000"),
                ("alt-svc", "h3=\":443\"; ma=86400"),
            ] {
                headers.insert(name, value.parse().unwrap());
            }
            if row.json["body"].is_object() {
                headers
                    .entry("content-type")
                    .or_insert("application/json".parse().unwrap());
            }
        }
        headers
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_mutated_row_keeps_its_verdict(which in any::<Index>(), mutation in mutation()) {
        let rows = every_row();
        let row = &rows[which.index(rows.len())];
        let verdict = row.judged(&mutation.body(row), &mutation.headers(row));
        let (class, scope) = (row.text("class"), row.text("scope"));
        if let Some((_, wait)) = mutation.wait()
            && verdict.class.is_rate_limit()
            && PATTERNS[2].is_match(&row.json["body"].to_string())
            && row.json["body"].is_object()
            && verdict.retry_same != Helps::No
        {
            prop_assert!(verdict.wait >= Some(wait), "{} undercut: {:?}", row.text("id"), verdict.wait);
        }
        prop_assert_eq!(
            (verdict.class.as_str(), verdict.scope.as_str()), (class, scope),
            "{} by {}: {}", row.text("id"), verdict.rule, String::from_utf8_lossy(&mutation.body(row))
        );
    }

    #[test]
    fn a_body_cut_anywhere_is_judged_without_panic(which in any::<Index>(), at in any::<Index>()) {
        let rows = rows();
        let row = &rows[which.index(rows.len())];
        let body = row.body();
        let cut = &body[..at.index(body.len() + 1)];
        let verdict = row.judged(cut, &row.headers());
        prop_assert!(verdict.advice.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn noise_is_judged_without_panic(status in 0_u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200), transport in 0_u8..4) {
        let transport = [Transport::Http, Transport::StreamEvent, Transport::ObjectIn200, Transport::Network(NetworkKind::Other)][usize::from(transport)];
        let headers = http::HeaderMap::new();
        let evidence = Evidence { status, headers: &headers, body: &body, transport, endpoint: "/v1/x" };
        let verdict = judge(&preset("openai-compatible").unwrap(), &evidence);
        // Noise is nobody's empty account: only the status may say so.
        prop_assert!(!verdict.class.is_billing() || status == 402);
    }
}

/// The corpus, and what was unseen when the rules were written.
fn every_row() -> &'static [Row] {
    static ROWS: std::sync::OnceLock<Vec<Row>> = std::sync::OnceLock::new();
    ROWS.get_or_init(|| {
        corpus()
            .into_iter()
            .chain(rows_of(super::unseen::UNSEEN))
            // Bare JSON words are no texts: in capitals they are no JSON.
            .filter(|row| !row.text("id").starts_with("u-200-"))
            .collect()
    })
}

fn rows() -> &'static [Row] {
    static ROWS: std::sync::OnceLock<Vec<Row>> = std::sync::OnceLock::new();
    ROWS.get_or_init(corpus)
}

#[test]
fn an_events_data_alone_is_judged_like_its_frame() {
    let mut events = 0;
    for row in rows() {
        let body = row.body();
        let text = String::from_utf8_lossy(&body);
        let mut data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| data.contains("error"));
        if let (Some(data), None) = (data.next(), data.next()) {
            events += 1;
            let verdict = row.judged(data.as_bytes(), &http::HeaderMap::new());
            assert_eq!(
                verdict.class.as_str(),
                row.text("class"),
                "{} by {}",
                row.text("id"),
                verdict.rule
            );
        }
    }
    assert!(events > 10, "{events}");
}

/// What the messages alone cannot tell.
const ONLY_BY_WORD: &[&str] = &[
    "anthropic-402-billing",
    "anthropic-403-forbidden-edge",
    "anthropic-404-model",
    "anthropic-batch-errored",
    "anthropic-batch-expired",
    "azure-401-permission-denied",
    "mistral-503",
    "openai-502-cf-json",
    "openai-image-slow-down-after",
    "openai-responses-incomplete-filter",
];

#[test]
fn without_codes_and_types_the_words_decide() {
    for row in rows().iter().filter(|row| row.json["body"].is_object()) {
        let mut body = row.json["body"].clone();
        strip(&mut body, &["code", "type", "reason"], &Value::Null);
        let verdict = row.judged(body.to_string().as_bytes(), &row.headers());
        let right = verdict.class.as_str() == row.text("class");
        let id = row.text("id");
        assert_eq!(
            right,
            !ONLY_BY_WORD.contains(&id),
            "{id}: {} by {}",
            verdict.class,
            verdict.rule
        );
    }
}

#[test]
fn without_its_words_no_failure_becomes_an_empty_account() {
    for row in rows().iter().filter(|row| row.json["body"].is_object()) {
        let mut body = row.json["body"].clone();
        strip(&mut body, &["message"], &json!("zork"));
        let verdict = row.judged(body.to_string().as_bytes(), &row.headers());
        let labelled: Class = row.text("class").parse().unwrap();
        let billed = row.json["status"] == 402;
        assert!(
            !verdict.class.is_billing() || labelled.is_billing() || billed,
            "{}",
            row.text("id")
        );
    }
}

fn strip(value: &mut Value, gone: &[&str], with: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if gone.contains(&key.as_str()) && value.is_string() {
                    *value = with.clone();
                } else {
                    strip(value, gone, with);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| strip(value, gone, with)),
        _ => {}
    }
}
