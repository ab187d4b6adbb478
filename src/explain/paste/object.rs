//! Objects: which of them are errors, and where status, headers and body of the answer hide in them.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{Paste, head, literal};

/// Fields of structured logs and wrappers in which the error stands as text.
const TEXTS: &[&str] = &[
    "responseBody",
    "response_body",
    "body",
    "error",
    "err",
    "exception",
    "exc_info",
    "message",
    "msg",
    "log",
    "event",
    "stack",
    "detail",
    "textPayload",
    "jsonPayload",
    "raw",
];
/// Wrappers that are opened.
const DEPTH: u8 = 4;

/// Errors in a value that is JSON, or reads like it.
pub(super) fn errors(value: &Value, depth: u8) -> Vec<Paste> {
    if depth == 0 {
        return Vec::new();
    }
    match value {
        Value::Array(list) => {
            // Google answers with a list of one.
            if let [Value::Object(only)] = list.as_slice()
                && only.contains_key("error")
                && status_of(only).is_none()
            {
                return vec![Paste::of_body(None, HeaderMap::new(), value.to_string())];
            }
            list.iter()
                .take(64)
                .flat_map(|item| errors(item, depth - 1))
                .collect()
        }
        Value::Object(map) => of_map(map, depth),
        Value::String(text) => super::read_within(text, depth - 1),
        _ => Vec::new(),
    }
}

/// For the beginning of a search.
pub(super) fn all(value: &Value) -> Vec<Paste> {
    errors(value, DEPTH)
}

fn of_map(map: &Map<String, Value>, depth: u8) -> Vec<Paste> {
    // A HAR: log.entries[].response
    for key in ["log", "entries"] {
        if let Some(inner @ (Value::Object(_) | Value::Array(_))) = map.get(key) {
            return errors(inner, depth);
        }
    }
    if let Some(answer) = answer_within(map) {
        return vec![answer];
    }
    if is_error(map) {
        return vec![Paste::of_body(
            None,
            HeaderMap::new(),
            Value::Object(map.clone()).to_string(),
        )];
    }
    // A wrapper or a log line: the error is a text or an object in one of its fields.
    let mut found = Vec::new();
    for key in TEXTS {
        if let Some(inner @ (Value::String(_) | Value::Object(_) | Value::Array(_))) = map.get(*key)
        {
            found.extend(errors(inner, depth - 1));
        }
        if !found.is_empty() {
            break;
        }
    }
    let (status, headers) = (status_of(map), headers_of(map));
    if found.is_empty()
        && let Some(status) = status
    {
        let words = ["message", "msg", "error", "err"]
            .iter()
            .find_map(|key| map.get(*key)?.as_str());
        found.push(Paste::of_body(
            Some(status),
            headers,
            words.unwrap_or_default().to_owned(),
        ));
        return found;
    }
    for paste in &mut found {
        paste.status = paste.status.or(status);
        if paste.headers.is_empty() {
            paste.headers = headers.clone();
        }
    }
    found
}

/// An answer with a status, headers and a body, however a library names them.
fn answer_within(map: &Map<String, Value>) -> Option<Paste> {
    let inner = map.get("response").and_then(Value::as_object);
    if let Some(response) = inner
        && let Some(status) = status_of(response)
    {
        let mut headers = headers_of(response);
        if headers.is_empty() {
            headers = headers_of(map);
        }
        let body = body_of(response)
            .or_else(|| body_of(map))
            .unwrap_or_default();
        let mut paste = Paste::of_body(Some(status), headers, body);
        paste.context = near(map);
        return Some(paste);
    }
    let status = status_of(map)?;
    let headers = headers_of(map);
    let body = body_of(map)?;
    let mut paste = Paste::of_body(Some(status), headers, body);
    paste.context = near(map);
    Some(paste)
}

/// Where it was sent, for the provider and the endpoint.
fn near(map: &Map<String, Value>) -> String {
    let url = |map: &Map<String, Value>| Some(map.get("url")?.as_str()?.to_owned());
    let request = map
        .get("request")
        .or_else(|| map.get("config"))
        .and_then(Value::as_object);
    url(map).or_else(|| url(request?)).unwrap_or_default()
}

/// A failure's status.
fn status_of(map: &Map<String, Value>) -> Option<u16> {
    [
        "status",
        "statusCode",
        "status_code",
        "http_status",
        "httpStatus",
        "httpCode",
        "http_code",
    ]
    .iter()
    .find_map(|key| {
        let value = map.get(*key)?;
        let number = value
            .as_u64()
            .or_else(|| value.as_str()?.trim().parse().ok())?;
        (400..600)
            .contains(&number)
            .then(|| u16::try_from(number).ok())?
    })
}

fn headers_of(map: &Map<String, Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut keep = |name: &str, value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Array(list) => list
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            _ => return,
        };
        if let Some((name, value)) = head::pair(name, &text) {
            headers.append(name, value);
        }
    };
    let found = ["headers", "responseHeaders", "response_headers"]
        .iter()
        .find_map(|key| map.get(*key));
    match found {
        Some(Value::Object(fields)) => fields
            .iter()
            .take(128)
            .for_each(|(name, value)| keep(name, value)),
        Some(Value::Array(list)) => {
            for item in list.iter().take(128) {
                match item {
                    Value::Object(pair) => {
                        if let (Some(name), Some(value)) =
                            (pair.get("name").and_then(Value::as_str), pair.get("value"))
                        {
                            keep(name, value);
                        }
                    }
                    Value::Array(pair) if pair.len() == 2 => {
                        if let Some(name) = pair[0].as_str() {
                            keep(name, &pair[1]);
                        }
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    for (field, header) in [
        ("request_id", "x-request-id"),
        ("requestID", "x-request-id"),
        ("_request_id", "x-request-id"),
    ] {
        if let Some(id) = map.get(field) {
            keep_once(&mut headers, header, id);
        }
    }
    headers
}

fn keep_once(headers: &mut HeaderMap, name: &str, value: &Value) {
    if !headers.contains_key(name)
        && let Some((name, value)) = value.as_str().and_then(|value| head::pair(name, value))
    {
        headers.append(name, value);
    }
}

/// The body as text.
fn body_of(map: &Map<String, Value>) -> Option<String> {
    let as_text = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Object(map) if !map.is_empty() => Some(value.to_string()),
        Value::Array(list) if !list.is_empty() => Some(value.to_string()),
        _ => None,
    };
    for key in ["data", "responseBody", "response_body", "body"] {
        if let Some(body) = map.get(key).and_then(as_text) {
            return Some(body);
        }
    }
    // A HAR's content.
    if let Some(Value::String(text)) = map.get("content").and_then(|content| content.get("text")) {
        return Some(text.clone());
    }
    match map.get("error") {
        // The SDK hangs the inner object up without its envelope.
        Some(error @ Value::Object(inner)) => Some(match inner.get("error") {
            Some(Value::Object(_)) => error.to_string(),
            _ => json!({ "error": error }).to_string(),
        }),
        Some(Value::String(text)) if text.trim_start().starts_with(['{', '[']) => {
            Some(match literal::read(text.trim_start()) {
                Some((value, _)) => value.to_string(),
                None => text.clone(),
            })
        }
        Some(Value::String(_)) => Some(Value::Object(map.clone()).to_string()),
        _ => ["message", "text", "statusText"]
            .iter()
            .find_map(|key| map.get(*key).and_then(as_text)),
    }
}

/// An error object of an API, with its envelope or without.
fn is_error(map: &Map<String, Value>) -> bool {
    let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
    let object = |key: &str| map.get(key).is_some_and(Value::is_object);
    let text = |key: &str| map.get(key).is_some_and(Value::is_string);
    let named = |inner: &Value| {
        ["message", "msg", "type", "code", "status", "metadata"]
            .iter()
            .any(|key| inner.get(*key).is_some_and(|value| !value.is_null()))
    };
    object("error") && map.get("error").is_some_and(named)
        || object("base_resp")
        || map.get("type").is_some_and(|kind| kind == "error")
        || map
            .get("response")
            .is_some_and(|response| response.get("error").is_some_and(Value::is_object))
        || text("message")
            && (text("type") || has("code") || text("__type"))
            && !has("level")
            && !has("levelname")
        || text("error") && !has("level") && !wraps(map)
        || text("detail") && map.len() <= 4
        || map.get("object").is_some_and(|kind| kind == "error")
        || map
            .get("choices")
            .and_then(Value::as_array)
            .is_some_and(|list| {
                list.iter()
                    .any(|choice| choice.get("error").is_some_and(Value::is_object))
            })
}

/// Is its `error` a text that holds an answer, as in logs?
fn wraps(map: &Map<String, Value>) -> bool {
    map.get("error")
        .and_then(Value::as_str)
        .is_some_and(|text| text.contains('{') || super::words::status(text).is_some())
}
