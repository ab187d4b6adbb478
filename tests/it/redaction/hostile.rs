//! A provider that quotes keys and prompts wherever it can.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{
    Step, Upstream,
    upstream::{Seen, chunk, content, json as answer, role, sse_chunked},
};

/// What it can do, chosen by `?case=N`. Those from [`MONEY`] on close more than one model.
pub(crate) const CASES: usize = 24;
pub(crate) const MONEY: usize = 20;

pub(crate) async fn hostile() -> Upstream {
    Upstream::start(|seen, _| act(seen)).await
}

fn act(seen: &Seen) -> Vec<Step> {
    let case = seen
        .path()
        .split_once("case=")
        .and_then(|(_, rest)| rest.split(['&', '/']).next()?.parse().ok());
    let key = ["authorization", "api-key", "x-api-key", "x-goog-api-key"]
        .iter()
        .find_map(|name| seen.header(name))
        .unwrap_or("none");
    let key = key.split_once(' ').map_or(key, |(_, key)| key).to_owned();
    let echo = Echo {
        key,
        words: words(&seen.body),
    };
    match case {
        Some(case) => echo.steps(case),
        None => vec![Step::Send(answer(200, "", &echo.whole()))],
    }
}

/// The first words of the prompt.
fn words(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    value["messages"][0]["content"]
        .as_str()
        .or(value["input"].as_str())
        .unwrap_or("nothing")
        .to_owned()
}

struct Echo {
    key: String,
    words: String,
}

impl Echo {
    fn whole(&self) -> String {
        json!({"id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": format!("{} {}", self.words, self.key)}, "finish_reason": "stop"}
        ], "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}})
        .to_string()
    }

    fn error(&self, message: &str, kind: &str, code: &str) -> String {
        json!({"error": {"message": message, "type": kind, "param": self.words, "code": code}})
            .to_string()
    }

    /// Headers that quote the key.
    fn headers(&self) -> String {
        let Self { key, .. } = self;
        format!(
            "x-request-id: {key}\r\nrequest-id: {key}\r\nopenai-organization: {key}\r\nopenai-project: {key}\r\nserver: front {key}\r\nvia: 1.1 {key}\r\nx-ratelimit-limit-requests: {key}\r\nset-cookie: a={key}\r\ncf-ray: {key}\r\nwww-authenticate: Bearer realm=\"{key}\"\r\n"
        )
    }

    fn steps(&self, case: usize) -> Vec<Step> {
        let Self { key, words } = self;
        let headers = self.headers();
        let quoted = format!("Incorrect API key provided: {key}. You said: {words}");
        let send = |bytes: Bytes| vec![Step::Send(bytes)];
        match case {
            0 => send(answer(200, &headers, &self.whole())),
            1 => send(answer(400, "", &self.error(&format!("Invalid 'messages[0]': {words}"), "invalid_request_error", words))),
            2 => send(answer(400, &headers, &self.error(&quoted, key, key))),
            3 => send(answer(404, &headers, &self.error(&format!("The model `{key}` does not exist"), "invalid_request_error", "model_not_found"))),
            4 => send(page(500, &format!("<html><title>{key}</title><body>{words} {key}</body></html>"))),
            5 => send(answer(503, &format!("{headers}retry-after: {key}\r\n"), &self.error(&quoted, "server_error", "overloaded"))),
            6 => send(answer(500, &format!("x-request-id: {}\r\n", BASE64_STANDARD.encode(key)), &self.error(words, words, words))),
            7 => send(page(200, &format!("<html>{words} {key}</html>"))),
            8 => send(answer(200, &headers, &format!("{{\"id\":\"{key}\",\"choices\":[{{\"message\":{{\"content\":\"{words}"))),
            9 => send(answer(302, &format!("location: https://elsewhere.example/?key={key}\r\n{headers}"), "")),
            10 => send(answer(400, &headers, &self.error(&format!("The response was filtered: {words}"), "content_filter", "content_filter"))),
            11 => send(answer(418, &headers, &format!("{quoted} (plain words)"))),
            12 => self.stream(&[format!("data: {}\n\n", self.error(&quoted, "server_error", key))]),
            13 => self.stream(&[role().into(), content("hello"), format!("data: {}\n\n", self.error(&quoted, key, key)), "data: [DONE]\n\n".into()]),
            14 => [self.stream(&[role().into(), content("hello")]), vec![Step::Reset]].concat(),
            15 => send(answer(200, &headers, "")),
            16 => send(answer(429, &format!("{headers}retry-after-ms: 1\r\n"), &self.error(&format!("Rate limit reached for {key} in organization {key} on requests per min: {words}"), "requests", "rate_limit_exceeded"))),
            17 => vec![Step::Close],
            18 => vec![Step::Hang],
            19 => send(format!("HTTP/1.1 {key} {words}\r\n{key}\r\n\r\n").into()),
            20 => send(answer(401, &headers, &self.error(&quoted, "invalid_request_error", "invalid_api_key"))),
            21 => send(answer(403, &headers, &self.error(&quoted, key, "permission_denied"))),
            22 => send(answer(401, "", &self.error(&quoted, key, key))),
            _ => send(answer(429, &headers, &self.error(&format!("You exceeded your current quota, {words} {key}"), "insufficient_quota", "insufficient_quota"))),
        }
    }

    /// A stream with the telling headers.
    fn stream(&self, events: &[String]) -> Vec<Step> {
        let head = String::from_utf8_lossy(&sse_chunked()).into_owned();
        let head = head.trim_end_matches("\r\n").to_owned() + "\r\n" + &self.headers() + "\r\n";
        let mut steps = vec![Step::Send(head.into())];
        steps.extend(events.iter().map(|event| Step::Send(chunk(event))));
        steps.push(Step::Send("0\r\n\r\n".into()));
        steps
    }
}

fn page(status: u16, html: &str) -> Bytes {
    format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{html}",
        html.len()
    )
    .into()
}
