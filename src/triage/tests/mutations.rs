//! A failure keeps its verdict whatever a stranger changes that means nothing: ids, numbers, key order, case, blanks,
//! added fields and headers, the notation of waits.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use super::super::*;
use super::{Row, corpus};

/// What is done to a row.
#[derive(Clone, Debug)]
struct Mutation {
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

fn mutation() -> impl Strategy<Value = Mutation> {
    (
        proptest::option::of(any::<u32>()),
        any::<bool>(),
        0_u8..4,
        0_u8..3,
        any::<bool>(),
        any::<bool>(),
        0_u8..6,
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
        r"\b(Limit|Used|Requested|Current):?( )([1-9][\d,]*)",
        r"\b[1-9]\d{3,6} (tokens|bytes)",
    ]
    .map(|pattern| Regex::new(pattern).unwrap())
    .into()
});

impl Mutation {
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
        let wait = match self.waits {
            1 => Some("1m26.4s"),
            2 => Some("7 seconds"),
            3 => Some("350ms"),
            4 => Some("2 minutes"),
            5 => Some("0.4s"),
            _ => None,
        };
        if let Some(wait) = wait {
            replace(&mut text, &PATTERNS[2], &|found| {
                format!("{} {} {wait}", &found[1], &found[2])
            });
        }
        if let Some(seed) = self.numbers {
            // Zero means "no access", a date means a date, and "(5 min)" style words keep their sense.
            replace(&mut text, &PATTERNS[3], &|found| {
                format!(
                    "{}{}{}",
                    found[0].split(&found[3]).next().unwrap_or_default(),
                    "",
                    seed % 90_000 + 1
                )
            });
            replace(&mut text, &PATTERNS[4], &|found| {
                format!("{} {}", seed % 900_000 + 1_000, &found[1])
            });
        }
        match self.case {
            1 => text = text.to_uppercase(),
            2 => text = text.to_lowercase(),
            _ => {}
        }
        match self.blanks {
            1 => text = text.replace(' ', "  "),
            2 => text = format!(" {}\n", text.replace(". ", ".\r\n ")),
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

    fn body(&self, row: &Row) -> Vec<u8> {
        match &row.json["body"] {
            Value::String(text) if row.transport() == Transport::StreamEvent => {
                text.clone().into_bytes()
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

    fn page(&self, text: &str) -> String {
        match (self.case, self.blanks) {
            (1, _) => text.to_uppercase(),
            (_, 1) => format!("\n  {text}\n"),
            (_, 2) => text.replace('\n', "\r\n"),
            _ => text.to_owned(),
        }
    }

    fn headers(&self, row: &Row) -> http::HeaderMap {
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
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_mutated_row_keeps_its_verdict(which in any::<Index>(), mutation in mutation()) {
        let rows = rows();
        let row = &rows[which.index(rows.len())];
        let verdict = row.judged(&mutation.body(row), &mutation.headers(row));
        let (class, scope) = (row.text("class"), row.text("scope"));
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

fn rows() -> &'static [Row] {
    static ROWS: std::sync::OnceLock<Vec<Row>> = std::sync::OnceLock::new();
    ROWS.get_or_init(corpus)
}

#[test]
fn explore() {
    for row in rows() {
        let Value::Object(_) = &row.json["body"] else {
            continue;
        };
        for (what, gone) in [
            ("words", ["code", "type", "reason"].as_slice()),
            ("message", ["message"].as_slice()),
            ("type", ["type"].as_slice()),
        ] {
            let mut body = row.json["body"].clone();
            strip(&mut body, gone);
            let body = serde_json::to_vec(&body).unwrap();
            let verdict = row.judged(&body, &row.headers());
            if verdict.class.as_str() != row.text("class") {
                println!(
                    "{what}: {} want {} got {} by {}",
                    row.text("id"),
                    row.text("class"),
                    verdict.class,
                    verdict.rule
                );
            }
        }
    }
}

fn strip(value: &mut Value, gone: &[&str]) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if gone.contains(&key.as_str()) && value.is_string() {
                    *value = if gone == ["message"] {
                        json!("zork")
                    } else {
                        Value::Null
                    };
                } else {
                    strip(value, gone);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| strip(value, gone)),
        _ => {}
    }
}
